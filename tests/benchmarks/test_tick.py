"""The benchmark runs, and measures what it says: no figure is asserted."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks import tick


@pytest.mark.slow
def test_it_prints_a_row_for_each_size(capsys):
    sizes = ["--replicas", "1", "--replicas", "8"]
    tick.main(["-o", "json", *sizes, "--warm-up", "75", "--ticks", "25", "--repetitions", "1"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["replicas"] for row in rows] == [1, 8]
    assert all(0.0 < row["cpu_s"] <= row["cpu_s_max"] * 25 for row in rows)
    assert all(
        list(row["without"]) == ["hindsight", "candidates", "both"]
        and min(row["without"].values()) > 0.0
        for row in rows
    )


def test_a_variant_leaves_out_what_it_says():
    """All are shown the same; by their names, whether they say what others would have cost, and which policy decides."""
    story = tick.Story(replicas=2)
    engines = {each.name: each.begin(story.spec()) for each in tick.VARIANTS}
    told, played = set(), set()
    for _ in range(20):
        event = story.look()
        for name, engine in engines.items():
            [decision] = engine.handle(event).decisions
            if decision.hindsight:
                told.add(name)
            if decision.measures.rule_replicas is not None:
                played.add(name)
    assert told == {"whole", "candidates"}
    assert played == {"whole", "hindsight"}


def test_the_story_follows_the_decisions():
    """Replicas that are decided exist on the next tick, and are ready after a cold start."""
    story = tick.Story(replicas=8)
    first = story.look()
    story._resize("spot", 9, created_at=first.at)
    second = story.look()
    [model] = second.models
    assert [pool.current_replicas for pool in model.pools] == [2, 9]
    assert model.replicas.ready.tolist() == [True] * 8 + [False] * 3
