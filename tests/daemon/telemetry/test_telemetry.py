from __future__ import annotations

import asyncio
import dataclasses
import shutil
import subprocess
from collections import Counter

import numpy as np
import pytest
import structlog
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.core.contract.commands import CORDON_ANNOTATION, Annotate, EvictPod, SetReplicas
from autoscaler.core.contract.decision import Outcome
from autoscaler.core.contract.events import HistoryRead, NoticeReceived
from autoscaler.core.contract.reasons import ConditionType
from autoscaler.core.contract.spec import ScaleTarget
from autoscaler.core.contract.state import Doubt, HistogramColumns
from autoscaler.core.engine import build_engine
from autoscaler.daemon.actuator import CommandEnding
from autoscaler.daemon.clock import Clock
from autoscaler.daemon.history_watch import HistoryReport
from autoscaler.daemon.loop import Handled, tellings
from autoscaler.daemon.telemetry.metrics import PREFIX
from autoscaler.daemon.telemetry.status import Status
from autoscaler.daemon.telemetry.telemetry import Telemetry
from autoscaler.kube.targets import ScrapeTarget
from autoscaler.kube.watch.optional import Readability
from autoscaler.sources.collector.collector import SOURCE_LABELS
from autoscaler.sources.collector.last_values import LastValues
from autoscaler.sources.history.reader import HistoryOutcome
from autoscaler.sources.pages.lateness import Lateness
from autoscaler.sources.pages.outcome import ReadOutcome
from tests.benchmarks.tick import BEGIN_AT, Story
from tests.builders import (
    ON_DEMAND,
    group,
    model,
    notice,
    observed,
    on_demand,
    seen,
    specified,
    spot,
)
from tests.core.history.days import Traffic
from tests.require import require
from tests.sources.dcgm.rows import card, reading

SPEC = model(pools=[on_demand(price=3.0), spot(price=1.0)], warm=1, warm_on=ON_DEMAND)
TARGET = ScaleTarget(namespace="serving", name="spot")


class FakeCollector:
    lateness = Lateness()

    def __init__(self) -> None:
        self.last_values = LastValues()
        self.outcomes = Counter(
            {(source, outcome): 0 for source in SOURCE_LABELS for outcome in ReadOutcome}
        )

    def ages(self, *, at: float) -> dict[str, float]:
        return {"VLLM": at - 990.0}

    def reports(self) -> list:
        return []


class FakeCluster:
    failures_total = 3
    unreadable_objects = 0
    unreadable_total = 0
    doubts: tuple[Doubt, ...] = ()

    def __init__(self) -> None:
        self.refused: dict[str, str] = {}

        self.readable: dict[str, Readability] = {}
        self.missing: dict[str, str] = {}

    def unread_hpas(self) -> dict[str, str]:
        return {}

    def refusals(self) -> dict[str, str]:
        return self.refused

    def readable_notices(self) -> dict[str, Readability]:
        return self.readable

    def optional_problems(self) -> dict[str, str]:
        return {}

    def missing_targets(self) -> dict[str, str]:
        return self.missing

    def unreadable(self) -> tuple[str, ...]:
        return ("pods serving: …",) if self.unreadable_objects else ()


class FakeObserver:
    def __init__(self) -> None:
        self.gaps: tuple[str, ...] | None = ()
        self.collector = FakeCollector()
        self.cluster = FakeCluster()
        self.trouble = ""

    def notice_gaps(self) -> tuple[str, ...] | None:
        return self.gaps

    def outage(self) -> str:
        return self.trouble

    def problems(self) -> tuple[str, ...]:
        return ()

    def age_s(self) -> float | None:
        return 2.5


