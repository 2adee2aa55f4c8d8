"""The engine is killed after every prefix of its writes and begins anew: nothing dips, nothing doubles.

Goal: sequences are levels. A spot node is doomed, drained and lost, spot comes back, the fallback is
released. The run without a crash performs n writes; for each k the run is repeated, the process dies after
its k-th write (the rest of that tick's writes are lost with it), and another one starts, from the checkpoint
that the last one left, or from nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from autoscaler.core.contract.commands import Command, CordonNode
from autoscaler.core.contract.events import CommandFinished
from autoscaler.core.contract.spec import ForecastMode, ModelSpec
from autoscaler.core.engine import Engine, EngineSettings, build_engine
from autoscaler.core.tick.parts import Parts
from tests.builders import (
    ON_DEMAND,
    SPOT,
    disruption,
    mixed,
    model,
    notice,
    on_demand,
    specified,
    spot,
)
from tests.expect import check_trail, in_words
from tests.fakes.toy_cluster import ToyCluster, ToyNode

TICK_S = 5.0
NOTICE_AT, DEADLINE_AT, SPOT_BACK_AT, END_AT = 50.0, 170.0, 400.0, 900.0


class Crash(Exception):  # noqa: N818  the process dies; it is no error of the test
    """The process is gone."""


@dataclass
class Run:
    """One run of the story, with the process dying after `dies_after` writes."""

    spec: ModelSpec
    dies_after: int | None = None
    remembers: bool = True
    parts: Parts | None = None
    spot_returns: bool = True
    refuse_evictions: bool = False
    serving: list[int] = field(default_factory=list)
    """By tick."""
    promised: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    """Replicas asked for, over all Deployments."""
    on_demand: list[int] = field(default_factory=list)
    lost_while_serving: list[str] = field(default_factory=list)
    marked: bool = False
    """Whether the node was marked as drained before it was taken."""
    writes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pools = [pool.name for pool in self.spec.pools]
        spot_pool = next(p.name for p in self.spec.pools if p.capacity_type is not ON_DEMAND)
        self.cluster = ToyCluster(
            spec=self.spec,
            nodes=[
                ToyNode(name="spot-1", kind=SPOT, room=2),
                ToyNode(name="spot-2", kind=SPOT, room=1),
                ToyNode(name="od-1", kind=ON_DEMAND),
            ],
            replicas={name: 3 if name == spot_pool else 1 for name in self.pools},
            demand=3.2,
            refuse_evictions=self.refuse_evictions,
        )
        self.cluster.settle()
        self.settings = EngineSettings(tick_s=TICK_S)
        self.engine = self._new_engine()
        self._event = 0

    def _new_engine(self) -> Engine:
        engine = build_engine(self.settings, parts=self.parts)
        engine.handle(specified(self.spec))
        return engine

    def go(self) -> Run:
        """Live through the story."""
        at = 0.0
        while at <= END_AT:
            self._happen(at)
            self.cluster.advance(at)
            try:
                self._tick(at)
            except Crash:
                self._restart(at)
            self.serving.append(self.cluster.serving)
            self.promised.append(self.cluster.promised)
            self.asked.append(sum(self.cluster.replicas.values()))
            self.on_demand.append(self.cluster.replicas["on-demand"])
            at += TICK_S
        return self

    def _happen(self, at: float) -> None:
        cluster = self.cluster
        if at == NOTICE_AT:
            cluster.doom(notice("spot-1", deadline_at=DEADLINE_AT, noticed_at=at))
        if at == DEADLINE_AT:
            self.marked = cluster.nodes[0].marked_drained
            self.lost_while_serving = cluster.remove("spot-1")
        if at == SPOT_BACK_AT and self.spot_returns:
            cluster.nodes.append(ToyNode(name="spot-3", kind=SPOT, room=4))

    def _tick(self, at: float) -> None:
        self._event += 1
        outcome = self.engine.handle(self.cluster.observe(id=self._event))
        check_trail(outcome.decisions[0])
        ends: dict[str, str] = {}
        for command in outcome.commands:
            if self.dies_after is not None and len(self.writes) >= self.dies_after:
                raise Crash
            followed = command.after is None or ends.get(command.after, "Accepted") == "Accepted"
            ends[command.id] = self._perform(command) if followed else "Skipped"
        for identity, reason in ends.items():
            self._event += 1
            self.engine.handle(
                CommandFinished(
                    id=self._event,
                    at=at + 0.5,
                    command=identity,
                    accepted=reason == "Accepted",
                    reason=reason,
                )
            )

    def _perform(self, command: Command) -> str:
        self.writes.append(in_words(command))
        return self.cluster.perform(command)

    def _restart(self, at: float) -> None:
        """Another process takes over within the tick; what was enqueued is lost."""
        self.dies_after = None
        if self.remembers:
            self.engine = Engine.restore(self.settings, self.engine.checkpoint(), parts=self.parts)
        else:
            self.engine = self._new_engine()
        self._tick(at + 1.0)


FLEETS = {
    "reactive": model(
        pools=[on_demand(), spot()],
        warm=1,
        warm_on=ON_DEMAND,
        cold_start_s=60.0,
        forecast=ForecastMode.OFF,
    ),
    # The maximum keeps the economic policy, which learns from nothing here, at one number.
    "economic, at the maximum": model(
        pools=[on_demand(), spot()], warm=1, warm_on=ON_DEMAND, cold_start_s=60.0, maximum=4
    ),
}


@pytest.fixture(scope="module", params=FLEETS, ids=list(FLEETS))
def whole(request) -> Run:
    """The run without a crash."""
    return Run(spec=FLEETS[request.param]).go()


def check_end(run: Run) -> None:
    assert run.cluster.replicas == {"on-demand": 1, "spot": 3}
    assert run.cluster.annotations == {}
    assert run.serving[-1] == 4


def test_the_whole_story(whole):
    ticks = int(NOTICE_AT / TICK_S)
    assert whole.serving[0] == 4
    # Raised on the very tick of the notice, by what the node takes with it.
    assert whole.on_demand[ticks] == 3
    assert max(whole.on_demand) == 3
    assert max(whole.promised) == 2
    # Two were lost at the notice, and are made up for one cold start later.
    back = int((NOTICE_AT + 65.0) / TICK_S)
    assert min(whole.serving[back:]) == 4
    assert whole.lost_while_serving == []
    check_end(whole)


def test_writes_come_in_order(whole):
    kinds = [words.split()[0] for words in whole.writes]
    assert kinds == [
        "Annotate",
        "SetReplicas",
        "CordonNode",
        "EvictPod",
        "EvictPod",
        "MarkNodeDrained",
        "Annotate",
        "SetReplicas",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("remembers", [True, False], ids=["from its checkpoint", "from nothing"])
def test_killed_after_every_prefix(whole, remembers):
    for count in range(len(whole.writes)):
        run = Run(spec=whole.spec, dies_after=count, remembers=remembers).go()
        story = f"killed after {count} writes: {whole.writes[:count]}, then {run.writes[count:]}"
        # No dip that the run without a crash has not, but for the ticks that the crash costs: one;
        # and where the process remembers writes that it takes to be on their way, their time.
        late = 7 if remembers else 1
        for tick, serving in enumerate(run.serving):
            window = whole.serving[max(0, tick - late) : tick + 2]
            assert serving >= min(window), (story, tick)
        assert max(run.promised) == max(whole.promised), story
        assert max(run.on_demand) == max(whole.on_demand), story
        assert max(run.asked) == max(whole.asked), story
        assert run.lost_while_serving == [], story
        assert run.marked, story
        check_end(run)


@pytest.mark.slow
def test_spot_that_never_returns_keeps_its_fallback():
    run = Run(spec=FLEETS["reactive"], spot_returns=False).go()
    assert run.cluster.replicas == {"on-demand": 3, "spot": 3}
    assert run.promised[-1] == 2
    assert run.serving[-1] == 4


@pytest.mark.slow
def test_a_budget_that_refuses_costs_no_stream():
    run = Run(spec=FLEETS["reactive"], refuse_evictions=True).go()
    assert run.lost_while_serving == []
    check_end(run)


@pytest.mark.slow
def test_a_mixed_pool_is_made_up_for_on_on_demand():
    spec = model(pools=[on_demand(), mixed()], warm=1, warm_on=ON_DEMAND, cold_start_s=60.0)
    run = Run(spec=spec).go()
    assert max(run.on_demand) == 3
    assert run.lost_while_serving == []
    assert run.cluster.replicas == {"on-demand": 1, "mixed": 3}
    assert run.serving[-1] == 4


@dataclass
class ConsolidationRun(Run):
    """Karpenter takes the same node instead: a taint, then his evictions, then the machine."""

    def _happen(self, at: float) -> None:
        cluster = self.cluster
        if at == NOTICE_AT:
            cluster.doom(disruption("spot-1", noticed_at=at))
            cluster.nodes[0].unschedulable = True  # his taint: what starts does not land there
            cluster.nodes.append(ToyNode(name="spot-3", kind=SPOT, room=4))
        if at == NOTICE_AT + EVICTS_AFTER_S:
            for pod in cluster.on("spot-1"):
                pod.gone_at = at + cluster.grace_s
        if at == NOTICE_AT + EVICTS_AFTER_S + 60.0:
            self.lost_while_serving = cluster.remove("spot-1")


EVICTS_AFTER_S = 90.0


def test_a_consolidation_is_made_before_it_breaks_and_raised_once():
    run = ConsolidationRun(spec=FLEETS["reactive"]).go()
    kinds = [words.split()[0] for words in run.writes]
    assert kinds == ["Annotate", "SetReplicas", "Annotate", "SetReplicas"], "nothing is touched"
    assert (max(run.on_demand), max(run.promised)) == (3, 2)
    # Replicas on the node serve until he evicts them, and by then others are there.
    assert min(run.serving) == 4
    assert run.lost_while_serving == []
    check_end(run)


@pytest.mark.slow
@pytest.mark.parametrize("remembers", [True, False], ids=["from its checkpoint", "from nothing"])
def test_a_consolidation_with_a_kill_after_every_prefix(remembers):
    whole = ConsolidationRun(spec=FLEETS["reactive"]).go()
    for count in range(len(whole.writes)):
        run = ConsolidationRun(spec=whole.spec, dies_after=count, remembers=remembers).go()
        assert max(run.on_demand) == 3, count
        assert max(run.promised) == 2, count
        assert min(run.serving) >= 3, count
        assert run.lost_while_serving == [], count
        check_end(run)


def test_the_story_can_fail():
    """Without the drain, streams are lost at the deadline: the checks above see it."""
    parts = replace(Parts(), drain=lambda *_, **__: None)
    run = Run(spec=FLEETS["reactive"], parts=parts).go()
    assert len(run.lost_while_serving) == 2
    assert not any(words.startswith(CordonNode.__name__) for words in run.writes)
