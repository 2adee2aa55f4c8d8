"""Rows: every request once, money to the trace's end, objectives with their edges inside."""

from dataclasses import replace

import numpy as np
import pytest

from autoscaler.core.contract.state import CapacityType
from autoscaler.errors import InvariantBroken
from simulations.agenda import NS
from simulations.replay.run import Run
from simulations.results.scorecard import SpotFigures, most_at_once, score, worst_window
from simulations.serving.columns import NEVER, RequestOutcome, RequestResults
from simulations.serving.objective import RequestObjective
from simulations.world.ledger import Ledger, Payment
from tests.simulations.world.world_builder import PROFILE, requests

HOUR = 3600 * NS


def results(rows: list[tuple[RequestOutcome, float | None, float]]) -> RequestResults:
    """Rows of outcome, first token and end, seconds."""
    return RequestResults(
        first_token_ns=np.array([NEVER if f is None else int(f * NS) for _, f, _ in rows]),
        finished_ns=np.array([int(end * NS) for _, _, end in rows]),
        outcome=np.array([outcome for outcome, _, _ in rows], dtype=np.int8),
        replica=np.zeros(len(rows), dtype=np.int32),
    )


def finished(
    rows: list[tuple[RequestOutcome, float | None, float]], *, ledger: Ledger | None = None
) -> Run:
    return Run(
        trace="t",
        policy="p",
        seed=0,
        requests=requests([0.0] * len(rows), output_tokens=11),
        results=results(rows),
        ledger=ledger or Ledger(),
        profile=PROFILE,
        objective=RequestObjective(ttft_s=2.0, ttft_per_prefill=0.0, tpot_s=0.1),
        end_ns=HOUR,
        wall_s=1.5,
    )


@pytest.mark.parametrize(
    ("rule", "row", "met"),
    [
        ("both met", (RequestOutcome.COMPLETED, 1.0, 1.5), True),
        ("edges are inside", (RequestOutcome.COMPLETED, 2.0, 3.0), True),
        ("a late first token", (RequestOutcome.COMPLETED, 2.001, 2.5), False),
        ("slow tokens: 1.01 s for ten", (RequestOutcome.COMPLETED, 1.0, 2.011), False),
        ("aborted never meets", (RequestOutcome.ABORTED, 0.5, 1.0), False),
        ("lost never meets", (RequestOutcome.LOST, None, 1.0), False),
    ],
)
def test_what_meets_the_objective(
    rule: str,
    row: tuple[RequestOutcome, float | None, float],
    met: bool,  # noqa: FBT001  a table's column
):
    assert score(finished([row])).attainment == float(met), rule


def test_requests_are_conserved():
    row = score(
        finished(
            [
                (RequestOutcome.COMPLETED, 1.0, 1.5),
                (RequestOutcome.ABORTED, None, 120.0),
                (RequestOutcome.LOST, None, 5.0),
                (RequestOutcome.COMPLETED, 1.0, 1.5),
            ]
        )
    )
    assert (row.requests, row.completed, row.aborted, row.lost) == (4, 2, 1, 1)
    assert row.attainment == 0.5
    assert row.ttft_s.p50 == 1.0


def test_an_undecided_request_is_a_bug():
    with pytest.raises(InvariantBroken, match="of 1 requests 0 were completed, aborted or lost"):
        score(finished([(RequestOutcome.PENDING, None, 0.0)]))


