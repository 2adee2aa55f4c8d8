"""AWS: the instance metadata service, version 2, with its session tokens.

Version 1 is not spoken: EC2 answers with both unless it was told to require version 2, never with 1
alone. An answer goes as many network hops as the instance's hop limit says, by default one: a pod hears it
only on the host's network.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from autoscaler.agent.dialects.contract import (
    MetadataError,
    MetadataFeed,
    Terms,
    ask,
    refused,
)
from autoscaler.agent.exchange import ExchangeError, HttpAnswer
from autoscaler.agent.notice import NoticeKind, Told, moment_of

TOKEN_PATH = "/latest/api/token"  # noqa: S105  a path
ACTION_PATH = "/latest/meta-data/spot/instance-action"
REBALANCE_PATH = "/latest/meta-data/events/recommendations/rebalance"
GROUP_PATH = "/latest/meta-data/autoscaling/target-lifecycle-state"
TOKEN_HEADER = "X-aws-ec2-metadata-token"  # noqa: S105  its name
TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
TTL_S = 21_600
"""Six hours, the most there is."""
RENEW_LEFT_S = 15.0
"""A token with less left is renewed first: as the node termination handler does."""
EVERY_S = 2.0
ACTIONS = ("terminate", "stop", "hibernate")
"""Each ends what runs here. Hibernation is announced as it begins: its time is now."""


class AwsMetadata:
    """EC2's."""

    source = "aws-imds"
    provider_prefix = "aws://"

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._lock = threading.Lock()
        self._token = ""
        self._expires_at = 0.0
        """On the monotonic clock."""

    @property
    def feeds(self) -> Sequence[MetadataFeed]:
        """The interruption, the risk of one, and the Auto Scaling group's will."""
        return (
            MetadataFeed(name="spot/instance-action", read=self._action, every_s=EVERY_S),
            MetadataFeed(name="events/rebalance", read=self._rebalance, every_s=EVERY_S),
            MetadataFeed(name="autoscaling/target", read=self._group, every_s=EVERY_S),
        )

    def recognized(self) -> bool:
        """Whether a token is to be had."""
        answer = self._put_token()
        return answer.status == 200 and bool(answer.text)

    def acknowledge(self) -> bool:
        """There is no such thing here."""
        return False

    def _action(self) -> Told | None:
        answer = self._get(ACTION_PATH)
        if answer is None:
            return None
        document = _object(answer, ACTION_PATH)
        if document.get("action") not in ACTIONS:
            return None
        deadline_at = moment_of(document.get("time"))
        if deadline_at is None:
            # It is being taken all the same. Two minutes is what AWS promises.
            later = self._terms.now() + 120.0
            return Told(kind=NoticeKind.TERMINATION, deadline_at=later, dated=False)
        return Told(kind=NoticeKind.TERMINATION, deadline_at=deadline_at)

    def _rebalance(self) -> Told | None:
        answer = self._get(REBALANCE_PATH)
        if answer is None:
            return None
        noticed_at = moment_of(_object(answer, REBALANCE_PATH).get("noticeTime"))
        return Told(kind=NoticeKind.RISK, noticed_at=noticed_at)

    def _group(self) -> Told | None:
        """Whether its group ends the instance: it does when the lifecycle hook runs out.

        The hook's time-out is not said here. Nobody takes the end back, and nobody is sure to drain: so
        it counts as a termination, with a lead that the user may set. Too short a lead drains early and
        loses nothing; too long a one loses what was in flight.
        """
        answer = self._get(GROUP_PATH)
        if answer is None or answer.text != "Terminated":
            return None
        deadline_at = self._terms.now() + self._terms.lead_s
        return Told(kind=NoticeKind.TERMINATION, deadline_at=deadline_at, dated=False)

    def _get(self, path: str) -> HttpAnswer | None:
        """None: 404, there is none. A token that is refused is renewed at once, and once."""
        token = self._valid_token()
        answer = ask(self._terms, "GET", path, headers={TOKEN_HEADER: token})
        if answer.status == 401:
            self._forget(token)
            token = self._valid_token()
            answer = ask(self._terms, "GET", path, headers={TOKEN_HEADER: token})
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise refused(path, answer)
        return answer

    def _valid_token(self) -> str:
        with self._lock:
            if self._expires_at - time.monotonic() <= RENEW_LEFT_S:
                asked_at = time.monotonic()
                answer = self._put_token()
                if answer.status != 200 or not answer.text:
                    raise refused(TOKEN_PATH, answer)
                self._token = answer.text
                self._expires_at = asked_at + _ttl_s(answer)
            return self._token

    def _forget(self, token: str) -> None:
        with self._lock:
            if token == self._token:  # else another feed has renewed it already
                self._expires_at = 0.0

    def _put_token(self) -> HttpAnswer:
        try:
            return ask(self._terms, "PUT", TOKEN_PATH, headers={TTL_HEADER: str(TTL_S)})
        except MetadataError as error:
            raise MetadataError(
                f"{error}; the pod needs hostNetwork, or the instance a hop limit of 2"
            ) from error


def _ttl_s(answer: HttpAnswer) -> float:
    said = answer.headers.get(TTL_HEADER.lower(), "")
    return min(float(said), TTL_S) if said.isascii() and said.isdigit() else float(TTL_S)


def _object(answer: HttpAnswer, path: str) -> dict[str, object]:
    try:
        document = answer.document()
    except ExchangeError as error:
        raise MetadataError(f"{path}: {error}") from error
    if not isinstance(document, dict):
        raise MetadataError(f"{path}: no object in {answer.text[:80]!r}")
    return document
