"""The hindsight-best setting of each tunable baseline, and the rows that say so."""

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from simulations.bounds.figures import BoundFigures
from simulations.peers.rules.registry import BASELINES
from simulations.replay.conditions import Conditions
from simulations.results.scorecard import Quantiles, Score, SpotFigures
from simulations.results.tables import write_scores
from simulations.runs.runs import Plan
from simulations.runs.sweep import FINE_MAX, Swept, sweep, with_best
from simulations.serving.objective import RequestObjective
from simulations.simulate import SimulateRequest, run_simulate
from tests.simulations.world.world_builder import PROFILE

CONDITIONS = Conditions(profile=PROFILE, objective=RequestObjective(attainment_ratio=0.99))
NOTHING = Quantiles(p50=None, p95=None, p99=None)


def plan(policy: str, *, seed: int = 0, trace: str = "t") -> Plan:
    return Plan(trace=trace, policy=policy, seed=seed, conditions=CONDITIONS)


def row(*, cost: float, attained: float) -> Score:
    return Score(
        trace="t",
        policy="hpa",
        seed=0,
        requests=100,
        completed=100,
        aborted=0,
        lost=0,
        gpu_hours=cost,
        cost_usd=cost,
        attainment=attained,
        ttft_s=NOTHING,
        tpot_s=NOTHING,
        replicas_mean=1.0,
        replicas_max=1,
        starts=0,
        flaps=0,
        worst_5min_attainment=None,
        wall_s=0.0,
    )


def searched(
    outcome: Callable[[dict[str, float]], tuple[float, float]], policy: str = "hpa"
) -> Swept:
    """A sweep of a peer whose settings come to what `outcome` says: cost and attainment."""

    def play(plans: Sequence[Plan]) -> list[Score]:
        return [
            row(cost=cost, attained=attained)
            for cost, attained in (outcome(dict(plan.parameters)) for plan in plans)
        ]

    return sweep([plan(policy)], play)


def parameters(swept: Swept) -> list[dict[str, float]]:
    return [dict(tried.parameters) for tried, _ in swept.tried]


def test_each_tunable_baseline_is_tried_twelve_times_on_the_first_seed_before_anything_else():
    plans = [plan(p, seed=s) for p in ("inference-aware", "hpa", "static-mean") for s in (0, 1)]
    rounds: list[Sequence[Plan]] = []

    def play(asked: Sequence[Plan]) -> list[Score]:
        rounds.append(asked)
        return [row(cost=1.0, attained=1.0) for _ in asked]

    swept = sweep(plans, play)
    assert len(rounds[0]) == 12
    assert {(t.policy, t.seed) for t, _ in swept.tried} == {("hpa", 0)}
    assert [t.parameters for t in rounds[0]] == [dict(p) for p in BASELINES["hpa"].sweep]
    # all the same: nothing is gained by looking any further than the gaps beside the first
    assert len(swept.tried) <= FINE_MAX
    assert swept.edges == []


@pytest.mark.parametrize(
    ("rule", "outcome", "expected"),
    [
        ("past all that was tried first", lambda s: (9 / s, 1.0 if s < 6 else 0.9), 5.5),
        (
            "below all that was tried first",
            lambda s: (9 / s, 1.0 if s < 0.25 else 0.9 - s / 99),
            0.2,
        ),
        ("in a gap between two of them", lambda s: (9 / s, 1.0 if s < 2.5 else 0.9), 2.2),
        (
            "where none attains, the one that attains most",
            lambda s: (9.0, 0.9 - abs(s - 1.3) / 20),
            1.3,
        ),
        ("of equal attainment the cheaper", lambda s: (1.0 + (s - 0.85) ** 2, 0.5), 0.85),
        (
            "the edge of the objective is inside",
            lambda s: (9 / s, 0.99 if s < 1.5 else 0.98999),
            1.3,
        ),
    ],
)
def test_the_best_is_found_wherever_it_lies_on_the_ladder(
    rule: str, outcome: Callable[[float], tuple[float, float]], expected: float
):
    swept = searched(lambda given: outcome(given["target_share"]))
    assert swept.best["t", "hpa"]["target_share"] == expected, rule
    assert swept.edges == [], rule
    assert len(swept.tried) <= FINE_MAX + 6, rule
    assert len({tuple(p.items()) for p in parameters(swept)}) == len(swept.tried), rule


def test_a_best_at_the_end_of_its_ladder_is_told_with_its_peer_and_its_trace():
    swept = searched(lambda given: (9 / given["target_share"], 1.0))
    (edge,) = swept.edges
    assert str(edge) == (
        "t: the best of hpa is at the highest target_share of its sweep, 50: lengthen its ladder "
        "(simulations/peers/rules/registry.py)"
    )
    swept = searched(lambda given: (9 * given["target_share"], 1.0))
    assert [(edge.side, edge.value) for edge in swept.edges] == [("lowest", 0.002)]


def test_those_that_attain_are_ranked_behind_the_best():
    swept = searched(
        lambda given: (9 / given["target_share"], 1.0 if given["target_share"] < 2.5 else 0.9)
    )
    shares = [setting["target_share"] for setting in swept.ranked["t", "hpa"]]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == 2.2
    none = searched(lambda _: (9.0, 0.9))
    assert [dict(s) for s in none.ranked["t", "hpa"]] == [dict(none.best["t", "hpa"])]


