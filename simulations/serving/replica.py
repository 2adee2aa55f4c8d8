"""One vLLM replica that skips ahead: equal to the reference, without stepping through decodes.

Between two events (a completion, an arrival that can be admitted, blocks that run out, a time-out) a
batch of `B` decodes over `K` tokens of context makes steps that grow by `c * B` each, so `n` of them
take `n * first + c * B * n * (n - 1) / 2`: one jump. Only steps with a prefill in them, or that must
preempt, are made one by one. The rules are stated in `reference`.
"""

from __future__ import annotations

import heapq
from collections import deque
from math import isqrt

from simulations.serving.columns import NEVER, Gauges
from simulations.serving.kv_cache import Content, KvCache
from simulations.serving.profiles import Profile

FOREVER = 1 << 62


class Slot:
    """One request in one replica."""

    __slots__ = (
        "computed",
        "deadline_ns",
        "finish",
        "first_token_ns",
        "gone",
        "held",
        "inbox_ns",
        "order",
        "output",
        "own",
        "preemptions",
        "prefix",
        "produced",
        "prompt",
        "request",
    )

    def __init__(
        self,
        *,
        request: int,
        prompt: int,
        output: int,
        prefix: tuple[int, ...],
        inbox_ns: int,
        deadline_ns: int,
    ) -> None:
        self.request = request
        self.prompt = prompt
        self.output = output
        self.prefix = prefix
        self.inbox_ns = inbox_ns
        self.deadline_ns = deadline_ns
        self.produced = 0
        """Output tokens; while decoding, as of when the decoding began."""
        self.computed = 0
        """Tokens in the cache; while decoding, as of when the decoding began."""
        self.finish = NEVER
        """While decoding: the count of steps at which its last token is there."""
        self.order = NEVER
        """While running: its place in the order of admissions."""
        self.first_token_ns = NEVER
        """When the client has its first token."""
        self.gone = False
        """Finished or dropped: the engine has forgotten it."""
        self.preemptions = 0
        self.own: Content | None = None
        """Its own idle blocks after a preemption."""
        self.held: list[int] = []


