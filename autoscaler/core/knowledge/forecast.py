"""Of knowledge: how demand was seen to move, what it was of late, and how it rises."""

from __future__ import annotations

import math

import numpy as np

from autoscaler.core.contract.state import FloatArray
from autoscaler.core.forecast.experts.registry import FORECASTERS
from autoscaler.core.forecast.history import SLOT_S, SLOTS
from autoscaler.core.forecast.learning import ForecastMemory
from autoscaler.core.forecast.minutes import put_before
from autoscaler.core.forecast.ramp import CELLS
from autoscaler.core.forecast.residuals import BINS, LEADS_S, SeenBefore
from autoscaler.core.knowledge.packing import GarbledError, Notches, Packer, Unpacker
from autoscaler.core.knowledge.part import Given, Grain
from autoscaler.core.memory import ModelMemory
from autoscaler.core.tuning import TUNING

_MINUTE_S = 60.0
_MINUTE_SLOTS = round(_MINUTE_S / SLOT_S)
_MINUTES = SLOTS // _MINUTE_SLOTS
_MASS: tuple[Notches, Notches] = ({"ratio": 1e4, "count": 60}, {"ratio": 1e3, "count": 12})
"""Notches a sixth apart: a quantile moves by less than one place of the histogram. Roughly: nearly by two."""
_SUMS: Notches = {"ratio": 1e6, "count": 4_000}
_LOAD: Notches = {"ratio": 1e4, "count": 2_000}
_RISEN: Notches = {"ratio": 1e6, "count": 250}
_SHAPE = (len(LEADS_S), len(FORECASTERS), BINS)


def pack_residuals(memory: ModelMemory, grain: Grain) -> bytes | None:
    """Write how demand strayed from each baseline, busy and idle."""
    now = memory.forecast
    states = (now.busy, now.idle)
    if not any(state.seen.any() for state in states):
        return None
    packer = Packer()
    packer.counts(grain, now.lead + 1, now.mean_slots)
    packer.floats(*now.score[:5], abs(now.score[5]), now.score[6])
    packer.counts(int(now.score[5] < 0.0))
    for state in states:
        packer.counts(int(state.seen.any()))
        if state.seen.any():
            for sums in (state.seen, state.total / state.growth, state.loss / state.growth):
                packer.notches(sums, **_SUMS)
            # Of each histogram its own shape: those of long leads have seen less.
            packer.notches(state.mass / state.mass.max(axis=2, keepdims=True), **_MASS[grain])
    return packer.packed()


def put_back_residuals(packed: bytes, memory: ModelMemory, given: Given) -> str:
    """Add them to what was seen since; what fades has faded."""
    unpacker = Unpacker(packed)
    (grain,) = unpacker.counts(1, most=1)
    lead, mean_slots = unpacker.counts(2, most=SLOTS)
    score = unpacker.floats(7)
    (below,) = unpacker.counts(1, most=1)
    found = [_seen_before(unpacker, _MASS[grain]) for _ in range(2)]
    unpacker.end()
    if lead > len(LEADS_S):
        raise GarbledError("a lead that there is not")
    if memory.history_until is not None:
        return "a history has taught it since"
    now = memory.forecast
    left = math.exp(-given.age_s / TUNING.residual_decay_s)
    weights = (TUNING.prior_weight, TUNING.idle_prior_weight)
    for state, before, weight in zip((now.busy, now.idle), found, weights, strict=True):
        if before is not None:
            state.add_seen_before(before, weight=left, prior_weight=weight)
    if now.lead < 0:
        now.lead = lead - 1
    now.mean_slots = max(now.mean_slots, 1, mean_slots if now.history.slot < 0 else 1)
    score[5] *= -1.0 if below else 1.0
    sums = [mine + left * others for mine, others in zip(now.score, score, strict=True)]
    now.score = (sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6])
    return ""


def _seen_before(unpacker: Unpacker, notches: Notches) -> SeenBefore | None:
    """Take one state's histograms; None: nothing was seen in it."""
    if not unpacker.counts(1, most=1)[0]:
        return None
    seen, total = (unpacker.notches(_SHAPE[:1], **_SUMS) for _ in range(2))
    loss = unpacker.notches(_SHAPE[:2], **_SUMS)
    mass = unpacker.notches(_SHAPE, **notches)
    sums = mass.sum(axis=2, keepdims=True)
    if not ((total > 0.0).all() and (loss > 0.0).all() and (sums > 0.0).all()):
        raise GarbledError("a histogram of nothing")
    return SeenBefore(mass=mass / sums * total[:, None, None], total=total, loss=loss, seen=seen)


