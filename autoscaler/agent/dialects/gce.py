"""Google Compute Engine: two words that change, and a question that is answered when they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote

from autoscaler.agent.dialects.contract import (
    MetadataError,
    MetadataFeed,
    Terms,
    ask,
    refused,
)
from autoscaler.agent.notice import NoticeKind, Told

ROOT = "/computeMetadata/v1/instance/"
FLAVOR = {"Metadata-Flavor": "Google"}
"""The service wants it, and says it too: whoever does not is another one."""
WAIT_S = 10
"""For a change, in one question. A connection that died unseen costs no more than this of a notice of 30 s."""
EVERY_S = 1.0
"""Between two questions: a service that does not wait is not overrun."""


class GceMetadata:
    """GCE's. On GKE the pod must be on the host's network: others are answered by GKE's own server."""

    source = "gce-metadata"
    provider_prefix = "gce://"

    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    @property
    def feeds(self) -> Sequence[MetadataFeed]:
        """The preemption, and host maintenance."""
        preempted = _Watched(self._terms, "preempted", self._preempted)
        maintenance = _Watched(self._terms, "maintenance-event", self._maintenance)
        return tuple(
            MetadataFeed(name=each.key, read=each.read, every_s=EVERY_S, denials_needed=1)
            for each in (preempted, maintenance)
        )

    def recognized(self) -> bool:
        """Whether it says that it is Google's."""
        return _is_googles(ask(self._terms, "GET", ROOT, headers=FLAVOR).headers)

    def acknowledge(self) -> bool:
        """There is no such thing here."""
        return False

    def _preempted(self, word: str) -> Told | None:
        """It turns when the end begins: 30 s, or 120 s where `preemptionNoticeDuration` says so."""
        if word not in {"TRUE", "FALSE"}:
            raise MetadataError(f"preempted: {word[:80]!r} is neither TRUE nor FALSE")
        if word == "FALSE":
            return None
        return self._ends_in(self._terms.preemption_lead_s)

    def _maintenance(self, word: str) -> Told | None:
        """A machine with GPUs cannot migrate: it is stopped an hour after this. A migration ends nothing."""
        if word != "TERMINATE_ON_HOST_MAINTENANCE":
            return None
        return self._ends_in(self._terms.maintenance_lead_s)

    def _ends_in(self, lead_s: float) -> Told:
        return Told(
            kind=NoticeKind.TERMINATION, deadline_at=self._terms.now() + lead_s, dated=False
        )


class _Watched:
    """One key: asked for at once, and then again when it has changed since."""

    def __init__(self, terms: Terms, key: str, meaning: Callable[[str], Told | None]) -> None:
        self.key = key
        self._terms = terms
        self._meaning = meaning
        self._etag = ""

    def read(self) -> Told | None:
        path, waits_s = ROOT + self.key, 0.0
        if self._etag:
            path += f"?wait_for_change=true&timeout_sec={WAIT_S}&last_etag={quote(self._etag)}"
            waits_s = WAIT_S
        self._etag = ""  # after a failure it is asked for at once
        answer = ask(self._terms, "GET", path, headers=FLAVOR, waits_s=waits_s)
        if answer.status != 200:
            raise refused(path, answer)
        if not _is_googles(answer.headers):
            raise MetadataError(f"{self.key}: the answer is not of Google's metadata service")
        told = self._meaning(answer.text)
        self._etag = answer.headers.get("etag", "")[:200]
        return told


def _is_googles(headers: object) -> bool:
    return isinstance(headers, dict) and headers.get("metadata-flavor") == "Google"
