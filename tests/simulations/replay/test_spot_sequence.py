"""From a notice to its end in the simulated world: what is cut, what was foretold, what is never lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from autoscaler.core.contract.decision import Outcome
from autoscaler.core.contract.events import Event, NoticeReceived, Observed
from autoscaler.core.contract.state import CapacityType
from autoscaler.core.engine import EngineSettings
from simulations.agenda import EPOCH_S, NS, Agenda
from simulations.replay.conditions import Conditions
from simulations.replay.engine_loop import EngineLoop, model_spec
from simulations.replay.replay import run
from simulations.results.scorecard import score
from simulations.rng import stream
from simulations.serving.columns import RequestOutcome
from simulations.serving.fleet import ServingFleet
from simulations.studies.spot.figures import given_s, lost_short
from simulations.traces.generate import Recipe, generate
from simulations.traces.trace import Trace
from simulations.world.cold_start import COLD_STARTS
from simulations.world.market.spot import MachineLife, SpotHistory
from simulations.world.world import SimulatedWorld, WorldSetting
from tests.simulations.world.world_builder import PROFILE, deployment, machine, requests

STEP_NS = NS // 40
EVEN = replace(
    PROFILE,
    step_ns=STEP_NS,
    kv_token_ns=0,
    attention_ps=0,
    flat_tokens=PROFILE.step_tokens_max,
    pause_decode_ns=0,
)
"""A replica on which a token takes as long whoever else is served."""
STREAM_TOKENS = 1600
"""40 s of it."""
LOST_AT_S = 700.0
EVERY_S = 0.25


def told_and_cut(*, lead_s: float) -> tuple[Mapping[float, float], int, int]:
    """Streams of 40 s on two replicas, of which the machine of one is taken.

    Returns what was told to be at risk, by seconds since the notice; how many streams were cut; and how
    many of these had less to go, when the notice was seen, than their replica was given.
    """
    traffic = requests(np.arange(1.0, 800.0, EVERY_S).tolist(), output_tokens=STREAM_TOKENS)
    made = SimulatedWorld(
        WorldSetting(
            cold_start=COLD_STARTS["standard"],
            seed=0,
            # the others come once the first replica has its machine
            spot=[machine(0.0, LOST_AT_S), *[machine(100.0) for _ in range(5)]],
            spot_lead_ns=int(lead_s * NS),
        ),
        fleet=ServingFleet(EVEN, traffic),
        deployments=[deployment("spot", CapacityType.SPOT), deployment("on-demand")],
        agenda=Agenda(),
    )
    spec = model_spec(
        Conditions(profile=EVEN, spot=SpotHistory(name="x", span_ns=1, lives=())), traffic
    )
    told: dict[float, float] = {}
    noticed: list[float] = []

    def listen(event: Event, outcome: Outcome) -> None:
        if isinstance(event, NoticeReceived):
            noticed.append(event.at)
        if noticed and isinstance(event, Observed) and event.at - EPOCH_S < LOST_AT_S:
            at_risk = outcome.decisions[0].measures.requests_at_risk
            assert at_risk is not None
            told[event.at - noticed[0]] = at_risk

    EngineLoop(
        replace(
            spec,
            targets=replace(spec.targets, in_flight_requests=100.0),
            max_replicas=2,
            spot=replace(spec.spot, on_demand_fallback=False),
        ),
        EngineSettings(),
        world=made,
        agenda=made.agenda,
        end_ns=800 * NS,
        listeners=[listen],
    ).start()
    made.agenda.run_until(1000 * NS)
    made.fleet.run_until(1000 * NS)
    results = made.fleet.results
    cut = np.flatnonzero(results.outcome == RequestOutcome.LOST)
    to_go_s = traffic.arrival_ns[cut] / NS + STREAM_TOKENS * STEP_NS / NS - (noticed[0] - EPOCH_S)
    return told, len(cut), int(np.count_nonzero(to_go_s < given_s(lead_s)))


@pytest.mark.parametrize(
    ("lead_s", "expected"),
    [
        # 29 s are left when the notice is seen, 28 before the margin; two until routers have heard
        pytest.param(30.0, 24, id="streams of 40 s, notice of 30 s"),
        pytest.param(20.0, 44, id="streams of 40 s, notice of 20 s"),
        pytest.param(45.0, 0, id="a notice that is longer than a stream"),
    ],
)
def test_what_is_cut_equals_what_was_told_to_be_at_risk(lead_s: float, expected: int):
    """Two streams a second begin on each replica. A tick's samples are as old as a tick."""
    told, cut, short = told_and_cut(lead_s=lead_s)
    assert short == 0
    assert cut == pytest.approx(expected, abs=3)
    closed = [at_risk for since_s, at_risk in told.items() if since_s >= 5.0]
    assert closed
    assert closed == pytest.approx([cut] * len(closed), abs=3)