class Stage:
    """A report that listens to a real engine."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.observer = FakeObserver()
        clock = Clock(wall=lambda: 0.0, monotonic=lambda: 0.0)
        clock.now = lambda: self.at
        self.telemetry = Telemetry(clock=clock, tick_s=5.0, observer=self.observer, recorder=None)
        self.engine = build_engine()
        self.number = 0

    def feed(self, event):
        self.number += 1
        event = dataclasses.replace(event, id=self.number, at=self.at)
        outcome = self.engine.handle(event)
        self.hear(event, outcome)
        return outcome

    def hear(self, event, outcome: Outcome, *, acts: bool = True) -> None:
        handled = Handled(event=event, outcome=outcome, observe_s=0.001, decide_s=0.002, acts=acts)
        for listener in self.telemetry.listeners:
            for _ in tellings(listener, handled):
                pass

    def end(self, command, ending: CommandEnding) -> None:
        for listener in self.telemetry.listeners:
            listener.command_ended(command, ending)

    @property
    def status(self) -> Status:
        return self.telemetry.status

    def specify(self, *models) -> None:
        self.feed(specified(*(models or (SPEC,))))

    def observe(self, *groups, interruptions=(), spec=SPEC):
        return self.feed(observed(seen(spec, *groups), at=self.at, interruptions=interruptions))

    def samples(self) -> dict[tuple[str, ...], float]:
        text = generate_latest(self.telemetry.registry).decode()
        return {
            (sample.name.removeprefix(PREFIX), *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture
def stage() -> Stage:
    return Stage()


READY = (group("on-demand", ready=1), group("spot", ready=1))


def test_it_is_not_ready_before_the_first_decision(stage):
    assert stage.status.unready() == ("no decision was made yet",)
    stage.specify()
    assert stage.status.unready() == ("no decision was made yet",)
    stage.observe(*READY)
    assert stage.status.unready() == ()


def test_it_is_not_ready_while_the_cluster_is_out_of_sight(stage):
    stage.specify()
    stage.observe(*READY)
    stage.observer.trouble = "the cluster was last in step 44 s ago: refused"
    assert stage.status.unready() == ("the cluster was last in step 44 s ago: refused",)


def test_it_is_not_ready_when_decisions_cease(stage):
    stage.specify()
    stage.observe(*READY)
    stage.at += 31.0
    assert stage.status.unready() == ("the last decision was made 31 s ago",)


def test_it_is_unhealthy_when_the_loop_no_longer_comes_round(stage):
    assert stage.status.unhealthy() == ""
    stage.at += 31.0
    assert stage.status.unhealthy() == "the loop has not come round for 31 s"
    stage.status.alive()
    assert stage.status.unhealthy() == ""


def test_pages_show_the_last_decision_of_each_model_with_its_trail(stage):
    stage.specify()
    assert stage.status.page()["models"] == []
    stage.observe(*READY)
    (shown,) = stage.status.page()["models"]
    assert shown["model"] == "serving/llama"
    assert shown["desired_replicas"] == 2
    assert shown["trail"]
    assert shown["spec"]["pools"][1] == {
        "pool": "spot",
        "target": "Deployment/serving/spot",
        "capacity_type": "Spot",
        "price_usd_per_hour": 1.0,
    }
    assert shown["spec"]["warm_floor"] == {
        "replicas": 1,
        "capacity_type": "OnDemand",
        "ramp": "Off",
        "schedules": [],
    }
    assert shown["measures"]["warm_floor_usd_per_hour"] == 3.0


def test_pools_and_models_are_gauges(stage):
    stage.specify()
    stage.observe(*READY)
    found = stage.samples()
    on_demand_labels = ("OnDemand", "llama", "serving", "on-demand")
    assert found["ready_replicas", *on_demand_labels] == 1
    assert found["desired_replicas", *on_demand_labels] == 1
    assert found["warm_floor_replicas", "llama", "serving"] == 1
    assert found["warm_floor_usd_per_hour", "llama", "serving"] == 3.0
    assert found["running_requests", "llama", "serving"] == 20
    assert ("forecast_replicas", "llama", "serving") not in found, "unknown has no series"
    assert found["observation_age_seconds", "VLLM"] == 10.0
    assert found["cluster_age_seconds",] == 2.5
    assert found["cluster_failures_total",] == 3
    assert found["leader",] == 1
    assert found["leader_transitions_total", "Gained"] == 0
    assert found["lease_failures_total",] == 0


def test_gpus_are_gauges_where_they_are_known(stage):
    stage.specify()
    stage.observe(*READY)
    assert ("gpus_free",) not in stage.samples(), "no exporter, no series"
    values = stage.observer.collector.last_values
    values.set_exporters(["a", "b", "old"])
    values.set_targets([ScrapeTarget(key=("s", "a"), uid="1", ip="", model=SPEC.key, ready=True)])
    first = card(0, pod="a", used=70_000, xid=0) + card(1, used=3, xid=0) + card(2, used=3, xid=79)
    values.put_dcgm("a", reading(first, at=990.0))
    values.put_dcgm("b", reading(card(3), at=990.0, node="m"))
    values.put_dcgm("old", reading(card(4, used=3, xid=0), at=9.0, node="o"))
    found = stage.samples()
    assert found["gpus_free",] == 1
    assert found["gpus_unhealthy",] == 1
    assert found["gpus_unknown_nodes",] == 1
    assert found["framebuffer_used_bytes", "llama", "serving"] == 70_000 * 2**20
    shown = {each["node"]: each for each in stage.status.page()["gpus"]}
    assert shown["m"]["free"] is None
    assert shown["n"]["faults"] == ["GPU-2: Xid 79 (GPU has fallen off the bus)"]


def test_every_series_with_closed_labels_is_there_at_zero(stage):
    stage.specify()
    found = stage.samples()
    assert found["fleet_decisions_total", "Up", "TooManyReplicas"] == 0
    assert found["fleet_guard_adjustments_total", "Down", "warm_floor"] == 0
    assert found["drains_total", "Overran"] == 0
    assert found["commands_total", "EvictPod", "DisruptionBudget"] == 0
    assert found["actuation_errors_total", "Conflict"] == 0
    assert found["interruption_notices_total", "aws-node-termination-handler"] == 0
    assert found["source_errors_total", "DCGM"] == 0
    assert found["source_reads_total", "TimedOut", "VLLM"] == 0


@pytest.mark.prometheus
def test_the_page_pleases_promtool(stage):
    """Names, types, units and help as Prometheus's own linter wants them."""
    promtool = shutil.which("promtool")
    require("prometheus", promtool, "promtool is not installed")
    stage.specify()
    stage.observe(*READY)
    page = generate_latest(stage.telemetry.registry)
    said = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, check=False
    )
    assert (said.returncode, said.stdout + said.stderr) == (0, b"")


