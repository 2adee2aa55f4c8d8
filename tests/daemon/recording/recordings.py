"""Recordings of a real engine, made without a cluster. As a program it records until it is killed."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from autoscaler.core.contract.events import (
    CommandFinished,
    Event,
    HistoryRead,
    KnowledgeRead,
    Observed,
)
from autoscaler.core.contract.history import HistoryColumns
from autoscaler.core.engine import EngineSettings, build_engine
from autoscaler.daemon.recording.recorder import Recorder
from tests.builders import (
    ON_DEMAND,
    group,
    model,
    notice,
    observed,
    on_demand,
    seen,
    specified,
    spot,
)

SPEC = model(
    pools=[on_demand(price=3.0), spot(price=1.0)],
    maximum=8,
    warm=1,
    warm_on=ON_DEMAND,
    cold_start_s=20.0,
)
STARTED_AT = 1_800_000_000.0


def history(minutes: int = 600) -> HistoryColumns:
    """Ten hours of before, with gaps and what cannot be."""
    shape = [2.0 + math.sin(minute / 50.0) for minute in range(minutes)]
    rates = np.array([math.nan if minute % 97 < 5 else each for minute, each in enumerate(shape)])
    rates[7], rates[11] = -1.0, math.inf
    return HistoryColumns(
        at=STARTED_AT - 60.0 * np.arange(minutes, dtype=np.float64)[::-1],
        span_s=60.0,
        arrivals_per_s=rates,
        completed_per_s=rates,
        running_requests=9.0 * rates,
        waiting_requests=np.zeros(minutes),
        kv_usage_replicas=np.full(minutes, math.nan),
        replicas=np.full(minutes, 2.0),
    )


def knowledge() -> str:
    """What another engine had learnt of the same model."""
    engine = build_engine()
    for event in story(300):
        engine.handle(dataclasses.replace(event, at=event.at - 3_600.0))
    text = engine.remember(SPEC.key)
    assert text is not None
    return text


def story(ticks: int, *, past: bool = False) -> Iterator[Event]:
    """Load that comes and goes, a spot node that is taken back now and then."""
    yield dataclasses.replace(specified(SPEC, at=STARTED_AT), id=1)
    number, replicas = 1, 1
    if past:
        yield KnowledgeRead(id=2, at=STARTED_AT, model=SPEC.key, text=knowledge())
        yield HistoryRead(id=3, at=STARTED_AT, model=SPEC.key, history=history())
        number = 3
    for tick in range(ticks):
        at = STARTED_AT + 5.0 * tick
        running = 20.0 + 18.0 * math.sin(tick / 9.0)
        replicas = 1 + tick // 7 % 3
        doomed = [notice("spot-node", deadline_at=at + 60)] if tick % 40 > 35 else []
        number += 1
        event = observed(
            seen(
                SPEC,
                group("on-demand", ready=1, running=running),
                group("spot", ready=replicas, starting=[3.0] * (tick % 2), running=running),
            ),
            at=at,
            interruptions=doomed,
        )
        yield dataclasses.replace(event, id=number)


def record(
    recorder: Recorder,
    ticks: int,
    settings: EngineSettings | None = None,
    *,
    past: bool = False,
) -> list[Event]:
    """Drive an engine as the loop does; returns all events."""
    engine = build_engine(settings or EngineSettings())
    handled: list[Event] = []

    def handle(event: Event) -> None:
        if recorder.wants_checkpoint():
            recorder.begin(engine.checkpoint(), at=event.at, first_event=event.id)
        outcome = engine.handle(event)
        recorder.append(event, outcome)
        handled.append(event)
        for command in outcome.commands:
            handle(
                CommandFinished(
                    id=handled[-1].id + 1,
                    at=event.at,
                    command=command.id,
                    accepted=True,
                    reason="Accepted",
                )
            )

    offset = 0
    for event in story(ticks, past=past):
        before = len(handled)
        handle(dataclasses.replace(event, id=event.id + offset))
        offset += len(handled) - before - 1
    return handled


def recorder_in(folder: Path, **options: Any) -> Recorder:
    """A recorder as the daemon makes it."""
    return Recorder(
        folder,
        settings=EngineSettings(),
        started_at=options.pop("started_at", STARTED_AT),
        **options,
    )


def recorded(folder: Path, ticks: int = 30, **options: Any) -> list[Event]:
    """Record a story and close it."""
    recorder = recorder_in(folder, **options)
    handled = record(recorder, ticks)
    recorder.close()
    return handled


def main() -> None:
    """Record for ever, saying how many observations were handed over; to be killed."""
    recorder = recorder_in(Path(sys.argv[1]), segment_bytes=int(sys.argv[2]))
    engine = build_engine(EngineSettings())
    for count, event in enumerate(story(1_000_000)):
        if recorder.wants_checkpoint():
            recorder.begin(engine.checkpoint(), at=event.at, first_event=event.id)
        recorder.append(event, engine.handle(event))
        if isinstance(event, Observed):
            time.sleep(0.002)
        if recorder.recorded_events >= 100 and count % 20 == 0:
            print(recorder.recorded_events, flush=True)


if __name__ == "__main__":
    main()
