"""A small world of requests and replicas for scenarios of the core, driven by its commands.

Each replica serves so many requests at once and queues the rest, first come first served; a request
goes to the replica that holds the fewest. What it leaves out (tokens, KV cache, scrape lag, failures)
is the replay's business; here it must only be plain that queueing is all there is.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autoscaler.core.contract.commands import Command, SetDeletionCost, SetReplicas
from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.events import CommandFinished
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.engine import EngineSettings, build_engine
from tests.builders import Row, observed, seen, specified

SLOTS = 32
"""vLLM's --max-num-seqs."""
BEGIN_AT = 1_700_000_000.0


@dataclass(eq=False, kw_only=True)
class Replica:
    """One pod."""

    name: str
    created_at: float
    ready_at: float
    deleting: bool = False
    queue: deque[float] = field(default_factory=deque)
    """Service times of the requests that wait."""
    running: int = 0
    finished: int = 0
    cost: int = 0
    """Its deletion cost."""
    says: Mapping[str, float] | None = None
    """What its page says whatever happens, as in a Row; None: the truth."""

    @property
    def held(self) -> int:
        return self.running + len(self.queue)


@dataclass(kw_only=True)
class Serving:
    """The replicas of one pool, their requests, and the engine that scales them."""

    spec: ModelSpec
    seed: int
    service_s: float = 6.2
    """Mean of a gamma distribution with two degrees of freedom."""
    cold_start_s: tuple[float, float] = (18.0, 22.0)
    tick_s: float = 5.0
    begin_with: int = 1
    """Replicas that are there, ready for long."""
    now: float = 0.0
    replicas: list[Replica] = field(default_factory=list)
    waiting_request_s: float = 0.0
    """The integral of all that waits."""
    decisions: list[tuple[float, Decision]] = field(default_factory=list)

    def __post_init__(self) -> None:
        # arrivals and their lengths are the same whatever the engine does
        self._requests = random.Random(self.seed)
        self._starts = random.Random(self.seed + 1)
        self._numbers = itertools.count()
        self._ends: list[tuple[float, int, Replica]] = []
        self._engine = build_engine(EngineSettings(tick_s=self.tick_s))
        self._engine.handle(specified(self.spec, at=BEGIN_AT))
        for number in range(self.begin_with):
            name = f"old-{number}" if number else "pod-0"
            self.replicas.append(Replica(name=name, created_at=-1000.0, ready_at=-1000.0))
        self._next_tick = 0.0

    def play(self, rates: Sequence[tuple[float, float]]) -> None:
        """Let requests come: (seconds, requests per second) piece by piece."""
        arrival = end = self.now
        for seconds, rate in rates:
            end += seconds
            while rate > 0.0:
                arrival += self._requests.expovariate(rate)
                if arrival >= end:
                    break
                self._run_until(arrival)
                self._arrive(self._requests.gammavariate(2.0, self.service_s / 2.0))
            arrival = end
        self._run_until(end)

    def wait_for_floor(self, *, at_most_s: float) -> float:
        """Let nothing come until one replica is left and idle; return how long that took."""
        begun = self.now
        while len(self.replicas) > 1 or self.replicas[0].held:
            assert self.now - begun < at_most_s, f"still {len(self.replicas)} replicas"
            self._run_until(self.now + 1.0)
        return self.now - begun

    def first_desired(self, replicas: int, *, since: float) -> float:
        """Return how long after a moment so many replicas were first asked for."""
        return next(
            at - since
            for at, decision in self.decisions
            if at >= since and (decision.desired_replicas or 0) >= replicas
        )

    def _arrive(self, service_s: float) -> None:
        routable = [r for r in self.replicas if r.ready_at <= self.now and not r.deleting]
        least = min(routable, key=lambda r: r.held)
        least.queue.append(service_s)
        self._start(least)

    def _start(self, replica: Replica) -> None:
        while replica.queue and replica.running < SLOTS:
            replica.running += 1
            end = self.now + replica.queue.popleft()
            heapq.heappush(self._ends, (end, next(self._numbers), replica))

    def _run_until(self, until: float) -> None:
        while True:
            end = self._ends[0][0] if self._ends else math.inf
            moment = min(end, self._next_tick, until)
            waiting = sum(len(replica.queue) for replica in self.replicas)
            self.waiting_request_s += waiting * (moment - self.now)
            self.now = moment
            if end <= moment:
                _, _, replica = heapq.heappop(self._ends)
                replica.running -= 1
                replica.finished += 1
                self._start(replica)
            elif self._next_tick <= moment:
                self._tick()
                self._next_tick += self.tick_s
            else:
                return
            self.replicas = [r for r in self.replicas if r.held or not r.deleting]

    def _tick(self) -> None:
        at = BEGIN_AT + self.now
        event = observed(seen(self.spec, [self._row(r) for r in self.replicas]), at=at)
        outcome = self._engine.handle(event)
        self.decisions.append((self.now, outcome.decisions[0]))
        for command in outcome.commands:
            self._perform(command)
            self._engine.handle(
                CommandFinished(id=1, at=at, command=command.id, accepted=True, reason="Accepted")
            )

    def _row(self, replica: Replica) -> Row:
        pool = self.spec.pools[0].name
        age_s = self.now - replica.created_at
        if replica.ready_at > self.now:
            return Row(name=replica.name, pool=pool, node="n", age_s=age_s, scheduled_age_s=age_s)
        return Row(
            name=replica.name,
            pool=pool,
            node="n",
            age_s=age_s,
            scheduled_age_s=age_s,
            ready_age_s=self.now - replica.ready_at,
            deleting=replica.deleting,
            deletion_cost=replica.cost,
            deletion_cost_ours=replica.cost != 0,
            **(replica.says if replica.says is not None else self._page(replica)),
        )

    def _page(self, replica: Replica) -> dict[str, float]:
        return {
            "sample_age_s": 0.0,
            "waiting": len(replica.queue),
            "running": replica.running,
            "kv_usage": replica.running / SLOTS * 0.5,
            "finished": replica.finished,
            "tokens": replica.finished * 100.0 + 0.1 * self.now * replica.running,
        }

    def _perform(self, command: Command) -> None:
        if isinstance(command, SetDeletionCost):
            (replica,) = [each for each in self.replicas if each.name == command.pod]
            replica.cost = command.cost or 0
            return
        assert isinstance(command, SetReplicas)
        there = [replica for replica in self.replicas if not replica.deleting]
        for _ in range(command.replicas - len(there)):
            ready_at = self.now + self._starts.uniform(*self.cold_start_s)
            name = f"pod-{next(self._numbers)}"
            self.replicas.append(Replica(name=name, created_at=self.now, ready_at=ready_at))
        # those that start go first, then the cheapest, then the youngest: as a ReplicaSet does it
        surplus = max(0, len(there) - command.replicas)
        for replica in sorted(there, key=lambda r: (r.ready_at <= self.now, r.cost, -r.ready_at))[
            :surplus
        ]:
            replica.deleting = True
