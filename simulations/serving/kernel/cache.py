"""KV blocks of one replica: counts, and the content of idle ones by age and by identity.

Entries are prefix blocks (in use or idle) and runs of one request's own idle blocks. As a request holds
a prefix only together with all before it, what it holds is a number of leading blocks.
"""

# Fields of records have no static type.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from typing import Any

from numpy import uintp

from simulations.serving.kernel.compiled import inlined_function
from simulations.serving.kernel.division import begun_blocks, whole_blocks
from simulations.serving.kernel.layout import NONE, OWN, Lane


@inlined_function
def find(lane: Lane, identity: int) -> int:
    """The entry of a prefix block; NONE: it is not cached."""
    entries = lane.entries
    entry = lane.buckets[_bucket(lane.buckets, identity)]
    while entry != NONE and entries[entry].identity != identity:
        entry = entries[entry].chain
    return entry


@inlined_function
def take(lane: Lane, blocks: int) -> None:
    """Take free blocks for new content: plain ones, then those idle for longest."""
    r, entries = lane.replica[0], lane.entries
    r.free -= blocks
    r.plain -= blocks
    while r.plain < 0:
        oldest = r.idle_head
        entry = entries[oldest]
        if entry.identity == OWN and entry.blocks > -r.plain:
            entry.blocks += r.plain
            r.plain = 0
            return
        r.plain += entry.blocks
        if entry.owner != NONE:
            lane.slots[entry.owner].own = NONE
        _unlink(entries, r, oldest)
        _forget(lane, oldest)


@inlined_function
def leading(lane: Lane, start: int, count: int) -> tuple[int, int]:
    """How many of these prefix blocks are cached, from the first one on, and how many of those are idle."""
    idle = 0
    for position in range(count):
        entry = find(lane, lane.prefix[uintp(start + position)])
        if entry == NONE:
            return position, idle
        if lane.entries[entry].users == 0:
            idle += 1
    return count, idle


@inlined_function
def hold(lane: Lane, start: int, count: int) -> None:
    """One more holds these cached prefix blocks."""
    r, entries = lane.replica[0], lane.entries
    for position in range(count):
        entry = find(lane, lane.prefix[uintp(start + position)])
        if entries[entry].users == 0:
            r.free -= lane.parameters[0].prefix_blocks
            _unlink(entries, r, entry)
        entries[entry].users += 1


@inlined_function
def hold_own(lane: Lane, slot: int) -> None:
    """A request is back and holds its own blocks again."""
    r, entries = lane.replica[0], lane.entries
    entry = lane.slots[slot].own
    r.free -= entries[entry].blocks
    _unlink(entries, r, entry)
    _forget(lane, entry)
    lane.slots[slot].own = NONE


@inlined_function
def disown(lane: Lane, slot: int) -> None:
    """The request will not come back for its own idle blocks."""
    request = lane.slots[slot]
    if request.own != NONE:
        lane.entries[request.own].owner = NONE
        request.own = NONE


@inlined_function
def identify(lane: Lane, start: int, count: int) -> int:
    """A request's next prefix blocks become the cached copies; returns how many do.

    Only the last block of a prompt may be there already: then it was not hit, because the request
    would have had nothing to compute.
    """
    for position in range(count):
        identity = lane.prefix[uintp(start + position)]
        if find(lane, identity) != NONE:
            return position
        entry = _new_entry(lane)
        made = lane.entries[entry]
        bucket = _bucket(lane.buckets, identity)
        made.identity = identity
        made.blocks = lane.parameters[0].prefix_blocks
        made.users = 1
        made.owner = NONE
        made.chain = lane.buckets[bucket]
        lane.buckets[bucket] = entry
    return count


@inlined_function
def release(lane: Lane, slot: int) -> None:
    """Take a request's blocks back; what has content stays idle, tail first."""
    p, r, entries = lane.parameters[0], lane.replica[0], lane.entries
    request = lane.slots[slot]
    blocks = begun_blocks(p, request.computed)
    own = 0
    if p.caching:
        own = whole_blocks(p, max(0, request.computed - request.prefixes * p.prefix_tokens))
    shared = request.held * p.prefix_blocks
    r.plain += blocks - own - shared
    r.free += blocks - shared
    if own:
        entry = _new_entry(lane)
        made = entries[entry]
        made.identity = OWN
        made.blocks = own
        made.users = 0
        made.owner = slot
        request.own = entry
        _append(entries, r, entry)
    for position in range(request.held - 1, -1, -1):
        entry = find(lane, lane.prefix[uintp(request.prefix_start + position)])
        entries[entry].users -= 1
        if entries[entry].users == 0:
            r.free += p.prefix_blocks
            _append(entries, r, entry)
    request.held = 0
    request.computed = 0


@inlined_function
def _bucket(buckets: Any, identity: int) -> Any:
    """Where the chain of the entries with such identities begins."""
    return uintp(identity & (buckets.shape[0] - 1))


@inlined_function
def _new_entry(lane: Lane) -> int:
    r = lane.replica[0]
    entry = r.entry_free
    if entry == NONE:
        entry = r.entries
        r.entries += 1
    else:
        r.entry_free = lane.entries[entry].chain
    return entry


@inlined_function
def _forget(lane: Lane, entry: int) -> None:
    """Take an entry out of its bucket, if it has one, and free it."""
    r, entries, buckets = lane.replica[0], lane.entries, lane.buckets
    identity = entries[entry].identity
    if identity != OWN:
        bucket = _bucket(buckets, identity)
        at = buckets[bucket]
        if at == entry:
            buckets[bucket] = entries[entry].chain
        else:
            while entries[at].chain != entry:
                at = entries[at].chain
            entries[at].chain = entries[entry].chain
    entries[entry].chain = r.entry_free
    r.entry_free = entry


@inlined_function
def _append(entries: Any, r: Any, entry: int) -> None:
    """Make it the youngest of the idle ones."""
    entries[entry].previous = r.idle_tail
    entries[entry].next = NONE
    if r.idle_tail == NONE:
        r.idle_head = entry
    else:
        entries[r.idle_tail].next = entry
    r.idle_tail = entry


@inlined_function
def _unlink(entries: Any, r: Any, entry: int) -> None:
    before, behind = entries[entry].previous, entries[entry].next
    if before == NONE:
        r.idle_head = behind
    else:
        entries[before].next = behind
    if behind == NONE:
        r.idle_tail = before
    else:
        entries[behind].previous = before