def test_an_end_behind_which_nothing_changes_is_none():
    """A fleet that is at its least already does not get smaller by a higher target."""
    swept = searched(lambda given: (max(4.0, 9 / given["target_share"]), 1.0))
    assert swept.edges == []
    assert swept.best["t", "hpa"]["target_share"] == 3.0


def test_an_end_of_nature_is_none():
    """A window of no length, and one of a day: there is nothing behind them."""
    shorter = searched(lambda given: (1.0 + given["down_window_s"], 1.0))
    assert shorter.best["t", "hpa"]["down_window_s"] == 0.0
    longer = searched(lambda given: (1e5 - given["down_window_s"], 1.0))
    assert longer.best["t", "hpa"]["down_window_s"] == 86_400.0
    assert shorter.edges == longer.edges == []


@pytest.mark.parametrize("policy", [name for name, kind in BASELINES.items() if kind.axes])
def test_every_sweep_ends_whatever_its_outcomes(policy: str):
    for slope in (1.0, -1.0):
        swept = searched(
            lambda given, slope=slope: (2e5 + slope * sum(given.values()), 1.0), policy
        )
        assert len(swept.tried) <= 48
        assert dict(swept.best["t", policy]) in parameters(swept)


def test_the_best_runs_on_every_seed_behind_the_defaults():
    plans = [plan(p, seed=s) for p in ("inference-aware", "hpa", "keda") for s in (0, 1)]
    planned = with_best(plans, {("t", "hpa"): {"target_share": 0.6}})
    assert [(p.policy, p.seed, p.setting) for p in planned] == [
        ("inference-aware", 0, "default"),
        ("inference-aware", 1, "default"),
        ("hpa", 0, "default"),
        ("hpa", 1, "default"),
        ("hpa", 0, "best"),
        ("hpa", 1, "best"),
        ("keda", 0, "default"),
        ("keda", 1, "default"),
    ]
    assert planned[4].parameters == {"target_share": 0.6}


@pytest.mark.slow
def test_rows_say_their_setting(capsys: pytest.CaptureFixture[str]):
    spec = "generate:bursty,hours=0.2,rate=3,input=300,output=100"
    policies = ["inference-aware", "kubeai"]
    run_simulate(
        SimulateRequest(traces=[spec], policies=policies, sweep=True, output="json", jobs=1)
    )
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(r["policy"], r["setting"]) for r in rows] == [
        ("inference-aware", "default"),
        ("kubeai", "default"),
        ("kubeai", "best"),
    ]
    assert rows[0]["parameters"] == {}
    assert set(rows[2]["parameters"]) == {"target_share", "window_s"}


def test_csv_keeps_each_settings_parameters_in_one_cell(capsys: pytest.CaptureFixture[str]):
    rows = [
        replace(row(cost=1.0, attained=1.0), setting="default", parameters={}),
        replace(row(cost=1.0, attained=1.0), setting="best", parameters={"threshold": 2.0}),
        row(cost=3.0, attained=0.5),
    ]
    write_scores(rows, output="csv", file=sys.stdout)
    read = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [line["setting"] for line in read] == ["default", "best", ""]
    assert json.loads(read[1]["parameters"]) == {"threshold": 2.0}
    assert [line["cost_usd"] for line in read] == ["1.0", "1.0", "3.0"]


def test_the_table_tells_a_best_setting_from_the_default(capsys: pytest.CaptureFixture[str]):
    rows = [replace(row(cost=1.0, attained=1.0), setting=name) for name in ("default", "best")]
    write_scores(rows, output="table", file=sys.stdout)
    assert "hpa (best)" in capsys.readouterr().out


def test_a_table_has_columns_for_bounds_and_spot_where_rows_have_them(
    capsys: pytest.CaptureFixture[str],
):
    plain = row(cost=1.0, attained=1.0)
    held = replace(
        plain,
        bound=BoundFigures(cost_usd=0.4, ratio=2.5, relaxed_ratio=2.6),
        attainment_unlimited=0.98765,
        spot=SpotFigures(interruptions=3, lost_within_notice=0, fallback_hours=1.25),
    )
    write_scores([plain], output="table", file=sys.stdout)
    out = capsys.readouterr().out
    assert not any(name in out for name in ("× bound", "interrupted", "fallback h", "limit"))
    other = replace(held, bound=None, policy="a-policy-of-a-very-long-name", setting="best")
    write_scores([held, other], output="table", file=sys.stdout)
    out = capsys.readouterr().out
    assert "…" not in out, "nothing is cut"
    title, header, first, second = out.splitlines()
    assert "a fleet without limit would attain 98.77 %" in title
    names = re.split(r"\s{2,}", header.strip())
    cells = [re.split(r"\s{2,}", line.strip()) for line in (first, second)]
    assert cells[0][names.index("× bound")] == "2.50"
    assert cells[1][names.index("× bound")] == "-"
    assert cells[0][names.index("interrupted")] == "3"
    assert cells[0][names.index("fallback h")] == "1.25"