def test_decisions_and_guards_are_counted(stage):
    spec = model(pools=[on_demand()], maximum=1)
    stage.specify(spec)
    stage.observe(group("on-demand", ready=1, running=200), spec=spec)
    found = stage.samples()
    assert found["decisions_total", "Hold", "llama", "serving", "TooManyReplicas"] == 1
    assert found["guard_adjustments_total", "Down", "bounds", "llama", "serving"] == 1
    assert found["fleet_decisions_total", "Hold", "TooManyReplicas"] == 1
    assert found["fleet_guard_adjustments_total", "Down", "bounds"] == 1
    assert found["decision_duration_seconds_count",] == 1
    assert found["tick_duration_seconds_sum",] == pytest.approx(0.003)


def test_a_model_that_is_gone_leaves_no_series(stage):
    other = model("other", pools=[on_demand("other")])
    stage.specify(SPEC, other)
    stage.observe(*READY)
    stage.specify(other)
    assert [labels for labels in stage.samples() if "llama" in labels] == []
    assert [m["model"] for m in stage.status.page()["models"]] == ["serving/other"]


def test_reads_that_failed_are_errors_and_those_of_a_loading_pod_are_not(stage):
    outcomes = stage.observer.collector.outcomes
    outcomes["VLLM", ReadOutcome.READ] += 5
    outcomes["VLLM", ReadOutcome.NOT_READY] += 4
    outcomes["VLLM", ReadOutcome.TIMED_OUT] += 3
    found = stage.samples()
    assert found["source_errors_total", "VLLM"] == 3
    assert found["source_reads_total", "NotReady", "VLLM"] == 4