ZONES = ("a", "b", "c")


def generated_market(*, seed: int, span_s: float) -> SpotHistory:
    """Three zones whose machines come and go, some alone, and now and then all of a zone."""
    random = stream(seed, "test/market")
    lives = []
    for zone in ZONES:
        up_s = 0.0
        while up_s < span_s:
            down_s = min(up_s + float(random.exponential(900.0)) + 60.0, span_s)
            for _ in range(4):
                early_s = float(random.uniform(0.0, 0.5)) * (down_s - up_s)
                alone = bool(random.random() < 0.5)
                end_s = down_s - early_s if alone else down_s
                lives.append(
                    MachineLife(
                        up_ns=int(up_s * NS),
                        down_ns=int(end_s * NS),
                        zone=zone,
                        instance_type="l40s",
                    )
                )
            up_s = down_s + float(random.exponential(300.0))
    lives.sort(key=lambda life: (life.up_ns, life.down_ns))
    return SpotHistory(name="generated", span_ns=int(span_s * NS), lives=tuple(lives), zones=ZONES)


@pytest.mark.slow
@pytest.mark.parametrize("lead_s", [30.0, 120.0])
@pytest.mark.parametrize("seed", [1, 3])
def test_none_is_lost_that_has_less_to_go_than_its_replica_is_given(seed: int, lead_s: float):
    recipe = Recipe(
        shape="bursty", hours=0.75, rate_per_s=4.0, input_tokens=800, output_tokens=400, seed=seed
    )
    done = run(
        Trace(name="generated", requests=generate(recipe)),
        "inference-aware",
        seed=seed,
        conditions=Conditions(
            profile=PROFILE,
            cold_start=COLD_STARTS["warm"],
            spot=generated_market(seed=seed, span_s=2700.0),
            spot_lead_s=lead_s,
        ),
    )
    row = score(done)
    assert row.spot is not None
    assert row.spot.interruptions >= 10
    assert lost_short(done, given_s=given_s(lead_s)) == 0


def test_the_engine_sees_zones_and_types_and_has_a_pool_a_zone():
    recipe = Recipe(
        shape="flat", hours=0.05, rate_per_s=4.0, input_tokens=800, output_tokens=400, seed=1
    )
    seen: list[Observed] = []
    run(
        Trace(name="generated", requests=generate(recipe)),
        "inference-aware",
        seed=1,
        conditions=Conditions(
            profile=PROFILE, spot=generated_market(seed=1, span_s=5400.0), replicas_first=4
        ),
        listeners=[lambda event, _: seen.append(event) if isinstance(event, Observed) else None],
    )
    last = seen[-1]
    pools = [pool.name for pool in last.models[0].pools]
    assert pools == ["spot-a", "spot-b", "spot-c", "on-demand"]
    places = dict(
        zip(
            last.nodes.name,
            zip(last.nodes.zone, last.nodes.instance_type, strict=True),
            strict=True,
        )
    )
    assert {place for name, place in places.items() if name.startswith("on-demand")} == {("", "")}
    spot = {place for name, place in places.items() if name.startswith("spot")}
    assert spot
    assert spot <= {(zone, "l40s") for zone in ZONES}
    replicas = last.models[0].replicas
    for pool, row in zip(replicas.pool.tolist(), replicas.node.tolist(), strict=True):
        if row >= 0 and pools[pool] != "on-demand":
            assert pools[pool] == f"spot-{last.nodes.zone[row]}"
