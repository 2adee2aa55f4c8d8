"""A whole run on recordings of every kind: counts, probes, a price history and measured starts."""

import gzip
import json
from pathlib import Path

import pytest

from simulations.simulate import SimulateRequest, run_simulate

PROBES = "time_utc,event,instance,zone,gpu,gpus\n" + "".join(
    f"2020-03-01T10:{minute:02}:00.000Z,{event},a,east,v100,1\n"
    for minute, event in ((0, "created"), (10, "running"), (20, "not_running"), (25, "created"), (59, "running"))
)  # fmt: skip
PRICES = (
    "time_utc,zone,instance_type,product,price_usd_per_h\n"
    "2020-01-01T00:00:00.000Z,a,p3.2xlarge,Linux/UNIX,0.30\n"
    "2020-01-01T00:05:00.000Z,a,p3.2xlarge,Linux/UNIX,0.10\n"
    "2020-01-01T01:00:00.000Z,a,p3.2xlarge,Linux/UNIX,3.00\n"
    "2020-01-01T09:00:00.000Z,a,p3.2xlarge,Linux/UNIX,3.00\n"
)
"""Cheap while the trace lasts: held against the mean, whoever buys spot would beat the clairvoyant."""


def written(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()))
    return str(path)


@pytest.mark.slow
def test_a_run_on_recordings_of_every_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    counts = "t_s,requests\n" + "".join(f"{60 * n},{'' if n == 7 else 60}\n" for n in range(20))
    status = run_simulate(
        SimulateRequest(
            traces=[written(tmp_path, "counts.csv.gz", counts) + ",input=200,hours=0.3"],
            policies=["static-mean", "inference-aware"],
            cold_start=written(tmp_path, "starts.csv.gz", "load_s,warm_up_s\n20,30\n10,20\n"),
            spot=written(tmp_path, "probes.csv.gz", PROBES) + ",zone=east,machines=5",
            spot_lead="gcp",
            prices=written(tmp_path, "prices.csv.gz", PRICES)
            + ",instance_type=p3.2xlarge,on_demand=1.86",
            seeds=2,
            bounds=True,
            jobs=1,
            output="json",
        )
    )
    assert status == 0
    captured = capsys.readouterr()
    assert "assumed are output=600; write your own" in captured.err
    assert "1 holes of together 1 min" in captured.err
    for row in json.loads(captured.out)["rows"]:
        assert row["trace"] == "counts,input=200,hours=0.3"
        assert row["requests"] == 17 * 60
        # no hour of a GPU cost less than the cheapest moment, and none more than on demand
        assert 0.10 - 1e-4 <= row["cost_usd"] / row["gpu_hours"] <= 1.86 + 1e-4
        # nobody is cheaper than the clairvoyant who pays the lowest price all the time
        assert row["bound"]["relaxed_ratio"] >= 1.0