def test_a_notice_is_counted_with_its_lead_and_said(stage):
    stage.specify()
    with structlog.testing.capture_logs() as logs:
        stage.feed(NoticeReceived(id=0, at=0, interruption=notice("s1", deadline_at=1060.0)))
    (said,) = logs
    assert (said["event"], said["node"], said["lead_s"]) == ("notice.received", "s1", 60.0)
    assert said["log_level"] == "warning"
    found = stage.samples()
    assert found["interruption_notices_total", said["source"]] == 1
    assert found["notice_lead_time_seconds_sum",] == 60.0


def test_what_was_learnt_of_the_past_is_said_and_shown_until_its_model_is_gone(stage):
    stage.specify()
    watch = stage.telemetry.status.history_watch
    watch.reports[SPEC.key] = HistoryReport(
        model=SPEC.key,
        server="main",
        outcome=HistoryOutcome.PARTIAL,
        read_at=999.0,
        from_at=60.0,
        until_at=960.0,
        known_ratio=0.5,
        interval_s=15.0,
        queries=8,
        message="a day was refused",
        retry_at=None,
    )
    watch.outcomes[HistoryOutcome.PARTIAL] += 1
    past = Traffic.of(lambda _: 2.0, seconds=900.0).history(until=900.0)
    past = dataclasses.replace(past, at=past.at - past.at[-1] + 960.0)
    with structlog.testing.capture_logs() as logs:
        stage.feed(HistoryRead(id=0, at=0, model=SPEC.key, history=past))
    (said,) = logs
    assert (said["event"], said["end"], said["rows"]) == ("history.taken", "Taken", 15)
    assert (said["from_at"], said["until_at"], said["known_ratio"]) == (60.0, 960.0, 1.0)
    (shown,) = stage.telemetry.status.page()["histories"]
    assert (shown["server"], shown["outcome"], shown["known_ratio"]) == ("main", "Partial", 0.5)
    assert (shown["taken"]["end"], shown["taken"]["rows"]) == ("Taken", 15)
    found = stage.samples()
    assert found["history_reads_total", "Partial"] == 1
    assert found["history_reads_total", "Whole"] == 0
    stage.feed(specified(at=stage.at))
    assert stage.telemetry.status.histories == {}


def test_a_drain_is_followed_to_its_end(stage):
    stage.specify()
    doomed = [notice("s1", deadline_at=1060.0)]
    on_node = (group("on-demand", ready=1), group("spot", ready=1, node="s1"))
    with structlog.testing.capture_logs() as logs:
        event = dataclasses.replace(
            observed(seen(SPEC, *on_node), at=stage.at, interruptions=doomed), id=9
        )
        evict = EvictPod(
            id="9.1",
            model=SPEC.key,
            expires_at=1e9,
            namespace="serving",
            pod="spot-r0000",
            grace_s=30,
        )
        stage.hear(event, Outcome(commands=(evict,)))
        stage.at += 12
        event = observed(seen(SPEC, group("on-demand", ready=1)), at=stage.at, interruptions=doomed)
        stage.hear(event, Outcome())
    assert [each["event"] for each in logs] == ["drain.started", "drain.finished"]
    found = stage.samples()
    assert found["drains_total", "Finished"] == 1
    assert found["drain_duration_seconds_sum",] == 12.0


# -- commands


def scale(number: int, replicas: int) -> SetReplicas:
    return SetReplicas(
        id=f"{number}.1", model=SPEC.key, expires_at=1e9, scale_target=TARGET, replicas=replicas
    )


REFUSED = CommandEnding(accepted=False, reason="Forbidden", message="no verb", sent_s=0.1)
ACCEPTED = CommandEnding(accepted=True, reason="Accepted", sent_s=0.1)
STANDBY = CommandEnding(accepted=False, reason="Standby", message="another daemon acts")
WITHHELD = CommandEnding(accepted=False, reason="Withheld", message="dry run")


