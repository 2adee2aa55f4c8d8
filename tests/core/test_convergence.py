"""Whatever happens to a fleet, once it stops happening the fleet is as it should be.

Goal: no sequence of losses, notices, withdrawals, refusals and crashes leaves a promise, a cordon or a
replica behind. Method: twenty minutes of faults drawn by number on a toy cluster, then half an hour of calm.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from autoscaler.core.contract.events import CommandFinished
from autoscaler.core.contract.spec import ForecastMode, ModelSpec
from autoscaler.core.engine import Engine, EngineSettings, build_engine
from tests.builders import ON_DEMAND, SPOT, model, notice, on_demand, specified, spot
from tests.expect import check_trail
from tests.fakes.toy_cluster import ToyCluster, ToyNode

TICK_S = 5.0
FAULTS_UNTIL, END_AT = 1200.0, 3000.0


@dataclass
class Storm:
    """One fleet under faults."""

    seed: int
    spec: ModelSpec
    begun: int = 4
    next_event: int = 0
    deadlines: dict[str, float] = field(default_factory=dict)
    story: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        spots = [ToyNode(name=f"s{i}", kind=SPOT, room=2) for i in range(3)]
        self.cluster = ToyCluster(
            spec=self.spec,
            nodes=[*spots, ToyNode(name="o0", kind=ON_DEMAND, room=4), ToyNode(name="o1", kind=ON_DEMAND, room=4)],
            replicas={"on-demand": 1, "spot": 3},
            demand=3.2,
            cold_start_s=40.0,
        )  # fmt: skip
        self.cluster.settle()
        self.settings = EngineSettings(tick_s=TICK_S)
        self.engine = self.new_engine()

    def new_engine(self) -> Engine:
        engine = build_engine(self.settings)
        engine.handle(specified(self.spec))
        return engine

    def live(self) -> None:
        at = 0.0
        while at < END_AT:
            at += TICK_S
            self.cluster.advance(at)
            self.meet_deadlines(at)
            if at < FAULTS_UNTIL and self.random.random() < 0.15:
                self.fault(at)
            if at == FAULTS_UNTIL:
                self.calm(at)
            self.tick(at)
            self.check(at)

    def fault(self, at: float) -> None:
        cluster, names = self.cluster, [node.name for node in self.cluster.nodes]
        spots = [node for node in cluster.nodes if node.kind is SPOT]
        marked = {mark.node for mark in cluster.interruptions}
        kind = self.random.choice(
            ["notice", "notice", "withdraw", "blip", "back", "refuse", "crash", "crash from checkpoint", "demand"]
        )  # fmt: skip
        node = self.random.choice(names)
        if kind == "notice" and node not in marked:
            self.deadlines[node] = at + self.random.choice([30.0, 60.0, 120.0])
            cluster.doom(notice(node, deadline_at=self.deadlines[node], noticed_at=at))
        elif kind == "withdraw" and marked:
            node = self.random.choice(sorted(marked))
            cluster.withdraw(node)
            self.deadlines.pop(node, None)
        elif kind == "blip":
            target = next(each for each in cluster.nodes if each.name == node)
            target.ready = not target.ready
        elif kind == "back" and len(spots) < 4:
            self.begun += 1
            cluster.nodes.append(ToyNode(name=f"s{self.begun}", kind=SPOT, room=2))
        elif kind == "refuse":
            cluster.refuse_evictions = not cluster.refuse_evictions
        elif kind == "crash":
            self.engine = self.new_engine()
        elif kind == "crash from checkpoint":
            self.engine = Engine.restore(self.settings, self.engine.checkpoint())
        elif kind == "demand":
            cluster.demand = self.random.choice([1.0, 2.4, 3.2, 4.9])
        self.story.append(f"{at:.0f} {kind} {node}")

    def meet_deadlines(self, at: float) -> None:
        for node in [node for node, deadline_at in self.deadlines.items() if deadline_at <= at]:
            del self.deadlines[node]
            if node.startswith("o"):
                self.cluster.withdraw(node)  # maintenance that did not take it away after all
            else:
                self.cluster.remove(node)

    def calm(self, at: float) -> None:
        for node in list(self.deadlines):
            self.cluster.withdraw(node)
        self.deadlines.clear()
        for node in self.cluster.nodes:
            node.ready = True
        self.cluster.refuse_evictions = False
        self.cluster.demand = 3.2
        for i in range(3):
            self.cluster.nodes.append(ToyNode(name=f"calm{i}", kind=SPOT, room=2))
        self.story.append(f"{at:.0f} calm")

    def tick(self, at: float) -> None:
        self.next_event += 1
        outcome = self.engine.handle(self.cluster.observe(id=self.next_event))
        check_trail(outcome.decisions[0])
        assert outcome.decisions[0].conditions[0].status == "True", outcome.decisions[0]
        ends: dict[str, str] = {}
        for command in outcome.commands:
            if command.after is not None and ends.get(command.after, "Accepted") != "Accepted":
                ends[command.id] = "Skipped"
            elif at < FAULTS_UNTIL and self.random.random() < 0.1:
                ends[command.id] = self.random.choice(["Conflict", "Unavailable", "lost"])
            else:
                ends[command.id] = self.cluster.perform(command)
        for identity, reason in ends.items():
            self.next_event += 1
            if reason != "lost":
                self.engine.handle(
                    CommandFinished(
                        id=self.next_event,
                        at=at + 1.0,
                        command=identity,
                        accepted=reason == "Accepted",
                        reason=reason,
                    )
                )

    def check(self, at: float) -> None:
        asked = sum(self.cluster.replicas.values())
        assert asked <= self.spec.max_replicas + self.cluster.promised, (at, self.story)
        assert self.cluster.replicas["on-demand"] >= 1, (at, self.story)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_after_the_storm(seed):
    spec = model(
        pools=[on_demand(), spot()], warm=1, warm_on=ON_DEMAND, cold_start_s=40.0, maximum=8,
        forecast=ForecastMode.OFF, return_after_s=120.0,
    )  # fmt: skip
    storm = Storm(seed=seed, spec=spec)
    storm.live()
    cluster = storm.cluster
    assert cluster.replicas == {"on-demand": 1, "spot": 3}, storm.story
    assert cluster.annotations == {}, storm.story
    assert cluster.serving == 4, storm.story
    assert not [node.name for node in cluster.nodes if node.unschedulable], storm.story
