"""A fleet of replicas behind one router: the door of the serving model.

This first cut serves each request in a slot of its replica at a fixed pace; the interface is final.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

from simulations.serving.columns import Gauges, Outcome, RequestColumns, RequestResults
from simulations.serving.profiles import Profile

ROUTINGS = ("least-outstanding", "round-robin", "prefix")
TIMEOUT_NS = 120_000_000_000


@dataclass(slots=True)
class _Replica:
    routable: bool = True
    running: list[tuple[int, int]] = field(default_factory=list)
    waiting: deque[int] = field(default_factory=deque)
    finished: int = 0
    prompt: int = 0
    generated: int = 0


class ServingFleet:
    """Requests arrive, replicas come and go; every call moves time forward, never back.

    At one instant the order is: step ends, what clients see of them, time-outs, arrivals, then what
    the caller does at that instant, and last the starts of steps.
    """

    def __init__(
        self,
        profile: Profile,
        requests: RequestColumns,
        *,
        routing: str = "least-outstanding",
        timeout_ns: int = TIMEOUT_NS,
        retries: int = 0,
    ) -> None:
        assert routing in ROUTINGS
        self.profile = profile
        self.requests = requests
        self.timeout_ns = timeout_ns
        self.retries = retries
        self.results = RequestResults.pending(len(requests))
        self.now_ns = 0
        self._replicas: dict[int, _Replica] = {}
        self._queue: deque[int] = deque()
        self._next = 0

    def add_replica(self, at_ns: int, replica_id: int) -> None:
        """From `at_ns` on requests are routed to this new, empty replica. Ids are never reused."""
        self.run_until(at_ns)
        self._replicas[replica_id] = _Replica()
        while self._queue:
            self._route(self._queue.popleft())

    def stop_routing(self, at_ns: int, replica_id: int) -> None:
        """From `at_ns` on it only finishes what it has."""
        self.run_until(at_ns)
        self._replicas[replica_id].routable = False

    def kill(self, at_ns: int, replica_id: int) -> None:
        """It is gone at `at_ns`; what was in flight is sent again or lost."""
        self.run_until(at_ns)
        replica = self._replicas.pop(replica_id)
        for request in [*(request for _, request in replica.running), *replica.waiting]:
            self.results.outcome[request] = Outcome.LOST
            self.results.finished_ns[request] = at_ns
            self.results.first_token_ns[request] = -1

    def run_until(self, at_ns: int) -> None:
        """Process all that happens up to and including `at_ns`."""
        arrivals = self.requests.arrival_ns
        while self._next < len(arrivals) and arrivals[self._next] <= at_ns:
            self._advance(int(arrivals[self._next]))
            self._route(self._next)
            self._next += 1
        self._advance(at_ns)

    def gauges(self, replica_id: int) -> Gauges:
        """The replica's page at the present moment."""
        replica = self._replicas[replica_id]
        return Gauges(
            waiting_requests=len(replica.waiting),
            running_requests=len(replica.running),
            kv_usage_ratio=len(replica.running) / self.profile.requests_max,
            finished_requests_total=replica.finished,
            prompt_tokens_total=replica.prompt,
            generation_tokens_total=replica.generated,
            preemptions_total=0,
            prefix_queried_tokens_total=0,
            prefix_hit_tokens_total=0,
        )

    def in_flight(self, replica_id: int) -> int:
        """Requests sent there of which the client has not seen the end."""
        replica = self._replicas[replica_id]
        return len(replica.running) + len(replica.waiting)

    def waiting_at_router(self) -> int:
        """Requests that no replica could be found for yet."""
        return len(self._queue)

    def _route(self, request: int) -> None:
        routable = [key for key, replica in self._replicas.items() if replica.routable]
        if not routable:
            self._queue.append(request)
            return
        chosen = min(routable, key=self.in_flight)
        replica = self._replicas[chosen]
        self.results.replica[request] = chosen
        replica.waiting.append(request)
        self._start(replica, self.now_ns)

    def _start(self, replica: _Replica, at_ns: int) -> None:
        profile = self.profile
        while replica.waiting and len(replica.running) < profile.requests_max:
            request = replica.waiting.popleft()
            prompt = max(1, int(self.requests.prompt_tokens[request]))
            output = max(1, int(self.requests.output_tokens[request]))
            first = at_ns + profile.step_ns + profile.token_ns * prompt
            self.results.first_token_ns[request] = first
            heapq.heappush(replica.running, (first + (output - 1) * profile.step_ns, request))

    def _advance(self, at_ns: int) -> None:
        for replica in self._replicas.values():
            while replica.running and replica.running[0][0] <= at_ns:
                end, request = heapq.heappop(replica.running)
                self.results.finished_ns[request] = end
                self.results.outcome[request] = Outcome.COMPLETED
                replica.finished += 1
                replica.prompt += int(self.requests.prompt_tokens[request])
                replica.generated += int(self.requests.output_tokens[request])
                self._start(replica, end)
        while self._queue and self.requests.arrival_ns[self._queue[0]] + self.timeout_ns <= at_ns:
            request = self._queue.popleft()
            self.results.finished_ns[request] = (
                int(self.requests.arrival_ns[request]) + self.timeout_ns
            )
            self.results.outcome[request] = Outcome.ABORTED
        self.now_ns = max(self.now_ns, at_ns)