def said(stage: Stage, command, ending: CommandEnding) -> tuple[str, str]:
    with structlog.testing.capture_logs() as logs:
        stage.end(command, ending)
    (line,) = logs
    return line["event"], line["log_level"]


def test_a_failure_that_repeats_is_said_once_until_it_changes(stage):
    assert said(stage, scale(1, 3), REFUSED) == ("scale.failed", "warning")
    assert said(stage, scale(2, 3), REFUSED) == ("scale.failed", "debug")
    assert said(stage, scale(3, 4), REFUSED) == ("scale.failed", "warning")
    assert said(stage, scale(4, 4), ACCEPTED) == ("scale.applied", "info")
    assert said(stage, scale(5, 4), REFUSED) == ("scale.failed", "warning")
    found = stage.samples()
    assert found["commands_total", "SetReplicas", "Forbidden"] == 4
    assert found["commands_total", "SetReplicas", "Accepted"] == 1
    assert found["actuation_errors_total", "Forbidden"] == 4


def test_what_is_withheld_is_no_error(stage):
    assert said(stage, scale(1, 3), WITHHELD) == ("scale.failed", "info")
    assert said(stage, scale(2, 3), WITHHELD) == ("scale.failed", "debug")
    assert stage.samples()["actuation_errors_total", "Failed"] == 0
    assert stage.samples()["commands_total", "SetReplicas", "Withheld"] == 2


def test_what_another_daemon_does_is_neither_said_nor_an_error(stage):
    assert said(stage, scale(1, 3), STANDBY) == ("scale.failed", "debug")
    found = stage.samples()
    assert found["commands_total", "SetReplicas", "Standby"] == 1
    errors = {key: value for key, value in found.items() if key[0] == "actuation_errors_total"}
    assert set(errors.values()) == {0}


def test_a_standby_says_what_it_decides_and_not_that_it_is_done(stage):
    stage.specify()
    doing = Outcome(commands=(scale(1, 3),))
    event = dataclasses.replace(observed(seen(SPEC, *READY), at=stage.at), id=9)
    with structlog.testing.capture_logs() as logs:
        stage.hear(event, doing, acts=False)
    assert logs == []
    with structlog.testing.capture_logs() as logs:
        stage.hear(event, doing)
    assert [line["event"] for line in logs] == ["scale.decided"]


def test_other_writes_have_their_own_words(stage):
    annotate = Annotate(
        id="1.1",
        model=SPEC.key,
        expires_at=1e9,
        scale_target=TARGET,
        key=CORDON_ANNOTATION,
        value="v",
    )
    assert said(stage, annotate, ACCEPTED) == ("command.applied", "info")
    assert said(stage, annotate, REFUSED) == ("command.failed", "warning")


def test_a_scale_that_is_decided_with_every_tick_is_said_once(stage):
    stage.specify()
    levels = []
    for number in (1, 2, 3):
        event = dataclasses.replace(observed(seen(SPEC, *READY), at=stage.at), id=number)
        with structlog.testing.capture_logs() as logs:
            replicas = 3 if number < 3 else 4
            outcome = Outcome(commands=(scale(number, replicas),))
            stage.hear(event, outcome)
        levels += [line["log_level"] for line in logs if line["event"] == "scale.decided"]
    assert levels == ["info", "debug", "info"]


# -- what is said of decisions


def lines(stage: Stage, *groups, event: str) -> list[dict]:
    with structlog.testing.capture_logs() as logs:
        stage.observe(*groups)
    return [line for line in logs if line["event"] == event]


def test_a_tick_is_one_canonical_line_that_is_info_when_something_changed(stage):
    stage.specify()
    (first,) = lines(stage, *READY, event="tick.finished")
    assert first["log_level"] == "info"
    assert first["model"] == "serving/llama"
    assert first["desired_replicas"] == 2
    assert {
        "direction", "reason", "message", "current_replicas", "ready_replicas", "policy",
        "demand_replicas", "observation_age_s", "cluster_age_s", "duration_s", "tick",
    } <= set(first)  # fmt: skip
    stage.at += 5
    (second,) = lines(stage, *READY, event="tick.finished")
    assert second["log_level"] == "debug"


