"""Which changes of a status are told as Events, and how often the same is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from autoscaler.core.contract.reasons import ConditionType
from autoscaler.daemon.resource_events import (
    EVENTFUL,
    Before,
    EventWriter,
    Occurrence,
    event_body,
    occurrences,
)
from autoscaler.explain.words import BAD_STATUS
from autoscaler.kube.api.client import Client
from autoscaler.kube.watch.slim_resources import SlimResource, slim_resource
from autoscaler.settings.resource_status import ConditionStatus, ResourceStatus
from tests.daemon.test_resource_watch import resource
from tests.kube.api_server import ScriptedServer, answer

GOOD = {kind: "False" if bad == "True" else "True" for kind, bad in BAD_STATUS.items()}
CALM = Before(statuses=GOOD, current_replicas=4)


def status(*, current: int | None = 4, desired: int | None = 4, **changed: str) -> ResourceStatus:
    """All is well but for what is changed: a condition's type and its new status."""
    return ResourceStatus(
        observed_generation=1,
        reason="AtFloor",
        current_replicas=current,
        desired_replicas=desired,
        last_decision="stays",
        conditions=tuple(
            ConditionStatus(
                type=kind,
                status=changed.get(kind, good),  # type: ignore[arg-type]
                reason=f"Of{kind}",
                message="m",
                last_transition_time="2026-11-01T00:00:00Z",
                observed_generation=1,
            )
            for kind, good in GOOD.items()
        ),
    )


def told(before: Before, after: ResourceStatus) -> list[tuple[str, str]]:
    return [(each.type, each.reason) for each in occurrences(before, after)]


@pytest.mark.parametrize("kind", ConditionType)
def test_a_condition_that_turns_bad_is_a_warning_and_its_return_is_none(kind):
    expected = kind in EVENTFUL
    bad = {str(kind): BAD_STATUS[kind]}
    assert told(CALM, status(**bad)) == ([("Warning", f"Of{kind}")] if expected else [])
    after = Before(statuses={**GOOD, **bad}, current_replicas=4)
    assert told(after, status(**bad)) == [], "it was told"
    assert told(after, status()) == ([("Normal", f"Of{kind}")] if expected else [])


def test_what_is_unknown_is_not_told_and_of_a_first_status_only_what_is_bad():
    unknown = Before(statuses=dict.fromkeys(GOOD, "Unknown"), current_replicas=None)
    first = Before(statuses={}, current_replicas=None)
    for before in (unknown, first):
        assert told(before, status()) == []
        assert told(before, status(Ready="False")) == [("Warning", "OfReady")]
    assert told(CALM, status(Ready="Unknown")) == []


@pytest.mark.parametrize(
    ("was", "current", "desired", "reason"),
    [
        (4, 6, 6, "ScaledUp"),
        (6, 4, 4, "ScaledDown"),
        (4, 4, 6, None),  # decided, and not yet so: or nobody acts on it
        (4, 5, 6, None),  # somebody else's doing
        (4, 4, 4, None),
        (None, 4, 4, None),
        (4, None, 4, None),
    ],
)
def test_another_number_of_replicas_is_told_where_it_is_what_was_decided(
    was, current, desired, reason
):
    before = Before(statuses=GOOD, current_replicas=was)
    found = told(before, status(current=current, desired=desired))
    assert found == ([("Normal", reason)] if reason else [])


def test_what_changed_for_one_reason_is_told_once():
    after = status(Ready="False", AbleToScale="False")
    one = tuple(each.model_copy(update={"reason": "Unobserved"}) for each in after.conditions)
    found = list(occurrences(CALM, after.model_copy(update={"conditions": one})))
    assert found == [Occurrence("Warning", "Unobserved", "Ready: m")]


# -- how often


class Telling:
    def __init__(self, server: ScriptedServer, client: Client) -> None:
        self.at = 1_790_000_000.0
        self.server = server
        self.outcomes: Counter[str] = Counter()
        self.writer = EventWriter(client, now=lambda: self.at, outcomes=self.outcomes)
        server.always["call"] = answer({"metadata": {"resourceVersion": "7"}})

    async def tell(self, message: str = "m", *, of: SlimResource | None = None) -> None:
        await self.writer.tell(of or LLAMA, Occurrence("Warning", "MetricsStale", message))

    @property
    def said(self) -> list[tuple[str, Any, Any]]:
        return [
            (each.method, each.body.get("count"), each.body.get("message"))
            for each in self.server.requests
        ]


LLAMA = slim_resource(resource())


@pytest.fixture
async def telling(tmp_path) -> AsyncIterator[Telling]:
    async with ScriptedServer() as server, await server.client(tmp_path) as client:
        yield Telling(server, client)


async def test_the_same_within_ten_minutes_is_counted_in_the_event_that_there_is(telling):
    await telling.tell("1 of 4")
    telling.at += 300
    await telling.tell("2 of 4")
    telling.at += 599
    await telling.tell("3 of 4")
    assert telling.said == [("POST", 1, "1 of 4"), ("PATCH", 2, "2 of 4"), ("PATCH", 3, "3 of 4")]
    first, *again = telling.server.requests
    name = first.body["metadata"]["name"]
    assert {each.path for each in again} == {f"/api/v1/namespaces/serving/events/{name}"}
    telling.at += 600
    await telling.tell("4 of 4")
    assert telling.said[-1] == ("POST", 1, "4 of 4")
    assert telling.server.requests[-1].body["metadata"]["name"] != name


async def test_that_of_another_resource_is_another(telling):
    await telling.tell()
    await telling.tell(of=slim_resource(resource("qwen")))
    assert [method for method, _, _ in telling.said] == ["POST", "POST"]


async def test_one_that_is_gone_is_written_anew(telling):
    await telling.tell()
    telling.server.calls.append(answer({"kind": "Status"}, status=404))
    await telling.tell()
    await telling.tell()
    assert [method for method, _, _ in telling.said] == ["POST", "PATCH", "POST"]
    assert telling.outcomes == {"Written": 2, "Failed": 1}


@pytest.mark.parametrize("name", ["llama", "a" * 199 + "-b", "a" * 253])
def test_its_name_is_one_that_objects_have(name):
    made = slim_resource(resource(name))
    body = event_body(
        made, Occurrence("Normal", "ScaledUp", "x" * 5000), name="n", at=1_790_000_000.0
    )
    assert len(body["message"]) == 1000
    from autoscaler.daemon.resource_events import _name

    found = _name(made, Occurrence("Normal", "ScaledUp", ""), at=1_790_000_000.123)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", found)
    assert len(found) <= 253
