"""Takes a model's history in: the one place from which all that learns from traffic is given its minutes.

Rows of a time that was observed, or taken before, teach nothing: what has been seen is better known than what a
store says of it, and nothing counts twice. No guard reads any of this: until a window was full since the
first observation nothing is scaled down, whatever a history says.
"""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np

from autoscaler.core.candidates import limits_of, play_minutes
from autoscaler.core.contract.events import HistoryRead
from autoscaler.core.contract.history import HistoryEnd, HistoryTaken
from autoscaler.core.contract.spec import EngineSettings, ForecastMode, ModelSpec
from autoscaler.core.demand.minutes import measure_minutes
from autoscaler.core.forecast.minutes import learn_minutes
from autoscaler.core.history.rows import SoundRows, sound_rows
from autoscaler.core.memory import ModelMemory
from autoscaler.core.policy import candidates
from autoscaler.core.policy.replica_value import steps_ahead
from autoscaler.core.pools.order import PoolOrder
from autoscaler.core.supply.cold_starts import ColdStartMemory, cold_start_s
from autoscaler.core.tuning import TUNING


def take_history(
    event: HistoryRead,
    *,
    at: float,
    settings: EngineSettings,
    spec: ModelSpec,
    order: PoolOrder,
    memory: ModelMemory,
) -> Generator[None, None, HistoryTaken]:
    """Take in what of a history is new; yields between pieces.

    Args:
        event: with the history.
        at: now, seconds.
        settings: of the engine.
        spec: of the model.
        order: of its pools.
        memory: of the model; changed.
    """
    after = -math.inf if memory.history_until is None else memory.history_until
    until = at if memory.first_at is None else min(at, memory.first_at)
    seen = None
    if memory.known_from is not None and memory.known_until is not None:
        seen = memory.known_from, memory.known_until
    sound = sound_rows(event.history, after=after, until=until, seen=seen)
    yield
    if len(sound.rows):
        memory.history_until = float(sound.rows.at[-1])
        begun_at = float(sound.rows.at[0]) - sound.rows.span_s
        memory.learnt_from = min(memory.learnt_from or begun_at, begun_at)
        yield from _learn(sound, at=at, settings=settings, spec=spec, order=order, memory=memory)
    return _taken(spec.key, sound)


def _learn(
    sound: SoundRows,
    *,
    at: float,
    settings: EngineSettings,
    spec: ModelSpec,
    order: PoolOrder,
    memory: ModelMemory,
) -> Generator[None, None, None]:
    """Let everything learn that learns from the minutes of a model, in order of time.

    Whatever else does so begins here: `sound.rows` are in order, each moment once, NaN where unknown.
    """
    rows = sound.rows
    offered = yield from measure_minutes(memory.demand, rows=rows, targets=spec.targets)
    if spec.forecast_mode is ForecastMode.OFF or settings.policy == "reactive":
        return
    starts = memory.cold_starts.get(spec.pools[order.preferred].name, ColdStartMemory())
    start_s = cold_start_s(starts, prior_s=spec.cold_start_prior_s)
    if settings.policy == candidates.NAME:
        yield from play_minutes(
            memory.candidates,
            rows=rows,
            offered_replicas=offered,
            service_s=memory.demand.service_time.alone_s,
            limits=limits_of(spec, cold_start_s=start_s),
        )
    steps = steps_ahead(cold_start_s=start_s, tick_s=settings.tick_s)
    yield from learn_minutes(
        memory.forecast,
        at=rows.at,
        offered_replicas=offered,
        span_s=rows.span_s,
        now=at,
        mean_s=TUNING.mean_steps * steps.step_s,
        service_s=memory.demand.service_time.measured_s,
    )


def _taken(model: str, sound: SoundRows) -> HistoryTaken:
    """Say what was taken in."""
    count = int(np.count_nonzero(sound.known))
    if not count:
        return nothing_taken(model, HistoryEnd.NOTHING_NEW, left_out=sound.left_out)
    at = sound.rows.at
    return HistoryTaken(
        model=model,
        end=HistoryEnd.TAKEN,
        from_at=float(at[0]) - sound.rows.span_s,
        until_at=float(at[-1]),
        rows=count,
        left_out=sound.left_out,
        known_ratio=count / len(at),
    )


def nothing_taken(model: str, end: HistoryEnd, *, left_out: int) -> HistoryTaken:
    """Say that nothing of a history was taken in."""
    return HistoryTaken(
        model=model,
        end=end,
        from_at=None,
        until_at=None,
        rows=0,
        left_out=left_out,
        known_ratio=None,
    )