def test_conditions_are_said_when_they_change(stage):
    stage.specify()
    assert len(lines(stage, *READY, event="condition.changed")) == len(ConditionType)
    assert lines(stage, *READY, event="condition.changed") == []
    blind = (group("on-demand", ready=1, sample_age_s=500), group("spot", ready=1))
    changed = lines(stage, *blind, event="condition.changed")
    assert [line["condition"] for line in changed] == ["MetricsAvailable"]


def test_a_bug_held_over_by_the_whole_engine_is_counted(stage):
    for listener in stage.telemetry.listeners:
        listener.engine_broke()
    assert stage.samples()["engine_errors_total",] == 1


def test_problems_of_the_configuration_are_a_gauge(stage):
    stage.status.set_spec_problems(("spec.pools: found nothing", "another"))
    assert stage.samples()["spec_problems",] == 2
    assert stage.status.page()["spec_problems"][0] == "spec.pools: found nothing"


def test_namespaces_that_refuse_are_a_gauge_and_told_with_the_right_that_lacks(stage):
    assert stage.samples()["refused_namespaces",] == 0
    stage.observer.cluster.refused = {"b": "list pods b: 403; grant it"}
    assert stage.samples()["refused_namespaces",] == 1
    assert stage.status.page()["refused_namespaces"] == stage.observer.cluster.refused


def test_what_notices_can_be_read_from_is_a_gauge_and_unknown_is_none(stage):
    stage.observer.cluster.readable = {
        "events": Readability.FORBIDDEN,
        "nodeclaims": Readability.UNKNOWN,
    }
    stage.observer.gaps = None
    samples = stage.samples()
    assert samples["notices_readable", "events"] == 0
    assert ("notices_readable", "nodeclaims") not in samples
    assert ("notice_gaps",) not in samples
    assert stage.status.page()["notices"]["gaps"] == []
    stage.observer.cluster.readable["nodeclaims"] = Readability.READABLE
    stage.observer.gaps = ("two of them have nothing",)
    assert stage.samples()["notices_readable", "nodeclaims"] == 1
    assert stage.samples()["notice_gaps",] == 1
    assert stage.status.page()["notices"] == {
        "readable": {"events": "Forbidden", "nodeclaims": "Readable"},
        "gaps": ["two of them have nothing"],
    }


def test_an_engine_that_decides_nothing_is_not_ready_for_long(stage):
    stage.specify()
    stage.observe(*READY)
    stage.at += 31.0
    event = observed(seen(SPEC, *READY), at=stage.at)
    stage.hear(event, Outcome())
    assert stage.status.unready() == ("the last decision was made 31 s ago",)


def test_a_target_that_does_not_exist_is_on_the_page(stage):
    assert stage.status.page()["cluster_problems"] == []
    stage.observer.cluster.missing = {"serving/llama": "Deployment/serving/lama does not exist"}
    assert stage.status.page()["cluster_problems"] == [
        "serving/llama: Deployment/serving/lama does not exist"
    ]


def test_how_writes_of_statuses_and_events_ended_is_counted(stage):
    stage.status.status_writes = {"Written": 3, "Failed": 1}
    stage.status.event_writes = {"Written": 2}
    samples = stage.samples()
    assert samples["status_writes_total", "Written"] == 3
    assert samples["status_writes_total", "Failed"] == 1
    assert samples["status_writes_total", "Gone"] == 0
    assert samples["event_writes_total", "Written"] == 2
    assert samples["event_writes_total", "Failed"] == 0


