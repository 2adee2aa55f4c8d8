"""The serving model in real time: it makes steps when they are due and hands tokens out.

One timer per engine, not one task per stream: at the end of a step every stream that got a token is
written to in turn. What the steps take is the model's; what this process adds is small beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from simulations.agenda import NS
from simulations.box.vllm_server.page import MetricsPage
from simulations.serving.gauges import FOREVER, Gauges
from simulations.serving.profiles.profiles import Profile
from simulations.serving.reference.engine import EngineSequence, StepResult
from simulations.serving.reference.replica import Replica

EARLY_S = 1e-6
"""A timer may fire this much too early, and would find nothing to do."""


def _nobody(_tokens: int) -> None:
    """Nobody listens yet."""


@dataclass(slots=True, kw_only=True, eq=False)
class LiveRequest:
    """One request in the engine, and who hears of its tokens."""

    sequence: EngineSequence
    arrived_ns: int
    tokens_max: int
    """As the client asked; its output may end before."""
    first_ns: int = 0
    """End of the step of its first token."""
    delivered: int = 0
    """Tokens that were handed out."""
    ended: bool = False
    """It has all its tokens, or was aborted."""
    on_tokens: Callable[[int], None] = _nobody
    """Called with the number of new tokens, after `ended` is set with the last."""

    @property
    def finish_reason(self) -> str:
        """Why it ends where it does."""
        return "length" if self.sequence.output == self.tokens_max else "stop"


class LiveEngine:
    """A replica that follows the wall clock, `speed` times as fast."""

    def __init__(
        self, profile: Profile, *, speed: float, flush_interval_s: float, page: MetricsPage
    ) -> None:
        self.profile = profile
        self.dead = False
        """Killed: no token will ever come again."""
        self.idle = asyncio.Event()
        """Set while no request is in flight."""
        self.idle.set()
        self._speed = speed
        self._flush_interval_s = flush_interval_s
        self._page = page
        self._replica = Replica(profile, profile.block_tokens if profile.prefix_caching else 0)
        self._live: dict[int, LiveRequest] = {}
        self._loop = asyncio.get_running_loop()
        self._started_s = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._requests = 0
        self._flushed_s = 0.0

    def gauges(self) -> Gauges:
        """As of the end of the last step."""
        return self._replica.engine.gauges

    @property
    def in_flight(self) -> int:
        """Requests that have not got all their tokens."""
        return len(self._live)

    def seconds(self, model_ns: int) -> float:
        """What a span of the model takes on the wall."""
        return model_ns / NS / self._speed

    def submit(self, tokens: list[int], *, output: int, tokens_max: int) -> LiveRequest:
        """Take in a request with this prompt that will produce `output` tokens."""
        now = self._now_ns()
        sequence = EngineSequence(
            request=self._requests,
            prompt=len(tokens),
            output=output,
            prefix=self._identities(tokens),
            inbox_ns=now + self.profile.before_ns,
        )
        self._requests += 1
        live = LiveRequest(sequence=sequence, arrived_ns=now, tokens_max=tokens_max)
        self._live[sequence.request] = live
        self.idle.clear()
        self._replica.put(sequence)
        self._plan(self._replica.wake_ns())
        return live

    def abort(self, live: LiveRequest) -> None:
        """Its client is gone: the engine drops it at its next step."""
        if not live.ended:
            self._end(live)
            self._page.request_aborted()
            self._replica.abort(live.sequence, self._now_ns())
            self._plan(self._replica.wake_ns())

    def kill(self) -> list[LiveRequest]:
        """Stop at once, for ever; returns whom that leaves without an end."""
        self.dead = True
        if self._timer is not None:
            self._timer.cancel()
        left = [*self._live.values()]
        self._live.clear()
        return left

    def _identities(self, tokens: list[int]) -> tuple[int, ...]:
        """Each full block of the prompt by its content and all before it."""
        if not self.profile.prefix_caching:
            return ()
        size = self.profile.block_tokens
        chain = 0
        identities = []
        for start in range(0, len(tokens) - size + 1, size):
            chain = hash((chain, *tokens[start : start + size]))
            identities.append(chain)
        return tuple(identities)

    def _now_ns(self) -> int:
        return int((self._loop.time() - self._started_s) * NS * self._speed)

    def _plan(self, wake_ns: int) -> None:
        """Wake when the model can go on, not sooner than tokens may be flushed again."""
        if self.dead or wake_ns == FOREVER:
            return
        due_s = self._started_s + self.seconds(wake_ns + self.profile.after_ns) + EARLY_S
        due_s = max(due_s, self._flushed_s + self._flush_interval_s)
        if self._timer is not None:
            if self._timer.when() <= due_s:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        limit = self._now_ns() - self.profile.after_ns
        replica = self._replica
        while (given := replica.advance(limit)) is not None:
            self._note_step(given)
        self._deliver()
        self._plan(replica.wake_ns())

    def _note_step(self, given: StepResult) -> None:
        """Count the step that was just made."""
        self._page.step_made(
            first=given.first, gaps_s=[self.seconds(gap_ns) for gap_ns in given.gaps_ns]
        )
        seen_ns = given.end_ns + self.profile.after_ns
        for sequence in given.first:
            live = self._live.get(sequence.request)
            if live is not None:
                live.first_ns = given.end_ns
                self._page.first_token(latency_s=self.seconds(seen_ns - live.arrived_ns))
        for sequence in given.finished:
            live = self._live.get(sequence.request)
            if live is not None:
                self._note_finished(live, given.end_ns)

    def _note_finished(self, live: LiveRequest, end_ns: int) -> None:
        sequence = live.sequence
        self._page.request_finished(
            sequence,
            reason=live.finish_reason,
            tokens_max=live.tokens_max,
            e2e_s=self.seconds(end_ns + self.profile.after_ns - live.arrived_ns),
            queue_s=self.seconds(sequence.admitted_ns - sequence.queued_ns),
            prefill_s=self.seconds(live.first_ns - sequence.admitted_ns),
            decode_s=self.seconds(end_ns - live.first_ns),
        )

    def _deliver(self) -> None:
        """Hand out the tokens that came since the last time."""
        for live in [*self._live.values()]:
            made = live.sequence.produced
            fresh = made - live.delivered
            if fresh:
                live.delivered = made
                self._flushed_s = self._loop.time()
                if made == live.sequence.output:
                    self._end(live)
                live.on_tokens(fresh)

    def _end(self, live: LiveRequest) -> None:
        live.ended = True
        del self._live[live.sequence.request]
        if not self._live:
            self.idle.set()