def test_money_runs_from_the_node_to_the_end_of_the_trace_and_no_further():
    ledger = Ledger()
    ledger.starts_paying(1, CapacityType.ON_DEMAND, at_ns=0)
    ledger.starts_paying(2, CapacityType.SPOT, at_ns=HOUR // 2)
    ledger.stops_paying(2, at_ns=HOUR * 3 // 4)
    ledger.starts_paying(3, CapacityType.ON_DEMAND, at_ns=HOUR * 9 // 10)
    ledger.stops_paying(3, at_ns=2 * HOUR)  # drained after the end: uncharged from there
    ledger.starts_paying(4, CapacityType.ON_DEMAND, at_ns=HOUR + 1)
    row = score(finished([], ledger=ledger))
    assert row.gpu_hours == pytest.approx(1.0 + 0.25 + 0.1)
    assert row.cost_usd == pytest.approx(
        1.1 * PROFILE.usd_per_hour + 0.25 * PROFILE.spot_usd_per_hour
    )
    assert row.replicas_mean == pytest.approx(1.35)
    assert row.replicas_max == 2
    assert row.attainment == 1.0
    assert row.ttft_s.p50 is None


def test_one_that_ends_as_another_begins_is_one_at_once():
    kind = CapacityType.ON_DEMAND
    payments = [
        Payment(capacity_type=kind, from_ns=0, to_ns=5),
        Payment(capacity_type=kind, from_ns=5, to_ns=9),
    ]
    assert most_at_once(payments) == 1


@pytest.mark.parametrize(
    ("sizes", "flaps"),
    [
        ([(0, 1), (10, 2), (20, 3)], 0),
        ([(0, 1), (10, 2), (600, 1)], 1),
        ([(0, 1), (10, 2), (611, 1)], 0),  # 601 s apart
        ([(0, 1), (10, 2), (20, 1), (30, 2)], 2),
        ([(0, 3), (10, 2), (20, 2), (30, 4)], 1),
    ],
)
def test_a_flap_is_a_reversal_within_600_s(sizes: list[tuple[int, int]], flaps: int):
    ledger = Ledger()
    for at_s, replicas in sizes:
        ledger.resized(replicas, at_ns=at_s * NS)
    assert ledger.flaps(within_ns=600 * NS) == flaps


def test_the_worst_five_minutes_are_of_windows_with_fifty_requests():
    arrivals = np.concatenate(
        [np.linspace(0, 299, 100), np.linspace(600, 899, 49), np.linspace(1200, 1499, 50)]
    )
    met = np.ones(len(arrivals), dtype=bool)
    met[100:149] = False  # all of a window too thin to count
    met[-10:] = False
    ns = (arrivals * NS).astype(np.int64)
    assert worst_window(ns, met, end_ns=1500 * NS) == pytest.approx(0.8)
    assert worst_window(ns[:49], met[:49], end_ns=1500 * NS) is None


def test_what_a_market_did():
    ledger = Ledger(interrupted_ns=[0, 0, 0], ended_in_notice={0: 0, 7: 0})
    ledger.starts_paying(0, CapacityType.SPOT, at_ns=0)
    ledger.starts_paying(1, CapacityType.ON_DEMAND, at_ns=0)
    ledger.starts_paying(2, CapacityType.ON_DEMAND, at_ns=HOUR // 2)
    rows = [
        (RequestOutcome.LOST, None, 5.0),
        (RequestOutcome.LOST, None, 5.0),
        (RequestOutcome.COMPLETED, 1.0, 1.5),
    ]
    done = replace(finished(rows, ledger=ledger), on_demand_kept=1)
    done.results.replica[:] = [7, 4, 7]
    spot = score(done).spot
    assert spot == SpotFigures(interruptions=3, lost_within_notice=1, fallback_hours=0.5)
    assert score(finished(rows)).spot is None
    plain = score(done).to_json()
    assert plain["lost_within_notice"] == 1
    assert plain["fallback_hours"] == 0.5


def test_goodput_is_per_average_gpu_and_starts_are_per_day():
    ledger = Ledger(started_ns=[1, 2, 3])
    ledger.starts_paying(0, CapacityType.ON_DEMAND, at_ns=0)
    ledger.starts_paying(1, CapacityType.ON_DEMAND, at_ns=HOUR // 2)
    rows = [(RequestOutcome.COMPLETED, 1.0, 1.5)] * 27 + [(RequestOutcome.LOST, None, 5.0)] * 3
    row = score(finished(rows, ledger=ledger))
    # 27 in an hour met the objective, on one and a half GPUs of the mean
    assert row.goodput_per_gpu == pytest.approx(27 / 3600 / 1.5)
    assert row.starts_per_day == pytest.approx(72.0)
    assert row.attainment_relative is None
    held = replace(row, attainment_unlimited=0.95)
    assert held.attainment_relative == pytest.approx(0.9 / 0.95)
    assert score(finished([])).goodput_per_gpu is None


def test_the_row_is_the_published_schema():
    names = list(score(finished([(RequestOutcome.COMPLETED, 1.0, 1.5)])).to_json())
    assert names == [
        "trace",
        "policy",
        "seed",
        "requests",
        "completed",
        "aborted",
        "lost",
        "gpu_hours",
        "cost_usd",
        "attainment",
        "ttft_s",
        "tpot_s",
        "replicas",
        "starts",
        "starts_per_day",
        "flaps",
        "worst_5min_attainment",
        "goodput_per_gpu",
        "wall_s",
        "scores",
    ]


def test_what_lies_before_the_score_begins_is_in_no_figure():
    border = HOUR // 2
    ledger = Ledger(
        started_ns=[border - 1, border, border + 5],
        interrupted_ns=[border - 1, border],
        sizes=[
            *((0, 1), (border - 50, 2), (border - 40, 1)),  # a flap before the border
            *((border + 9, 2), (border + 30, 1)),  # the first turns round what was before it
        ],
        ended_in_notice={7: 0},
    )
    ledger.starts_paying(0, CapacityType.ON_DEMAND, at_ns=0)  # half of its hour lies behind
    ledger.starts_paying(1, CapacityType.ON_DEMAND, at_ns=0)
    ledger.starts_paying(2, CapacityType.SPOT, at_ns=0)
    ledger.stops_paying(1, at_ns=border)  # ends as the score begins
    ledger.stops_paying(2, at_ns=HOUR * 3 // 4)
    rows = [
        (RequestOutcome.ABORTED, None, 1900.0),  # arrived before, ended behind: not scored
        (RequestOutcome.LOST, None, 1801.0),
        (RequestOutcome.COMPLETED, 1801.0, 1801.5),  # at the border: scored
        (RequestOutcome.COMPLETED, 1910.0, 1910.5),  # its first token ten seconds late
        (RequestOutcome.LOST, None, 2000.0),
    ]
    made = replace(
        finished(rows, ledger=ledger),
        requests=requests([1700.0, 1799.9, 1800.0, 1900.0, 1950.0], output_tokens=11),
        score_from_ns=border,
        on_demand_kept=1,
    )
    made.results.replica[:] = [7, 7, 0, 0, 7]
    row = score(made)
    assert (row.requests, row.completed, row.aborted, row.lost) == (3, 2, 0, 1)
    assert row.attainment == pytest.approx(1 / 3)
    assert (row.ttft_s.p50, row.ttft_s.p99) == (5.5, pytest.approx(9.91))
    assert row.gpu_hours == pytest.approx(0.5 + 0.25)
    assert row.cost_usd == pytest.approx(
        0.5 * PROFILE.usd_per_hour + 0.25 * PROFILE.spot_usd_per_hour
    )
    assert (row.replicas_mean, row.replicas_max) == (pytest.approx(1.5), 2)
    assert (row.starts, row.flaps) == (2, 2)
    assert row.starts_per_day == pytest.approx(2 * 48)
    assert row.goodput_per_gpu == pytest.approx(1 / (0.75 * 3600))
    assert row.spot == SpotFigures(interruptions=1, lost_within_notice=1, fallback_hours=0.0)
    assert row.to_json()["score_from_s"] == 1800.0
    assert "score_from_s" not in score(replace(made, score_from_ns=0)).to_json()


def test_the_worst_five_minutes_begin_with_the_score():
    arrivals = np.concatenate([np.linspace(0, 299, 60), np.linspace(1800, 2099, 60)])
    rows = [(RequestOutcome.LOST, None, 1.0)] * 60 + [(RequestOutcome.LOST, None, 1.0)] * 3
    rows += [(RequestOutcome.COMPLETED, float(at), float(at)) for at in arrivals[63:]]
    made = replace(finished(rows), requests=requests(arrivals.tolist(), output_tokens=11))
    assert score(made).worst_5min_attainment == 0.0
    assert score(replace(made, score_from_ns=HOUR // 2)).worst_5min_attainment == 0.95
