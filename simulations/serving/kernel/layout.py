"""The kernel's arrays: records of replicas, slots and cache entries, and what they are made from.

A slot is one request inside a replica. Slots, entries and positions are numbers; NONE is none.
Times are nanoseconds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoscaler.errors import SettingsError
from simulations.serving.kernel.division import BITS, reciprocal
from simulations.serving.profiles.profiles import Profile
from simulations.serving.workload import Workload

NONE: Any = np.uint32(0xFFFF_FFFF)
"""No slot, entry, position or row."""
OWN = -1
"""Identity of a request's own blocks, which no other can hit."""

MOST_TOKENS = 1 << (BITS - 1)
"""A KV cache must hold fewer tokens, so that those of a request and one block more can be divided (BITS)."""
ROUND_ROBIN, LEAST_OUTSTANDING, PREFIX = range(3)

UNROUTABLE = 1 << 40
"""Added to a replica's requests in flight while it is not routable."""

DONE, MORE_SLOTS, MORE_QUEUE = range(3)
"""What a compiled call came back for."""

PARAMETERS = np.dtype(
    [
        (name, np.int64)
        for name in (
            "step_ns",
            "token_ns",
            "flat_tokens",
            "kv_token_ns",
            "attention_ps",
            "prefill_request_ns",
            "pause_ns",
            "pause_decode_ns",
            "before_ns",
            "after_ns",
            "usable",
            "block_tokens",
            "block_factor",  # see division
            "block_shift",
            "requests_max",
            "step_tokens_max",
            "caching",
            "prefix_tokens",
            "prefix_factor",
            "prefix_shift",
            "prefix_blocks",
            "timeout_ns",
            "retries",
            "routing",
        )
    ]
)

_COUNT, _SMALL, _LINK = np.int64, np.int32, np.uint32
"""Links are unsigned: for signed ones numba checks at each access whether the index counts from the end,
which took an eighth of all instructions."""


def _fields(kind: type[np.generic], *names: str) -> list[tuple[str, type[np.generic]]]:
    return [(name, kind) for name in names]


REPLICA = np.dtype(
    [
        *_fields(
            _COUNT,
            # Time.
            "start_ns",  # earliest start of the next step
            "step_end_ns",  # of the step with prefills under way; NEVER: none
            "last_start_ns",
            "drop_ns",  # no request in the engine has to be dropped earlier
            # Decodes.
            "steps",
            "phase",  # -steps modulo the block
            "decodes",
            "context",
            # Who runs, and who is next.
            "running",
            "admissions",
            "blocked",  # the head of the queue cannot be admitted before something leaves
            "waiting",  # those in the queue that a step has seen
            "shortest",  # no request in the queue lacks fewer output tokens
            # Blocks.
            "free",
            "plain",
            # Counters.
            "finished",
            "prompt_tokens",
            "generation_tokens",
            "preemptions",
            "queried",
            "hit",
            "aborted",
            "queue_ns",
            "queued",
            # The page while a step with prefills is under way.
            "shown",
            "shown_waiting",
            "shown_running",
            "shown_free",
            "shown_finished",
            "shown_preemptions",
            "shown_queried",
            "shown_hit",
            "shown_aborted",
            # As clients and the router see it.
            "number",
            "position",  # among the members
            "deadline_ns",  # no client in flight gives up earlier
        ),
        *_fields(
            _LINK,
            # Slots.
            "running_head",  # in order of admission
            "running_tail",
            "partial",  # the newest, where its prefill is not done
            "prefill_head",  # first of those that prefill in the step under way
            "queue_head",  # preempted ones, read ones, then the inbox
            "queue_tail",
            "inbox_head",  # first that no step has seen
            "ended_head",  # finished requests whose clients may not have seen it
            "ended_tail",
            # Entries.
            "idle_head",  # idle for longest
            "idle_tail",
            "entry_free",
            "entries",  # the first that was never used
        ),
    ],
    align=True,
)

SLOT = np.dtype(
    [
        *_fields(
            _COUNT,
            "inbox_ns",
            "deadline_ns",
            "admitted_ns",  # start of the step that first admitted it
            "first_ns",  # when the client has its first token
            "end_ns",  # end of the step of its last token
            "finish",  # while decoding: the count of steps at which its last token is there
            "order",  # while running: its place in the order of admissions
            "prefix_start",
            "request",
        ),
        *_fields(
            _SMALL,
            "prompt",
            "output",
            "produced",  # while decoding: as of when the decoding began
            "computed",  # the same
            "held",  # leading prefix blocks that it holds under their identity
            "prefixes",
            "concluded",  # its client has seen the end, or gave up
            "dropped",  # by the engine, because its client gave up
        ),
        *_fields(
            _LINK,
            "next",
            "previous",
            "own",  # entry of its own idle blocks after a preemption
        ),
    ],
    align=True,
)

