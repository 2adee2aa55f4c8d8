"""A fleet of replicas behind one router, in pure Python.

Replicas are moved forward lazily: only one whose next completion or time-out may be due, or that is
looked at. The rules are in `reference`, and every request gets the same nanosecond from both.
"""

from __future__ import annotations

from bisect import insort
from collections import deque

import numpy as np
from numpy.typing import NDArray

from autoscaler.errors import InvariantBroken
from simulations.serving.columns import NEVER, Gauges, Outcome, RequestColumns, RequestResults
from simulations.serving.profiles.profiles import Profile
from simulations.serving.replica import FOREVER, Replica
from simulations.serving.slot import Slot
from simulations.serving.workload import workload


class _Member:
    """A replica as the router sees it."""

    __slots__ = (
        "deadline_ns",
        "due_ns",
        "ended",
        "in_flight",
        "model",
        "number",
        "order",
        "routable",
    )

    def __init__(self, *, number: int, order: int, model: Replica) -> None:
        self.number = number
        self.order = order
        self.model = model
        self.routable = True
        self.in_flight: dict[int, Slot] = {}
        self.ended: deque[tuple[int, Slot]] = deque()
        """Finished requests whose clients may not have seen it yet."""
        self.deadline_ns = FOREVER
        """No request in flight has an earlier one."""
        self.due_ns = FOREVER
        """Before this moment nothing changes that the router or a client could see."""


