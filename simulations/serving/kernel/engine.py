"""One replica's engine, moved forward to a moment: equal to the reference, without its every step.

Between two events (a completion, an arrival that can be admitted, blocks that run out, a time-out) a
batch of `B` decodes over `K` tokens of context makes steps that grow by `c * B` each, so `n` of them
take `n * first + c * B * n * (n - 1) / 2`: one jump. Only steps with a prefill in them, or that must
preempt, are made one by one. The rules are stated in `reference.fleet`.
"""

# Fields of records have no static type.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from typing import Any

from simulations.serving.gauges import FOREVER, NEVER
from simulations.serving.kernel.batch import (
    blocks_needed,
    decode_ns,
    join,
    needs_block,
    pass_steps,
    pause_after_ns,
    span_ns,
    steps_to_finish,
    steps_with_blocks,
    steps_within,
)
from simulations.serving.kernel.cache import disown, hold, hold_own, identify, leading, take
from simulations.serving.kernel.compiled import compiled_function, inlined_function
from simulations.serving.kernel.division import begun_blocks, whole_prefixes
from simulations.serving.kernel.layout import NONE, Lane
from simulations.serving.kernel.observe import observe_first
from simulations.serving.kernel.requests import drop_aborted, finish, preempt, read_inbox, run_next


@compiled_function
def advance(lane: Lane, limit_ns: int) -> None:
    """Make the steps that end by `limit_ns`; all that was sent before it must be in the queue."""
    r = lane.replica[0]
    while True:
        if r.step_end_ns != NEVER:
            if r.step_end_ns > limit_ns:
                return
            _end_step(lane)
            continue
        start = next_start(lane)
        if start >= limit_ns:
            return
        if plain_decoding(lane, start):
            if _stretch(lane, start, limit_ns):
                continue
            if blocks_needed(lane, 1) <= r.free:
                return
        _start_step(lane, start)


@inlined_function
def next_start(lane: Lane) -> int:
    """When the next step starts; FOREVER: there is nothing to do."""
    r = lane.replica[0]
    if r.running or r.waiting:
        return r.start_ns
    if r.queue_head == NONE:
        return FOREVER
    return max(r.start_ns, lane.slots[r.queue_head].inbox_ns)


@inlined_function
def plain_decoding(lane: Lane, start: int) -> bool:
    """Whether the step that starts then only decodes (or preempts)."""
    r = lane.replica[0]
    if r.partial != NONE or not r.decodes or start >= r.drop_ns:
        return False
    if r.blocked:
        return True
    return r.queue_head == NONE or (not r.waiting and lane.slots[r.queue_head].inbox_ns > start)


@inlined_function
def _stretch(lane: Lane, start: int, limit_ns: int) -> int:
    """Make as many plain decode steps as can be told in one go; returns how many."""
    p, r = lane.parameters[0], lane.replica[0]
    decodes = r.decodes
    pause = pause_after_ns(p, decodes)
    first = decode_ns(p, decodes, r.context) + pause
    if start + first - pause > limit_ns:
        return 0
    growth = p.kv_token_ns * decodes
    finishing = steps_to_finish(lane)
    # Most stretches end with a completion: then the whole jump fits, and nothing has to be solved.
    steps = finishing
    if start + span_ns(first, growth, steps) > limit_ns + pause:
        steps = steps_within(first, growth, limit_ns + pause - start)
    bound = r.drop_ns
    if r.inbox_head != NONE and not r.blocked:
        bound = min(bound, lane.slots[r.inbox_head].inbox_ns)
    if start + span_ns(first, growth, steps - 1) >= bound:
        steps = min(steps, 1 + steps_within(first, growth, bound - 1 - start))
    steps = steps_with_blocks(lane, steps)
    if steps <= 0:
        return 0
    r.last_start_ns = start + span_ns(first, growth, steps - 1)
    r.start_ns = start + span_ns(first, growth, steps)
    take(lane, blocks_needed(lane, steps))
    pass_steps(p, r, steps)
    if steps == finishing:
        _finish_decodes(lane, r.start_ns - pause)
    return steps


@inlined_function
def _start_step(lane: Lane, start: int) -> None:
    """Compose the step that starts then: decodes, the partial prefill, admissions."""
    p, r = lane.parameters[0], lane.replica[0]
    _show(lane)
    read_inbox(lane, start)
    if start >= r.drop_ns:
        drop_aborted(lane, start)
    r.last_start_ns = start
    if not r.running and not r.waiting:
        r.shown = 0
        return
    preempted = _take_decode_blocks(lane)
    budget = p.step_tokens_max - r.decodes
    tokens = r.decodes
    pairs = 0
    prefills = 0
    r.prefill_head = NONE
    if r.partial != NONE:
        slot = r.partial
        request = lane.slots[slot]
        count = min(budget, request.prompt + request.produced - request.computed)
        if _missing(p, request, count) > r.free:
            preempt(lane, slot)
            preempted = True
        elif count:
            pairs += _prefill(lane, slot, count)
            budget -= count
            tokens += count
            prefills += 1
            r.prefill_head = slot
    if not preempted:
        r.blocked = 0
        while r.waiting and budget:
            slot = r.queue_head
            if r.running == p.requests_max or not _give_cached(lane, slot):
                r.blocked = 1
                break
            run_next(lane, slot)
            request = lane.slots[slot]
            if request.admitted_ns == NEVER:
                request.admitted_ns = start
            count = min(budget, request.prompt + request.produced - request.computed)
            pairs += _prefill(lane, slot, count)
            budget -= count
            tokens += count
            prefills += 1
            if r.prefill_head == NONE:
                r.prefill_head = slot
    r.step_end_ns = (
        start
        + p.step_ns
        + p.token_ns * max(0, tokens - p.flat_tokens)
        + p.kv_token_ns * (r.context + r.decodes)
        + p.attention_ps * pairs // 1000
        + p.prefill_request_ns * prefills
    )