def test_what_cannot_be_read_and_what_contradicts_itself_is_counted_and_said_once(stage):
    cluster = stage.observer.cluster
    stage.observer.listed = True
    assert stage.samples()["doubted_models",] == 0.0
    cluster.unreadable_objects, cluster.unreadable_total = 2, 5
    cluster.doubts = (Doubt(model="serving/llama", message="4 are counted, 0 are listed"),)
    with structlog.testing.capture_logs() as logs:
        stage.telemetry.outages.look()
        stage.telemetry.outages.look()
    assert [each["event"] for each in logs] == ["objects.unreadable", "model.doubted"]
    samples = stage.samples()
    assert samples["doubted_models",] == 1.0
    assert samples["unreadable_objects",] == 2.0
    assert samples["unreadable_objects_total",] == 5.0
    assert stage.status.page()["doubts"] == {"serving/llama": "4 are counted, 0 are listed"}
    cluster.unreadable_objects, cluster.doubts = 0, ()
    with structlog.testing.capture_logs() as logs:
        stage.telemetry.outages.look()
    assert [each["event"] for each in logs] == ["objects.readable", "model.believed"]


async def test_a_task_that_broke_is_counted_and_named_by_readyz(stage):
    lives = 0

    async def task() -> None:
        nonlocal lives
        lives += 1
        if lives == 1:
            raise ValueError("nobody foresaw it")

    assert stage.samples()["task_failures_total", "collector"] == 0.0
    supervisor = stage.status.supervisor
    kept = asyncio.create_task(supervisor.keep("collector", task))
    with structlog.testing.capture_logs():
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert any("task collector broke" in reason for reason in stage.status.unready())
    assert stage.samples()["task_failures_total", "collector"] == 1.0
    kept.cancel()


# -- scored decisions


def test_scores_are_counters_of_the_model(stage):
    stage.specify()
    idle = (group("on-demand", ready=1, running=0.0), group("spot", ready=2, running=0.0))
    stage.observe(*idle)
    assert stage.samples()["idle_gpu_seconds_total", "llama", "serving", "Minimum"] == 0.0
    stage.at += 5.0
    stage.observe(*idle)
    found = stage.samples()
    of_model = ("llama", "serving")
    assert found["scored_seconds_total", *of_model] == 5.0
    assert found["unscored_seconds_total", *of_model] == 0.0
    assert found["idle_gpu_seconds_total", *of_model, "Minimum"] == 5.0
    idle_gpu_s = sum(v for key, v in found.items() if key[0] == "idle_gpu_seconds_total")
    assert idle_gpu_s == 15.0
    assert found["idle_usd_total", *of_model] == pytest.approx(
        15.0 / 3600.0 * (3.0 + 1.0 + 1.0) / 3.0
    )
    causes = {key[1] for key in found if key[0] == "missed_requests_total"}
    assert causes == {
        "NoCapacityYet", "Interruption", "Undersized", "CutOff", "WithinCapacity", "NotAttainable",
        "Unknown",
    }  # fmt: skip


def test_without_prices_there_is_no_price_of_idle_time(stage):
    spec = model()
    stage.specify(spec)
    stage.observe(group(ready=2), spec=spec)
    found = stage.samples()
    assert ("scored_seconds_total", "llama", "serving") in found
    assert ("idle_usd_total", "llama", "serving") not in found


def test_what_became_certain_is_logged(stage):
    spec = model(cold_start_s=180.0)
    stage.specify(spec)
    with structlog.testing.capture_logs() as logs:
        for replicas in (3, 2, 3):
            stage.at += 5.0
            stage.observe(group(ready=replicas), spec=spec)
    [logged] = [entry for entry in logs if entry["event"] == "decision.scored"]
    assert logged["model"] == "serving/llama"
    assert "was regretted: 1 replica was asked for again after 5 s" in logged["message"]


def test_scores_that_broke_are_an_error_of_ours(stage):
    stage.specify()
    outcome = stage.observe(*READY)
    bare = Outcome(tuple(decision._replace(scores=None) for decision in outcome.decisions))
    before = stage.samples()["engine_errors_total",]
    stage.hear(observed(seen(SPEC, *READY), at=stage.at), bare)
    found = stage.samples()
    assert found["engine_errors_total",] == before + 1
    assert ("scored_seconds_total", "llama", "serving") not in found


