"""The benchmark runs, and measures what it says: no figure is asserted."""

from __future__ import annotations

import json

import pytest

from autoscaler.kube.samples import PodSample
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages.turns import at_once
from tests.benchmarks import loop
from tests.benchmarks.page_server import Page
from tests.benchmarks.pages import sampled
from tests.sources.bodies import page

COLUMNS = {
    "pods",
    "models",
    "wall_s",
    "cpu_s",
    "aiohttp_cpu_s",
    "parser_cpu_s",
    "parse_cpu_s",
    "rss_bytes",
    "stall_s_max",
    "stall_wall_s_max",
    "read_share",
    "metrics_bytes",
    "debug_bytes",
}


@pytest.mark.slow
@pytest.mark.alone
def test_it_prints_a_row_in_which_every_page_was_read(capsys):
    few = ["--pods", "6", "--models", "2", "--periods", "3", "--period-seconds", "1"]
    loop.main(["-o", "json", *few])
    [row] = json.loads(capsys.readouterr().out)["rows"]
    assert row.keys() >= COLUMNS
    assert (row["pods"], row["models"]) == (6, 2)
    assert row["outcomes"].keys() <= {"Read", "Late"}, "none failed"
    assert row["read_share"] == 1.0
    assert all(row[name] > 0 for name in COLUMNS)


def test_the_counters_of_a_served_page_move():
    served = Page(page(loop.PAGE))
    bodies = [served.answer(at=at).partition(b"\r\n\r\n")[2] for at in (0.0, 5.0)]
    before, after = (sampled_at_once(body) for body in bodies)
    for counter in ("finished_requests_total", "generation_tokens_total", "prompt_tokens_total"):
        assert getattr(after, counter) > getattr(before, counter)
    assert after.running_requests == before.running_requests == 3


def sampled_at_once(body: bytes) -> PodSample:
    found = at_once(sampled(SOURCES["VLLM"], body))
    assert isinstance(found, PodSample)
    return found
