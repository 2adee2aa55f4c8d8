"""Capture against a real Prometheus that promtool filled with a history we know."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from autoscaler.errors import SettingsError, SourceError
from simulations.field.capture.capture import capture_model, find_subjects
from simulations.field.capture.draw import draw_requests
from simulations.field.capture.ranges import Grid, PrometheusServer, RangeReader
from simulations.field.capture.run import parse_span, run_capture
from tests.simulations.real_prometheus import fill, prometheus

STEP = 15
START = 1_790_000_010  # a multiple of 15
POINTS = 481  # two hours
PROMPT_BOUNDS = (100.0, 1000.0, float("inf"))
MODEL = 'odd "name"\\1'


class History:
    """Two pods; the second comes after half an hour, restarts once, and all is lost for a while."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}
        self.arrived = 0

    def write(self, path: Path) -> None:
        families = [
            ("vllm:num_requests_running", "gauge"),
            ("vllm:num_requests_waiting", "gauge"),
            ("vllm:request_success", "counter"),
            ("vllm:request_prompt_tokens", "histogram"),
        ]
        self._play(np.random.default_rng(4))
        with path.open("w") as out:
            for family, kind in families:
                out.write(f"# TYPE {family} {kind}\n")
                for name in (family, f"{family}_total", f"{family}_bucket", f"{family}_sum"):
                    out.writelines(self.lines.get(name, ()))
                out.writelines(self.lines.get(f"{family}_count", ()))
            out.write("# EOF\n")

    def _play(self, rng: np.random.Generator) -> None:
        for pod, first in (("a", 0), ("b", 120)):
            done, buckets, tokens = 0, np.zeros(3), 0.0
            for point in range(first, POINTS):
                finished = int(rng.poisson(6))
                if pod == "b" and point == 300:
                    done, buckets, tokens = 0, np.zeros(3), 0.0  # the process restarted
                if point > first:
                    done += finished
                    buckets += [finished // 2, finished - finished // 2, 0]
                    tokens += (finished // 2) * 50 + (finished - finished // 2) * 600
                    if not 400 <= point <= 410:
                        self.arrived += finished
                if 400 <= point < 410:
                    continue  # Prometheus was away
                self._scrape(pod, point, done=done, buckets=buckets, tokens=tokens)

    def _scrape(self, pod: str, point: int, *, done, buckets, tokens) -> None:
        moment = START + point * STEP
        name = MODEL.replace("\\", "\\\\").replace('"', '\\"')
        labels = f'model_name="{name}",namespace="serving",pod="{pod}",engine="0"'

        def put(name: str, value: float, more: str = "") -> None:
            self.lines.setdefault(name, []).append(f"{name}{{{labels}{more}}} {value} {moment}\n")

        put("vllm:num_requests_running", 4)
        put("vllm:num_requests_waiting", 0)
        put("vllm:request_success_total", done, ',finished_reason="stop"')
        for bound, value in zip(PROMPT_BOUNDS, np.cumsum(buckets), strict=True):
            text = "+Inf" if np.isinf(bound) else str(bound)
            put("vllm:request_prompt_tokens_bucket", value, f',le="{text}"')
        put("vllm:request_prompt_tokens_sum", tokens)
        put("vllm:request_prompt_tokens_count", buckets.sum())


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """(address, history) of a Prometheus on loopback."""
    folder = tmp_path_factory.mktemp("prometheus")
    history = History()
    history.write(folder / "history.txt")
    fill(folder, (folder / "history.txt").read_text())
    with prometheus(folder) as url:
        yield url, history


GRID = Grid(start=START, step=STEP, points=POINTS)


@pytest.mark.slow
@pytest.mark.prometheus
def test_what_arrived_is_what_is_captured(filled):
    url, history = filled
    reader = RangeReader(PrometheusServer(url=url))
    (subject,) = find_subjects(reader, GRID, namespace="serving")
    assert (subject.model_name, subject.namespace) == (MODEL, "serving")
    captured = capture_model(reader, subject, GRID)
    # Prometheus carries a value on for five minutes: the outage's first steps look like rest
    lost = captured.arrivals[399:411].sum()
    assert captured.arrivals.sum() - lost == pytest.approx(history.arrived, rel=0.03)
    assert captured.replicas[0] == 1
    assert captured.replicas[-1] == 2
    prompt = captured.histograms["prompt_tokens"]
    counts = prompt.counts.sum(axis=0)
    short = counts[prompt.bounds <= 100.0].sum() / counts.sum()
    assert short == pytest.approx(0.46, abs=0.06)


@pytest.mark.slow
@pytest.mark.prometheus
def test_a_chunked_query_is_the_whole_one(filled):
    url, _ = filled
    reader = RangeReader(PrometheusServer(url=url))
    query = 'sum by (pod) (vllm:request_success_total{namespace="serving"})'
    whole = reader.series(query, GRID)
    finer = Grid(start=START, step=1, points=6001)  # more than one chunk of 5,000
    pieces = reader.series(query, finer)
    assert [series.labels for series in whole] == [series.labels for series in pieces]
    for series, fine in zip(whole, pieces, strict=True):
        assert np.array_equal(series.values[:400], fine.values[: 400 * STEP : STEP], equal_nan=True)


@pytest.mark.slow
@pytest.mark.prometheus
def test_the_trace_holds_the_requests_and_their_lengths(filled, tmp_path, capsys):
    url, _ = filled
    output = tmp_path / "trace.csv.gz"
    arguments = {
        "server": PrometheusServer(url=url, headers={"X-Scope-OrgID": "1"}),
        "output": output,
        "namespace": None,
        "model": MODEL,
        "since": "2h",
        "step": STEP,
        "seed": 3,
        "until": START + (POINTS - 1) * STEP,
    }
    assert run_capture(**arguments) == 0
    first = output.read_bytes()
    assert run_capture(**arguments) == 0
    assert output.read_bytes() == first, "the same seed is the same bytes"
    with gzip.open(output) as text:
        rows = np.loadtxt(text, delimiter=",", skiprows=1)
    beside = json.loads((tmp_path / "trace.csv.gz.capture.json").read_text())
    assert len(rows) == beside["requests"]
    assert (np.diff(rows[:, 0]) >= 0).all()
    assert rows[:, 1].mean() == pytest.approx(beside["mean"]["prompt_tokens"], rel=0.05)
    assert "requests in 2.0 h" in capsys.readouterr().out


def test_draws_are_whole_and_keep_the_count():
    from simulations.field.capture.capture import Capture
    from simulations.field.capture.signals import Subject

    captured = Capture(
        subject=Subject(model_name="m"),
        grid=Grid(start=0, step=10, points=5),
        arrivals=np.array([0.5, 0.5, 0.0, 3.2]),
        known=np.array([True, True, False, True]),
        replicas=np.ones(4),
        waiting=np.zeros(4),
        running=np.zeros(4),
        histograms={},
    )
    drawn = draw_requests(captured, np.random.default_rng(1))
    assert len(drawn) == 4
    assert (drawn.arrival_ns // 10**10).tolist() == [1, 3, 3, 3]


@pytest.mark.parametrize("text", ["", "7", "x", "-3d", "0h", "3 weeks"])
def test_a_span_that_is_none_says_so(text):
    with pytest.raises(SettingsError, match="--since"):
        parse_span(text)


@pytest.mark.slow  # the client tries three times
def test_an_address_where_nothing_listens_is_named():
    reader = RangeReader(PrometheusServer(url="http://127.0.0.1:9"))
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:9.*is the address right"):
        find_subjects(reader, GRID, namespace=None)
