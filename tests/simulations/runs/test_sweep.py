"""The hindsight-best setting of each tunable baseline, and the rows that say so."""

import csv
import io
import json
import re
import sys
from dataclasses import replace

import pytest

from simulations.bounds.figures import BoundFigures
from simulations.peers.rules.registry import BASELINES
from simulations.replay.conditions import Conditions
from simulations.results.scorecard import Quantiles, Score, SpotFigures
from simulations.results.tables import write_scores
from simulations.runs.runs import Plan
from simulations.runs.sweep import best_parameters, sweep_plans, with_best
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


def test_each_tunable_baseline_is_tried_twelve_times_on_the_first_seed():
    plans = [plan(p, seed=s) for p in ("inference-aware", "hpa", "static-mean") for s in (0, 1)]
    tried = sweep_plans(plans)
    assert len(tried) == 12
    assert {(t.policy, t.seed) for t in tried} == {("hpa", 0)}
    assert [t.parameters for t in tried] == [dict(p) for p in BASELINES["hpa"].sweep]


@pytest.mark.parametrize(
    ("rule", "outcomes", "expected"),
    [
        ("the cheapest that attains", [(5.0, 0.995), (4.0, 0.991), (1.0, 0.9)], 1),
        ("where none does, the one that attains most", [(9.0, 0.95), (2.0, 0.97), (1.0, 0.5)], 1),
        ("of equal attainment the cheaper", [(9.0, 0.97), (2.0, 0.97)], 1),
        ("the edge is inside", [(3.0, 0.99), (2.0, 0.98999)], 0),
    ],
)
def test_the_best(rule: str, outcomes: list[tuple[float, float]], expected: int):
    swept = [replace(plan("hpa"), parameters={"n": float(n)}) for n in range(len(outcomes))]
    rows = [row(cost=cost, attained=attained) for cost, attained in outcomes]
    assert best_parameters(swept, rows) == {("t", "hpa"): {"n": float(expected)}}, rule


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
