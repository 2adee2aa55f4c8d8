"""The scheduler apart from the clock: told when each step of a real engine began and ended.

What the serving model gets wrong in a run is either a rule or a time. Here the times are the engine's
own, so that what differs is a rule: the reference's scheduler must put the same requests and tokens into
the same steps, and hold the same blocks after each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autoscaler.core.contract.state import FloatArray
from simulations.serving.profiles.profiles import Profile
from simulations.serving.reference.engine import EngineSequence, EngineStep, ReferenceEngine
from simulations.studies.fidelity.fit import FittedCoefficients, Speed, profile_of
from simulations.studies.fidelity.runs import MeasuredRun

SURELY_S = 0.25
"""A request sent so long before a step began is in the engine's inbox then. One that came later may
still be on its way; it is there when the log shows more prompts in the step than there would be without."""
KV_TOLERANCE_RATIO = 0.001
"""The log has the KV cache's use in tenths of a per cent."""
NEVER_NS = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerEquality:
    """How much of a run's step log comes out the same. Errors are signed and relative."""

    run: str
    steps: int
    equal_steps: int
    """With the logged requests and tokens in prefill and in decode."""
    equal_kv_steps: int
    """With the logged share of blocks in use after them."""
    preemptions: int
    preemptions_measured: int
    prefix_hit_tokens: int
    prefix_hit_tokens_measured: int
    ttft_mean_error: float
    """Of the whole requests, with no constant around the engine."""
    e2e_mean_error: float


def scheduler_equality(
    run: MeasuredRun, engine: Callable[[Profile, int], ReferenceEngine] = ReferenceEngine
) -> SchedulerEquality:
    """Step an engine (the reference's) through a run's step log."""
    logged = _LoggedEngine(run, engine)
    for step in range(len(run.steps.ended_s)):
        logged.step(step)
    whole = run.whole & ~np.isnan(logged.finished_s)
    sent = run.columns.arrival_ns / 1e9
    return SchedulerEquality(
        run=run.name,
        steps=len(run.steps.ended_s),
        equal_steps=logged.equal,
        equal_kv_steps=logged.equal_kv,
        preemptions=logged.engine.preemptions,
        preemptions_measured=round(run.preemptions),
        prefix_hit_tokens=logged.engine.prefix_hit,
        prefix_hit_tokens_measured=round(run.prefix_hit_tokens),
        ttft_mean_error=_error((logged.first_s - sent)[whole], run.ttft_s[whole]),
        e2e_mean_error=_error((logged.finished_s - sent)[whole], run.e2e_s[whole]),
    )


class _LoggedEngine:
    """An engine stepped at the times of a log."""

    def __init__(self, run: MeasuredRun, engine: Callable[[Profile, int], ReferenceEngine]) -> None:
        profile = profile_of(run, FittedCoefficients(), Speed())
        self.engine = engine(profile, profile.block_tokens)
        self.equal = 0
        self.equal_kv = 0
        self.first_s: FloatArray = np.full(len(run.columns), np.nan)
        self.finished_s: FloatArray = np.full(len(run.columns), np.nan)
        self._run = run
        self._sent_s = run.columns.arrival_ns / 1e9
        self._started_s = run.steps.ended_s - run.steps.elapsed_s
        self._coming = [_sequence(run, row) for row in range(len(run.columns))][::-1]

    def step(self, number: int) -> None:
        """One line of the log."""
        steps = self._run.steps
        self._arrive(self._started_s[number], prompts=int(steps.prefill_requests[number]))
        step = self.engine.start(number)
        logged = (
            steps.prefill_requests[number],
            steps.prefill_tokens[number],
            steps.decode_requests[number],
            steps.decode_tokens[number],
        )
        self.equal += int(step is not None and _composition(step) == logged)
        if step is None:
            return
        given = self.engine.end(step, number)
        self.first_s[[sequence.request for sequence in given.first]] = steps.ended_s[number]
        self.finished_s[[sequence.request for sequence in given.finished]] = steps.ended_s[number]
        blocks = self.engine.blocks
        kv_tokens = (blocks.usable - blocks.free) * blocks.size
        room = blocks.usable * blocks.size
        off = abs(kv_tokens - float(steps.kv_tokens[number]))
        self.equal_kv += int(off <= KV_TOLERANCE_RATIO * room)

    def _arrive(self, started_s: float, *, prompts: int) -> None:
        """Put into the inbox what was there when the step began."""
        engine = self.engine
        at_hand = sum(s.prefilling and s.produced == 0 for s in [*engine.running, *engine.waiting])
        while self._coming:
            sent_s = self._sent_s[self._coming[-1].request]
            if sent_s + SURELY_S > started_s and (at_hand >= prompts or sent_s > started_s):
                return
            engine.inbox.append(self._coming.pop())
            at_hand += 1


def _sequence(run: MeasuredRun, row: int) -> EngineSequence:
    columns = run.columns
    prefix: tuple[int, ...] = ()
    if columns.blocks is not None and columns.block_ends is not None and run.prefix_caching:
        start = int(columns.block_ends[row - 1]) if row else 0
        prefix = tuple(columns.blocks[start : columns.block_ends[row]].tolist())
    return EngineSequence(
        request=row,
        prompt=int(columns.prompt_tokens[row]),
        output=int(columns.output_tokens[row]),
        prefix=prefix,
        inbox_ns=0,
        deadline_ns=NEVER_NS,
    )


def _composition(step: EngineStep) -> tuple[int, int, int, int]:
    """As vLLM logs it: what is computed again after a preemption counts as generation."""
    prompts = [tokens for sequence, _, tokens in step.prefills if sequence.produced == 0]
    again = [tokens for sequence, _, tokens in step.prefills if sequence.produced > 0]
    decodes = len(step.decodes)
    return len(prompts), sum(prompts), decodes + len(again), decodes + sum(again)


def _error(predicted: FloatArray, measured: FloatArray) -> float:
    return float(predicted.mean() / measured.mean() - 1.0)
