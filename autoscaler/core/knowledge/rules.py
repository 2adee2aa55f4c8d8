"""Of knowledge: what a replica carries, what the rules would have cost and missed, and which of them decides."""

from __future__ import annotations

import math

import numpy as np

from autoscaler.core.candidates.capacity import BINS, RATIOS, SEATS_RATIOS
from autoscaler.core.candidates.fleets import HYPOTHESES
from autoscaler.core.candidates.peaks import BLOCK, BLOCKS, FINE
from autoscaler.core.candidates.rules import MEANS_S, PEAKS, RULES, SHARES
from autoscaler.core.contract.state import FloatArray
from autoscaler.core.knowledge.packing import GarbledError, Notches, Packer, Unpacker
from autoscaler.core.knowledge.part import Given, Grain
from autoscaler.core.memory import ModelMemory
from autoscaler.core.supply.cold_starts import ColdStartMemory, cold_start_s
from autoscaler.core.tuning import TUNING

_HYPOTHESES = len(RATIOS) * len(SEATS_RATIOS)
_UNLIKELY: Notches = {"ratio": 1e4, "count": 250}
_REPLICA_S: Notches = {"ratio": 100.0, "count": 1_000}
"""Half a per cent apart: rules are told apart by three."""
_MISSED: Notches = {"ratio": 1e4, "count": 250}
_LOAD: tuple[Notches, Notches] = ({"ratio": 1e3, "count": 2_000}, {"ratio": 100.0, "count": 250})
_FLEET_SUMS: tuple[tuple[str, Notches], ...] = (
    ("replica_s", _REPLICA_S),
    ("starts", _MISSED),
    ("by_chance", _MISSED),
    ("late", _MISSED),
)
_MINUTE_STEPS = 4
_MINUTES = FINE // _MINUTE_STEPS
LAYOUT = (
    tuple(RATIOS.tolist()),
    tuple(SEATS_RATIOS.tolist()),
    BINS,
    RULES,
    BLOCKS,
    FINE,
    TUNING.play_s,
)


def pack_capacity(memory: ModelMemory, grain: Grain) -> bytes | None:  # noqa: ARG001  as all parts
    """Write how likely it is that a replica carries so much."""
    now = memory.candidates.capacity
    if now.judged <= 0.0:
        return None
    packer = Packer()
    packer.counts(now.hypothesis)
    packer.floats(now.judged, *now.calm, *now.queued)
    packer.notches(now.likelihood.max() - now.likelihood, **_UNLIKELY)
    packer.notches(now.calm_missed, **_MISSED)
    packer.notches(now.calm_judged, **_MISSED)
    return packer.packed()


def put_back_capacity(packed: bytes, memory: ModelMemory, given: Given) -> str:
    """Add it to what was seen since; what fades has faded."""
    unpacker = Unpacker(packed)
    (hypothesis,) = unpacker.counts(1, most=_HYPOTHESES - 1)
    judged, *pairs = unpacker.floats(5)
    unlikely = unpacker.notches((_HYPOTHESES,), **_UNLIKELY)
    calm_missed, calm_judged = (unpacker.notches((BINS,), **_MISSED) for _ in range(2))
    unpacker.end()
    left = given.left(half_life_s=TUNING.capacity_half_life_s)
    now = memory.candidates.capacity
    calm, queued = (left * pairs[0], left * pairs[1]), (left * pairs[2], left * pairs[3])
    now.put_before(
        hypothesis=hypothesis,
        likelihood=-left * unlikely,
        calm=calm,
        queued=queued,
        judged=left * judged,
        calm_missed=left * calm_missed,
        calm_judged=left * calm_judged,
    )
    return ""


def pack_choice(memory: ModelMemory, grain: Grain) -> bytes | None:  # noqa: ARG001  as all parts
    """Write which rule decides, and what became of it."""
    now = memory.candidates
    if now.played_s <= 0.0:
        return None
    packer = Packer()
    choice = now.choice
    packer.counts(choice.chosen, int(now.settled))
    packer.moments(choice.since)
    packer.floats(now.played_s, choice.missed, choice.judged, choice.foreseen)
    return packer.packed()