def pages(stage: Stage, *, at: float, in_time: float, late: float):
    """One replica, whose page has counted so many first tokens in time, and late ones."""
    told = seen(SPEC, group("on-demand", ready=1))
    counts = np.array([[0.0], [in_time], [in_time + late]])
    histogram = HistogramColumns(bounds=(1.0, 2.0), rows=np.array([0]), counts=counts)
    paced = HistogramColumns(
        bounds=(0.1,), rows=np.array([0]), counts=counts[1:] * 0 + in_time + late
    )
    stage.at = at
    event = observed(told, at=at)
    (of_model,) = event.models
    replicas = dataclasses.replace(of_model.replicas, ttft=(histogram,), tpot=(paced,))
    # The row's age is told by `seen`; created when it was.
    replicas = dataclasses.replace(replicas, created_at=np.array([0.0]))
    of_model = dataclasses.replace(of_model, replicas=replicas)
    return stage.feed(dataclasses.replace(event, models=(of_model,)))


def test_what_was_attained_is_exported_where_it_is_known(stage):
    stage.specify()
    pages(stage, at=1000.0, in_time=0, late=0)
    assert not [key for key in stage.samples() if key[0].startswith(("attained", "error_budget"))]
    pages(stage, at=1005.0, in_time=98, late=2)
    found = stage.samples()
    for latency, ratio in (("TimeToFirstToken", 0.98), ("TimePerOutputToken", 1.0), ("Both", 0.98)):
        for name in ("attained_ratio", "attained_low_ratio", "attained_high_ratio"):
            assert found[name, latency, "llama", "serving"] == pytest.approx(ratio)
    for window in ("1h", "1d", "30d"):
        assert found["error_budget_burn_ratio", "llama", "serving", window] == pytest.approx(2.0)
        assert found["error_budget_left_ratio", "llama", "serving", window] == pytest.approx(-1.0)
    (shown,) = stage.status.page()["models"]
    assert shown["attainment"]["ttft"]["requests"] == 100


@pytest.mark.slow
def test_what_others_would_have_cost_is_exported_with_the_time_it_speaks_of(stage):
    """Told once a minute, and shown until it is told anew; a window of a model that is gone is not."""
    story = Story(replicas=3)
    stage.at = BEGIN_AT
    stage.specify(story.spec())
    for tick in range(60):
        event = story.look()
        stage.at = event.at
        outcome = stage.feed(event)
        story.follow(outcome.decisions[-1])
        if tick == 2:
            assert not [key for key in stage.samples() if key[0].startswith("hindsight")]
    found = stage.samples()
    for window in ("1h", "1d", "1w"):
        covered_s = found["hindsight_covered_seconds", "llama", "serving", window]
        assert 60.0 < covered_s <= 300.0
        size = found["hindsight_static_replicas", "llama", "serving", window]
        static = ("llama", "serving", "static", window)
        assert found["hindsight_replica_seconds", *static] == size * covered_s
        assert found["hindsight_usd", *static] == pytest.approx(size * covered_s / 3600.0 * 2.1, rel=0.5)  # fmt: skip
        for policy in ("inference-aware", "hpa", "keda", "static"):
            labels = ("llama", "serving", policy, window)
            assert found["hindsight_replica_seconds", *labels] >= covered_s
            assert 0.0 <= found["hindsight_attained_ratio", *labels] <= 1.0
        assert 0.0 <= found["hindsight_foretold_ratio", "llama", "serving", window] <= 1.0
    (shown,) = stage.status.page()["models"]
    assert [window["span_s"] for window in shown["hindsight"]] == [3600, 86400, 604800]
    stage.specify(SPEC)
    stage.specify(model("other"))
    assert not [key for key in stage.samples() if key[0].startswith("hindsight")]


def test_hindsight_that_broke_is_an_error_of_ours(stage):
    stage.specify()
    outcome = stage.observe(*READY)
    broken = Outcome(tuple(decision._replace(hindsight=()) for decision in outcome.decisions))
    before = stage.samples()["engine_errors_total",]
    stage.hear(observed(seen(SPEC, *READY), at=stage.at), broken)
    assert stage.samples()["engine_errors_total",] == before + 1
