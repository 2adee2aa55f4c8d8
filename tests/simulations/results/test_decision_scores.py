"""Decisions scored by what truly was: the same definitions as the engine's, fed with the world."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoscaler.core.contract.decision import Outcome
from autoscaler.core.contract.state import CapacityType
from simulations.agenda import EPOCH_S, NS
from simulations.replay.run import EngineView, Run
from simulations.results.decision_scores import decision_scores, engine_scores
from simulations.results.scorecard import score
from simulations.serving.columns import RequestOutcome, RequestResults
from simulations.serving.objective import RequestObjective
from simulations.world.ledger import Ledger
from tests.builders import group, model
from tests.expect import Scenario
from tests.simulations.world.world_builder import PROFILE, requests

HOUR = 3600 * NS
START_S = 180.0
TARGET = 2.0


def ledger(*, serving: list[tuple[float, int]], sizes: list[tuple[float, int]]) -> Ledger:
    """Of so many that serve and so many asked for, from so many seconds on."""
    return Ledger(
        serving=[(int(at * NS), count) for at, count in serving],
        sizes=[(int(at * NS), count) for at, count in sizes],
    )


def finished(book: Ledger, *, busy: tuple[float, ...] = (), from_s: float = 0.0) -> Run:
    """An hour in which requests are in flight from these seconds to the end, and all at once in time."""
    traffic = requests(busy, output_tokens=1_000_000)
    return Run(
        trace="t",
        policy="p",
        seed=0,
        requests=traffic,
        results=RequestResults(
            first_token_ns=traffic.arrival_ns + 1,
            finished_ns=np.full(len(busy), HOUR),
            outcome=np.full(len(busy), RequestOutcome.COMPLETED, dtype=np.int8),
            replica=np.zeros(len(busy), dtype=np.int32),
        ),
        ledger=book,
        profile=PROFILE,
        objective=RequestObjective(ttft_s=2.0, ttft_per_prefill=0.0, tpot_s=0.1),
        end_ns=HOUR,
        score_from_ns=int(from_s * NS),
        cold_start_s=START_S,
        judged_target=TARGET,
        wall_s=0.0,
    )


def test_idle_replicas_are_whole_ones_beyond_the_demand():
    three = ledger(serving=[(0.0, 3)], sizes=[(0.0, 3)])
    told = decision_scores(finished(three, busy=(0.0, 0.0, 0.0)), usd_per_replica_hour=2.0)
    assert told.idle_gpu_hours == pytest.approx(1.0), "three requests over two are two replicas"
    assert told.idle_usd == pytest.approx(2.0)
    assert told.late_capacity_s == 0.0


def test_late_is_what_was_asked_for_and_did_not_serve_yet():
    book = ledger(serving=[(0.0, 1), (600.0, 2)], sizes=[(0.0, 1), (300.0, 2)])
    told = decision_scores(finished(book, busy=(0.0, 0.0, 0.0)), usd_per_replica_hour=1.0)
    assert told.late_capacity_s == 300.0, "before that nobody had asked"
    assert told.late_replica_hours == pytest.approx(0.5 * 300.0 / 3600.0)


def test_scale_downs_are_regretted_within_a_mean_cold_start():
    sizes = [(0.0, 3), (100.0, 2), (200.0, 3), (300.0, 2), (500.0, 3)]
    told = decision_scores(
        finished(ledger(serving=[(0.0, 3)], sizes=sizes)), usd_per_replica_hour=1.0
    )
    assert (told.scale_downs, told.regretted_scale_downs, told.regretted_replicas) == (2, 1, 1)
    assert told.regretted_gpu_hours == pytest.approx(80.0 / 3600.0)


def test_what_was_played_before_the_score_is_in_no_figure():
    sizes = [(0.0, 3), (100.0, 2), (200.0, 3)]
    run = finished(ledger(serving=[(0.0, 2)], sizes=sizes), from_s=1800.0)
    told = decision_scores(run, usd_per_replica_hour=1.0)
    assert told.scale_downs == told.regretted_replicas == 0
    assert told.idle_gpu_hours == pytest.approx(1.0)


def test_a_queue_is_demand_within_the_engines_bound():
    """Ten in flight that an idle fleet would have served long ago: demand of one replica, not of five."""
    run = finished(ledger(serving=[(0.0, 3)], sizes=[(0.0, 3)]), busy=(0.0,) * 10)
    short = replace(run, requests=requests((0.0,) * 10, output_tokens=1))
    told = decision_scores(short, usd_per_replica_hour=1.0)
    assert told.idle_gpu_hours == pytest.approx(2.0, abs=0.01)


def heard(*looks: tuple[float, int], from_s: float) -> EngineView:
    """What an engine said that saw so many idle replicas at so many seconds of the trace."""
    story = Scenario(model())
    view = EngineView(score_from_ns=int(from_s * NS))
    for at, ready in looks:
        decision = story.look(EPOCH_S + at, group(ready=ready, running=0.0), wants=ready)
        event = type("Look", (), {"at": decision.at})()
        view.hear(event, Outcome(decisions=(decision,)))
        view.hear(event, Outcome())
    return view


def test_of_the_engine_the_scored_part_counts():
    looks = [(5.0 * tick, 3 if tick != 4 else 2) for tick in range(9)]
    assert heard(*looks, from_s=0.0).before is None
    whole = engine_scores(heard(*looks, from_s=0.0))
    late = engine_scores(heard(*looks, from_s=30.0))
    assert whole is not None
    assert late is not None
    assert (whole.scale_downs, whole.regretted_replicas) == (1, 1)
    assert (late.scale_downs, late.regretted_replicas) == (0, 0)
    assert sum(whole.idle_gpu_hours.values()) == pytest.approx((7 * 3 + 2) * 5.0 / 3600.0)
    assert sum(late.idle_gpu_hours.values()) == pytest.approx(3 * 3 * 5.0 / 3600.0)


def test_a_baseline_has_no_view_of_its_own():
    assert engine_scores(EngineView(score_from_ns=0)) is None


def test_a_row_has_both_as_nested_figures():
    book = ledger(serving=[(0.0, 2)], sizes=[(0.0, 2)])
    book.starts_paying(1, CapacityType.ON_DEMAND, at_ns=0)
    book.starts_paying(2, CapacityType.ON_DEMAND, at_ns=0)
    run = finished(book)
    row = score(run).to_json()
    assert row["scores"]["idle_gpu_hours"] == pytest.approx(2.0)
    assert row["scores"]["idle_usd"] == pytest.approx(row["cost_usd"])
    assert "engine_scores" not in row
    view = heard((0.0, 2), (5.0, 2), from_s=0.0)
    row = score(replace(run, engine=view)).to_json()
    assert row["engine_scores"]["idle_gpu_hours"]["minimum"] == pytest.approx(
        5.0 / 3600.0, abs=1e-6
    )
