"""Which series are asked for, and which of them count."""

from __future__ import annotations

import pytest

from autoscaler.errors import SettingsError
from simulations.field.capture.ranges import Grid, PrometheusServer, RangeReader
from simulations.field.capture.signals import Subject, by_process, underscored
from tests.simulations.real_prometheus import fill, prometheus

START, STEP = 1_790_000_010, 15
GRID = Grid(start=START, step=STEP, points=20)


def history(name: str, *targets: str) -> str:
    """Twelve running on one pod, once for each of these sets of labels that Prometheus adds."""
    lines = [f"# TYPE {name} gauge"]
    for labels in targets:
        lines += [
            f'{name}{{namespace="serving",pod="p1",instance="10.0.0.7:8000",model_name="vllm:m",'
            f'engine="{engine}",{labels}}} 12 {START + point * STEP}'
            for engine in (0, 1)
            for point in range(GRID.points)
        ]
    return "\n".join([*lines, "# EOF", ""])


@pytest.mark.slow
@pytest.mark.prometheus
@pytest.mark.parametrize("name", ["vllm:num_requests_running", "vllm_num_requests_running"])
def test_a_process_that_is_scraped_twice_counts_once_in_either_spelling(tmp_path, name):
    twice = ('job="vllm",service="vllm"', 'job="vllm-headless",prometheus_replica="b"')
    fill(tmp_path, history(name, *twice))
    with prometheus(tmp_path) as url:
        reader = RangeReader(PrometheusServer(url=url))
        subject = Subject(model_name="vllm:m", namespace="serving")
        for _ in range(2):
            (series,) = reader.series(by_process(subject.select("vllm:num_requests_running")), GRID)
            assert set(series.values) == {24.0}
            assert series.labels["pod"] == "p1"


def test_only_names_are_spelled_otherwise():
    query = 'sum by (pod) (vllm:a{model_name="vllm:m \\"vllm:x\\""} + vllm:b)'
    assert underscored(query) == (
        'sum by (pod) (vllm_a{model_name="vllm:m \\"vllm:x\\""} + vllm_b)'
    )


def test_an_address_with_a_password_is_refused():
    pytest.importorskip("prometheus_api_client")
    with pytest.raises(SettingsError, match="password") as caught:
        RangeReader(PrometheusServer(url="http://user:hidden@host"))
    assert "hidden" not in str(caught.value)
