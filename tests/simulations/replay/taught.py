"""Replays of which a first part is played and not scored: what it teaches is what they are about."""

from __future__ import annotations

from simulations.replay.conditions import (
    ConditionsRequest,
    conditions_of,
    load_tested,
    with_maximum,
    with_score_from,
)
from simulations.replay.replay import run
from simulations.results.scorecard import Score, score
from simulations.traces.trace import Trace


def played(trace: Trace, *, taught_s: float, **asked: str) -> Score:
    """Replay it; `asked` is what else is asked for of its conditions."""
    request = ConditionsRequest(
        profile="llama-3.1-8b/1xL40S", cold_start="standard", score_from=str(taught_s), **asked
    )
    made = with_score_from(conditions_of(request), trace)
    made = with_maximum(load_tested(made, trace), trace)
    return score(run(trace, "inference-aware", seed=0, conditions=made))
