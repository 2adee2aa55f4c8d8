"""`autoscaler simulate`: what it takes, what it refuses, and what it prints."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from autoscaler.errors import SettingsError, TraceError
from simulations.peers.rules.registry import BASELINES
from simulations.results.scorecard import SCHEMA
from simulations.simulate import SimulateRequest, policy_names, run_simulate
from simulations.traces.generate import Recipe, generate

TRACE = "generate:flat,hours=0.05,rate=1,input=200,output=50"


def simulated(capsys: pytest.CaptureFixture[str], **options: Any) -> tuple[str, str]:
    request = SimulateRequest(**({"traces": [TRACE], "jobs": 1} | options))
    assert run_simulate(request) == 0
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_all_is_our_default_and_every_baseline_each_once():
    assert policy_names(["hpa", "all"]) == (
        "hpa",
        "inference-aware",
        *(b for b in BASELINES if b != "hpa"),
    )
    assert policy_names([]) == ("inference-aware",)


def test_json_is_the_published_schema(capsys: pytest.CaptureFixture[str]):
    out, err = simulated(capsys, policies=["inference-aware", "hpa"], seeds=2, output="json")
    document = json.loads(out)
    assert document["schema"] == SCHEMA == "autoscaler.simulate/v1"
    keys = [(row["policy"], row["seed"]) for row in document["rows"]]
    assert keys == [("inference-aware", 0), ("inference-aware", 1), ("hpa", 0), ("hpa", 1)]
    for row in document["rows"]:
        assert row["trace"] == TRACE
        assert row["requests"] == row["completed"] + row["aborted"] + row["lost"]
        assert set(row["ttft_s"]) == set(row["tpot_s"]) == {"p50", "p95", "p99"}
        assert set(row["replicas"]) == {"mean", "max"}
    assert "4/4" in err  # progress is not in the way of the results


def test_csv_has_flat_names(capsys: pytest.CaptureFixture[str]):
    out, _ = simulated(capsys, output="csv")
    (row,) = csv.DictReader(io.StringIO(out))
    assert row["policy"] == "inference-aware"
    assert float(row["ttft_s_p95"]) > 0
    assert row["worst_5min_attainment"] not in ("", "None")


def test_a_table_for_people(capsys: pytest.CaptureFixture[str]):
    out, _ = simulated(capsys, policies=["static-peak"])
    title, header, row = out.splitlines()
    assert "requests" in title
    assert header.startswith("policy")
    assert row.startswith("static-peak")


def test_a_recorded_file_by_its_name_and_a_scale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "mine.csv"
    columns = generate(Recipe(shape="flat", hours=0.05, rate_per_s=1))
    rows = zip(columns.arrival_ns, columns.prompt_tokens, columns.output_tokens, strict=True)
    lines = [f"{at / 1e9:.6f},{prompt},{output}" for at, prompt, output in rows]
    path.write_text("\n".join(["t_s,input_tokens,output_tokens", *lines]))
    out, _ = simulated(capsys, traces=[str(path)], scale=2.0, output="json")
    (row,) = json.loads(out)["rows"]
    assert row["trace"] == "mine"
    assert row["requests"] == 2 * len(columns)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"policies": ["best"]}, "--policy 'best': no such policy; write one of inference-aware"),
        ({"profile": "gpt-7/1xTPU"}, "--profile 'gpt-7/1xTPU': no such profile"),
        ({"cold_start": "tepid"}, "--cold-start 'tepid'"),
        ({"scale": 0.0}, "--scale 0.0"),
        ({"scale": float("nan")}, "--scale nan"),
        ({"objective": "ttft=fast"}, "--objective 'ttft=fast'"),
        ({"max_replicas": 0}, "--max-replicas 0"),
        *(
            ({"in_flight_target": text}, f"--in-flight-target {text!r}: write requests in flight")
            for text in ("many", "x", "x0", "x-1", "xnan", "nan", "0", "0.05", "1e9", "X2", "")
        ),
        ({"seeds": 0}, "--seeds 0"),
        ({"spot_lead": -1.0}, "--spot-lead -1.0"),
        ({"spot_lead": "ibm"}, "--spot-lead 'ibm': write aws, gcp, azure, none, or seconds"),
        ({"routing": "random"}, "--routing 'random'"),
        ({"output": "yaml"}, "-o 'yaml'"),
    ],
)
def test_what_cannot_be_worked_with_is_said(options: dict[str, Any], found: str):
    with pytest.raises(SettingsError) as caught:
        run_simulate(SimulateRequest(**({"traces": [TRACE]} | options)))
    assert found in str(caught.value)


def test_another_target_is_another_row(capsys: pytest.CaptureFixture[str]):
    options = {"policies": ["static-peak"], "output": "json", "max_replicas": 20}
    costs = []
    for text in ("x1", "0.5"):
        out, _ = simulated(capsys, in_flight_target=text, **options)
        costs.append(json.loads(out)["rows"][0]["cost_usd"])
    assert costs[1] > costs[0], "a static fleet that is told less is larger"


def test_a_trace_or_market_that_cannot_be_read_is_said(tmp_path: Path):
    with pytest.raises(TraceError, match=r"none\.csv: cannot be read"):
        run_simulate(SimulateRequest(traces=[str(tmp_path / "none.csv")]))
    with pytest.raises(TraceError, match=r"none\.csv: cannot be read"):
        run_simulate(SimulateRequest(traces=[TRACE], spot=str(tmp_path / "none.csv")))
