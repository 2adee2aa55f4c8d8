"""The decoding requests of one replica, and what their steps cost in closed form.

Every step adds one token to each, so what a step costs and who needs a block when is known for any
number of steps ahead, until somebody joins or leaves.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from math import isqrt

from simulations.serving.gauges import NEVER
from simulations.serving.profiles.profiles import Profile
from simulations.serving.slot import Slot


class DecodeBatch:
    """Requests that compute one token in every step."""

    __slots__ = ("_heap", "_phases", "context", "profile", "size", "steps")

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.steps = 0
        """Steps made so far, whoever took part."""
        self.size = 0
        self.context = 0
        """Tokens that all of them have in the cache."""
        self._phases = [0] * profile.block_tokens
        """Requests by (computed - steps) modulo the block: who needs a block when."""
        self._heap: list[tuple[int, int, Slot]] = []
        """(finish, order, slot), some of them stale: preempted or dropped since."""

    def join(self, slot: Slot) -> None:
        """From the next step on the request decodes."""
        slot.finish = self.steps + slot.output - slot.produced
        heapq.heappush(self._heap, (slot.finish, slot.order, slot))
        self.size += 1
        self.context += slot.computed
        self._phases[(slot.computed - self.steps) % self.profile.block_tokens] += 1

    def leave(self, slot: Slot) -> None:
        """The request decodes no more; its counts are brought up to date."""
        slot.produced = self.produced(slot)
        slot.computed = slot.known - 1
        slot.finish = NEVER
        self.size -= 1
        self.context -= slot.computed
        self._phases[(slot.computed - self.steps) % self.profile.block_tokens] -= 1

    def produced(self, slot: Slot) -> int:
        """Output tokens of a request so far, whether it decodes or not."""
        if slot.finish == NEVER:
            return slot.produced
        return slot.output - (slot.finish - self.steps)

    def needs_block(self, slot: Slot) -> bool:
        """Whether its next token begins a block."""
        return (slot.prompt + self.produced(slot) - 1) % self.profile.block_tokens == 0

    def steps_to_finish(self) -> int:
        """Steps until the first of them has all its tokens."""
        heap = self._heap
        while heap[0][2].finish != heap[0][0] or heap[0][2].order != heap[0][1]:
            heapq.heappop(heap)
        return heap[0][0] - self.steps

    def finished(self) -> list[Slot]:
        """Those whose last token is there, in order of admission; they still have to leave."""
        heap = self._heap
        done: list[Slot] = []
        while heap and heap[0][0] <= self.steps:
            finish, order, slot = heapq.heappop(heap)
            if slot.finish == finish and slot.order == order:
                done.append(slot)
        return done

    # What steps cost.

    def step_ns(self) -> int:
        """The next step, if they are alone in it."""
        profile = self.profile
        beyond = self.size - profile.flat_tokens
        return (
            profile.step_ns
            + (profile.token_ns * beyond if beyond > 0 else 0)
            + profile.kv_token_ns * (self.context + self.size)
        )

    def mixed_step_ns(self, prefills: Sequence[tuple[Slot, int]]) -> int:
        """The next step, if these prefill so many tokens in it, which they count as computed."""
        profile = self.profile
        tokens = self.size
        pairs = 0
        for slot, count in prefills:
            tokens += count
            pairs += count * (slot.computed - count) + count * (count + 1) // 2
        return (
            profile.step_ns
            + profile.token_ns * max(0, tokens - profile.flat_tokens)
            + profile.kv_token_ns * (self.context + self.size)
            + profile.attention_ps * pairs // 1000
            + profile.prefill_request_ns * len(prefills)
        )

    def pause_ns(self) -> int:
        """From the end of a step with these decodes to the next one's start."""
        return self.profile.pause_ns + self.profile.pause_decode_ns * self.size

    def span_ns(self, steps: int) -> int:
        """From the start of the next step to the start of the one so many steps later."""
        growth = self.profile.kv_token_ns * self.size
        return steps * (self.step_ns() + self.pause_ns()) + growth * (steps * (steps - 1) // 2)

    def steps_within(self, span_ns: int) -> int:
        """The most steps whose span is at most so long."""
        first = self.step_ns() + self.pause_ns()
        growth = self.profile.kv_token_ns * self.size
        if growth == 0:
            return span_ns // first
        # growth/2 n^2 + (first - growth/2) n <= span, solved in whole numbers, then checked.
        linear = 2 * first - growth
        steps = (isqrt(linear * linear + 8 * growth * span_ns) - linear) // (2 * growth)
        while self.span_ns(steps + 1) <= span_ns:
            steps += 1
        while self.span_ns(steps) > span_ns:
            steps -= 1
        return steps

    def blocks_needed(self, steps: int) -> int:
        """Blocks that so many steps take."""
        phases, size = self._phases, self.profile.block_tokens
        rounds, rest = divmod(steps, size)
        needed = rounds * self.size
        for step in range(self.steps, self.steps + rest):
            needed += phases[-step % size]
        return needed

    def steps_with_blocks(self, steps: int, free: int) -> int:
        """How many of so many steps find all their blocks among the free ones."""
        size = self.profile.block_tokens
        if self.size * (-(-steps // size)) <= free:
            return steps
        rounds = min(steps // size, free // self.size)
        free -= rounds * self.size
        made = rounds * size
        while made < steps:
            free -= self._phases[-(self.steps + made) % size]
            if free < 0:
                break
            made += 1
        return made

    def advance(self, steps: int) -> None:
        """Make so many steps."""
        self.steps += steps
        self.context += steps * self.size
