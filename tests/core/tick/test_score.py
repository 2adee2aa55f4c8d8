"""Decisions scored on every tick, as the engine does it: what counts, what does not, and what is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autoscaler.core.contract.codec import to_builtins
from autoscaler.core.contract.scores import Scores
from autoscaler.core.contract.state import HistogramColumns
from autoscaler.core.scores.memory import ScoreMemory
from autoscaler.core.tick.parts import Parts
from tests.builders import (
    ON_DEMAND,
    UNKNOWN,
    group,
    lost,
    model,
    notice,
    observed,
    on_demand,
    seen,
    spot,
)
from tests.expect import Scenario

FULL = 32.0
"""Requests in flight that are one replica's worth of demand."""
AT = 36_000.0


def scores(story: Scenario) -> Scores:
    told = story.decision.scores
    assert told is not None
    return told


def test_the_first_look_begins_and_counts_nothing():
    story = Scenario(model())
    story.look(AT, group(ready=5, running=FULL), wants=5)
    told = scores(story)
    assert (told.scored_s, told.unscored_s, sum(told.idle_gpu_s)) == (0.0, 0.0, 0.0)


def test_what_is_idle_is_told_by_who_keeps_it():
    story = Scenario(model(minimum=2, warm=3, cold_start_s=60.0, pools=[on_demand(price=3.6)]))
    half = group(ready=8, running=FULL / 8)
    story.look(AT, half, wants=5)
    story.look(AT + 5.0, half, wants=4)
    told = scores(story)
    assert story.decision.desired_replicas == 5, "the window holds one"
    assert told.scored_s == 5.0
    assert told.idle_gpu_s == (5.0, 5.0, 5.0, 5.0, 0.0, 15.0), "one is needed, three are released"
    assert told.idle_usd == pytest.approx(35.0 * 0.001)


def test_without_a_price_the_idle_time_has_none():
    story = Scenario(model(pools=[on_demand(price=1.0), spot()]))
    story.look(AT, group(ready=2, running=1.0), wants=2)
    story.look(AT + 5.0, group(ready=2, running=1.0), wants=2)
    assert sum(scores(story).idle_gpu_s) == 5.0
    assert scores(story).idle_usd is None


def test_capacity_that_comes_late_is_counted_and_told():
    story = Scenario(model(cold_start_s=60.0))
    for tick in range(5):
        rows = group(ready=2, running=FULL, waiting=FULL / 2, starting=[5.0 * tick, 5.0 * tick])
        story.look(AT + 5.0 * tick, rows, wants=4)
    told = scores(story)
    assert told.late_s == 20.0
    assert told.late_replica_s == pytest.approx(
        20.0 * (story.decision.measures.demand_replicas - 2)
    )
    assert told.remarks == ()
    story.look(AT + 25.0, group(ready=4, running=FULL / 2), wants=4)
    assert scores(story).late_s == 20.0
    [remark] = scores(story).remarks
    assert remark.startswith("capacity came 20 s late")
    story.look(AT + 30.0, group(ready=4, running=FULL / 2), wants=4)
    assert scores(story).remarks == ()


def test_a_scale_down_that_is_regretted_is_told():
    story = Scenario(model(cold_start_s=180.0))
    for at, replicas in ((0.0, 5), (5.0, 3), (25.0, 3), (45.0, 5)):
        rows = group(ready=3, running=FULL)
        story.look(AT + at, rows, wants=replicas, current={"on-demand": replicas})
    [remark] = scores(story).remarks
    assert remark == (
        "the scale-down of 10:00 UTC was regretted: 2 replicas were asked for again after 40 s, "
        "within a cold start of 180 s"
    )
    assert scores(story).regretted_gpu_s == 2 * 140.0


@pytest.mark.parametrize(
    "blind",
    [
        {"sample_age_s": 100.0},
        {"sample_age_s": UNKNOWN},
        {"cluster_age_s": 100.0},
        {"current": {"on-demand": None}},
    ],
    ids=["stale", "never read", "cluster stale", "target unreadable"],
)
def test_what_is_not_known_is_not_scored(blind):
    sample_age_s = blind.pop("sample_age_s", 1.0)
    story = Scenario(model())
    story.look(AT, group(ready=5, running=1.0), wants=5)
    story.look(AT + 5.0, group(ready=5, running=1.0), wants=5)
    before = scores(story)
    story.look(AT + 10.0, group(ready=5, running=1.0, sample_age_s=sample_age_s), wants=5, **blind)
    assert scores(story) == before._replace(unscored_s=5.0)
    story.look(AT + 15.0, group(ready=5, running=1.0), wants=5)
    assert scores(story).scored_s == 10.0


def test_a_model_that_is_not_seen_and_one_with_a_bug_are_not_scored():
    story = Scenario(model())
    story.look(AT, group(ready=5, running=1.0), wants=5)
    story.respecify(AT + 1.0, model(pools=[on_demand("renamed")]))
    story.look(AT + 5.0, wants=5)
    story.look(AT + 10.0, wants=5)
    assert scores(story).unscored_s > 0.0

    def broken(*_, **__):
        raise KeyError("impossible")

    parts = Parts()
    guards = replace(parts.guards, after_budget=dict.fromkeys(parts.guards.after_budget, broken))
    story = Scenario(model(), parts=replace(parts, guards=guards))
    story.look(AT, group(ready=5, running=1.0), wants=5)
    story.look(AT + 5.0, group(ready=5, running=1.0), wants=5)
    assert story.decision.reason == "InvariantBroken"
    assert (scores(story).scored_s, scores(story).unscored_s) == (0.0, 5.0)


