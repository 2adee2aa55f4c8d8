"""Promises that we have written and not seen yet: the watch may be later than the answer to the write.

What the API server has accepted stands on the scale target, whatever is observed of it. A tick that decided
from what is observed alone would promise for a node once more, with the need of another moment, and write a
smaller promise over the greater one; or count on one that was given back.
"""

from __future__ import annotations

from dataclasses import replace

from autoscaler.core.contract.promise_text import from_text
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.contract.state import ModelObservation, PoolObservation
from autoscaler.core.memory import Memory


def with_own_promises(
    observation: ModelObservation, spec: ModelSpec, *, memory: Memory
) -> ModelObservation:
    """Put what we have promised in the place of what is observed, as long as that is older.

    A promise counts so from its acceptance until it was seen; from then on what is seen counts, for others
    may write there too. One that is not seen in its time (`COMMAND_TIMEOUT_S` from its sending) was written
    over by somebody. Promises that cannot be read are left alone.

    Args:
        observation: of the model, its pools those of the spec.
        spec: of the model.
        memory: of the engine; a promise that has been seen is forgotten.

    Returns:
        The observation to decide on; the same object where nothing is on its way.
    """
    if not memory.pending:
        return observation  # almost every tick
    pools = tuple(
        [
            _with_own(pool, str(about.target), memory=memory)
            for pool, about in zip(observation.pools, spec.pools, strict=True)
        ]
    )
    if all(new is old for new, old in zip(pools, observation.pools, strict=True)):
        return observation
    return replace(observation, pools=pools)


def _with_own(pool: PoolObservation, target: str, *, memory: Memory) -> PoolObservation:
    pending = memory.pending.get(("Annotate", target))
    if pending is None or not pending.accepted or not pool.promises_readable:
        return pool
    assert pending.value is None or isinstance(pending.value, str)
    own = from_text(pending.value)
    assert own is not None  # it was written by `to_text`
    if own == pool.promises:
        del memory.pending[pending.kind, pending.target]
        return pool
    return replace(pool, promises=own)
