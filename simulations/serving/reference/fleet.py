"""The reference: every step of every replica, one by one. It is the definition of truth.

It is slow and plain, shares no code with the kernel (only its input, `workload`), and the kernel must
give the same nanosecond for every request. The rules, measured on vLLM 0.32:

**Time** is a whole number of nanoseconds. A step of `d` decodes, whose contexts (the token being
computed included) sum to `K` tokens, and `p` prefills of `n` tokens each behind `m` computed ones takes
`a + s * max(0, tokens - T0) + c * K + h * sum(n * m + n * (n + 1) / 2) // 1000 + q * p`, where `tokens`
is `d + sum(n)`. The next step starts no earlier than a pause of `g0 + g1 * d` after its end. A request
reaches the engine a constant after it is sent; what a step gave reaches the client a constant after
the step's end.

**Order at one instant**: step ends; what clients see; time-outs; arrivals in order of rows; what the
caller does (replicas added, stopped, killed); starts of steps. So a step sees every request that is in
the inbox by its start, a time-out loses against a completion of the same instant, and a replica that
is added receives nothing that arrived before that call, but for what waited at the router.

**Scheduling**: first come first served. A step starts when the pause is over and something is there.
It drops requests whose clients have gone, then serves the running ones in order of admission, each
what it has left to compute (one token, when decoding) within the step's token budget; then admits from
the queue while budget, `requests_max` and blocks allow. A request is admitted when blocks for all its
tokens that are not cached are free; it takes them chunk by chunk. Where a running request finds no
block, the newest running one is preempted (it may be that very one): its blocks are released, it goes
to the head of the queue and computes prompt and output again. A step that preempted admits nobody.
A request ends with the step that computes its last token, and its blocks are free at that step's end.

**Blocks**: one is reserved. A block is in use, or idle with content, or plain. Plain ones are taken
first, then the oldest idle content. With prefix caching off nothing has content. With it on, a prefix
block (all engine blocks of one identity) has its identity from the moment the last of its tokens is
scheduled, can be hit from then on, also within the same step, and is hit, held and forgotten as a
whole. A second copy of one that is there has no content of its own. The full blocks behind the last
prefix block are a request's own: idle after it has left, and hit again by the same request after a
preemption; they are forgotten one at a time from the tail. A request always computes one token at
least. Released blocks become idle tail first (own blocks, then prefix blocks from last to first, those
that nobody else holds); requests that end in one step release in order of admission.

**Clients** give up a constant after their first arrival. The engine learns of it at the next start of
a step. A killed replica's requests are sent again at once, in order of rows, while retries are left.

**Routing**: what no replica can take waits at the router in order of rows. `least-outstanding`: the
fewest requests in flight as the clients see it, among equals the next one in order of addition after
the one chosen last. `round-robin`: that next one. `prefix`: the replica that last received the longest
of the request's prefixes, unless it has more in flight than the least plus the larger of 8 and half
the least, or none did; then least outstanding.

**Gauges** are as of the end of the last step (or of a start that found only requests to drop).
"""

from __future__ import annotations

import heapq
import itertools
from bisect import insort
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from autoscaler.errors import InvariantBroken
from simulations.serving.columns import (
    NEVER,
    Gauges,
    RequestColumns,
    RequestOutcome,
    RequestResults,
)
from simulations.serving.gauges import FOREVER
from simulations.serving.profiles.profiles import Profile
from simulations.serving.reference.engine import EngineSequence
from simulations.serving.reference.replica import Replica
from simulations.serving.workload import workload


class _Rank(IntEnum):
    """Order of events at one instant."""

    STEP_END = 0
    SEEN = 1
    TIMEOUT = 2
    ARRIVAL = 3
    STEP_START = 4


class _Replica(Replica):
    """A replica as the router knows it."""

    def __init__(self, number: int, order: int, profile: Profile, prefix_tokens: int) -> None:
        super().__init__(profile, prefix_tokens)
        self.number = number
        self.order = order
        self.routable = True
        self.in_flight: set[int] = set()
        self.start_planned = False