def pack_load(memory: ModelMemory, grain: Grain) -> bytes | None:  # noqa: ARG001  as all parts
    """Write the load of the last minutes, as means."""
    now = memory.forecast
    history = now.history
    if history.slot < 0 or history.anchor_at is None:
        return None
    recent = history.recent(min(SLOTS, history.slot + 1))
    means: list[float] = []
    for end in range(len(recent), _MINUTE_SLOTS - 1, -_MINUTE_SLOTS):
        known = [each for each in recent[end - _MINUTE_SLOTS : end] if not math.isnan(each)]
        if len(known) < _MINUTE_SLOTS // 2:
            break
        means.insert(0, math.fsum(known) / len(known))
    if not means:
        return None
    packer = Packer()
    packer.moments(history.anchor_at + history.slot * SLOT_S, now.rose_at)
    packer.counts(len(means))
    packer.notches(np.array(means), **_LOAD)
    return packer.packed()


def put_back_load(packed: bytes, memory: ModelMemory, given: Given) -> str:
    """Put it before what was seen since, so that means of minutes are means of minutes."""
    unpacker = Unpacker(packed)
    until_at, rose_at = unpacker.moments(2, until=given.written_at + SLOT_S)
    (count,) = unpacker.counts(1, most=_MINUTES)
    means = unpacker.notches((count,), **_LOAD)
    unpacker.end()
    if until_at is None or not count:
        raise GarbledError("loads without a moment")
    now = memory.forecast
    if given.at - until_at > SLOTS * SLOT_S:
        return "it is too long ago to say anything of now"
    if now.history.slot + 1 >= SLOTS // 2:
        return "the load of now is known"
    if now.rose_at is None:
        now.rose_at = rose_at
    _put_before(now, until_at=until_at, means=means, at=given.at)
    return ""


def _put_before(memory: ForecastMemory, *, until_at: float, means: FloatArray, at: float) -> None:
    """Put means of minutes into the ring; what lies between them and now is unknown."""
    begun_at = memory.history.anchor_at
    rows = until_at - _MINUTE_S * np.arange(len(means) - 1, -1, -1, dtype=np.float64)
    gap = max(0, math.floor(((at if begun_at is None else begun_at) - until_at) / _MINUTE_S))
    if begun_at is None and gap:
        # The ring begins with the newest row, so that the time without one is there as such.
        ends = until_at + _MINUTE_S * np.arange(1, gap + 1, dtype=np.float64)
        rows = np.concatenate([rows, ends])
        means = np.concatenate([means, np.full(gap, np.nan)])
    put_before(memory, at=rows, offered_replicas=means, span_s=_MINUTE_S)


def pack_ramp(memory: ModelMemory, grain: Grain) -> bytes | None:  # noqa: ARG001  as all parts
    """Write what had risen within one cold start."""
    now = memory.ramp
    if now.load <= 0.0:
        return None
    packer = Packer()
    packer.floats(now.load / now.growth, now.watched_s, now.asked_s)
    packer.counts(0 if now.replicas is None else now.replicas + 1)
    packer.notches(np.array(now.risen) / now.growth, **_RISEN)
    return packer.packed()


def put_back_ramp(packed: bytes, memory: ModelMemory, given: Given) -> str:
    """Add it to what was watched since; what fades has faded."""
    unpacker = Unpacker(packed)
    load, watched_s, asked_s = unpacker.floats(3)
    (replicas,) = unpacker.counts(1)
    risen: list[float] = unpacker.notches((CELLS,), **_RISEN).tolist()
    unpacker.end()
    now = memory.ramp
    weight = now.growth * math.exp(-given.age_s / TUNING.residual_decay_s)
    now.load += weight * load
    now.risen = [mine + weight * others for mine, others in zip(now.risen, risen, strict=True)]
    now.watched_s += watched_s
    now.asked_s = max(now.asked_s, asked_s)
    if now.replicas is None and replicas:
        now.replicas = min(replicas - 1, given.spec.max_replicas)
    return ""
