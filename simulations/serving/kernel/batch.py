"""Decodes of one replica: what their steps cost in closed form, and who finishes when."""

# Fields of records have no static type.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import uintp

from simulations.serving.gauges import NEVER
from simulations.serving.kernel.compiled import inlined_function
from simulations.serving.kernel.division import begun_blocks, beyond_blocks, whole_blocks
from simulations.serving.kernel.layout import Lane

FEW_STEPS = 64
"""Up to here a span exceeds as many steps of the first one's length by little more than one such step."""
ORDER_BITS = 31
"""Bits of a heap key that hold the order of admission, below the finish: 2e9 admissions to one replica."""


@inlined_function
def decode_ns(p: Any, decodes: int, context: int) -> int:
    """A step of so many decodes alone, with so many tokens before it."""
    beyond = max(0, decodes - p.flat_tokens)
    return p.step_ns + p.token_ns * beyond + p.kv_token_ns * (context + decodes)


@inlined_function
def pause_after_ns(p: Any, decodes: int) -> int:
    """From the end of a step with so many decodes to the next one's start."""
    return p.pause_ns + p.pause_decode_ns * decodes


@inlined_function
def span_ns(first: int, growth: int, steps: int) -> int:
    """From the start of a step to the start of the one so many steps later."""
    return steps * first + growth * (steps * (steps - 1) // 2)


@inlined_function
def steps_within(first: int, growth: int, span: int) -> int:
    """The most steps whose span is at most so long."""
    steps = span // first  # if none were longer than the first: of few steps hardly one too many
    if growth and steps > FEW_STEPS:
        # growth/2 n^2 + (first - growth/2) n <= span, in the form that loses no digits, then checked.
        linear = float(2 * first - growth)
        root = np.sqrt(linear * linear + 8.0 * float(growth) * float(span))
        steps = int(4.0 * float(span) / (linear + root)) + 1
    while span_ns(first, growth, steps) > span:
        steps -= 1
    return steps


@inlined_function
def blocks_needed(lane: Lane, steps: int) -> int:
    """Blocks that so many steps of the decodes take."""
    r = lane.replica[0]
    size = lane.parameters[0].block_tokens
    rounds = whole_blocks(lane.parameters[0], steps)
    needed = rounds * r.decodes
    phase = r.phase
    for _ in range(steps - rounds * size):
        needed += lane.phases[uintp(phase)]
        phase = phase - 1 if phase else size - 1
    return needed


@inlined_function
def steps_with_blocks(lane: Lane, steps: int) -> int:
    """How many of so many decode steps find all their blocks among the free ones."""
    p, r = lane.parameters[0], lane.replica[0]
    free = r.free
    if r.decodes * begun_blocks(p, steps) <= free:
        return steps
    rounds = min(whole_blocks(p, steps), free // r.decodes)
    free -= rounds * r.decodes
    made = rounds * p.block_tokens
    phase = r.phase
    while made < steps:
        free -= lane.phases[uintp(phase)]
        if free < 0:
            break
        made += 1
        phase = phase - 1 if phase else p.block_tokens - 1
    return made


@inlined_function
def pass_steps(p: Any, r: Any, steps: int) -> None:
    """So many steps were made with the present decodes."""
    r.generation_tokens += steps * r.decodes
    r.context += steps * r.decodes
    r.steps += steps
    phase = r.phase - beyond_blocks(p, steps)
    r.phase = phase if phase >= 0 else phase + p.block_tokens


@inlined_function
def join(lane: Lane, slot: int) -> None:
    """From the next step on the request decodes."""
    r = lane.replica[0]
    request = lane.slots[slot]
    request.finish = r.steps + request.output - request.produced
    _push(lane.keys, lane.holders, r.decodes, (request.finish << ORDER_BITS) | request.order, slot)
    r.decodes += 1
    r.context += request.computed
    lane.phases[uintp(beyond_blocks(lane.parameters[0], request.computed + r.phase))] += 1


@inlined_function
def leave(lane: Lane, slot: int) -> None:
    """The request decodes no more; its counts are brought up to date."""
    r = lane.replica[0]
    request = lane.slots[slot]
    key = (request.finish << ORDER_BITS) | request.order
    position = 0
    while lane.keys[uintp(position)] != key:
        position += 1
    _remove(lane.keys, lane.holders, r.decodes, position)
    request.produced = request.output - (request.finish - r.steps)
    request.computed = request.prompt + request.produced - 1
    request.finish = NEVER
    r.decodes -= 1
    r.context -= request.computed
    lane.phases[uintp(beyond_blocks(lane.parameters[0], request.computed + r.phase))] -= 1


@inlined_function
def steps_to_finish(lane: Lane) -> int:
    """Steps until the first of the decodes has all its tokens."""
    return (lane.keys[0] >> ORDER_BITS) - lane.replica[0].steps


@inlined_function
def needs_block(p: Any, r: Any, request: Any) -> bool:
    """Whether the next token of a decode begins a block."""
    produced = request.output - (request.finish - r.steps)
    return beyond_blocks(p, request.prompt + produced - 1) == 0


@inlined_function
def _push(keys: Any, holders: Any, size: int, key: int, slot: int) -> None:
    position = size
    while position:
        parent = (position - 1) >> 1
        if keys[uintp(parent)] <= key:
            break
        keys[uintp(position)] = keys[uintp(parent)]
        holders[uintp(position)] = holders[uintp(parent)]
        position = parent
    keys[uintp(position)] = key
    holders[uintp(position)] = slot


@inlined_function
def _remove(keys: Any, holders: Any, size: int, position: int) -> None:
    """Fill the hole at `position` with the last one."""
    last = size - 1
    key, slot = keys[uintp(last)], holders[uintp(last)]
    # Down to a leaf, always to the smaller child, then up: the last one was a leaf, and hardly goes far.
    # What is smaller is added, as no branch predictor could guess it.
    child = 2 * position + 1
    while child < last:
        if child + 1 < last:
            child += int(keys[uintp(child + 1)] < keys[uintp(child)])
        keys[uintp(position)] = keys[uintp(child)]
        holders[uintp(position)] = holders[uintp(child)]
        position = child
        child = 2 * position + 1
    while position:
        parent = (position - 1) >> 1
        if keys[uintp(parent)] <= key:
            break
        keys[uintp(position)] = keys[uintp(parent)]
        holders[uintp(position)] = holders[uintp(parent)]
        position = parent
    keys[uintp(position)] = key
    holders[uintp(position)] = slot
