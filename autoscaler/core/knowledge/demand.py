"""Of knowledge: how long a request takes, and what queues taught of what a replica carries."""

from __future__ import annotations

import math
from dataclasses import replace

from autoscaler.core.demand.ratio_window import RatioWindow
from autoscaler.core.demand.service_time import BatchLine
from autoscaler.core.knowledge.packing import Packer, Unpacker
from autoscaler.core.knowledge.part import Given, Grain
from autoscaler.core.memory import ModelMemory
from autoscaler.core.tuning import TUNING

_WINDOWS = ("window", "calm_window", "batch", "tokens")
_SUMS = 7


def pack_service(memory: ModelMemory, grain: Grain) -> bytes | None:  # noqa: ARG001  as all parts
    """Write the service time, the sums of which it was measured, and the line of the batch."""
    now = memory.demand.service_time
    if now.measured_s is None:
        return None
    packer = Packer()
    packer.floats(now.measured_s)
    for name in _WINDOWS:
        window: RatioWindow = getattr(now, name)
        packer.floats(window.numerator, window.denominator)
    packer.floats(*now.line.sums)
    return packer.packed()


def put_back_service(packed: bytes, memory: ModelMemory, given: Given) -> str:
    """Put it before what was measured since; what fades has faded."""
    unpacker = Unpacker(packed)
    (measured_s,) = unpacker.floats(1)
    sums = {name: unpacker.floats(2) for name in _WINDOWS}
    line = unpacker.floats(_SUMS)
    unpacker.end()
    now = memory.demand.service_time
    left = math.exp(-given.age_s / TUNING.batch_line_s)
    before = [left * each for each in line]
    joined = [mine + others for mine, others in zip(now.line.sums, before, strict=True)]
    memory.demand.service_time = replace(
        now,
        measured_s=measured_s if now.measured_s is None else now.measured_s,
        line=BatchLine(
            since=now.line.since,
            busy_s=now.line.busy_s,
            tokens=now.line.tokens,
            completed=now.line.completed,
            replica_s=now.line.replica_s,
            sums=(joined[0], joined[1], joined[2], joined[3], joined[4], joined[5], joined[6]),
        ),
        **{name: _before(getattr(now, name), sums[name], given) for name in _WINDOWS},
    )
    return ""


def _before(window: RatioWindow, sums: list[float], given: Given) -> RatioWindow:
    """Put what a window held when it was written before what it holds now, as one bucket."""
    joined = RatioWindow(span_s=window.span_s, bucket_s=window.bucket_s)
    if given.age_s < window.span_s:
        joined.add(given.written_at, numerator=sums[0], denominator=sums[1])
    for number, numerator, denominator in window.buckets:
        joined.add(number * window.bucket_s, numerator=numerator, denominator=denominator)
    return joined


def pack_carried(memory: ModelMemory, grain: Grain) -> bytes | None:  # noqa: ARG001  as all parts
    """Write what queues taught."""
    now = memory.demand.carried
    if now.taught_at is None or now.ratio >= 1.0:
        return None
    packer = Packer()
    packer.floats(now.ratio)
    packer.moments(now.taught_at)
    return packer.packed()


def put_back_carried(packed: bytes, memory: ModelMemory, given: Given) -> str:
    """Put it back where no queue has taught anything since."""
    unpacker = Unpacker(packed)
    (ratio,) = unpacker.floats(1, least=TUNING.carried_ratio_min / 2.0)
    (taught_at,) = unpacker.moments(1, until=given.written_at)
    unpacker.end()
    now = memory.demand.carried
    if now.taught_at is not None:
        return "queues have taught since"
    doubt = math.exp(-given.age_s / TUNING.carried_doubt_s)
    now.ratio, now.taught_at = 1.0 - (1.0 - min(1.0, ratio)) * doubt, taught_at
    return ""
