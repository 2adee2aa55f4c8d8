"""A scale-down of several, killed after every prefix of its writes: no cost stays behind, no busy one goes.

The run without a crash marks, scales and has nothing left to clear. For each k the run is repeated, the
process dies after its k-th write and another one starts, from the checkpoint or from nothing; in between
the demand comes back in one variant, so that what was marked has to be cleared.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from autoscaler.core.contract.commands import SetReplicas
from autoscaler.core.contract.events import CommandFinished
from autoscaler.core.engine import Engine, EngineSettings, build_engine
from autoscaler.core.tick.parts import Parts
from tests.builders import ON_DEMAND, model, specified
from tests.expect import Mouthpiece, in_words
from tests.fakes.toy_cluster import ToyCluster, ToyNode

TICK_S = 5.0
END_AT = 60.0
BUSY = ("on-demand-005", "on-demand-006")
"""The youngest two, whom the ReplicaSet would take first."""


class Crash(Exception):  # noqa: N818  the process dies; it is no error of the test
    """The process is gone."""


@dataclass
class Run:
    dies_after: int | None = None
    remembers: bool = True
    called_off: bool = False
    """The demand is back when the process is."""
    refuse_costs: bool = False
    writes: list[str] = field(default_factory=list)
    went: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.spec = model(maximum=10)
        self.cluster = ToyCluster(
            spec=self.spec,
            nodes=[ToyNode(name=f"n{i}", kind=ON_DEMAND, room=1) for i in range(6)],
            replicas={"on-demand": 6},
            demand=1.0,
            refuse_costs=self.refuse_costs,
        )
        self.cluster.settle()
        for number, pod in enumerate(self.cluster.pods):
            pod.in_flight = 4.0 if pod.name in BUSY else 0.0
            pod.created_at += number
            pod.ready_at += number
        self.mouth = Mouthpiece(Parts().policies["economic"])
        self.parts = Parts(policies={**Parts().policies, "economic": self.mouth})
        self.settings = EngineSettings(start_without_windows=True, policy="economic")
        self.engine = self._new()
        self._event = 0

    def _new(self) -> Engine:
        engine = build_engine(self.settings, parts=self.parts)
        engine.handle(specified(self.spec))
        return engine

    def go(self) -> Run:
        at, wants = 0.0, 2  # no window is full of more
        while at <= END_AT:
            self.cluster.advance(at)
            try:
                self._tick(at, wants)
            except Crash:
                self.dies_after = None
                wants = 6 if self.called_off else wants
                if self.remembers:
                    checkpoint = self.engine.checkpoint()
                    self.engine = Engine.restore(self.settings, checkpoint, parts=self.parts)
                else:
                    self.engine = self._new()
                self._tick(at + 1.0, wants)
            self.went += [
                pod.name for pod in self.cluster.pods if pod.deleting and pod.name not in self.went
            ]
            at += TICK_S
        return self

    def _tick(self, at: float, wants: int) -> None:
        self._event += 1
        self.mouth.wants = wants
        outcome = self.engine.handle(self.cluster.observe(id=self._event))
        ends: dict[str, str] = {}
        for command in outcome.commands:
            if self.dies_after is not None and len(self.writes) >= self.dies_after:
                raise Crash
            if isinstance(command, SetReplicas):
                assert set(command.once_ended) <= ends.keys()
            self.writes.append(in_words(command))
            ends[command.id] = self.cluster.perform(command)
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


def test_without_a_crash():
    run = Run().go()
    assert [words.split()[0] for words in run.writes] == ["SetDeletionCost"] * 4 + ["SetReplicas"]
    assert not set(run.went) & set(BUSY)
    assert run.cluster.replicas == {"on-demand": 2}


def test_without_the_right_it_goes_on_and_the_busy_ones_go():
    run = Run(refuse_costs=True).go()
    assert run.cluster.replicas == {"on-demand": 2}
    assert set(BUSY) < set(run.went)


@pytest.mark.parametrize("called_off", [False, True], ids=["goes on", "called off"])
@pytest.mark.parametrize("remembers", [True, False], ids=["from its checkpoint", "from nothing"])
def test_killed_after_every_prefix(*, remembers: bool, called_off: bool):
    whole = Run().go()
    for count in range(len(whole.writes)):
        run = Run(dies_after=count, remembers=remembers, called_off=called_off).go()
        story = f"killed after {count} of {whole.writes}: {run.writes}"
        assert not set(run.went) & set(BUSY), story
        assert run.cluster.replicas == {"on-demand": 6 if called_off else 2}, story
        left = [pod.name for pod in run.cluster.pods if pod.cost and not pod.deleting]
        assert left == [], story
