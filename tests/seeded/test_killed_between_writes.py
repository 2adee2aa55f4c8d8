"""In every dialect of notices: the daemon is killed between each pair of its writes, and goes on where it was.

The whole daemon against the simulated cluster (`run.py`), with one spot node that goes and no other fault. A run
in which nobody kills it counts its writes from the notice on; for each of them a run follows in which it is
killed after that write, before it has heard of it, and one in which it is killed before the first. All invariants hold throughout; and at the end the node was
left in time, nothing is owed any more, and what was asked for on demand has gone.

What the real cluster adds to this is in `tests/e2e/test_spot.py`, for one dialect.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from autoscaler.core.contract.commands import FALLBACK_ANNOTATION
from autoscaler.core.contract.state import InterruptionKind
from autoscaler.notices import NOTICE_SOURCES
from autoscaler.notices.mark import Mark, Seen
from simulations.box.local_cluster.api import pods as deletion
from simulations.box.local_cluster.machines.nodes import Machine
from simulations.box.local_cluster.objects import key_of
from simulations.box.local_cluster.store import Store
from tests.extent import sample
from tests.seeded.run import Length, Report, Run, run_seed
from tests.seeded.scenario import Model, Scenario
from tests.seeded.serving import Load
from tests.seeded.spoken import BEGUN_LEAD_S, SPOKEN, UNMARKED, Spoken, forget
from tests.seeded.world import EPOCH

SEED = 1
NOTICE_S = 20.0
"""From the daemon's start."""
RELEASES_S = 120.0
"""From the end of the machine: spot is back, and was for its return time."""
DRAINER_S = 3.0
"""From the notice to the first eviction of somebody else."""
NODE = "spot-0"
RISK, TERMINATION = InterruptionKind.RISK, InterruptionKind.TERMINATION


def scenario() -> Scenario:
    """Three replicas that are needed: one on demand, and two on spot, of which each fills its node."""
    model = Model(
        name="m0",
        namespace="alpha",
        spec={
            "pools": [
                {
                    "name": "spot",
                    "scaleTargetRef": {"name": "m0-spot"},
                    "capacityType": "Spot",
                    "priceUSDPerHour": "1",
                },
                {
                    "name": "on-demand",
                    "scaleTargetRef": {"name": "m0-on-demand"},
                    "priceUSDPerHour": "3",
                },
            ],
            "minReplicas": 3,
            "maxReplicas": 3,
            "warmFloor": {"replicas": 1, "capacityType": "OnDemand"},
            "targets": {"inFlightRequestsPerReplica": "8"},
            "coldStart": {"priorSeconds": 15},
            "spot": {"returnAfterSeconds": 20, "drainMarginSeconds": 5},
            "forecast": {"mode": "Off"},
        },
        load=Load(steps=[(0.0, 1.2)]),
        service_s=8.0,
        cold_start_s=8.0,
        grace_s=15,
        replicas={"m0-spot": 2, "m0-on-demand": 1},
        budget=None,
    )
    machines = (
        Machine(name="od-0", gpus=6),
        *(Machine(name=f"spot-{number}", spot=True, gpus=1) for number in range(2)),
    )
    return Scenario(models=(model,), machines=machines, gpu_budget=None)


