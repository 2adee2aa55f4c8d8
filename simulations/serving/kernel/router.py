"""The router and the clients: who gets which request, and what they see of it."""

# Fields of records have no static type.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulations.serving.columns import RequestOutcome
from simulations.serving.gauges import FOREVER, NEVER
from simulations.serving.histograms import TPOT, TTFT
from simulations.serving.kernel.compiled import compiled_function, entry_point, inlined_function
from simulations.serving.kernel.completion import completion_bound_ns
from simulations.serving.kernel.engine import advance
from simulations.serving.kernel.layout import (
    DONE,
    MORE_QUEUE,
    MORE_SLOTS,
    NONE,
    PREFIX,
    ROUND_ROBIN,
    UNROUTABLE,
    Lane,
    State,
)
from simulations.serving.kernel.observe import write_cumulated
from simulations.serving.kernel.requests import put, read_inbox

ABORTED = int(RequestOutcome.ABORTED)
COMPLETED = int(RequestOutcome.COMPLETED)
LOST = int(RequestOutcome.LOST)


@entry_point
def run(s: State, until_ns: int) -> int:
    """Process all that happens up to and including `until_ns`; DONE, or what there is too little of."""
    c = s.control[0]
    rows = len(s.arrival_ns)
    while True:
        # One call for both ends of the loop, so that it can be merged into it.
        arrives = c.next_arrival < rows and s.arrival_ns[c.next_arrival] <= until_ns
        at_ns = s.arrival_ns[c.next_arrival] if arrives else until_ns
        _settle_due(s, at_ns)
        if not arrives:
            return DONE
        status = send(s, at_ns, c.next_arrival)
        if status != DONE:
            return status
        c.next_arrival += 1


@entry_point
def drain_queue(s: State, at_ns: int) -> int:
    """Send what waits at the router; somebody is routable now."""
    c = s.control[0]
    while c.queue_size:
        request = s.queue[c.queue_head]
        status = send(s, at_ns, request)
        if status != DONE:
            return status
        c.queue_head += 1
        c.queue_size -= 1
    return DONE


@entry_point
def forget(s: State, row: int, left: NDArray[np.int64]) -> int:
    """Empty a replica that is gone; `left` takes the requests that were in flight, unsorted."""
    r = s.replicas[row]
    count = 0
    for head in (r.running_head, r.queue_head, r.ended_head):
        slot = head
        while slot != NONE:
            following = s.slots[slot].next
            if not s.slots[slot].concluded:
                left[count] = s.slots[slot].request
                count += 1
            _free_slot(s, slot)
            slot = following
    return count


@entry_point
def lose(s: State, at_ns: int, request: int) -> int:
    """A request's replica is gone: send it again while retries are left."""
    if len(s.tries) and s.tries[request] < s.parameters[0].retries:
        status = send(s, at_ns, request)
        if status == DONE:
            s.tries[request] += 1
        return status
    _conclude(s, request, at_ns, LOST, NEVER)
    return DONE


@entry_point
def read_pages(s: State, at_ns: int, at_s: float, out: NDArray[np.float64]) -> None:
    """Move every replica to this moment and write its page into the column of its number.

    Rows: as `histograms` says; as it is, or as it was when the step under way began.
    """
    usable = s.parameters[0].usable
    for position in range(s.control[0].members):
        here = lane(s, s.members[position])
        r = here.replica[0]
        advance(here, at_ns)
        if r.shown:
            free = r.shown_free
        else:
            free = r.free
            read_inbox(here, r.last_start_ns)
        column = r.number
        out[0, column] = at_s
        out[1, column] = r.shown_waiting if r.shown else r.waiting
        out[2, column] = r.shown_running if r.shown else r.running
        out[3, column] = float(usable - free) / float(usable)
        out[4, column] = r.shown_finished if r.shown else r.finished
        out[5, column] = r.prompt_tokens
        out[6, column] = r.generation_tokens
        out[7, column] = r.shown_preemptions if r.shown else r.preemptions
        out[8, column] = r.shown_queried if r.shown else r.queried
        out[9, column] = r.shown_hit if r.shown else r.hit
        out[10, column] = r.shown_aborted if r.shown else r.aborted
        out[11, column] = r.steps
        out[12, column] = r.queue_ns
        out[13, column] = r.queued
        write_cumulated(here.ttft, out, TTFT.start, column)
        write_cumulated(here.tpot, out, TPOT.start, column)


