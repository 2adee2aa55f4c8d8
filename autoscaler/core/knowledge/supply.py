"""Of knowledge: how long starts and drains took."""

from __future__ import annotations

from autoscaler.core.knowledge.packing import GarbledError, Packer, Unpacker
from autoscaler.core.knowledge.part import Given, Grain
from autoscaler.core.memory import ModelMemory
from autoscaler.core.supply.cold_starts import ColdStartMemory
from autoscaler.core.supply.drains import FinishedDrain
from autoscaler.core.tuning import TUNING

_PARTS_OF_SECOND = 10.0
OLD_S = 86_400.0
"""Of starts that were measured longer ago only the last few are kept: the image may be another one."""
_OLD_STARTS = 5
_POOLS_MAX = 24
_DRAINS = 20
_DRAIN_S_MAX = 7_200.0


def pack_starts(memory: ModelMemory, grain: Grain) -> bytes | None:  # noqa: ARG001  as all parts
    """Write the last starts of each pool."""
    measured = {name: each for name, each in memory.cold_starts.items() if each.measured_s}
    if not measured:
        return None
    packer = Packer()
    pools = sorted(measured)[:_POOLS_MAX]
    packer.counts(len(pools))
    for name in pools:
        starts = measured[name]
        packer.text(name)
        packer.counts(len(starts.measured_s))
        for seconds in (starts.measured_s, starts.whole_s):
            packer.counts(*(round(_PARTS_OF_SECOND * each) for each in seconds))
    return packer.packed()


def put_back_starts(packed: bytes, memory: ModelMemory, given: Given) -> str:
    """Put them before those that were measured since."""
    unpacker = Unpacker(packed)
    (count,) = unpacker.counts(1, most=_POOLS_MAX)
    found: dict[str, tuple[list[float], list[float]]] = {}
    for _ in range(count):
        name = unpacker.text()
        (starts,) = unpacker.counts(1, most=TUNING.starts_measured_max)
        measured_s, whole_s = (
            [each / _PARTS_OF_SECOND for each in unpacker.counts(starts)] for _ in range(2)
        )
        found[name] = measured_s, whole_s
    unpacker.end()
    kept = _OLD_STARTS if given.age_s > OLD_S else TUNING.starts_measured_max
    for pool in given.spec.pools:
        if pool.name not in found:
            continue
        now = memory.cold_starts.setdefault(pool.name, ColdStartMemory())
        measured_s, whole_s = found[pool.name]
        now.measured_s[:0] = measured_s[-kept:]
        now.whole_s[:0] = whole_s[-kept:]
        del now.measured_s[: -TUNING.starts_measured_max]
        del now.whole_s[: -TUNING.starts_measured_max]
        now.known_until = given.written_at
        now.finished = None
    return ""


def pack_drains(memory: ModelMemory, grain: Grain) -> bytes | None:  # noqa: ARG001  as all parts
    """Write the last drains."""
    drains = memory.drains.measured[-_DRAINS:]
    if not drains:
        return None
    packer = Packer()
    packer.counts(len(drains))
    packer.floats(*(each.in_flight_requests for each in drains))
    packer.floats(*(each.took_s for each in drains))
    return packer.packed()


def put_back_drains(packed: bytes, memory: ModelMemory, given: Given) -> str:  # noqa: ARG001  as all parts
    """Put them before those that were seen since."""
    unpacker = Unpacker(packed)
    (count,) = unpacker.counts(1, most=_DRAINS)
    held, took_s = unpacker.floats(count), unpacker.floats(count)
    unpacker.end()
    if any(each > _DRAIN_S_MAX for each in took_s):
        raise GarbledError("a drain of hours")
    memory.drains.measured[:0] = [
        FinishedDrain(in_flight_requests=requests, took_s=seconds)
        for requests, seconds in zip(held, took_s, strict=True)
    ]
    del memory.drains.measured[: -TUNING.drains_measured_max]
    return ""