def test_a_gap_between_two_looks_is_not_scored():
    story = Scenario(model())
    story.look(AT, group(ready=5, running=1.0), wants=5)
    story.look(AT + 300.0, group(ready=5, running=1.0), wants=5)
    assert (scores(story).scored_s, scores(story).unscored_s) == (0.0, 300.0)
    assert sum(scores(story).idle_gpu_s) == 0.0


def test_a_scale_down_that_happened_in_a_gap_has_no_moment():
    story = Scenario(model(cold_start_s=180.0))
    story.look(AT, group(ready=5, running=1.0), wants=5)
    story.look(AT + 300.0, group(ready=3, running=1.0), wants=3)
    story.look(AT + 305.0, group(ready=3, running=1.0), wants=5, current={"on-demand": 5})
    assert scores(story).scale_downs == scores(story).regretted_replicas == 0


def test_replicas_on_a_noticed_node_serve_until_it_is_lost():
    spec = model(pools=[on_demand(), spot()], warm=1, warm_on=ON_DEMAND)
    rows = [*group(ready=1, running=FULL), *group("spot", ready=2, running=FULL, node="n")]
    story = Scenario(spec)
    story.look(AT, rows, wants=3)
    noticed = [notice("n", deadline_at=AT + 60.0, noticed_at=AT)]
    story.look(AT + 5.0, rows, wants=3, interruptions=noticed, current={"on-demand": 3, "spot": 2})
    assert scores(story).late_s == 0.0
    gone = [*group(ready=1, running=FULL, starting=[10.0, 10.0]), *rows[1:]]
    story.look(AT + 10.0, gone, wants=3, interruptions=[lost("n", noticed_at=AT)])
    assert scores(story).late_s == 5.0


def test_what_is_lost_with_a_node_is_the_interruption_and_with_a_scale_down_is_not():
    story = Scenario(model(maximum=10))
    stays = group(ready=1, running=3.0, name="stays")
    goes = group(ready=1, running=5.0, node="n", name="goes")
    story.look(AT, stays, goes, wants=2)
    story.look(AT + 5.0, stays, goes, wants=2, interruptions=[lost("n")])
    story.look(AT + 10.0, stays, wants=2, interruptions=[lost("n")])
    assert scores(story).missed_requests.interruption == 5.0
    assert sum(scores(story).missed_requests) == 5.0


def test_what_histograms_say_was_missed_is_told_by_cause_and_nothing_twice():
    """Late first tokens while demand was above what served; the lost ones are the interruption's alone."""
    story = Scenario(model(maximum=10))

    def look(at: float, *rows, counted: tuple[float, float], **more):
        event = observed(seen(story.spec, *rows, current={"on-demand": 4}), at=AT + at, **more)
        [of_model] = event.models
        counts = np.array([[counted[0]], [sum(counted)]])
        [row] = [at for at, name in enumerate(of_model.replicas.name) if "stays" in name]
        ttft = HistogramColumns(bounds=(2.0,), rows=np.array([row]), counts=counts)
        created_at = np.full(len(of_model.replicas), AT - 6_000.0)
        replicas = replace(of_model.replicas, ttft=(ttft,), created_at=created_at)
        event = replace(event, models=(replace(of_model, replicas=replicas),))
        story.outcome = story.engine.handle(event)
        return scores(story).missed_requests

    stays = group(ready=1, running=FULL, waiting=FULL, name="stays")
    goes = group(ready=1, running=FULL, node="n", name="goes")
    look(0.0, stays, goes, counted=(100.0, 0.0))
    missed = look(5.0, stays, goes, counted=(110.0, 7.0))
    assert (missed.no_capacity_yet, sum(missed)) == (7.0, 7.0)
    look(10.0, stays, goes, counted=(120.0, 7.0), interruptions=[lost("n")])
    missed = look(15.0, stays, counted=(130.0, 7.0), interruptions=[lost("n")])
    assert (missed.interruption, sum(missed)) == (FULL, 7.0 + FULL)


def test_scores_come_back_with_a_checkpoint_and_go_on():
    story = Scenario(model())
    for at, replicas in ((0.0, 5), (5.0, 3), (10.0, 3)):
        story.look(AT + at, group(ready=3, running=1.0), wants=3, current={"on-demand": replicas})
    before = scores(story)
    story.restart(remembered=True)
    story.look(AT + 15.0, group(ready=3, running=1.0), wants=5, current={"on-demand": 5})
    assert scores(story).scored_s == before.scored_s + 5.0
    assert scores(story).regretted_replicas == 2


def test_what_is_remembered_of_a_model_stays_small():
    story = Scenario(model(maximum=400, cold_start_s=600.0))
    for tick in range(60):
        replicas = 300 - 4 * tick + (tick % 3)
        story.look(
            AT + 5.0 * tick,
            group(ready=20, running=FULL),
            wants=replicas,
            current={"on-demand": replicas},
        )
    scores_of_it = story.engine._memory.models["serving/llama"].scores
    assert 8 * count_numbers(to_builtins(scores_of_it, ScoreMemory)) <= 1024


def count_numbers(plain: object) -> int:
    if isinstance(plain, dict):
        return sum(map(count_numbers, plain.values()))
    return sum(map(count_numbers, plain)) if isinstance(plain, list) else 1