@dataclass
class Story:
    """One node goes, in one dialect; the daemon is killed once it has written so often since, or not (None)."""

    spoken: Spoken
    killed_after: int | None = None
    writes: int = 0
    """Of the daemon, from the notice on."""
    promises: int = 0
    """Writes that promised something for the node."""
    left: list[str] = field(default_factory=list)
    """Pods on the node as its machine went."""
    evictions: list[str] = field(default_factory=list)
    """By the daemon."""
    on_demand: int = 0
    """Asked for at the end."""
    promised: str | None = None
    """At the end."""

    def run(self) -> Report:
        lasts_s = NOTICE_S + self.spoken.lead_s + RELEASES_S
        return run_seed(
            SEED,
            plan=(),
            scenario=scenario(),
            length=Length(chaos_s=lasts_s, calm_s=1.0),
            restart_s=(1.0, 2.0),
            begin=self._begin,
        )

    def _begin(self, run: Run) -> None:
        if self.spoken.prepare is not None:
            self.spoken.prepare(run.world.store, NODE, 0.0)
        run.later(NOTICE_S, lambda: self._speak(run))
        run.later(NOTICE_S + self.spoken.lead_s + RELEASES_S - 1.0, lambda: self._look(run))

    def _speak(self, run: Run) -> None:
        spoken, world = self.spoken, run.world
        assert world.pods_on(NODE), "it carries something"
        ends = spoken.kind is TERMINATION
        lead_s = spoken.lead_s if ends else float("inf")
        world.note_notice(NODE, spoken.name, deadline_at=run.now() + lead_s)
        run.history.note("notice", NODE, spoken.name, spoken.lead_s)
        self.writes = -run.history.counts["write"]
        if self.killed_after is not None:
            # after none: as the first one comes in, which is lost
            run.kill_at_write, run.kill_after_it = max(1, self.killed_after), self.killed_after > 0
        spoken.say(world.store, NODE, world.store.clock() + spoken.lead_s)
        if spoken.drained_elsewhere:
            run.later(DRAINER_S, lambda: self._drain(run))
        if spoken.kind is not RISK:
            run.later(spoken.lead_s, lambda: self._take(run))

    def _drain(self, run: Run) -> None:
        """Somebody else cordons and evicts, as Karpenter and the handler do: with no grace of his own."""
        store = run.world.store
        store.modify("nodes", "", NODE, lambda obj: obj["spec"].update(unschedulable=True))
        for pod in run.world.pods_on(NODE):
            if "deletionTimestamp" not in pod["metadata"]:
                deletion.evict(store, *key_of(pod), {})

    def _take(self, run: Run) -> None:
        self.left = [pod["metadata"]["name"] for pod in run.world.pods_on(NODE)]
        run.history.note("taken", NODE)
        run.world.take(NODE)
        forget(run.world.store, NODE)

    def _look(self, run: Run) -> None:
        self.writes += run.history.counts["write"]
        target = run.world.deployment("alpha", "m0-on-demand")
        self.on_demand = target["spec"]["replicas"]
        self.promised = (target["metadata"].get("annotations") or {}).get(FALLBACK_ANNOTATION)
        said = [line for line in run.history.lines if "write" in line]
        self.promises = sum(FALLBACK_ANNOTATION in line and NODE in line for line in said)
        self.evictions = [line for line in said if "pods/eviction" in line or "delete pods" in line]

    def check(self) -> None:
        report = self.run()
        assert report.violations == ()
        assert self.promises, "on-demand was promised for it"
        assert self.left == []
        if self.spoken.kind is RISK:
            assert self.evictions == [], "what may be taken is not drained"
            assert (self.on_demand, bool(self.promised)) == (2, True), "it is warm elsewhere"
        else:
            assert (self.on_demand, self.promised) == (1, None), "all is as it was"
        if self.spoken.drained_elsewhere and self.spoken.lead_s > 15.0 + DRAINER_S + 5.0:
            assert self.evictions == [], "somebody else drains"
        assert report.counts["life"] == (1 if self.killed_after is None else 2)


def by_day() -> list[Spoken]:
    """One of each kind of thing that is watched, of notice, and of who drains."""
    found: dict[tuple[object, ...], Spoken] = {}
    for each in SPOKEN:
        shape = (each.watched, each.kind, each.drained_elsewhere, each.lead_s > 30.0)
        found.setdefault(shape, each)
    return [*{id(each): each for each in (*found.values(), UNMARKED)}.values()]


def test_each_row_is_spoken():
    """No source is left out, and no name stands for two."""
    assert len({each.name for each in SPOKEN}) == len(SPOKEN)
    labels = {label for source in NOTICE_SOURCES.values() for label in source.labels}
    assert labels <= {each.name.partition(" ")[0] for each in SPOKEN}


@pytest.mark.parametrize("spoken", [each for each in SPOKEN if each is not UNMARKED], ids=str)
def test_what_is_spoken_is_read_as_that(spoken: Spoken):
    store = Store(rng=random.Random(1), clock=lambda: EPOCH)
    store.create("nodes", Machine(name=NODE, spot=True).node(EPOCH))
    if spoken.prepare is not None:
        spoken.prepare(store, NODE, 0.0)
    spoken.say(store, NODE, EPOCH + spoken.lead_s)
    marks = [
        reading.interruption
        for source in NOTICE_SOURCES.values()
        for obj in store.all(source.watched)
        for reading in source.read(obj, Seen(at=EPOCH))
        if isinstance(reading, Mark)
    ]
    (mark,) = marks
    assert (mark.node, mark.kind) == (NODE, spoken.kind)
    assert mark.drained_elsewhere is spoken.drained_elsewhere
    if spoken.kind is TERMINATION and spoken.lead_s != BEGUN_LEAD_S:
        assert mark.deadline_at == EPOCH + spoken.lead_s


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("spoken", sample(SPOKEN, day=by_day()), ids=str)
def test_killed_between_two_writes_it_goes_on_where_it_was(spoken: Spoken):
    whole = Story(spoken)
    whole.check()
    assert whole.writes >= 2
    for number in range(whole.writes + 1):
        Story(spoken, killed_after=number).check()