@entry_point
def in_flight_now(s: State) -> int:
    """Requests at replicas whose clients have not seen the end."""
    total = 0
    for position in range(s.control[0].members):
        total += s.in_flight[position] % UNROUTABLE
    return total


@inlined_function
def lane(s: State, row: int) -> Lane:
    """One replica's part of the arrays."""
    return Lane(
        s.parameters,
        s.replicas[row : row + 1],
        s.slots,
        s.entries[row],
        s.buckets[row],
        s.phases[row],
        s.keys[row],
        s.holders[row],
        s.prefix,
        s.ttft[row],
        s.tpot[row],
    )


@inlined_function
def send(s: State, at_ns: int, request: int) -> int:
    """Route a request, or let it wait at the router."""
    c, p = s.control[0], s.parameters[0]
    position = _choose(s, request)
    if position == NONE:
        return _queue_up(s, request)
    row = s.members[position]
    slot = c.slot_free
    if slot == NONE:
        if c.slots == len(s.slots):
            return MORE_SLOTS
        slot = c.slots
        c.slots += 1
    else:
        c.slot_free = s.slots[slot].next
    c.cursor = position + 1
    r = s.replicas[row]
    start = s.prefix_start[request]
    made = s.slots[slot]
    made.request = request
    made.prompt = s.prompt[request]
    made.output = s.output[request]
    made.prefix_start = start
    made.prefixes = s.prefix_start[request + 1] - start
    made.inbox_ns = at_ns + p.before_ns
    made.deadline_ns = s.arrival_ns[request] + p.timeout_ns
    made.admitted_ns = NEVER
    made.first_ns = NEVER
    made.finish = NEVER
    made.own = NONE
    made.produced = made.computed = made.held = made.concluded = made.dropped = 0
    if p.routing == PREFIX:
        for block in range(start, s.prefix_start[request + 1]):
            s.owner[s.prefix[block], 0] = r.number
            s.owner[s.prefix[block], 1] = row
    s.replica[request] = r.number
    s.in_flight[position] += 1
    r.deadline_ns = min(r.deadline_ns, made.deadline_ns)
    here = lane(s, row)
    waited = r.shortest
    put(here, slot)
    if not r.blocked:
        # Those who are there do not finish sooner for it, and it needs a step for each of its tokens.
        due = min(made.deadline_ns, made.inbox_ns + made.output * p.step_ns + p.after_ns)
        s.due_ns[position] = min(s.due_ns[position], due)
    elif made.output < waited:
        s.due_ns[position] = _due_ns(here)
    else:
        s.due_ns[position] = min(s.due_ns[position], made.deadline_ns)
    return DONE


@inlined_function
def _settle_due(s: State, at_ns: int) -> None:
    """Conclude all that clients see, or give up, by `at_ns`."""
    c = s.control[0]
    for position in range(c.members):
        if s.due_ns[position] <= at_ns:
            _settle(s, position, at_ns)
    while c.queue_size:
        request = s.queue[c.queue_head]
        deadline = s.arrival_ns[request] + s.parameters[0].timeout_ns
        if deadline > at_ns:
            break
        _conclude(s, request, deadline, ABORTED, NEVER)
        c.queue_head += 1
        c.queue_size -= 1


@inlined_function
def _settle(s: State, position: int, at_ns: int) -> None:
    after = s.parameters[0].after_ns
    here = lane(s, s.members[position])
    r, slots = here.replica[0], here.slots
    advance(here, at_ns - after)
    while r.ended_head != NONE:
        slot = r.ended_head
        request = slots[slot]
        seen = request.end_ns + after
        if seen > at_ns:
            break
        r.ended_head = request.next
        if r.ended_head == NONE:
            r.ended_tail = NONE
        if not request.concluded:
            s.in_flight[position] -= 1
            if seen <= request.deadline_ns and not request.dropped:
                _conclude(s, request.request, seen, COMPLETED, request.first_ns)
            else:
                _abort(s, slot)
        _free_slot(s, slot)
    if r.deadline_ns <= at_ns:
        _time_out(s, position, at_ns)
    s.due_ns[position] = _due_ns(here)