class Replica:
    """An engine that is moved forward to a moment, as far as whole steps go."""

    def __init__(self, profile: Profile, prefix_tokens: int) -> None:
        self.profile = profile
        self.prefix_tokens = prefix_tokens
        self.cache = KvCache(profile, prefix_tokens)
        self.ended: list[tuple[int, Slot]] = []
        """(end of its last step, slot) of requests that are finished; the owner takes them away."""
        self.start_ns = 0
        """Earliest start of the next step."""
        self.step_end_ns = NEVER
        """End of the step with prefills that is under way; NEVER: none is."""
        self._last_start_ns = NEVER
        self._inbox: deque[Slot] = deque()
        self._waiting: deque[Slot] = deque()
        self._running: dict[int, Slot] = {}
        self._admissions = 0
        self._prefills: list[tuple[Slot, int]] = []
        """Of the step under way: (slot, tokens)."""
        self._partial: Slot | None = None
        """The newest running request, where its prefill is not done."""
        self._blocked = False
        """The head of the queue cannot be admitted before something leaves."""
        self._steps = 0
        self._decodes = 0
        self._context = 0
        """Tokens in the cache of those that decode."""
        self._phases = [0] * profile.block_tokens
        """Decoding requests by (computed - steps) modulo the block: who needs a block when."""
        self._heap: list[tuple[int, int, Slot]] = []
        self._deadline_ns = FOREVER
        """No request in the engine has an earlier one."""
        self._finished = self._prompt_tokens = self._generation_tokens = 0
        self._preemptions = self._prefix_queried = self._prefix_hit = 0
        self._shown: Gauges | None = None
        """The page while a step with prefills is under way."""

    def put(self, slot: Slot) -> None:
        """Send a request; calls come in order of `inbox_ns`."""
        self._inbox.append(slot)
        self._deadline_ns = min(self._deadline_ns, max(slot.deadline_ns, slot.inbox_ns))

    def advance(self, limit_ns: int, steps_max: int = FOREVER) -> int:
        """Make the steps that end by `limit_ns`, at most so many; returns how many were made.

        Everything that was sent before `limit_ns` must have been `put`.
        """
        made = 0
        while made < steps_max:
            if self.step_end_ns != NEVER:
                if self.step_end_ns > limit_ns:
                    break
                self._end_step()
                made += 1
                continue
            start = self._next_start()
            if start >= limit_ns:
                break
            if self._plain_decoding(start):
                steps = self._stretch(start, limit_ns, steps_max - made)
                if steps:
                    made += steps
                    continue
                if self._blocks_needed(1) <= self.cache.free:
                    break
            self._start_step(start)
        return made

    def wake_ns(self) -> int:
        """The next moment at which `advance` can change anything, if nothing arrives before.

        FOREVER: there is nothing to do.
        """
        if self.step_end_ns != NEVER:
            return self.step_end_ns
        start = self._next_start()
        if start == FOREVER or not self._plain_decoding(start) or not self._until_exhaustion(1):
            return min(FOREVER, start + 1)
        return start + self._decode_ns(self._context + self._decodes)

    def completion_bound_ns(self) -> int:
        """No request finishes before this moment, whatever arrives."""
        if self.step_end_ns != NEVER:
            return self.step_end_ns
        start = self._next_start()
        if start == FOREVER:
            return FOREVER
        single = self.profile.step_ns
        if not self._plain_decoding(start):
            return start + single
        self._forget_stale()
        steps = self._until_exhaustion(self._heap[0][0] - self._steps)
        if steps == 0:
            return start + single
        bound = start + self._span_ns(steps) - self._pause_ns(self._decodes)
        bound = min(bound, max(start, self._deadline_ns) + single)
        if self._inbox and not self._blocked:
            # Whoever is admitted next may be done in one step.
            bound = min(bound, self._inbox[0].inbox_ns + single)
        return bound

    def produced(self, slot: Slot) -> int:
        """Output tokens of a request so far."""
        if slot.finish == NEVER:
            return slot.produced
        return slot.output - (slot.finish - self._steps)

    def in_engine(self) -> list[Slot]:
        """Everything that is neither finished nor dropped."""
        return [*self._running.values(), *self._waiting, *self._inbox]

    def idle(self) -> bool:
        """Whether there is nothing at all to do."""
        return not self._running and not self._waiting and not self._inbox

    def gauges(self) -> Gauges:
        """The page as of the end of the last step."""
        if self._shown is not None:
            return self._shown
        self._read_inbox(self._last_start_ns)
        usable = self.cache.usable
        return Gauges(
            waiting_requests=len(self._waiting),
            running_requests=len(self._running),
            kv_usage_ratio=(usable - self.cache.free) / usable,
            finished_requests_total=self._finished,
            prompt_tokens_total=self._prompt_tokens,
            generation_tokens_total=self._generation_tokens,
            preemptions_total=self._preemptions,
            prefix_queried_tokens_total=self._prefix_queried,
            prefix_hit_tokens_total=self._prefix_hit,
        )

    # Time.

    def _next_start(self) -> int:
        if self._running or self._waiting:
            return self.start_ns
        if self._inbox:
            return max(self.start_ns, self._inbox[0].inbox_ns)
        return FOREVER

    def _plain_decoding(self, start: int) -> bool:
        """Whether the step that starts then only decodes (or preempts)."""
        if self._partial is not None or not self._decodes or start >= self._deadline_ns:
            return False
        if self._blocked:
            return True
        return not self._waiting and (not self._inbox or self._inbox[0].inbox_ns > start)

    def _decode_ns(self, context: int) -> int:
        """A step of decodes alone, over so many tokens of context."""
        profile = self.profile
        beyond = self._decodes - profile.flat_tokens
        return (
            profile.step_ns
            + (profile.token_ns * beyond if beyond > 0 else 0)
            + profile.kv_token_ns * context
        )

    def _pause_ns(self, decodes: int) -> int:
        return self.profile.pause_ns + self.profile.pause_decode_ns * decodes

    def _span_ns(self, steps: int) -> int:
        """From the start of a decode step to the start of the one so many steps later."""
        first = self._decode_ns(self._context + self._decodes) + self._pause_ns(self._decodes)
        growth = self.profile.kv_token_ns * self._decodes
        return steps * first + growth * (steps * (steps - 1) // 2)

    def _steps_within(self, span_ns: int) -> int:
        """The most steps whose span is at most so long."""
        first = self._decode_ns(self._context + self._decodes) + self._pause_ns(self._decodes)
        growth = self.profile.kv_token_ns * self._decodes
        if growth == 0:
            return span_ns // first
        # growth/2 n^2 + (first - growth/2) n <= span, solved in whole numbers, then checked.
        linear = 2 * first - growth
        steps = (isqrt(linear * linear + 8 * growth * span_ns) - linear) // (2 * growth)
        while self._span_ns(steps + 1) <= span_ns:
            steps += 1
        while self._span_ns(steps) > span_ns:
            steps -= 1
        return steps

    # Decode stretches.

    def _stretch(self, start: int, limit_ns: int, steps_max: int) -> int:
        """Make as many plain decode steps as can be told in one go."""
        self._forget_stale()
        finishing = self._heap[0][0] - self._steps
        steps = min(finishing, steps_max)
        steps = min(steps, self._steps_within(limit_ns - start + self._pause_ns(self._decodes)))
        bound = self._deadline_ns
        if not self._blocked and self._inbox:
            bound = min(bound, self._inbox[0].inbox_ns)
        if bound != FOREVER:
            steps = min(steps, 1 + self._steps_within(bound - 1 - start))
        steps = self._until_exhaustion(steps)
        if steps == 0:
            return 0
        decodes = self._decodes
        self._last_start_ns = start + self._span_ns(steps - 1)
        self.start_ns = start + self._span_ns(steps)
        self.cache.take(self._blocks_needed(steps))
        self._steps += steps
        self._context += steps * decodes
        self._generation_tokens += steps * decodes
        if steps == finishing:
            self._finish_decodes(self.start_ns - self._pause_ns(decodes))
        return steps

    def _blocks_needed(self, steps: int) -> int:
        """Blocks that so many steps of the present decodes take."""
        phases, size = self._phases, self.profile.block_tokens
        rounds, rest = divmod(steps, size)
        needed = rounds * self._decodes
        for step in range(self._steps, self._steps + rest):
            needed += phases[-step % size]
        return needed

    def _until_exhaustion(self, steps: int) -> int:
        """How many of so many decode steps find all their blocks."""
        size = self.profile.block_tokens
        free = self.cache.free
        if self._decodes * (-(-steps // size)) <= free:
            return steps
        rounds = min(steps // size, free // self._decodes)
        free -= rounds * self._decodes
        made = rounds * size
        while made < steps:
            free -= self._phases[-(self._steps + made) % size]
            if free < 0:
                break
            made += 1
        return made

    def _forget_stale(self) -> None:
        """Take requests off the heap that were preempted or dropped."""
        heap = self._heap
        while heap and (heap[0][2].finish != heap[0][0] or heap[0][2].order != heap[0][1]):
            heapq.heappop(heap)

    def _finish_decodes(self, at_ns: int) -> None:
        """Let those leave whose last token this step computed."""
        heap = self._heap
        while heap and heap[0][0] <= self._steps:
            finish, order, slot = heapq.heappop(heap)
            if slot.finish == finish and slot.order == order:
                self._finish(slot, at_ns)

    def _finish(self, slot: Slot, at_ns: int) -> None:
        self._leave(slot)
        self._finished += 1
        slot.gone = True
        self.ended.append((at_ns, slot))

    def _leave(self, slot: Slot) -> None:
        """Stop running; whatever the reason."""
        size = self.profile.block_tokens
        if slot.finish != NEVER:
            slot.produced = self.produced(slot)
            slot.computed = slot.prompt + slot.produced - 1
            self._decodes -= 1
            self._context -= slot.computed
            self._phases[(slot.computed - self._steps) % size] -= 1
            slot.finish = NEVER
        own = 0
        if self.cache.caching:
            own_tokens = slot.computed - len(slot.prefix) * self.prefix_tokens
            own = max(0, own_tokens // size)
        slot.own = (slot.request, slot.preemptions) if own else None
        self.cache.release(
            blocks=-(-slot.computed // size), own=own, content=slot.own, held=slot.held
        )
        slot.held = []
        slot.computed = 0
        if slot is self._partial:
            self._partial = None
        del self._running[slot.order]
        slot.order = NEVER
        self._blocked = False

    # Steps that are made one by one.

    def _start_step(self, start: int) -> None:
        """Compose the step that starts then: decodes, the partial prefill, admissions."""
        self._shown = self.gauges()
        self._read_inbox(start)
        if start >= self._deadline_ns:
            self._drop_aborted(start)
        self._last_start_ns = start
        if not self._running and not self._waiting:
            self._shown = None
            return
        budget = self.profile.step_tokens_max
        preempted = self._take_decode_blocks()
        decodes = self._decodes
        budget -= decodes
        self._prefills = []
        if self._partial is not None:
            slot = self._partial
            tokens = min(budget, slot.prompt + slot.produced - slot.computed)
            if self._missing(slot, tokens) > self.cache.free:
                self._preempt(slot)
                preempted = True
            elif tokens:
                budget -= self._prefill(slot, tokens)
        if not preempted:
            self._admit(budget)
        self._context += decodes
        tokens = decodes + sum(count for _, count in self._prefills)
        pairs = sum(
            count * (slot.computed - count) + count * (count + 1) // 2
            for slot, count in self._prefills
        )
        profile = self.profile
        self.step_end_ns = (
            start
            + profile.step_ns
            + profile.token_ns * max(0, tokens - profile.flat_tokens)
            + profile.kv_token_ns * self._context
            + profile.attention_ps * pairs // 1000
            + profile.prefill_request_ns * len(self._prefills)
        )

    def _end_step(self) -> None:
        """Take in the tokens of the step under way."""
        end = self.step_end_ns
        decodes = self._decodes
        self.step_end_ns = NEVER
        self._shown = None
        self.start_ns = end + self._pause_ns(decodes)
        self._steps += 1
        self._generation_tokens += decodes
        if decodes:
            self._finish_decodes(end)
        for slot, _ in self._prefills:
            if slot.computed < slot.prompt + slot.produced:
                self._partial = slot
                continue
            if slot is self._partial:
                self._partial = None
            slot.produced += 1
            self._generation_tokens += 1
            if slot.produced == 1:
                self._prompt_tokens += slot.prompt
                slot.first_token_ns = end + self.profile.after_ns
            if slot.produced == slot.output:
                self._finish(slot, end)
            else:
                self._decode(slot)
        self._prefills = []

    def _decode(self, slot: Slot) -> None:
        """From the next step on the request decodes."""
        slot.finish = self._steps + slot.output - slot.produced
        heapq.heappush(self._heap, (slot.finish, slot.order, slot))
        self._decodes += 1
        self._context += slot.computed
        self._phases[(slot.computed - self._steps) % self.profile.block_tokens] += 1

    def _take_decode_blocks(self) -> bool:
        """Give each decode the block it may need, preempting the newest; True: one was."""
        needed = self._blocks_needed(1)
        if needed <= self.cache.free:
            self.cache.take(needed)
            return False
        size = self.profile.block_tokens
        for order in list(self._running):
            slot = self._running.get(order)
            if slot is None:
                break
            if slot.finish == NEVER or (slot.prompt + self.produced(slot) - 1) % size:
                continue
            while self.cache.free == 0:
                newest = self._running[next(reversed(self._running))]
                self._preempt(newest)
                if newest is slot:
                    break
            else:
                self.cache.take(1)
        return True

    def _preempt(self, slot: Slot) -> None:
        """Send the newest back to the head of the queue."""
        self._leave(slot)
        slot.preemptions += 1
        self._preemptions += 1
        self._waiting.appendleft(slot)

    def _missing(self, slot: Slot, tokens: int) -> int:
        """Blocks that so many more tokens of a prefill take."""
        size = self.profile.block_tokens
        return -(-(slot.computed + tokens) // size) - -(-slot.computed // size)

    def _prefill(self, slot: Slot, tokens: int) -> int:
        """Schedule so many tokens of its prompt (and of what it had produced)."""
        self.cache.take(self._missing(slot, tokens))
        if slot.prefix:
            done = slot.computed // self.prefix_tokens
            upto = (slot.computed + tokens) // self.prefix_tokens
            slot.held += self.cache.identify(slot.prefix[done:upto])
        slot.computed += tokens
        self._prefills.append((slot, tokens))
        return tokens

    def _admit(self, budget: int) -> None:
        """Admit from the head of the queue while the budget, the limit and the blocks allow."""
        self._blocked = False
        while self._waiting and budget:
            slot = self._waiting[0]
            if len(self._running) == self.profile.requests_max or not self._give_cached(slot):
                self._blocked = True
                return
            self._waiting.popleft()
            slot.order = self._admissions
            self._running[slot.order] = slot
            self._admissions += 1
            budget -= self._prefill(slot, min(budget, slot.prompt + slot.produced - slot.computed))

    def _give_cached(self, slot: Slot) -> bool:
        """Let the request hold what is cached of it, if blocks for all the rest are free."""
        cache = self.cache
        size = cache.block_tokens
        known = slot.prompt + slot.produced
        hit: tuple[int, ...] = ()
        own = 0
        if cache.caching:
            if slot.prefix:
                hit = slot.prefix[: cache.leading(slot.prefix, (known - 1) // self.prefix_tokens)]
            if len(hit) == len(slot.prefix):
                own = cache.own(slot.own)
        hit_blocks = len(hit) * cache.prefix_blocks + own
        missing = -(-known // size) - hit_blocks
        if missing > cache.free - cache.revivable(hit) - own:
            return False
        cache.hold(hit)
        if own:
            assert slot.own is not None
            cache.hold_own(slot.own)
        slot.own = None
        slot.held = list(hit)
        slot.computed = hit_blocks * size
        if cache.caching:
            self._prefix_queried += known
            self._prefix_hit += slot.computed
        return True

    def _read_inbox(self, at_ns: int) -> None:
        inbox = self._inbox
        while inbox and inbox[0].inbox_ns <= at_ns:
            self._waiting.append(inbox.popleft())

    def _drop_aborted(self, at_ns: int) -> None:
        """Forget requests whose clients have gone, and find the next deadline."""
        for slot in [*self._running.values(), *self._waiting]:
            if slot.deadline_ns <= at_ns:
                if slot.order == NEVER:
                    self._waiting.remove(slot)
                    self._blocked = False
                else:
                    self._leave(slot)
                slot.gone = True
                self._finished += 1
        self._deadline_ns = min(
            (max(slot.deadline_ns, slot.inbox_ns) for slot in self.in_engine()), default=FOREVER
        )