def put_back_choice(packed: bytes, memory: ModelMemory, given: Given) -> str:
    """Put it back where no rule was chosen since."""
    unpacker = Unpacker(packed)
    chosen, settled = unpacker.counts(2)
    (since,) = unpacker.moments(1, until=given.written_at)
    played_s, missed, judged, foreseen = unpacker.floats(4)
    unpacker.end()
    if chosen >= len(RULES) or settled > 1:
        raise GarbledError("a rule that there is not")
    if given.age_s > TUNING.played_half_life_s:
        return "it is too long ago for a rule to decide by it"
    now = memory.candidates
    left = given.left(half_life_s=TUNING.played_half_life_s)
    choice = now.choice
    if choice.since is None:
        choice.chosen, choice.since = chosen, since
    choice.missed += left * missed
    choice.judged += left * judged
    choice.foreseen += left * foreseen
    now.played_s += played_s
    now.settled = now.settled or bool(settled)
    return ""


def pack_fleets(memory: ModelMemory, grain: Grain) -> bytes | None:  # noqa: ARG001  as all parts
    """Write what all rules would have cost and missed, if replicas carry what they are held to carry."""
    now = memory.candidates
    row = now.capacity.believed - now.fleets.first
    if now.played_s <= 0.0 or not 0 <= row < HYPOTHESES or now.fleets.played_s[row] <= 0.0:
        return None
    packer = Packer()
    packer.counts(now.capacity.believed)
    packer.floats(float(now.fleets.arrivals[row]), float(now.fleets.played_s[row]))
    for name, notches in _FLEET_SUMS:
        packer.notches(getattr(now.fleets, name)[row], **notches)
    return packer.packed()


def put_back_fleets(packed: bytes, memory: ModelMemory, given: Given) -> str:
    """Add it to what was played since; what fades has faded."""
    unpacker = Unpacker(packed)
    (believed,) = unpacker.counts(1, most=len(RATIOS) - 1)
    arrivals, played_s = unpacker.floats(2)
    shape = (PEAKS, len(SHARES))
    sums = {name: unpacker.notches(shape, **notches) for name, notches in _FLEET_SUMS}
    unpacker.end()
    now = memory.candidates
    if believed != now.capacity.believed:
        return "replicas are held to carry something else since"
    left = given.left(half_life_s=TUNING.played_half_life_s)
    now.fleets.play_around(believed)
    row = believed - now.fleets.first
    now.fleets.arrivals[row] += left * arrivals
    now.fleets.played_s[row] += left * played_s
    for name, found in sums.items():
        getattr(now.fleets, name)[row] += left * found
    return ""


def pack_peaks(memory: ModelMemory, grain: Grain) -> bytes | None:
    """Write the highest loads of the last forty minutes and twelve hours."""
    now = memory.candidates.peaks
    if not now.steps:
        return None
    packer = Packer()
    packer.counts(grain, BLOCK + now.steps % BLOCK)  # where in a block it is
    minutes = now.fine.reshape(len(MEANS_S), _MINUTES, _MINUTE_STEPS).max(axis=2)
    packer.notches(minutes, **_LOAD[grain])
    packer.notches(now.coarse, **_LOAD[grain])
    return packer.packed()


def put_back_peaks(packed: bytes, memory: ModelMemory, given: Given) -> str:
    """Put them before those that were seen since."""
    unpacker = Unpacker(packed)
    (grain,) = unpacker.counts(1, most=1)
    (steps,) = unpacker.counts(1, most=2 * BLOCK - 1)
    minutes = unpacker.notches((len(MEANS_S), _MINUTES), **_LOAD[grain])
    coarse = unpacker.notches((len(MEANS_S), BLOCKS), **_LOAD[grain])
    unpacker.end()
    fine: FloatArray = np.repeat(minutes, _MINUTE_STEPS, axis=1)
    now = memory.candidates
    starts = memory.cold_starts.get(given.preferred, ColdStartMemory())
    now.peaks.put_before(
        fine=fine,
        coarse=coarse,
        steps=steps,
        passed_steps=math.floor(given.age_s / TUNING.play_s),
        cold_start_s=cold_start_s(starts, prior_s=given.spec.cold_start_prior_s),
    )
    return ""
