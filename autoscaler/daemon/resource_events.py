"""Events about resources: what has changed from one status that was written to the next, for `kubectl describe`.

So there is at most one of a kind in as long as statuses are apart, and none for what a restart of ours makes new. The
same again within ten minutes is counted in the Event that there is. One that cannot be written is counted and not tried
again: what it tells is in the status.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import structlog

from autoscaler.core.contract.reasons import ConditionType
from autoscaler.errors import LeadershipLost
from autoscaler.explain.words import BAD_STATUS
from autoscaler.foreign_text import shown
from autoscaler.kube.api.client import MERGE_PATCH, ApiError, Client
from autoscaler.kube.api.resources import EVENTS
from autoscaler.kube.api.timestamps import rfc3339
from autoscaler.kube.watch.slim_resources import SlimResource
from autoscaler.settings.resource import API_VERSION, KIND
from autoscaler.settings.resource_status import ResourceStatus

COMPONENT = "inference-autoscaler"
COUNTED_S = 600.0
"""So long the same is counted in the Event that there is."""
_MESSAGE_CHARACTERS_MAX = 1000
"""The API server takes 1024."""
EVENTFUL = frozenset(
    {
        ConditionType.READY,
        ConditionType.ABLE_TO_SCALE,
        ConditionType.METRICS_AVAILABLE,
        ConditionType.CAPACITY_INTERRUPTED,
        ConditionType.FALLBACK_ACTIVE,
        ConditionType.CONFLICTED,
    }
)
"""Conditions whose change is told: somebody may have to do something, or to know when it was."""

_log = structlog.get_logger(__name__)


class ScaleReason(StrEnum):
    """Of an Event that tells another number of replicas; of any other it is that of the condition."""

    SCALED_UP = "ScaledUp"
    SCALED_DOWN = "ScaledDown"


class EventOutcome(StrEnum):
    """How a write of an Event ended."""

    WRITTEN = "Written"
    FAILED = "Failed"


class Before(NamedTuple):
    """What the last status said, as far as Events tell of it."""

    statuses: Mapping[str, str]
    """By the type of a condition."""
    current_replicas: int | None


class Occurrence(NamedTuple):
    """What is to be told."""

    type: str
    """`Normal` or `Warning`."""
    reason: str
    message: str


def occurrences(before: Before, status: ResourceStatus) -> Iterator[Occurrence]:
    """Tell what has changed.

    Of a condition of which nothing was said before, or that was unknown, only what is bad is told. Another number of
    replicas is told where it is what was decided: any other is not our doing. Of several conditions that changed for
    one reason the first is told.
    """
    told: set[str] = set()
    for each in status.conditions:
        last = before.statuses.get(each.type)
        if each.type not in EVENTFUL or each.status in (last, "Unknown"):
            continue
        bad = BAD_STATUS[ConditionType(each.type)]
        if each.reason in told or bad not in (each.status, last):
            continue
        told.add(each.reason)
        if each.status == bad:
            yield Occurrence("Warning", each.reason, f"{each.type}: {each.message}")
        else:
            yield Occurrence("Normal", each.reason, f"{each.type}: {each.message}")
    was, now = before.current_replicas, status.current_replicas
    if was is not None and now is not None and was != now == status.desired_replicas:
        reason = ScaleReason.SCALED_UP if now > was else ScaleReason.SCALED_DOWN
        yield Occurrence("Normal", reason, f"{was} to {now} replicas; {status.last_decision}")


@dataclass(slots=True)
class _Counted:
    """An Event that there is."""

    name: str
    count: int
    at: float


class EventWriter:
    """Writes Events about resources."""

    def __init__(self, client: Client, *, now: Callable[[], float], outcomes: Counter[str]) -> None:
        """Prepare.

        Args:
            client: The shared client, or one whose writes pass a fence.
            now: Seconds since the epoch, never decreasing.
            outcomes: Counts how writes ended.
        """
        self._client = client
        self._now = now
        self._outcomes = outcomes
        self._counted: dict[tuple[str, Occurrence], _Counted] = {}
        self._failed = ""

    async def tell(self, resource: SlimResource, occurrence: Occurrence) -> None:
        """Write one, or count it in the one that there is."""
        at = self._now()
        self._counted = {
            key: each for key, each in self._counted.items() if at - each.at < COUNTED_S
        }
        # What its message says in figures may differ: it is the same all the same.
        key = (resource.uid, occurrence._replace(message=""))
        last = self._counted.get(key)
        try:
            if last is None:
                last = _Counted(_name(resource, occurrence, at=at), 0, at)
                body = event_body(resource, occurrence, name=last.name, at=at)
                await self._client.call("create", EVENTS, namespace=resource.namespace, body=body)
            else:
                await self._client.call(
                    "patch",
                    EVENTS,
                    namespace=resource.namespace,
                    name=last.name,
                    body={
                        "count": last.count + 1,
                        "lastTimestamp": rfc3339(at),
                        "message": _message(occurrence),
                    },
                    content_type=MERGE_PATCH,
                )
        except LeadershipLost:
            return  # whoever acts now has not seen what was before: nobody tells it
        except ApiError as error:
            self._counted.pop(key, None)
            self._outcomes[EventOutcome.FAILED] += 1
            said = shown(str(error), limit=400)
            if said != self._failed:
                _log.warning("event.failed", reason=occurrence.reason, error=said)
            self._failed = said
            return
        self._failed = ""
        self._outcomes[EventOutcome.WRITTEN] += 1
        last.count, last.at = last.count + 1, at
        self._counted[key] = last


def event_body(
    resource: SlimResource, occurrence: Occurrence, *, name: str, at: float
) -> dict[str, Any]:
    """Write the Event that tells it for the first time."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": resource.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": resource.namespace,
            "name": resource.name,
            "uid": resource.uid,
        },
        "type": occurrence.type,
        "reason": occurrence.reason,
        "message": _message(occurrence),
        "count": 1,
        "firstTimestamp": rfc3339(at),
        "lastTimestamp": rfc3339(at),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
    }


def _name(resource: SlimResource, occurrence: Occurrence, *, at: float) -> str:
    """Name it as others name theirs: by what it is about, with what makes it one of its own."""
    return f"{resource.name[:200].rstrip('-.')}.{occurrence.reason.lower()[:30]}.{int(at * 1000):x}"


def _message(occurrence: Occurrence) -> str:
    return shown(occurrence.message, limit=_MESSAGE_CHARACTERS_MAX)