class PythonFleet:
    """A fleet of objects; see `fleet.ServingFleet` for what each method means."""

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
        self.requests = requests
        self.work = workload(requests, profile)
        self.results = RequestResults.pending(len(requests))
        self.now_ns = 0
        self._routing = routing
        self.timeout_ns = timeout_ns
        self._retries = retries
        self._tries: dict[int, int] = {}
        self._members: dict[int, _Member] = {}
        self._routable: list[_Member] = []
        self._added = 0
        self._last_order = -1
        self._owner: dict[int, int] = {}
        self._router_queue: list[int] = []
        self._next = 0

    def add_replica(self, at_ns: int, replica_id: int) -> None:
        """From `at_ns` on requests are routed to this new, empty replica. Ids are never reused."""
        self.run_until(at_ns)
        if replica_id in self._members:
            raise InvariantBroken(f"replica {replica_id} was added twice")
        member = _Member(
            number=replica_id,
            order=self._added,
            model=Replica(self.profile, self.work.prefix_tokens),
        )
        self._added += 1
        self._members[replica_id] = member
        self._routable.append(member)
        queued, self._router_queue = self._router_queue, []
        for request in queued:
            self._send(at_ns, request)

    def stop_routing(self, at_ns: int, replica_id: int) -> None:
        """From `at_ns` on it only finishes what it has."""
        self.run_until(at_ns)
        member = self._members[replica_id]
        if member.routable:
            member.routable = False
            self._routable.remove(member)

    def kill(self, at_ns: int, replica_id: int) -> None:
        """It is gone at `at_ns`; what was in flight is sent again or lost."""
        self.stop_routing(at_ns, replica_id)
        member = self._members.pop(replica_id)
        for request in sorted(member.in_flight):
            if self._tries.get(request, 0) < self._retries:
                self._tries[request] = self._tries.get(request, 0) + 1
                self._send(at_ns, request)
            else:
                self._conclude(request, at_ns=at_ns, outcome=Outcome.LOST, first_ns=NEVER)

    def run_until(self, at_ns: int) -> None:
        """Process all that happens up to and including `at_ns`."""
        arrivals = self.work.arrival_ns
        rows = len(arrivals)
        while self._next < rows:
            arrival = int(arrivals[self._next])
            if arrival > at_ns:
                break
            self._settle_due(arrival)
            self._send(arrival, self._next)
            self._next += 1
        self._settle_due(at_ns)
        self.now_ns = max(self.now_ns, at_ns)

    def gauges(self, replica_id: int) -> Gauges:
        """The replica's page at the present moment."""
        member = self._members[replica_id]
        self._advance(member, self.now_ns)
        return member.model.gauges()

    def read_pages(self, table: NDArray[np.float64], at_s: float) -> None:
        """Write every replica's page into its column of the table."""
        for number in self._members:
            table[:, number] = (at_s, *self.gauges(number))

    def in_flight(self, replica_id: int) -> int:
        """Requests sent there of which the client has not seen the end."""
        return len(self._members[replica_id].in_flight)

    def waiting_at_router(self) -> int:
        """Requests for which there is no replica."""
        return len(self._router_queue)

    def arrived(self) -> int:
        """Requests that clients have sent."""
        return self._next

    def outstanding(self) -> int:
        """Requests sent of which no client has seen the end."""
        sent = sum(len(member.in_flight) for member in self._members.values())
        return sent + len(self._router_queue)

    # Routing.

    def _send(self, at_ns: int, request: int) -> None:
        member = self._choose(request)
        if member is None:
            insort(self._router_queue, request)
            return
        work = self.work
        self._last_order = member.order
        prefix: tuple[int, ...] = ()
        if work.prefix_tokens:
            prefix = self._prefix(request)
            for identity in prefix:
                self._owner[identity] = member.number
        slot = Slot(
            request=request,
            prompt=int(work.prompt[request]),
            output=int(work.output[request]),
            prefix=prefix,
            inbox_ns=at_ns + self.profile.before_ns,
            deadline_ns=int(work.arrival_ns[request]) + self.timeout_ns,
        )
        self.results.replica[request] = member.number
        member.in_flight[request] = slot
        member.deadline_ns = min(member.deadline_ns, slot.deadline_ns)
        member.model.put(slot)
        self._plan(member)

    def _prefix(self, request: int) -> tuple[int, ...]:
        start, end = self.work.prefix_start[request : request + 2]
        return tuple(self.work.prefix[start:end].tolist())

    def _choose(self, request: int) -> _Member | None:
        """Where to send it; None: to the router's queue."""
        if not self._routable:
            return None
        after = self._last_order
        if self._routing == "round-robin":
            return min(self._routable, key=lambda member: (member.order <= after, member.order))
        least = min(
            self._routable,
            key=lambda member: (len(member.in_flight), member.order <= after, member.order),
        )
        if self._routing == "prefix" and self.work.prefix_tokens:
            fewest = len(least.in_flight)
            for identity in reversed(self._prefix(request)):
                owner = self._members.get(self._owner.get(identity, NEVER))
                if owner is not None and owner.routable:
                    overfull = len(owner.in_flight) > fewest + max(8, fewest // 2)
                    return least if overfull else owner
        return least

    # Time.

    def _settle_due(self, at_ns: int) -> None:
        """Conclude all that clients see, or give up, by `at_ns`."""
        for member in self._members.values():
            if member.due_ns <= at_ns:
                self._settle(member, at_ns)
        queue = self._router_queue
        while queue:
            deadline = int(self.work.arrival_ns[queue[0]]) + self.timeout_ns
            if deadline > at_ns:
                break
            self._conclude(queue.pop(0), at_ns=deadline, outcome=Outcome.ABORTED, first_ns=NEVER)

    def _settle(self, member: _Member, at_ns: int) -> None:
        after = self.profile.after_ns
        self._advance(member, at_ns - after)
        while member.ended and member.ended[0][0] + after <= at_ns:
            end, slot = member.ended.popleft()
            if end + after <= slot.deadline_ns and member.in_flight.get(slot.request) is slot:
                del member.in_flight[slot.request]
                self._conclude(
                    slot.request,
                    at_ns=end + after,
                    outcome=Outcome.COMPLETED,
                    first_ns=slot.first_token_ns,
                )
        if member.deadline_ns <= at_ns:
            self._time_out(member, at_ns)
        self._plan(member)

    @staticmethod
    def _advance(member: _Member, limit_ns: int) -> None:
        member.model.advance(limit_ns)
        member.ended.extend(member.model.ended)
        member.model.ended.clear()

    def _time_out(self, member: _Member, at_ns: int) -> None:
        for slot in [*member.in_flight.values()]:
            if slot.deadline_ns <= at_ns:
                del member.in_flight[slot.request]
                seen = slot.first_token_ns <= slot.deadline_ns
                self._conclude(
                    slot.request,
                    at_ns=slot.deadline_ns,
                    outcome=Outcome.ABORTED,
                    first_ns=slot.first_token_ns if seen else NEVER,
                )
        member.deadline_ns = min(
            (slot.deadline_ns for slot in member.in_flight.values()), default=FOREVER
        )

    def _plan(self, member: _Member) -> None:
        """Work out the moment before which the replica need not be looked at."""
        bound = member.model.completion_bound_ns()
        if member.ended:
            bound = min(bound, member.ended[0][0])
        member.due_ns = min(member.deadline_ns, bound + self.profile.after_ns)

    def _conclude(self, request: int, *, at_ns: int, outcome: Outcome, first_ns: int) -> None:
        results = self.results
        results.outcome[request] = outcome
        results.finished_ns[request] = at_ns
        results.first_token_ns[request] = first_ns
