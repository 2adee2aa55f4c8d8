"""Who is in one replica's engine: its queue, those that run, and those that have ended."""

from __future__ import annotations

from simulations.serving.gauges import FOREVER, NEVER
from simulations.serving.kernel.batch import leave
from simulations.serving.kernel.cache import disown, release
from simulations.serving.kernel.compiled import compiled_function, inlined_function
from simulations.serving.kernel.layout import NONE, Lane
from simulations.serving.kernel.observe import observe_whole


@inlined_function
def put(lane: Lane, slot: int) -> None:
    """A request is sent; calls come in order of `inbox_ns`."""
    r, slots = lane.replica[0], lane.slots
    request = slots[slot]
    request.next = NONE
    if r.queue_tail == NONE:
        r.queue_head = slot
        r.shortest = request.output
    else:
        slots[r.queue_tail].next = slot
        r.shortest = min(r.shortest, request.output)
    r.queue_tail = slot
    if r.inbox_head == NONE:
        r.inbox_head = slot
    r.drop_ns = min(r.drop_ns, max(request.deadline_ns, request.inbox_ns))


@inlined_function
def read_inbox(lane: Lane, at_ns: int) -> None:
    """Let the engine see what is in the inbox by then."""
    r, slots = lane.replica[0], lane.slots
    while r.inbox_head != NONE and slots[r.inbox_head].inbox_ns <= at_ns:
        r.inbox_head = slots[r.inbox_head].next
        r.waiting += 1


@inlined_function
def run_next(lane: Lane, slot: int) -> None:
    """Take the head of the queue into the running ones, as the newest."""
    r, slots = lane.replica[0], lane.slots
    request = slots[slot]
    r.queue_head = request.next
    r.waiting -= 1
    if r.queue_head == NONE:
        r.queue_tail = NONE
    request.order = r.admissions
    r.admissions += 1
    r.running += 1
    request.previous = r.running_tail
    request.next = NONE
    if r.running_tail == NONE:
        r.running_head = slot
    else:
        slots[r.running_tail].next = slot
    r.running_tail = slot


@compiled_function
def preempt(lane: Lane, slot: int) -> None:
    """Send the newest back to the head of the queue."""
    r, slots = lane.replica[0], lane.slots
    stop_running(lane, slot)
    r.preemptions += 1
    request = slots[slot]
    request.next = r.queue_head
    if r.queue_head == NONE:
        r.queue_tail = slot
        r.shortest = request.output - request.produced
    else:
        r.shortest = min(r.shortest, request.output - request.produced)
    r.queue_head = slot
    r.waiting += 1


@inlined_function
def finish(lane: Lane, slot: int, end: int) -> None:
    """A request has its last token; it stays until its client has seen it."""
    stop_running(lane, slot)
    disown(lane, slot)
    lane.replica[0].finished += 1
    lane.slots[slot].end_ns = end
    observe_whole(lane, slot)
    _append_ended(lane, slot)


@compiled_function
def drop_aborted(lane: Lane, at_ns: int) -> None:
    """Forget requests whose clients have gone, and find the next deadline."""
    r, slots = lane.replica[0], lane.slots
    r.drop_ns = FOREVER
    slot = r.running_head
    while slot != NONE:
        following = slots[slot].next
        if slots[slot].deadline_ns <= at_ns:
            stop_running(lane, slot)
            _drop(lane, slot, at_ns)
        else:
            r.drop_ns = min(r.drop_ns, slots[slot].deadline_ns)
        slot = following
    before = NONE
    slot = r.queue_head
    while slot != NONE:
        request = slots[slot]
        following = request.next
        if request.inbox_ns <= at_ns and request.deadline_ns <= at_ns:
            if before == NONE:
                r.queue_head = following
            else:
                slots[before].next = following
            if following == NONE:
                r.queue_tail = before
            r.waiting -= 1
            r.blocked = 0
            _drop(lane, slot, at_ns)
        else:
            r.drop_ns = min(r.drop_ns, max(request.deadline_ns, request.inbox_ns))
            if not lane.parameters[0].retries:
                return  # those behind arrived later, and give up later
            before = slot
        slot = following


@inlined_function
def stop_running(lane: Lane, slot: int) -> None:
    """Stop running, whatever the reason."""
    r, slots = lane.replica[0], lane.slots
    request = slots[slot]
    if request.finish != NEVER:
        leave(lane, slot)
    release(lane, slot)
    if r.partial == slot:
        r.partial = NONE
    if request.previous == NONE:
        r.running_head = request.next
    else:
        slots[request.previous].next = request.next
    if request.next == NONE:
        r.running_tail = request.previous
    else:
        slots[request.next].previous = request.previous
    r.running -= 1
    r.blocked = 0


@inlined_function
def _drop(lane: Lane, slot: int, at_ns: int) -> None:
    disown(lane, slot)
    lane.replica[0].finished += 1
    lane.replica[0].aborted += 1
    lane.slots[slot].end_ns = at_ns
    lane.slots[slot].dropped = 1
    _append_ended(lane, slot)


@inlined_function
def _append_ended(lane: Lane, slot: int) -> None:
    r, slots = lane.replica[0], lane.slots
    slots[slot].next = NONE
    if r.ended_tail == NONE:
        r.ended_head = slot
    else:
        slots[r.ended_tail].next = slot
    r.ended_tail = slot
