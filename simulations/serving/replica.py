"""One vLLM replica that skips ahead: equal to the reference, without stepping through decodes.

Between two events (a completion, an arrival that can be admitted, blocks that run out, a time-out) a
batch of `B` decodes over `K` tokens of context makes steps that grow by `c * B` each, so `n` of them
take `n * first + c * B * n * (n - 1) / 2`: one jump. Only steps with a prefill in them, or that must
preempt, are made one by one. The rules are stated in `reference`.
"""

from __future__ import annotations

from collections import deque

from simulations.serving.decode_batch import DecodeBatch
from simulations.serving.gauges import NEVER, Gauges
from simulations.serving.kv_cache import KvCache
from simulations.serving.profiles.profiles import Profile
from simulations.serving.slot import Slot

FOREVER = 1 << 62


class Replica:
    """An engine that is moved forward to a moment, as far as whole steps go."""

    def __init__(self, profile: Profile, prefix_tokens: int) -> None:
        self.profile = profile
        self.prefix_tokens = prefix_tokens
        self.cache = KvCache(profile, prefix_tokens)
        self.batch = DecodeBatch(profile)
        self.ended: list[tuple[int, Slot]] = []
        """(end of its last step, slot) of requests that are finished; the owner takes them away."""
        self.start_ns = 0
        """Earliest start of the next step."""
        self.step_end_ns = NEVER
        """End of the step that is under way; NEVER: none is, or it has not been looked at."""
        self.last_end_ns = NEVER
        """End of the last step that was made; its page is what `gauges` shows."""
        self.last_decodes = 0
        """Requests that decoded in it."""
        self.last_prefilled: list[Slot] = []
        """Requests whose prefill it completed: they got a token too."""
        self._last_start_ns = NEVER
        self._inbox: deque[Slot] = deque()
        self._waiting: deque[Slot] = deque()
        self._running: dict[int, Slot] = {}
        """By order of admission."""
        self._admissions = 0
        self._prefills: list[tuple[Slot, int]] = []
        """Of the step under way: (slot, tokens)."""
        self._partial: Slot | None = None
        """The newest running request, where its prefill is not done."""
        self._blocked = False
        """The head of the queue cannot be admitted before something leaves."""
        self._deadline_ns = FOREVER
        """No request in the engine has to be dropped earlier."""
        self._finished = self._prompt_tokens = self._generation_tokens = 0
        self._preemptions = self._prefix_queried = self._prefix_hit = 0
        self._shown: Gauges | None = None
        """The page while a step is under way."""

    def put(self, slot: Slot) -> None:
        """Send a request; calls come in order of `inbox_ns`."""
        self._inbox.append(slot)
        self._deadline_ns = min(self._deadline_ns, max(slot.deadline_ns, slot.inbox_ns))

    def abort(self, slot: Slot, at_ns: int) -> None:
        """The client is gone: the first step that starts at `at_ns` or later drops the request."""
        slot.deadline_ns = min(slot.deadline_ns, at_ns)
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
                if self.batch.blocks_needed(1) <= self.cache.free:
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
        if start == FOREVER:
            return FOREVER
        if not self._plain_decoding(start) or self.batch.blocks_needed(1) > self.cache.free:
            return start + 1
        return start + self.batch.step_ns()

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
        batch = self.batch
        steps = batch.steps_with_blocks(batch.steps_to_finish(), self.cache.free)
        if steps == 0:
            return start + single
        bound = start + batch.span_ns(steps) - batch.pause_ns()
        bound = min(bound, max(start, self._deadline_ns) + single)
        if self._inbox and not self._blocked:
            # Whoever is admitted next may be done in one step.
            bound = min(bound, self._inbox[0].inbox_ns + single)
        return bound

    def produced(self, slot: Slot) -> int:
        """Output tokens of a request so far."""
        return self.batch.produced(slot)

    def in_engine(self) -> list[Slot]:
        """Everything that is neither finished nor dropped."""
        return [*self._running.values(), *self._waiting, *self._inbox]

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

    # Stretches of plain decode steps.

    def _next_start(self) -> int:
        if self._running or self._waiting:
            return self.start_ns
        if self._inbox:
            return max(self.start_ns, self._inbox[0].inbox_ns)
        return FOREVER

    def _plain_decoding(self, start: int) -> bool:
        """Whether the step that starts then only decodes (or preempts)."""
        if self._partial is not None or not self.batch.size or start >= self._deadline_ns:
            return False
        if self._blocked:
            return True
        return not self._waiting and (not self._inbox or self._inbox[0].inbox_ns > start)

    def _stretch(self, start: int, limit_ns: int, steps_max: int) -> int:
        """Make as many plain decode steps as can be told in one go."""
        batch = self.batch
        pause = batch.pause_ns()
        finishing = batch.steps_to_finish()
        steps = min(finishing, steps_max, batch.steps_within(limit_ns - start + pause))
        bound = self._deadline_ns
        if not self._blocked and self._inbox:
            bound = min(bound, self._inbox[0].inbox_ns)
        if bound != FOREVER:
            steps = min(steps, 1 + batch.steps_within(bound - 1 - start))
        steps = batch.steps_with_blocks(steps, self.cache.free)
        if steps == 0:
            return 0
        self._last_start_ns = start + batch.span_ns(steps - 1)
        self.start_ns = start + batch.span_ns(steps)
        self.cache.take(batch.blocks_needed(steps))
        self._generation_tokens += steps * batch.size
        self.last_end_ns = self.start_ns - pause
        self.last_decodes = batch.size
        self.last_prefilled = []
        batch.advance(steps)
        if steps == finishing:
            for slot in batch.finished():
                self._finish(slot, self.last_end_ns)
        return steps

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
        preempted = self._take_decode_blocks()
        decodes = self.batch.size
        budget = self.profile.step_tokens_max - decodes
        self._prefills = []
        if self._partial is not None:
            slot = self._partial
            tokens = min(budget, slot.known - slot.computed)
            if self.cache.missing(slot.computed, tokens) > self.cache.free:
                self._preempt(slot)
                preempted = True
            elif tokens:
                budget -= self._prefill(slot, tokens)
        if not preempted:
            self._admit(budget, start)
        self.step_end_ns = start + self.batch.mixed_step_ns(self._prefills)

    def _end_step(self) -> None:
        """Take in the tokens of the step under way."""
        end = self.step_end_ns
        self.step_end_ns = NEVER
        self._shown = None
        self.last_end_ns = end
        self.last_decodes = self.batch.size
        self.last_prefilled = []
        self.start_ns = end + self.batch.pause_ns()
        self._generation_tokens += self.batch.size
        self.batch.advance(1)
        for slot in self.batch.finished():
            self._finish(slot, end)
        for slot, _ in self._prefills:
            if slot.computed < slot.known:
                self._partial = slot
                continue
            if slot is self._partial:
                self._partial = None
            slot.produced += 1
            self.last_prefilled.append(slot)
            self._generation_tokens += 1
            if slot.produced == 1:
                self._prompt_tokens += slot.prompt
                slot.first_token_ns = end + self.profile.after_ns
            if slot.produced == slot.output:
                self._finish(slot, end)
            else:
                self.batch.join(slot)
        self._prefills = []

    def _take_decode_blocks(self) -> bool:
        """Give each decode the block it may need, preempting the newest; True: one was."""
        needed = self.batch.blocks_needed(1)
        if needed <= self.cache.free:
            self.cache.take(needed)
            return False
        for order in list(self._running):
            slot = self._running.get(order)
            if slot is None:
                break
            if slot.finish == NEVER or not self.batch.needs_block(slot):
                continue
            while self.cache.free == 0:
                newest = self._running[next(reversed(self._running))]
                self._preempt(newest)
                if newest is slot:
                    break
            else:
                self.cache.take(1)
        return True

    def _prefill(self, slot: Slot, tokens: int) -> int:
        """Schedule so many tokens of its prompt (and of what it had produced)."""
        self.cache.take(self.cache.missing(slot.computed, tokens))
        if slot.prefix:
            done = slot.computed // self.prefix_tokens
            upto = (slot.computed + tokens) // self.prefix_tokens
            slot.held += self.cache.identify(slot.prefix[done:upto])
        slot.computed += tokens
        self._prefills.append((slot, tokens))
        return tokens

    # Who comes and goes.

    def _read_inbox(self, at_ns: int) -> None:
        inbox = self._inbox
        while inbox and inbox[0].inbox_ns <= at_ns:
            slot = inbox.popleft()
            slot.queued_ns = at_ns
            self._waiting.append(slot)

    def _admit(self, budget: int, start: int) -> None:
        """Admit from the head of the queue while the budget, the limit and the blocks allow."""
        self._blocked = False
        while self._waiting and budget:
            slot = self._waiting[0]
            if len(self._running) == self.profile.requests_max or not self._give_cached(slot):
                self._blocked = True
                return
            self._waiting.popleft()
            if slot.scheduled_ns == NEVER:
                slot.scheduled_ns = start
                slot.cached = slot.computed
            slot.order = self._admissions
            self._running[slot.order] = slot
            self._admissions += 1
            budget -= self._prefill(slot, min(budget, slot.known - slot.computed))

    def _give_cached(self, slot: Slot) -> bool:
        """Let the request hold what is cached of it, if blocks for all the rest are free."""
        cache = self.cache
        size = cache.block_tokens
        known = slot.known
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

    def _finish(self, slot: Slot, at_ns: int) -> None:
        self._leave(slot)
        self._finished += 1
        slot.gone = True
        self.ended.append((at_ns, slot))

    def _preempt(self, slot: Slot) -> None:
        """Send the newest back to the head of the queue."""
        if slot.finish != NEVER:
            slot.last_token_ns = self.last_end_ns
        self._leave(slot)
        slot.preemptions += 1
        self._preemptions += 1
        self._waiting.appendleft(slot)

    def _leave(self, slot: Slot) -> None:
        """Stop running, whatever the reason."""
        if slot.finish != NEVER:
            self.batch.leave(slot)
        size = self.profile.block_tokens
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
