from __future__ import annotations

import re

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.daemon.telemetry.metrics import PREFIX, TABLE, Metrics, Value
from autoscaler.sources.pages.lateness import Lateness


def exported(*values: Value) -> Metrics:
    """Metrics whose gauges are these."""
    return Metrics(lambda: values)


def page(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def samples(metrics: Metrics) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.items()) or ''}": sample.value
        for family in text_string_to_metric_families(page(metrics))
        for sample in family.samples
    }


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_names_follow_the_conventions(row):
    assert re.fullmatch(r"[a-z][a-z_]*[a-z]", row.name)
    assert row.name.endswith("_total") == (row.kind == "counter")
    if row.kind == "histogram":
        assert row.name.endswith("_seconds")
        assert list(row.buckets) == sorted(row.buckets)
    allowed = {
        "namespace", "model", "pool", "capacity_type", "source", "reason", "direction",
        "guard", "outcome", "command", "version", "python", "resource", "cause", "drained", "task", "latency", "window",
        "policy",
    }  # fmt: skip
    assert set(row.labels) <= allowed
    assert row.help.endswith(".") or row.name in {"build_info", "leader", "spec_problems"}


def test_names_are_unique():
    assert len({row.name for row in TABLE}) == len(TABLE)


def test_every_metric_of_the_table_is_on_the_page_with_its_type_and_help():
    text = page(exported())
    for row in TABLE:
        name = PREFIX + row.name
        assert f"# TYPE {name} {row.kind}\n" in text
        assert f"# HELP {name} " in text
    assert len(re.findall(r"^# TYPE ", text, re.MULTILINE)) == len(TABLE)


def test_counters_count_and_are_created_at_zero():
    metrics = exported()
    metrics.count("drains_total", "Finished", by=0)
    metrics.count("drains_total", "Overran")
    metrics.count("drains_total", "Overran", by=2)
    metrics.count("engine_errors_total")
    found = samples(metrics)
    assert found[f"{PREFIX}drains_total[('outcome', 'Finished')]"] == 0
    assert found[f"{PREFIX}drains_total[('outcome', 'Overran')]"] == 3
    assert found[f"{PREFIX}engine_errors_total"] == 1


def test_a_counter_without_labels_is_there_from_the_start():
    assert samples(exported())[f"{PREFIX}engine_errors_total"] == 0


def test_the_series_of_a_model_can_be_dropped():
    metrics = exported()
    for model in ("a", "b"):
        metrics.count("decisions_total", "serving", model, "Hold", "AtFloor")
    metrics.forget("decisions_total", "serving", "a")
    assert [key for key in samples(metrics) if "'a'" in key] == []
    assert len([key for key in samples(metrics) if "'b'" in key]) == 1


def test_histograms_are_cumulative():
    metrics = exported()
    for value in (0.0004, 0.0005, 0.02, 7.0):
        metrics.measure("decision_duration_seconds", value)
    found = samples(metrics)
    name = f"{PREFIX}decision_duration_seconds"
    assert found[f"{name}_bucket[('le', '0.0005')]"] == 2
    assert found[f"{name}_bucket[('le', '0.01')]"] == 2
    assert found[f"{name}_bucket[('le', '0.025')]"] == 3
    assert found[f"{name}_bucket[('le', '1.0')]"] == 3
    assert found[f"{name}_bucket[('le', '+Inf')]"] == 4
    assert found[f"{name}_count"] == 4
    assert found[f"{name}_sum"] == pytest.approx(7.0209)


def test_a_gauge_that_is_unknown_has_no_series():
    labels = ("serving", "llama")
    metrics = exported(
        Value("demand_replicas", labels, None), Value("waiting_requests", labels, 0.0)
    )
    found = samples(metrics)
    assert not [key for key in found if "demand_replicas" in key]
    waiting = f"{PREFIX}waiting_requests[('model', 'llama'), ('namespace', 'serving')]"
    assert found[waiting] == 0.0


@pytest.mark.parametrize("encode", [generate_latest, openmetrics])
@pytest.mark.parametrize("models", [1, 600])
def test_the_page_in_pieces_is_the_page_at_once(encode, models: int):
    """Of a family with more series than are written in one go, too, and of one that has none."""
    names = [f"m{number}" for number in range(models)]
    lateness = Lateness()
    lateness._note(0.003)
    metrics = Metrics(
        lambda: [Value("waiting_requests", ("serving", name), 1.5) for name in names],
        lateness=lateness,
    )
    for name in names:
        metrics.count("decisions_total", "serving", name, "Hold", "AtFloor")
    metrics.measure("tick_duration_seconds", 0.02)
    pauses = []

    def written():
        pauses.append((yield from metrics.page(encode)))

    pauses[:0] = list(written())
    assert pauses.pop().decode() == encode(metrics.registry).decode()
    assert len(pauses) > 2 * models / 250


def test_lateness_is_a_histogram():
    lateness = Lateness()
    for late_s in (0.0, 0.02, 0.03, 7.0):
        lateness._note(late_s)
    found = samples(Metrics(tuple, lateness=lateness))
    name = f"{PREFIX}loop_lateness_seconds"
    assert found[f"{name}_bucket[('le', '0.001')]"] == 1
    assert found[f"{name}_bucket[('le', '0.025')]"] == 2
    assert found[f"{name}_bucket[('le', '+Inf')]"] == found[f"{name}_count"] == 4
    assert found[f"{name}_sum"] == pytest.approx(7.05)


def test_no_series_says_when_it_was_created():
    assert "_created" not in page(exported())


def test_it_is_openmetrics_too():
    assert openmetrics(exported().registry).decode().endswith("# EOF\n")
