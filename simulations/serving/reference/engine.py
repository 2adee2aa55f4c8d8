"""One vLLM engine, step by step: the scheduler and the KV blocks of the reference.

Naive on purpose: lists, dictionaries and one pass over the running requests in every step. It shares
no code with the kernel; `reference.fleet` states the rules. Without numpy, so that a server process that
runs on it starts quickly.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from simulations.serving.gauges import FOREVER, NEVER, Gauges
from simulations.serving.histograms import TPOT_BOUNDS_NS, TTFT_BOUNDS_NS
from simulations.serving.profiles.profiles import Profile


@dataclass(slots=True, kw_only=True, eq=False)
class EngineSequence:
    """One request inside one engine."""

    request: int
    prompt: int
    output: int
    prefix: tuple[int, ...]
    """Identities of the prefix blocks that its prompt fills."""
    inbox_ns: int
    """When the engine can see it."""
    deadline_ns: int = FOREVER
    """When its client gives up."""
    produced: int = 0
    """Output tokens so far."""
    computed: int = 0
    """Tokens whose keys and values are in the cache, or will be by the end of this step."""
    prefilling: bool = True
    blocks: int = 0
    """KV blocks held, hit ones included."""
    held: list[int] = field(default_factory=list)
    """Prefix blocks it holds under their identity, in order."""
    own: object | None = None
    """Stands for its own full blocks where they are idle after a preemption."""
    queued_ns: int = NEVER
    """Start of the first step that saw it in the inbox."""
    admitted_ns: int = NEVER
    """Start of the first step that admitted it."""
    cached: int = 0
    """Tokens that were hit at its first admission."""
    last_token_ns: int = NEVER
    """End of the step of its newest token."""
    first_token_ns: int = NEVER
    """End of the step of its first token."""
    preemptions: int = 0

    @property
    def known(self) -> int:
        """Tokens there are: all but the newest have to be computed to get the next."""
        return self.prompt + self.produced


class Blocks:
    """KV blocks of one engine: in use, idle but with content, and plain."""

    def __init__(self, profile: Profile, prefix_tokens: int) -> None:
        self.size = profile.block_tokens
        self.caching = profile.prefix_caching
        self.prefix_tokens = prefix_tokens
        self.per_prefix = prefix_tokens // self.size
        self.usable = profile.kv_blocks - 1
        self.free = self.usable
        """Blocks that can be had: plain ones first, then the idle ones, oldest first."""
        self.plain = self.usable
        self.idle: dict[object, int] = {}
        """Blocks by content, oldest first: a prefix block's identity, or a token that stands for
        one request's own blocks."""
        self.users: dict[int, int] = {}
        """How many sequences hold a prefix block."""

    def blocks_of(self, tokens: int) -> int:
        """Blocks that so many tokens fill, the last one perhaps in part."""
        return -(-tokens // self.size)

    def take(self, blocks: int) -> None:
        """Take so many blocks for new content."""
        while self.plain < blocks:
            oldest = next(iter(self.idle))
            if isinstance(oldest, int) or self.idle[oldest] == 1:
                self.plain += self.idle.pop(oldest)
            else:
                self.plain += 1
                self.idle[oldest] -= 1
        self.plain -= blocks
        self.free -= blocks

    def hits(self, sequence: EngineSequence) -> tuple[list[int], int]:
        """What of the sequence is cached: leading prefix blocks, then blocks of its own."""
        leading: list[int] = []
        for prefix in sequence.prefix:
            within = (len(leading) + 1) * self.prefix_tokens <= sequence.known - 1
            if not within or (prefix not in self.users and prefix not in self.idle):
                return leading, 0
            leading.append(prefix)
        return leading, self.idle.get(sequence.own, 0)

    def admit(self, sequence: EngineSequence) -> bool:
        """Give the sequence what is cached of it, if blocks for all the rest of it are free."""
        leading, own = self.hits(sequence) if self.caching else ([], 0)
        hit_blocks = len(leading) * self.per_prefix + own
        idle_blocks = sum(self.idle.get(prefix, 0) for prefix in leading) + own
        if self.blocks_of(sequence.known) - hit_blocks > self.free - idle_blocks:
            return False
        self.free -= idle_blocks
        for prefix in leading:
            self.idle.pop(prefix, None)
            self.users[prefix] = self.users.get(prefix, 0) + 1
        if own:
            del self.idle[sequence.own]
        sequence.own = None
        sequence.held = leading
        sequence.blocks = hit_blocks
        sequence.computed = hit_blocks * self.size
        return True

    def extend(self, sequence: EngineSequence, tokens: int) -> bool:
        """Find blocks for so many more tokens; False: there are not enough, nothing is done."""
        end = sequence.computed + tokens
        needed = self.blocks_of(end) - sequence.blocks
        if needed > self.free:
            return False
        self.take(needed)
        sequence.blocks += needed
        if self.caching and sequence.prefix:
            before = sequence.computed // self.prefix_tokens
            for prefix in sequence.prefix[before : end // self.prefix_tokens]:
                if prefix not in self.users and prefix not in self.idle:
                    self.users[prefix] = 1
                    sequence.held.append(prefix)
        sequence.computed = end
        return True

    def release(self, sequence: EngineSequence) -> None:
        """Take all blocks of the sequence back; what has content stays idle, tail first."""
        own = 0
        if self.caching:
            own_tokens = sequence.computed - len(sequence.prefix) * self.prefix_tokens
            own = max(0, own_tokens // self.size)
        shared = len(sequence.held) * self.per_prefix
        self.plain += sequence.blocks - own - shared
        self.free += sequence.blocks - shared
        if own:
            sequence.own = object()
            self.idle[sequence.own] = own
        for prefix in reversed(sequence.held):
            self.users[prefix] -= 1
            if self.users[prefix] == 0:
                del self.users[prefix]
                self.idle[prefix] = self.per_prefix
                self.free += self.per_prefix
        sequence.blocks = sequence.computed = 0
        sequence.held = []


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStep:
    """One engine step: who computes how many tokens in it."""

    decodes: list[EngineSequence]
    prefills: list[tuple[EngineSequence, int, int]]
    """(sequence, tokens computed before, tokens in this step)."""

    def duration_ns(self, profile: Profile) -> int:
        """How long it takes; each term is a whole number of nanoseconds."""
        tokens = len(self.decodes) + sum(tokens for _, _, tokens in self.prefills)
        context = sum(sequence.computed for sequence in self.decodes)
        pairs = sum(n * before + n * (n + 1) // 2 for _, before, n in self.prefills)
        return (
            profile.step_ns
            + profile.token_ns * max(0, tokens - profile.flat_tokens)
            + profile.kv_token_ns * context
            + profile.attention_ps * pairs // 1000
            + profile.prefill_request_ns * len(self.prefills)
        )

    def pause_ns(self, profile: Profile) -> int:
        """From its end to the earliest start of the next one."""
        return profile.pause_ns + profile.pause_decode_ns * len(self.decodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a step gave, at its end."""

    end_ns: int
    first: list[EngineSequence]
    """They have their first token."""
    gaps_ns: list[int]
    """Of each that has a further token: since its last one."""
    finished: list[EngineSequence]
    """They have their last token."""


class ReferenceEngine:
    """Scheduler of one replica: `start` composes a step, `end` takes its tokens in."""

    def __init__(self, profile: Profile, prefix_tokens: int) -> None:
        self.profile = profile
        self.blocks = Blocks(profile, prefix_tokens)
        self.inbox: list[EngineSequence] = []
        self.waiting: list[EngineSequence] = []
        self.running: list[EngineSequence] = []
        self.finished = self.prompt_tokens = self.generation_tokens = 0
        self.preemptions = self.prefix_queried = self.prefix_hit = 0
        self.aborted = self.steps = self.queue_time_ns = self.queued = 0
        self.ttft = [0] * (len(TTFT_BOUNDS_NS) + 1)
        """Requests by the first bound that their time to first token is within; the last: none."""
        self.tpot = [0] * (len(TPOT_BOUNDS_NS) + 1)
        """The same of the time per further token of those that ended whole."""
        self.gauges = self._gauges()

    def start(self, at_ns: int) -> EngineStep | None:
        """The step that starts now; None: nothing is left to do."""
        self._read_inbox(at_ns)
        self._drop_aborted(at_ns)
        step = EngineStep(decodes=[], prefills=[])
        budget = self.profile.step_tokens_max
        preempted = False
        index = 0
        while index < len(self.running):
            sequence = self.running[index]
            tokens = min(budget, sequence.known - sequence.computed)
            if tokens == 0:
                break
            while not self.blocks.extend(sequence, tokens):
                preempted = True
                if self._preempt_newest() is sequence:
                    break
            else:
                budget -= tokens
                self._compute(step, sequence, tokens)
                index += 1
        while self.waiting and budget and not preempted:
            if len(self.running) == self.profile.requests_max:
                break
            sequence = self.waiting[0]
            if not self.blocks.admit(sequence):
                break
            self.running.append(self.waiting.pop(0))
            self._note_admission(sequence, at_ns)
            tokens = min(budget, sequence.known - sequence.computed)
            assert self.blocks.extend(sequence, tokens)
            budget -= tokens
            self._compute(step, sequence, tokens)
        if not self.running:
            self.gauges = self._gauges()
            return None
        return step

    def end(self, step: EngineStep, at_ns: int) -> StepResult:
        """Take in the tokens of a step that ends now."""
        first: list[EngineSequence] = []
        gaps_ns: list[int] = []
        for sequence in [*step.decodes, *(sequence for sequence, _, _ in step.prefills)]:
            if sequence.computed < sequence.known:
                continue
            sequence.prefilling = False
            sequence.produced += 1
            self.generation_tokens += 1
            if sequence.produced == 1:
                self.prompt_tokens += sequence.prompt
                sequence.first_token_ns = at_ns
                self._observe_first(sequence)
                first.append(sequence)
            else:
                gaps_ns.append(at_ns - sequence.last_token_ns)
            sequence.last_token_ns = at_ns
        self.steps += 1
        finished = [sequence for sequence in self.running if sequence.produced == sequence.output]
        for sequence in finished:
            self._observe_whole(sequence)
            self._leave(sequence)
        self.gauges = self._gauges()
        return StepResult(end_ns=at_ns, first=first, gaps_ns=gaps_ns, finished=finished)

    def _compute(self, step: EngineStep, sequence: EngineSequence, tokens: int) -> None:
        if sequence.prefilling:
            step.prefills.append((sequence, sequence.computed - tokens, tokens))
        else:
            step.decodes.append(sequence)

    def _read_inbox(self, at_ns: int) -> None:
        while self.inbox and self.inbox[0].inbox_ns <= at_ns:
            self.inbox[0].queued_ns = at_ns
            self.waiting.append(self.inbox.pop(0))

    def _drop_aborted(self, at_ns: int) -> None:
        for sequence in [*self.running, *self.waiting]:
            if sequence.deadline_ns <= at_ns:
                self.aborted += 1
                self._leave(sequence)

    def _leave(self, sequence: EngineSequence) -> None:
        self.finished += 1
        if sequence in self.running:
            self.running.remove(sequence)
            self.blocks.release(sequence)
        else:
            self.waiting.remove(sequence)

    def _observe_first(self, sequence: EngineSequence) -> None:
        sent_ns = sequence.inbox_ns - self.profile.before_ns
        took_ns = sequence.first_token_ns + self.profile.after_ns - sent_ns
        self.ttft[bisect_left(TTFT_BOUNDS_NS, took_ns)] += 1

    def _observe_whole(self, sequence: EngineSequence) -> None:
        gaps = max(1, sequence.output - 1)
        took_ns = sequence.last_token_ns - sequence.first_token_ns
        bounds_ns = [bound * gaps for bound in TPOT_BOUNDS_NS]
        self.tpot[bisect_left(bounds_ns, took_ns)] += 1
        self.queue_time_ns += sequence.admitted_ns - sequence.inbox_ns
        self.queued += 1

    def _preempt_newest(self) -> EngineSequence:
        newest = self.running.pop()
        self.blocks.release(newest)
        newest.prefilling = True
        newest.preemptions += 1
        self.waiting.insert(0, newest)
        self.preemptions += 1
        return newest

    def _note_admission(self, sequence: EngineSequence, at_ns: int) -> None:
        if sequence.admitted_ns == NEVER:
            sequence.admitted_ns = at_ns
            sequence.cached = sequence.computed
        if self.blocks.caching:
            self.prefix_queried += sequence.known
            self.prefix_hit += sequence.computed

    def _gauges(self) -> Gauges:
        return Gauges(
            waiting_requests=len(self.waiting),
            running_requests=len(self.running),
            kv_usage_ratio=(self.blocks.usable - self.blocks.free) / self.blocks.usable,
            finished_requests_total=self.finished,
            prompt_tokens_total=self.prompt_tokens,
            generation_tokens_total=self.generation_tokens,
            preemptions_total=self.preemptions,
            prefix_queried_tokens_total=self.prefix_queried,
            prefix_hit_tokens_total=self.prefix_hit,
            aborted_requests_total=self.aborted,
            steps_total=self.steps,
            queue_time_ns_total=self.queue_time_ns,
            queued_requests_total=self.queued,
        )