@inlined_function
def _end_step(lane: Lane) -> None:
    """Take in the tokens of the step under way."""
    p, r, slots = lane.parameters[0], lane.replica[0], lane.slots
    end = r.step_end_ns
    r.step_end_ns = NEVER
    r.shown = 0
    r.start_ns = end + pause_after_ns(p, r.decodes)
    pass_steps(p, r, 1)
    _finish_decodes(lane, end)
    slot = r.prefill_head
    r.prefill_head = NONE
    while slot != NONE:
        following = slots[slot].next
        _end_prefill(lane, slot, end)
        slot = following


@inlined_function
def _end_prefill(lane: Lane, slot: int, end: int) -> None:
    """A request that prefilled in the step that ends gets a token, if that was the last of it."""
    r = lane.replica[0]
    request = lane.slots[slot]
    if request.computed < request.prompt + request.produced:
        r.partial = slot
        return
    if r.partial == slot:
        r.partial = NONE
    request.produced += 1
    r.generation_tokens += 1
    if request.produced == 1:
        r.prompt_tokens += request.prompt
        request.first_ns = end + lane.parameters[0].after_ns
        observe_first(lane, slot)
    if request.produced == request.output:
        finish(lane, slot, end)
    else:
        join(lane, slot)


@inlined_function
def _finish_decodes(lane: Lane, end: int) -> None:
    """Let those leave whose last token this step computed."""
    while lane.replica[0].decodes and steps_to_finish(lane) == 0:
        finish(lane, lane.holders[0], end)


@compiled_function
def _take_decode_blocks(lane: Lane) -> bool:
    """Give each decode the block it may need, preempting the newest; True: one was."""
    p, r, slots = lane.parameters[0], lane.replica[0], lane.slots
    needed = blocks_needed(lane, 1)
    if needed <= r.free:
        take(lane, needed)
        return False
    slot = r.running_head
    while slot != NONE:
        following = slots[slot].next
        if slots[slot].finish != NEVER and needs_block(p, r, slots[slot]):
            while r.free == 0:
                newest = r.running_tail
                preempt(lane, newest)
                if newest == slot:
                    return True
                if newest == following:
                    following = NONE
            take(lane, 1)
        slot = following
    return True


@inlined_function
def _missing(p: Any, request: Any, tokens: int) -> int:
    """Blocks that so many more tokens of a prefill take."""
    return begun_blocks(p, request.computed + tokens) - begun_blocks(p, request.computed)


@inlined_function
def _prefill(lane: Lane, slot: int, tokens: int) -> int:
    """Schedule so many tokens of a prompt; returns the pairs of its attention."""
    p = lane.parameters[0]
    request = lane.slots[slot]
    take(lane, _missing(p, request, tokens))
    if request.prefixes:
        # Those it holds and those it computes now follow each other, as long as it holds them all.
        upto = min(request.prefixes, whole_prefixes(p, request.computed + tokens))
        if upto > request.held:
            start = request.prefix_start + request.held
            request.held += identify(lane, start, upto - request.held)
    pairs = tokens * request.computed + tokens * (tokens + 1) // 2
    request.computed += tokens
    return pairs


@inlined_function
def _give_cached(lane: Lane, slot: int) -> bool:
    """Let the request hold what is cached of it, if blocks for all the rest are free."""
    p, r = lane.parameters[0], lane.replica[0]
    request = lane.slots[slot]
    known = request.prompt + request.produced
    hits = 0
    idle = 0
    own = 0
    if p.caching:
        if request.prefixes:
            most = min(request.prefixes, whole_prefixes(p, known - 1))
            hits, idle = leading(lane, request.prefix_start, most)
        if hits == request.prefixes and request.own != NONE:
            own = lane.entries[request.own].blocks
    hit_blocks = hits * p.prefix_blocks + own
    missing = begun_blocks(p, known) - hit_blocks
    if missing > r.free - own - idle * p.prefix_blocks:
        return False
    hold(lane, request.prefix_start, hits)
    if own:
        hold_own(lane, slot)
    else:
        disown(lane, slot)
    request.held = hits
    request.computed = hit_blocks * p.block_tokens
    if p.caching:
        r.queried += known
        r.hit += request.computed
    return True


@inlined_function
def _show(lane: Lane) -> None:
    """Keep the page of the end of the last step while the next one is under way."""
    r = lane.replica[0]
    read_inbox(lane, r.last_start_ns)
    r.shown = 1
    r.shown_waiting = r.waiting
    r.shown_running = r.running
    r.shown_free = r.free
    r.shown_finished = r.finished
    r.shown_preemptions = r.preemptions
    r.shown_queried = r.queried
    r.shown_hit = r.hit
    r.shown_aborted = r.aborted
