"""When a request of a replica may finish at the earliest: until then nobody need look at it.

A bound that is too early costs a look; one that is too late would be an end noticed late, and a request
routed to the wrong replica. Every token takes a step, and no step is shorter than reading the weights:
that holds whatever comes. While the present decodes stay together it is known to the nanosecond how
long their steps last alone, and whoever joins them only makes them longer.
"""

# Fields of records have no static type.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from simulations.serving.gauges import FOREVER, NEVER
from simulations.serving.kernel.batch import decode_ns, pause_after_ns, span_ns, steps_to_finish
from simulations.serving.kernel.compiled import inlined_function
from simulations.serving.kernel.division import begun_blocks
from simulations.serving.kernel.engine import next_start, plain_decoding
from simulations.serving.kernel.layout import NONE, Lane

FEW = 1 << 20
"""Steps that a bound looks ahead at most."""


@inlined_function
def completion_bound_ns(lane: Lane) -> int:
    """No request that is here finishes before this moment, whatever else arrives."""
    p, r, slots = lane.parameters[0], lane.replica[0], lane.slots
    steps = FEW
    if r.step_end_ns != NEVER:
        if r.decodes:
            steps = min(steps, steps_to_finish(lane) - 1)
        slot = r.prefill_head
        while slot != NONE:
            steps = min(steps, slots[slot].output - slots[slot].produced - 1)
            slot = slots[slot].next
        if r.queue_head != NONE:
            steps = min(steps, r.shortest)
        if steps == 0:
            return r.step_end_ns
        following = r.step_end_ns + pause_after_ns(p, r.decodes)
        return _steps_bound_ns(lane, following, r.context + r.decodes, steps)
    start = next_start(lane)
    if start == FOREVER:
        return FOREVER
    if r.decodes:
        steps = min(steps, steps_to_finish(lane))
    if plain_decoding(lane, start):
        bound = _steps_bound_ns(lane, start, r.context, steps)
        if r.blocked:
            bound = min(bound, _together_ns(lane, start, steps) + r.shortest * p.step_ns)
        elif r.queue_head != NONE:
            admitted = max(start, slots[r.queue_head].inbox_ns)
            bound = min(bound, admitted + r.shortest * p.step_ns)
        return bound
    if r.partial != NONE:
        steps = min(steps, slots[r.partial].output - slots[r.partial].produced)
    if r.queue_head != NONE:
        steps = min(steps, r.shortest)
    return _steps_bound_ns(lane, start, r.context, steps)


@inlined_function
def _steps_bound_ns(lane: Lane, start: int, context: int, steps: int) -> int:
    """A lower bound of the end of so many steps in which none of the present decodes finishes.

    Others may come and go; they make steps longer. What makes them shorter is that a decode leaves.

    Args:
        lane: The replica.
        start: Of the first of the steps, or before it.
        context: Of the present decodes, when the first of the steps starts.
        steps: How many.
    """
    p, r = lane.parameters[0], lane.replica[0]
    least = start + steps * p.step_ns
    if not r.decodes:
        return least
    kept = _steps_kept(lane, steps)
    pause = pause_after_ns(p, r.decodes)
    first = decode_ns(p, r.decodes, context) + pause
    decoding = start + span_ns(first, p.kv_token_ns * r.decodes, kept) - pause
    decoding += (steps - kept) * p.step_ns
    return max(least, min(decoding, max(start, r.drop_ns) + p.step_ns))


@inlined_function
def _together_ns(lane: Lane, start: int, steps: int) -> int:
    """A lower bound of the moment at which a decode leaves without finishing, or a waiting request gets in."""
    p, r = lane.parameters[0], lane.replica[0]
    dropped = max(start, r.drop_ns)
    kept = _steps_kept(lane, steps)
    if kept == steps:
        return dropped
    first = decode_ns(p, r.decodes, r.context) + pause_after_ns(p, r.decodes)
    return min(dropped, start + span_ns(first, p.kv_token_ns * r.decodes, kept))


@inlined_function
def _steps_kept(lane: Lane, steps: int) -> int:
    """In how many of so many steps none of the decodes can be preempted, whatever arrives.

    The newest is preempted first and gives its blocks back, so the decodes have at least the blocks that
    are free now.
    """
    p, r = lane.parameters[0], lane.replica[0]
    if r.decodes * begun_blocks(p, steps) <= r.free:
        return steps
    return min(steps, r.free // r.decodes * p.block_tokens)