@compiled_function
def _time_out(s: State, position: int, at_ns: int) -> None:
    """Conclude those whose clients have given up, and find the next deadline."""
    r, slots = s.replicas[s.members[position]], s.slots
    r.deadline_ns = FOREVER
    for head in (r.running_head, r.queue_head, r.ended_head):
        # Who waits gives up in order of arrival, but for those that were sent again.
        in_order = head == r.queue_head and not s.parameters[0].retries
        slot = head
        while slot != NONE:
            request = slots[slot]
            if not request.concluded:
                if request.deadline_ns <= at_ns:
                    s.in_flight[position] -= 1
                    _abort(s, slot)
                else:
                    r.deadline_ns = min(r.deadline_ns, request.deadline_ns)
                    if in_order:
                        break
            slot = request.next


@inlined_function
def _abort(s: State, slot: int) -> None:
    request = s.slots[slot]
    request.concluded = 1
    first = request.first_ns if request.first_ns <= request.deadline_ns else NEVER
    _conclude(s, request.request, request.deadline_ns, ABORTED, first)


@inlined_function
def _due_ns(here: Lane) -> int:
    """Before this moment the replica need not be looked at."""
    r = here.replica[0]
    bound = completion_bound_ns(here)
    if r.ended_head != NONE:
        bound = min(bound, here.slots[r.ended_head].end_ns)
    return min(r.deadline_ns, bound + here.parameters[0].after_ns)


@inlined_function
def _conclude(s: State, request: int, at_ns: int, outcome: int, first_ns: int) -> None:
    s.outcome[request] = outcome
    s.finished_ns[request] = at_ns
    s.first_token_ns[request] = first_ns


@inlined_function
def _free_slot(s: State, slot: int) -> None:
    c = s.control[0]
    s.slots[slot].next = c.slot_free
    c.slot_free = slot


@compiled_function
def _queue_up(s: State, request: int) -> int:
    """Let a request wait at the router, in order of rows."""
    c = s.control[0]
    if c.queue_head + c.queue_size == len(s.queue):
        if c.queue_head == 0:
            return MORE_QUEUE
        for position in range(c.queue_size):
            s.queue[position] = s.queue[c.queue_head + position]
        c.queue_head = 0
    position = c.queue_head + c.queue_size
    while position > c.queue_head and s.queue[position - 1] > request:
        s.queue[position] = s.queue[position - 1]
        position -= 1
    s.queue[position] = request
    c.queue_size += 1
    return DONE


@inlined_function
def _choose(s: State, request: int) -> int:
    """The position of whom to send it to; NONE: nobody is routable."""
    c, p = s.control[0], s.parameters[0]
    if p.routing == ROUND_ROBIN:
        return _first_up_to(s, UNROUTABLE - 1)
    fewest = UNROUTABLE
    for position in range(c.members):
        fewest = min(fewest, s.in_flight[position])
    if fewest == UNROUTABLE:
        return NONE
    if p.routing == PREFIX:
        owner = _owner(s, request)
        if owner != NONE and s.in_flight[owner] <= fewest + max(8, fewest // 2):
            return owner
    return _first_up_to(s, fewest)


@inlined_function
def _first_up_to(s: State, most: int) -> int:
    """The next one after the one chosen last that has at most so many in flight; NONE: nobody."""
    c = s.control[0]
    for position in range(c.cursor, c.members):
        if s.in_flight[position] <= most:
            return position
    for position in range(min(c.cursor, c.members)):
        if s.in_flight[position] <= most:
            return position
    return NONE


@compiled_function
def _owner(s: State, request: int) -> int:
    """Who was last sent the longest of the request's prefixes, of those that are routable."""
    for block in range(s.prefix_start[request + 1] - 1, s.prefix_start[request] - 1, -1):
        identity = s.prefix[block]
        row = s.owner[identity, 1]
        if row != NONE and s.replicas[row].number == s.owner[identity, 0]:
            position = s.replicas[row].position
            if s.in_flight[position] < UNROUTABLE:
                return position
    return NONE
