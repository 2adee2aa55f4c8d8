"""When a status is written, and what of failures: the real writer, watch and client, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from autoscaler.core.contract.decision import Decision, Outcome
from autoscaler.core.contract.events import SpecChanged
from autoscaler.core.contract.reasons import Reason
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.daemon.loop import Handled
from autoscaler.daemon.resource_events import EventWriter
from autoscaler.daemon.status_writer import StatusWriter
from autoscaler.kube.api.client import Client
from autoscaler.kube.api.fence import FencedClient
from autoscaler.kube.api.permissions import RESOURCES
from autoscaler.settings import to_core
from tests.builders import group
from tests.daemon.test_resource_watch import Watching, resource, watching
from tests.expect import Scenario
from tests.kube.api_server import Request, answer, hang, refuse
from tests.kube.test_fence import FakeFence

PATH = (
    "/apis/inference-autoscaler.dev/v1alpha1/namespaces/serving/inferenceautoscalers/llama/status"
)


class Writing:
    """A writer whose watch has read one resource, and a decision to tell it of."""

    def __init__(self, seen: Watching) -> None:
        self.seen = seen
        self.at = 1_790_000_000.0
        self.acts = True
        self.outcomes: Counter[str] = Counter()
        self.event_outcomes: Counter[str] = Counter()
        self.writer = self.begin()
        self.resource = seen.configs[-1].resources[0]
        story = Scenario(to_core(self.resource))
        decision = story.look(1000, group("main", ready=4), wants=6)
        # Scenarios tell the policy what to say; its reason is a word of none.
        self.decision = decision._replace(reason=Reason.WORTH_ITS_COST)
        seen.server.always["call"] = answer({"metadata": {"resourceVersion": "7"}})

    def begin(self, client: Client | None = None) -> StatusWriter:
        client = client or self.seen.client
        return StatusWriter(
            client,
            watch=self.seen.watch,
            now=lambda: self.at,
            outcomes=self.outcomes,
            events=EventWriter(client, now=lambda: self.at, outcomes=self.event_outcomes),
            acts=lambda: self.acts,
        )

    def specify(self) -> None:
        """The engine takes in what was read last."""
        resource = self.seen.configs[-1].resources[0]
        fleet = FleetSpec(models=(to_core(resource),), gpu_budget=None)
        self._tell(SpecChanged(id=1, at=self.at, fleet=fleet))

    def decide(self, **changes: Any) -> Decision:
        self.decision = self.decision._replace(**changes)
        handled = self._tell(None)
        self.writer.decided(handled, self.decision)
        return self.decision

    def _tell(self, event: Any) -> Handled:
        handled = Handled(event=event, outcome=Outcome(), observe_s=0.0, decide_s=0.0)
        self.writer.handled(handled)
        return handled

    async def after(self, seconds: float) -> None:
        self.at += seconds
        await self.writer.look()

    @property
    def writes(self) -> list[Request]:
        return [each for each in self.seen.server.requests if each.path.endswith("/status")]

    @property
    def events(self) -> list[Request]:
        return [each for each in self.seen.server.requests if "/events" in each.path]

    @property
    def status(self) -> dict[str, Any]:
        """What was written last."""
        return self.writes[-1].body["status"]

    def condition(self, kind: str) -> dict[str, Any]:
        return next(each for each in self.status["conditions"] if each["type"] == kind)


@contextlib.asynccontextmanager
async def writing(folder: Path, *items: dict[str, Any]) -> AsyncIterator[Writing]:
    async with watching(folder, *(items or (resource(),))) as seen:
        await seen.until(lambda: bool(seen.configs))
        yield Writing(seen)


async def test_what_was_decided_is_written_once_by_a_merge_patch_of_the_status_alone(tmp_path):
    async with writing(tmp_path) as told:
        told.specify()
        told.decide()
        await told.after(0)
        (write,) = told.writes
        assert (write.method, write.path, write.content_type) == (
            "PATCH",
            PATH,
            "application/merge-patch+json",
        )
        assert set(write.body) == {"status"}
        assert (told.status["desiredReplicas"], told.status["readyReplicas"]) == (6, 4)
        assert told.status["observedGeneration"] == 1
        for _ in range(100):
            told.decide(at=told.at)
            await told.after(10)
        assert len(told.writes) == 1, "nothing has changed"
        assert told.outcomes == {"Written": 1}


async def test_a_resource_is_written_once_in_five_seconds_and_its_reasons_once_a_minute(tmp_path):
    async with writing(tmp_path) as told:
        told.specify()
        told.decide()
        await told.after(0)
        for desired in range(7, 12):
            told.decide(desired_replicas=desired)
            await told.after(1)
        assert [each.body["status"]["desiredReplicas"] for each in told.writes] == [6, 11]
        told.decide(reason=Reason.WARM_FLOOR)
        await told.after(30)
        assert len(told.writes) == 2
        await told.after(30)
        assert told.status["reason"] == "WarmFloor"
        assert len(told.writes) == 3


async def test_who_stands_by_writes_nothing_and_who_takes_over_writes_at_once(tmp_path):
    async with writing(tmp_path) as told:
        told.acts = False
        told.specify()
        told.decide()
        await told.after(0)
        await told.after(120)
        assert (told.writes, told.events) == ([], [])
        told.acts = True
        await told.after(1)
        assert len(told.writes) == 1


async def test_of_a_new_one_it_is_said_that_nothing_was_decided_yet(tmp_path):
    async with writing(tmp_path) as told:
        await told.after(0)
        assert {each["status"] for each in told.status["conditions"]} == {"Unknown"}
        assert (told.status["reason"], told.status["desiredReplicas"]) == ("NotDecided", None)


async def test_after_a_restart_what_is_there_stays_until_there_is_a_decision(tmp_path):
    async with writing(tmp_path) as told:
        told.specify()
        told.decide()
        await told.after(0)
        told.seen.held.put({**resource(), "status": told.status})
        await told.seen.until(lambda: bool(told.seen.watch.resources["serving/llama"].status))
        before = told.condition("Ready")["lastTransitionTime"]
        told.writer = told.begin()
        await told.after(600)
        assert len(told.writes) == 1
        told.specify()
        told.decide()
        await told.after(5)
        assert len(told.writes) == 2
        assert {each["lastTransitionTime"] for each in told.status["conditions"]} == {before}


async def test_a_change_is_observed_once_it_was_decided_on(tmp_path):
    async with writing(tmp_path) as told:
        told.specify()
        told.decide()
        await told.after(0)
        changed = resource(maxReplicas=20)
        changed["metadata"]["generation"] = 2
        told.seen.held.put(changed)
        await told.seen.until(lambda: told.seen.watch.generations == {"serving/llama": 2})
        told.decide()
        await told.after(10)
        assert len(told.writes) == 1, "the engine still goes by the first"
        told.specify()
        told.decide()
        await told.after(10)
        assert told.status["observedGeneration"] == 2
        assert {each["observedGeneration"] for each in told.status["conditions"]} == {2}


async def test_one_that_is_refused_says_so_and_what_stays_in_use(tmp_path):
    async with writing(tmp_path) as told:
        told.specify()
        told.decide()
        await told.after(0)
        refused = resource(warmFloor={"replicas": 11})
        refused["metadata"]["generation"] = 2
        told.seen.held.put(refused)
        await told.seen.until(lambda: bool(told.seen.lines))
        await told.after(10)
        ready = told.condition("Ready")
        assert (ready["status"], ready["reason"], ready["observedGeneration"]) == (
            "False",
            "Refused",
            2,
        )
        assert "generation 1 stays in use: spec.warmFloor.replicas: found 11" in ready["message"]
        assert told.condition("AbleToScale")["observedGeneration"] == 1
        assert told.status["desiredReplicas"] == 6


async def test_one_that_was_made_anew_begins_anew(tmp_path):
    async with writing(tmp_path) as told:
        told.specify()
        told.decide()
        await told.after(0)
        other = resource()
        other["metadata"]["uid"] = "other"
        told.seen.held.put(other)
        await told.seen.until(lambda: told.seen.watch.resources["serving/llama"].uid == "other")
        await told.after(1)
        assert len(told.writes) == 2, "at once: of this one nothing was written yet"


async def test_a_write_that_fails_is_counted_told_once_and_tried_again_later(tmp_path):
    async with writing(tmp_path) as told:
        told.seen.server.always["call"] = refuse(403, "Forbidden", "no")
        told.specify()
        told.decide()
        with structlog.testing.capture_logs() as logs:
            for _ in range(90):
                await told.after(1)
            assert len(told.writes) == 3
            told.seen.server.always["call"] = answer({"metadata": {"resourceVersion": "7"}})
            await told.after(30)
        assert told.outcomes == {"Failed": 3, "Written": 1}
        failed, written = logs
        assert (failed["event"], failed["model"]) == ("status.failed", "serving/llama")
        assert "lacks the verb `patch` on `inferenceautoscalers/status`" in failed["error"]
        assert written["event"] == "status.written"


async def test_a_bug_in_describing_one_takes_nothing_from_the_others(tmp_path):
    async with writing(tmp_path, resource(), resource("qwen")) as told:
        told.specify()
        told.decide(reason="NoWordOfOurs")
        with structlog.testing.capture_logs() as logs:
            await told.after(1)
            await told.after(1)
        assert [each["event"] for each in logs] == ["status.broke"], "not on every look"
        assert [each.path.split("/")[-2] for each in told.writes] == ["qwen"]
        assert told.outcomes == {"Failed": 1, "Written": 1}


async def test_one_that_is_gone_meanwhile_is_no_failure_to_tell(tmp_path):
    async with writing(tmp_path) as told:
        told.seen.server.always["call"] = refuse(404, "NotFound", "it is gone")
        with structlog.testing.capture_logs() as logs:
            await told.after(0)
        assert (told.outcomes, logs) == ({"Gone": 1}, [])


async def test_a_server_that_says_nothing_holds_up_nobody_who_decides(tmp_path):
    async with writing(tmp_path) as told:
        told.seen.server.always["call"] = hang()
        told.specify()
        told.decide()
        looking = asyncio.create_task(told.writer.look())
        await told.seen.until(lambda: bool(told.writes))
        told.decide(desired_replicas=9)  # returns: nothing is awaited in it
        assert not looking.done()
        looking.cancel()


async def test_a_model_that_is_gone_is_forgotten(tmp_path):
    async with writing(tmp_path) as told:
        told.specify()
        told.decide()
        await told.after(0)
        told.seen.held.drop(resource())
        await told.seen.until(lambda: not told.seen.watch.resources)
        told.writer.handled(
            Handled(
                event=SpecChanged(id=2, at=told.at, fleet=FleetSpec(models=(), gpu_budget=None)),
                outcome=Outcome(),
                observe_s=0.0,
                decide_s=0.0,
            )
        )
        await told.after(60)
        assert (len(told.writes), told.writer._decided, told.writer._written) == (1, {}, {})


async def test_the_rights_are_those_that_are_used(tmp_path):
    async with writing(tmp_path) as told:
        told.specify()
        told.decide()
        await told.after(0)
        for current in (6, 4, 6):
            told.decide(current_replicas=current)
            await told.after(10)
        verbs = {"PATCH": "patch", "POST": "create"}
        used = set()
        for each in told.seen.server.requests:
            place = each.path.partition("/namespaces/serving/")[2].split("/")
            resource = "/".join(part for part in (place[0], *place[2:]) if part)
            used.add((resource, verbs[each.method] if each.kind == "call" else each.kind))
        assert used == {(each.resource, verb) for each in RESOURCES for verb in each.verbs}


async def test_what_changes_from_one_status_to_the_next_is_an_event(tmp_path):
    async with writing(tmp_path) as told:
        told.specify()
        told.decide()
        await told.after(0)
        assert told.events == [], "nothing bad is said for the first time"
        told.decide(current_replicas=6)
        await told.after(5)
        (scaled,) = told.events
        assert (scaled.method, scaled.path) == ("POST", "/api/v1/namespaces/serving/events")
        assert (scaled.body["type"], scaled.body["reason"]) == ("Normal", "ScaledUp")
        assert scaled.body["message"].startswith("4 to 6 replicas; ")
        assert scaled.body["involvedObject"] == {
            "apiVersion": "inference-autoscaler.dev/v1alpha1",
            "kind": "InferenceAutoscaler",
            "namespace": "serving",
            "name": "llama",
            "uid": "uid-llama",
        }
        told.writer = told.begin()
        told.specify()
        told.seen.held.put({**resource(), "status": told.status})
        await told.seen.until(lambda: bool(told.seen.watch.resources["serving/llama"].status))
        told.decide()
        await told.after(5)
        assert len(told.events) == 1, "a restart of ours is no news"
        assert told.event_outcomes == {"Written": 1}


async def test_an_event_that_cannot_be_written_keeps_no_status_from_being_written(tmp_path):
    async with writing(tmp_path) as told:
        told.specify()
        told.decide()
        await told.after(0)
        usual = told.seen.server.always["call"]

        async def no_events(request: Any) -> Any:
            refused = refuse(403, "Forbidden", "no")
            return await (refused if "/events" in request.path else usual)(request)

        told.seen.server.always["call"] = no_events
        with structlog.testing.capture_logs() as logs:
            for current in (6, 4, 6):
                told.decide(current_replicas=current)
                await told.after(10)
        assert [each["event"] for each in logs] == ["event.failed"]
        assert told.outcomes == {"Written": 4}
        assert told.event_outcomes == {"Failed": 2}


async def test_a_generation_is_that_of_what_the_engine_goes_by(tmp_path):
    """Two changes soon after each other: the engine has the first, and the second was read already."""
    async with writing(tmp_path) as told:
        (first,) = told.seen.configs[-1].resources
        changed = resource(maxReplicas=20)
        changed["metadata"]["generation"] = 2
        told.seen.held.put(changed)
        await told.seen.until(lambda: told.seen.watch.generations == {"serving/llama": 2})
        spec = replace(to_core(first), priority=3)
        fleet = FleetSpec(models=(spec,), gpu_budget=None)
        told._tell(SpecChanged(id=1, at=told.at, fleet=fleet))
        told.decide()
        await told.after(0)
        assert told.status["reason"] == "NotDecided", "of neither it is known which one that is"


async def test_a_lease_that_is_lost_in_the_middle_of_a_look_leaves_the_rest_to_who_acts_then(
    tmp_path,
):
    async with writing(tmp_path) as told:
        # One write is let through, the status; what it changes is no more told.
        fence = FakeFence(5.0, 0.0)
        told.writer = told.begin(FencedClient(told.seen.client, fence))
        told.specify()
        told.decide()
        with structlog.testing.capture_logs() as logs:
            await told.after(0)
            told.decide(current_replicas=5, desired_replicas=5)
            await told.after(10)
            assert len(told.writes) == 1
        assert [line["event"] for line in logs] == []
        assert told.outcomes == {"Written": 1}, "left to another, it has not failed"
        fence.answers = [5.0]
        await told.after(1)
        assert len(told.writes) == 2, "it acts again: nothing is held against the resource"