ENTRY = np.dtype(
    [
        *_fields(
            _SMALL,
            "identity",  # of a prefix block; OWN: own blocks of one request
            "blocks",
            "users",  # 0: idle, and in the list of idle ones
            "padding",  # to half a cache line, so that none lies across two
        ),
        *_fields(
            _LINK,
            "next",
            "previous",
            "chain",  # next in its bucket
            "owner",  # slot whose own blocks these are; NONE: nobody's any more
        ),
    ]
)

CONTROL = np.dtype(
    [
        *_fields(
            _COUNT,
            "next_arrival",
            "members",
            "cursor",  # position behind the one chosen last
            "queue_head",
            "queue_size",
        ),
        *_fields(
            _LINK,
            "slot_free",
            "slots",  # the first that was never used
        ),
    ]
)


class Lane(NamedTuple):
    """What one replica's engine works on: its own rows of the arrays, and the common ones."""

    parameters: NDArray[Any]
    """One PARAMETERS record."""
    replica: NDArray[Any]
    """One REPLICA record."""
    slots: NDArray[Any]
    entries: NDArray[Any]
    buckets: NDArray[np.uint32]
    """First entry of each bucket of identities."""
    phases: NDArray[np.int32]
    """Decodes by (computed - steps) modulo the block: who needs a block when."""
    keys: NDArray[np.int64]
    """Heap of decodes by (finish, order)."""
    holders: NDArray[np.uint32]
    """Their slots."""
    prefix: NDArray[np.int32]
    """Prefix blocks of all requests."""
    ttft: NDArray[np.int64]
    """Requests by the first bound that their time to first token is within; the last: none."""
    tpot: NDArray[np.int64]
    """The same of the time per further token of those that ended whole."""


class State(NamedTuple):
    """All arrays of a fleet; the first index is a row (of a replica) where nothing else is said."""

    parameters: NDArray[Any]
    control: NDArray[Any]
    replicas: NDArray[Any]
    slots: NDArray[Any]
    entries: NDArray[Any]
    buckets: NDArray[np.uint32]
    phases: NDArray[np.int32]
    keys: NDArray[np.int64]
    holders: NDArray[np.uint32]
    ttft: NDArray[np.int64]
    tpot: NDArray[np.int64]
    members: NDArray[np.uint32]
    """[position]: rows of the living replicas, in order of addition."""
    due_ns: NDArray[np.int64]
    """[position]: before this moment nothing changes that the router or a client could see."""
    in_flight: NDArray[np.int64]
    """[position]: requests of which the client has not seen the end, and perhaps UNROUTABLE."""
    queue: NDArray[np.int64]
    """Requests at the router, in order."""
    owner: NDArray[np.int64]
    """[identity, 2]: number and row of the replica that it was last sent to."""
    tries: NDArray[np.int32]
    """[request]; empty where nothing is retried."""
    arrival_ns: NDArray[np.int64]
    prompt: NDArray[np.int32]
    output: NDArray[np.int32]
    prefix_start: NDArray[np.int64]
    prefix: NDArray[np.int32]
    first_token_ns: NDArray[np.int64]
    finished_ns: NDArray[np.int64]
    outcome: NDArray[np.int8]
    replica: NDArray[np.int32]


def parameters(
    profile: Profile, work: Workload, *, timeout_ns: int, retries: int, routing: int
) -> NDArray[Any]:
    """The profile and the router's settings as one record.

    Raises:
        SettingsError: The KV cache holds more tokens than the kernel can count.
    """
    room = profile.kv_blocks * profile.block_tokens
    if room >= MOST_TOKENS:
        raise SettingsError(
            f"profile {profile.name}: a KV cache of {profile.kv_blocks} blocks of {profile.block_tokens} "
            f"tokens; the serving model counts up to {MOST_TOKENS - 1} tokens: give fewer kv_blocks"
        )
    made = np.zeros(1, dtype=PARAMETERS)
    for name in PARAMETERS.names or ():
        if hasattr(profile, name):
            made[name] = getattr(profile, name)
    made["usable"] = profile.kv_blocks - 1
    made["caching"] = profile.prefix_caching
    made["block_factor"], made["block_shift"] = reciprocal(profile.block_tokens)
    made["prefix_tokens"] = work.prefix_tokens
    made["prefix_factor"], made["prefix_shift"] = reciprocal(max(1, work.prefix_tokens))
    made["prefix_blocks"] = work.prefix_tokens // profile.block_tokens
    made["timeout_ns"] = timeout_ns
    made["retries"] = retries
    made["routing"] = routing
    return made
