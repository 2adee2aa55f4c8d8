"""Azure: scheduled events, which tell of all machines of a group; those of this one count."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from autoscaler.agent.dialects.contract import (
    MetadataError,
    MetadataFeed,
    Terms,
    ask,
    refused,
)
from autoscaler.agent.exchange import ExchangeError
from autoscaler.agent.notice import NoticeKind, Told, whole_seconds, worst_told

EVENTS_PATH = "/metadata/scheduledevents?api-version=2020-07-01"
NAME_PATH = "/metadata/instance/compute/name?api-version=2021-02-01&format=text"
HEADERS = {"Metadata": "true"}
EVERY_S = 1.0
"""As Azure advises: a preemption may come with 30 s."""
FIRST_WAIT_S = 125.0
"""The first question of all switches the events on, which may take two minutes."""
TYPES = {
    "Preempt": NoticeKind.TERMINATION,
    "Terminate": NoticeKind.TERMINATION,
    "Redeploy": NoticeKind.TERMINATION,
    "Reboot": NoticeKind.TERMINATION,
    "Freeze": NoticeKind.RISK,
}
"""A reboot or a move to other hardware ends every process here as a preemption does. Others: no notice."""
FREEZE_S_MAX = 30
"""A pause that is known to be no longer is none of our business: nothing ends."""
LEAD_S = 30.0
"""The least there is, for an event whose time cannot be read."""


class AzureMetadata:
    """Azure's."""

    source = "azure-imds"
    provider_prefix = "azure://"

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._name = ""
        self._answered = False
        self._acknowledgeable: tuple[str, ...] = ()
        """Ids of the events that end this machine and no other, and have not begun."""

    @property
    def feeds(self) -> Sequence[MetadataFeed]:
        """All events are in one document."""
        return (MetadataFeed(name="scheduledevents", read=self._events, every_s=EVERY_S),)

    def recognized(self) -> bool:
        """Whether the machine has a name there."""
        return self._ask_name() != ""

    def acknowledge(self) -> bool:
        """Let the events begin that end this machine alone: one that names others would end them too."""
        events = self._acknowledgeable
        if not events:
            return False
        body = json.dumps({"StartRequests": [{"EventId": event} for event in events]}).encode()
        headers = {**HEADERS, "Content-Type": "application/json"}
        answer = ask(self._terms, "POST", EVENTS_PATH, headers=headers, body=body)
        if answer.status not in {200, 202, 204}:
            raise refused(EVENTS_PATH, answer)
        self._acknowledgeable = ()
        return True

    def _events(self) -> Told | None:
        if not self._name:
            self._name = self._ask_name()
            if not self._name:
                raise MetadataError(f"{NAME_PATH.partition('?')[0]}: this machine has no name")
        waits_s = 0.0 if self._answered else FIRST_WAIT_S
        answer = ask(self._terms, "GET", EVENTS_PATH, headers=HEADERS, waits_s=waits_s)
        if answer.status != 200:
            raise refused(EVENTS_PATH, answer)
        self._answered = True
        try:
            document = answer.document()
        except ExchangeError as error:
            raise MetadataError(f"scheduledevents: {error}") from error
        events = document.get("Events") if isinstance(document, dict) else None
        if not isinstance(events, list):
            raise MetadataError(f"scheduledevents: no list of events in {answer.text[:80]!r}")
        return self._read_events(events)

    def _read_events(self, events: Sequence[Any]) -> Told | None:
        told, acknowledgeable, unread = [], [], 0
        for event in events:
            if not isinstance(event, dict) or not isinstance(event.get("Resources"), list):
                unread += 1
                continue
            if not self._names_us(event["Resources"]):
                continue
            meant = self._meaning(event)
            if meant is None:
                continue
            told.append(meant)
            if (
                len(event["Resources"]) == 1
                and meant.kind is NoticeKind.TERMINATION
                and event.get("EventStatus") == "Scheduled"
                and isinstance(event.get("EventId"), str)
            ):
                acknowledgeable.append(event["EventId"])
        self._acknowledgeable = tuple(acknowledgeable)
        if unread and not told:
            raise MetadataError(f"scheduledevents: {unread} of {len(events)} events have no form")
        return worst_told(told)

    def _names_us(self, resources: Sequence[Any]) -> bool:
        return self._name.casefold() in {str(each).strip().casefold() for each in resources}

    def _meaning(self, event: Mapping[str, Any]) -> Told | None:
        kind = TYPES.get(str(event.get("EventType")))
        if kind is None:
            return None
        if kind is NoticeKind.RISK:
            seconds = event.get("DurationInSeconds")
            short = isinstance(seconds, int | float) and 0 <= seconds <= FREEZE_S_MAX
            return None if short else Told(kind=kind)
        if event.get("EventStatus") == "Started":
            return Told(kind=kind, deadline_at=self._terms.now(), dated=False)
        deadline_at = gmt_seconds(event.get("NotBefore"))
        if deadline_at is None:
            return Told(kind=kind, deadline_at=self._terms.now() + LEAD_S, dated=False)
        return Told(kind=kind, deadline_at=deadline_at)

    def _ask_name(self) -> str:
        answer = ask(self._terms, "GET", NAME_PATH, headers=HEADERS)
        if answer.status != 200:
            raise refused(NAME_PATH, answer)
        return answer.text if len(answer.text) <= 253 and answer.text.isprintable() else ""


def gmt_seconds(text: object) -> float | None:
    """Seconds since the epoch of a date as `Mon, 19 Sep 2016 18:29:47 GMT`; None for what is none."""
    if not isinstance(text, str):
        return None
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # `-0000`: UTC, from whoever does not say where it is
            moment = moment.replace(tzinfo=UTC)
        return whole_seconds(moment)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
