"""What a dialect is made of, and what all of them use."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from autoscaler.agent.exchange import Address, ExchangeError, HttpAnswer, exchange
from autoscaler.agent.notice import Told

METADATA = Address("169.254.169.254", 80)
"""Where all three clouds have it: by address, for a name has to be resolved first."""
TIMEOUT_S = 2.0
"""Of one exchange: the service is on the same machine. That of AWS's node termination handler."""
BYTES_MAX = 64 * 1024


class MetadataError(Exception):
    """One answer that says nothing: none came, or it cannot be read. The last one stays valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a dialect needs from outside: the options of the command."""

    address: Address = METADATA
    lead_s: float = 120.0
    """AWS: from a termination by the Auto Scaling group, which names no moment, to its end."""
    preemption_lead_s: float = 30.0
    """GCE: from `preempted` to the end."""
    maintenance_lead_s: float = 3600.0
    """GCE: from the announcement that host maintenance will stop the machine to that."""
    timeout_s: float = TIMEOUT_S
    """Of one exchange that waits for nothing."""
    now: Callable[[], float] = time.time
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataFeed:
    """One thing that is asked for again and again."""

    name: str
    """Of its path, for people."""
    read: Callable[[], Told | None]
    """Ask; None: there is no notice. Raises MetadataError."""
    every_s: float
    """Between two questions."""
    denials_needed: int = 3
    """So many answers without a notice take one back: a single one may be a hiccup."""


class MetadataService(Protocol):
    """One cloud's."""

    source: str
    """The word in the notice."""
    provider_prefix: str
    """How `spec.providerID` of its Nodes begins."""

    @property
    def feeds(self) -> Sequence[MetadataFeed]:
        """All that is asked for."""

    def recognized(self) -> bool:
        """Ask whether this machine is in that cloud. Raises MetadataError where nothing answers."""

    def acknowledge(self) -> bool:
        """Let the cloud begin before the deadline; False: there was nothing to acknowledge.

        Raises MetadataError.
        """


def ask(
    terms: Terms,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    waits_s: float = 0.0,
) -> HttpAnswer:
    """Exchange with the metadata service. Raises MetadataError where no whole answer comes.

    Args:
        terms: Whom to ask.
        method: As `GET`.
        path: With its query.
        headers: To send.
        body: To send.
        waits_s: How long the service may wait before it answers.
    """
    try:
        return exchange(
            terms.address,
            method,
            path,
            headers={**headers, "Connection": "close"},
            body=body,
            timeout_s=terms.timeout_s + waits_s,
            bytes_max=BYTES_MAX,
        )
    except ExchangeError as error:
        raise MetadataError(
            f"{method} http://{terms.address}{path.partition('?')[0]}: {error}"
        ) from error


def refused(path: str, answer: HttpAnswer) -> MetadataError:
    """The error for a status that says nothing of notices."""
    return MetadataError(f"{path.partition('?')[0]} answers {answer.status}: {answer.text[:80]!r}")