class ReferenceFleet:
    """The interface of `fleet.ServingFleet`, by the rules above."""

    def __init__(
        self,
        profile: Profile,
        requests: RequestColumns,
        *,
        routing: str,
        timeout_ns: int,
        retries: int,
    ) -> None:
        self.profile = profile
        self.routing = routing
        self.timeout_ns = timeout_ns
        self.work = workload(requests, profile)
        self.results = RequestResults.pending(len(requests))
        self.now_ns = 0
        self._retries_left = [retries] * len(requests)
        self._replicas: dict[int, _Replica] = {}
        self._added = 0
        self._last_order = -1
        self._owner: dict[int, int] = {}
        self._router_queue: list[int] = []
        self._events: list[tuple[int, _Rank, int, int, object]] = []
        self._pushed = 0
        self._next_arrival = 0

    def add_replica(self, at_ns: int, replica_id: int) -> None:
        """From `at_ns` on requests are routed to this new, empty replica."""
        self.run_until(at_ns)
        if replica_id in self._replicas:
            raise InvariantBroken(f"replica {replica_id} was added twice")
        self._replicas[replica_id] = _Replica(
            replica_id, self._added, self.profile, self.work.prefix_tokens
        )
        self._added += 1
        queued, self._router_queue = self._router_queue, []
        for request in queued:
            self._send(at_ns, request)

    def stop_routing(self, at_ns: int, replica_id: int) -> None:
        """From `at_ns` on it only finishes what it has."""
        self.run_until(at_ns)
        self._replicas[replica_id].routable = False

    def kill(self, at_ns: int, replica_id: int) -> None:
        """It is gone at `at_ns`; what was in flight is sent again or lost."""
        self.run_until(at_ns)
        replica = self._replicas.pop(replica_id)
        for request in sorted(replica.in_flight):
            self.results.first_token_ns[request] = NEVER
            if self._retries_left[request]:
                self._retries_left[request] -= 1
                self._send(at_ns, request)
            else:
                self._conclude(request, at_ns, RequestOutcome.LOST)

    def run_until(self, at_ns: int) -> None:
        """Process all that happens up to and including `at_ns`, but for starts of steps then."""
        self.now_ns = max(self.now_ns, at_ns)
        last = (at_ns, _Rank.STEP_START)
        arrivals = self.work.arrival_ns
        while True:
            arrival = (
                (int(arrivals[self._next_arrival]), _Rank.ARRIVAL)
                if self._next_arrival < len(arrivals)
                else last
            )
            event = self._events[0][:2] if self._events else last
            if min(arrival, event) >= last:
                return
            if event < arrival:
                at, rank, _, number, what = heapq.heappop(self._events)
                self._happen(at, rank, number, what)
            else:
                request = self._next_arrival
                self._next_arrival += 1
                deadline = arrival[0] + self.timeout_ns
                self._push(deadline, _Rank.TIMEOUT, NEVER, request)
                self._send(arrival[0], request)

    def gauges(self, replica_id: int) -> Gauges:
        """The replica's page at the present moment."""
        return self._replicas[replica_id].engine.gauges

    def in_flight(self, replica_id: int) -> int:
        """Requests sent there of which the client has not seen the end."""
        return len(self._replicas[replica_id].in_flight)

    def waiting_at_router(self) -> int:
        """Requests for which there is no replica."""
        return len(self._router_queue)

    def read_pages(self, table: NDArray[np.float64], at_s: float) -> None:
        """Write every replica's page into its column of the table."""
        for number, replica in self._replicas.items():
            counted = replica.engine.ttft, replica.engine.tpot
            buckets = (count for counts in counted for count in itertools.accumulate(counts))
            table[:, number] = (at_s, *self.gauges(number), *buckets)

    def arrived(self) -> int:
        """Requests that clients have sent."""
        return self._next_arrival

    def outstanding(self) -> int:
        """Requests sent of which no client has seen the end."""
        sent = sum(len(replica.in_flight) for replica in self._replicas.values())
        return sent + len(self._router_queue)

    def _push(self, at: int, rank: _Rank, number: int, what: object) -> None:
        self._pushed += 1
        heapq.heappush(self._events, (at, rank, self._pushed, number, what))

    def _happen(self, at: int, rank: _Rank, number: int, what: object) -> None:
        if rank is _Rank.TIMEOUT:
            assert isinstance(what, int)
            self._time_out(at, what)
            return
        replica = self._replicas.get(number)
        if replica is None:
            return
        match rank:
            case _Rank.STEP_END:
                self._end_step(at, replica)
            case _Rank.SEEN:
                assert isinstance(what, tuple)
                self._see(at, replica, *what)
            case _Rank.STEP_START:
                self._start_step(at, replica)

    def _time_out(self, at: int, request: int) -> None:
        if self.results.outcome[request] != RequestOutcome.PENDING:
            return
        replica = self._replicas.get(int(self.results.replica[request]))
        if request in self._router_queue:
            self._router_queue.remove(request)
        elif replica is not None:
            replica.in_flight.remove(request)
        self._conclude(request, at, RequestOutcome.ABORTED)

    def _end_step(self, at: int, replica: _Replica) -> None:
        given = replica.end()
        seen = at + self.profile.after_ns
        for sequence in given.first:
            self._push(seen, _Rank.SEEN, replica.number, (sequence, RequestOutcome.PENDING))
        for sequence in given.finished:
            self._push(seen, _Rank.SEEN, replica.number, (sequence, RequestOutcome.COMPLETED))
        self._plan_start(replica)

    def _see(
        self, at: int, replica: _Replica, sequence: EngineSequence, outcome: RequestOutcome
    ) -> None:
        request = sequence.request
        if self.results.outcome[request] != RequestOutcome.PENDING:
            return
        if outcome == RequestOutcome.PENDING:
            self.results.first_token_ns[request] = at
            return
        replica.in_flight.remove(request)
        self._conclude(request, at, outcome)

    def _start_step(self, at: int, replica: _Replica) -> None:
        replica.start_planned = False
        end = replica.start(at)
        if end != FOREVER:
            self._push(end, _Rank.STEP_END, replica.number, None)
        self._plan_start(replica)

    def _plan_start(self, replica: _Replica) -> None:
        """Plan the next step, if there is anything to do and none is planned or under way."""
        if replica.start_planned or replica.step is not None:
            return
        start = replica.next_start_ns()
        if start != FOREVER:
            replica.start_planned = True
            self._push(start, _Rank.STEP_START, replica.number, None)

    def _conclude(self, request: int, at: int, outcome: RequestOutcome) -> None:
        self.results.outcome[request] = outcome
        self.results.finished_ns[request] = at

    def _send(self, at: int, request: int) -> None:
        replica = self._choose(request)
        if replica is None:
            insort(self._router_queue, request)
            return
        self._last_order = replica.order
        prefix = self._prefix(request)
        for identity in prefix:
            self._owner[identity] = replica.number
        replica.in_flight.add(request)
        self.results.replica[request] = replica.number
        replica.put(
            EngineSequence(
                request=request,
                prompt=int(self.work.prompt[request]),
                output=int(self.work.output[request]),
                prefix=prefix,
                inbox_ns=at + self.profile.before_ns,
                deadline_ns=int(self.work.arrival_ns[request]) + self.timeout_ns,
            )
        )
        self._plan_start(replica)

    def _prefix(self, request: int) -> tuple[int, ...]:
        start, end = self.work.prefix_start[request : request + 2]
        return tuple(self.work.prefix[start:end].tolist())

    def _choose(self, request: int) -> _Replica | None:
        routable = [replica for replica in self._replicas.values() if replica.routable]
        if not routable:
            return None
        routable.sort(key=lambda replica: (replica.order <= self._last_order, replica.order))
        if self.routing == "round-robin":
            return routable[0]
        least = min(routable, key=lambda replica: len(replica.in_flight))
        if self.routing == "prefix":
            for identity in reversed(self._prefix(request)):
                owner = self._replicas.get(self._owner.get(identity, NEVER))
                if owner is not None and owner.routable:
                    fewest = len(least.in_flight)
                    if len(owner.in_flight) <= fewest + max(8, fewest // 2):
                        return owner
                    return least
        return least
