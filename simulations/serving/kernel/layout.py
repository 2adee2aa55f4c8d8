"""The kernel's arrays: records of replicas, slots and cache entries, and what they are made from.

A slot is one request inside a replica. Slots, entries and queue positions are numbers; NONE is none.
Times are nanoseconds; NEVER and FOREVER are as in the Python model.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulations.serving.kernel.division import reciprocal
from simulations.serving.profiles import Profile
from simulations.serving.workload import Workload

NONE = -1
NEVER = -1
FOREVER = 1 << 62

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

REPLICA = np.dtype(
    [
        (name, np.int64)
        for name in (
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
            # Who runs, in order of admission, and who is next.
            "running",
            "running_head",
            "running_tail",
            "partial",  # the newest, where its prefill is not done
            "prefill_head",  # first of those that prefill in the step under way
            "admissions",
            "blocked",  # the head of the queue cannot be admitted before something leaves
            # The queue: preempted ones, read ones, then the inbox.
            "queue_head",
            "queue_tail",
            "inbox_head",  # first that no step has seen
            "waiting",  # those before it
            "shortest",  # no request in the queue lacks fewer output tokens
            # Blocks.
            "free",
            "plain",
            "idle_head",
            "idle_tail",
            "entry_free",
            "entries",
            # Counters.
            "finished",
            "prompt_tokens",
            "generation_tokens",
            "preemptions",
            "queried",
            "hit",
            # The page while a step with prefills is under way.
            "shown",
            "shown_waiting",
            "shown_running",
            "shown_free",
            "shown_finished",
            "shown_preemptions",
            "shown_queried",
            "shown_hit",
            # As clients and the router see it.
            "number",
            "position",  # among the members
            "ended_head",  # finished requests whose clients may not have seen it
            "ended_tail",
            "deadline_ns",  # no client in flight gives up earlier
        )
    ]
)

SLOT = np.dtype(
    [
        *(
            (name, np.int64)
            for name in (
                "inbox_ns",
                "deadline_ns",
                "first_ns",  # when the client has its first token
                "end_ns",  # end of the step of its last token
                "finish",  # while decoding: the count of steps at which its last token is there
                "order",  # while running: its place in the order of admissions
                "prefix_start",
                "request",
            )
        ),
        *(
            (name, np.int32)
            for name in (
                "prompt",
                "output",
                "produced",  # while decoding: as of when the decoding began
                "computed",  # the same
                "next",
                "previous",
                "own",  # entry of its own idle blocks after a preemption
                "held",  # leading prefix blocks that it holds under their identity
                "prefixes",
                "concluded",  # its client has seen the end, or gave up
                "dropped",  # by the engine, because its client gave up
            )
        ),
    ],
    align=True,
)

ENTRY = np.dtype(
    [
        (name, np.int32)
        for name in (
            "identity",  # of a prefix block; NONE: own blocks of one request
            "blocks",
            "users",  # 0: idle, and in the list of idle ones
            "next",
            "previous",
            "chain",  # next in its bucket
            "owner",  # slot whose own blocks these are; NONE: nobody's any more
            "padding",  # to half a cache line, so that none lies across two
        )
    ]
)

CONTROL = np.dtype(
    [
        (name, np.int64)
        for name in (
            "next_arrival",
            "members",
            "cursor",  # position behind the one chosen last
            "slot_free",
            "slots",
            "queue_head",
            "queue_size",
        )
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
    buckets: NDArray[np.int32]
    """First entry of each bucket of identities."""
    phases: NDArray[np.int32]
    """Decodes by (computed - steps) modulo the block: who needs a block when."""
    keys: NDArray[np.int64]
    """Heap of decodes by (finish, order)."""
    holders: NDArray[np.int32]
    """Their slots."""
    prefix: NDArray[np.int32]
    """Prefix blocks of all requests."""


class State(NamedTuple):
    """All arrays of a fleet; the first index is a row (of a replica) where nothing else is said."""

    parameters: NDArray[Any]
    control: NDArray[Any]
    replicas: NDArray[Any]
    slots: NDArray[Any]
    entries: NDArray[Any]
    buckets: NDArray[np.int32]
    phases: NDArray[np.int32]
    keys: NDArray[np.int64]
    holders: NDArray[np.int32]
    members: NDArray[np.int64]
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
    """The profile and the router's settings as one record."""
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
