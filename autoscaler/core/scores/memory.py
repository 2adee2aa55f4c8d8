"""All scores of one model, kept together: what was seen at a tick counts for the time since the last one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from autoscaler.core.contract.scores import IdleGpuSeconds, MissedRequests, Scores
from autoscaler.core.scores.idle_gpu_time import IdleGpuTime
from autoscaler.core.scores.late_capacity import LateCapacity
from autoscaler.core.scores.misses import CUT_OFF, INTERRUPTION, UNKNOWN, Misses
from autoscaler.core.scores.regretted_scale_downs import RegrettedScaleDowns


class Moment(NamedTuple):
    """What was true of one model at one tick, after its decision."""

    at: float
    """Now, seconds."""
    need: float
    """Demand, replicas."""
    ready: int
    """Replicas that serve, on doomed nodes too."""
    asked: int
    """Replicas asked of the API."""
    to_serve: int
    """Of these, the ones that are to serve: without fallback and stand-ins."""
    waiting: float
    """Requests that wait."""
    interrupted: bool
    """Some node of the model's replicas is being taken away, or is lost."""
    cold_start_s: float
    kept_by: Sequence[int]
    """Up to how many replicas each keeper keeps, as in `IdleGpuTime.observe`."""
    gpus_per_replica: float
    usd_per_hour: float
    """Of one replica."""
    missed: float = 0.0
    """Requests that were seen to have been missed since the last look, those of `lose` apart."""
    lag_s: float = 0.0
    """How long after it happened a miss may be seen."""


@dataclass(slots=True, kw_only=True)
class ScoreMemory:
    """What is remembered of how good one model's decisions were. Part of the engine's memory."""

    at: float | None = None
    """The last look; None: there was none."""
    scored_s: float = 0.0
    unscored_s: float = 0.0
    known_at: float | None = None
    """The last look at which all was known; None: there was none."""
    missed_meanwhile: float = 0.0
    """Requests missed since then, while it was not: the next look may tell why."""
    missed_seen: float = 0.0
    """Of all requests that were missed, those that are in the scores already."""
    idle: IdleGpuTime = field(default_factory=IdleGpuTime)
    late: LateCapacity = field(default_factory=LateCapacity)
    regrets: RegrettedScaleDowns = field(default_factory=RegrettedScaleDowns)
    misses: Misses = field(default_factory=Misses)

    def observe(self, now: Moment, *, gap_s_max: float) -> tuple[str, ...]:
        """Take in a tick of which all is known; return what is to be said of it.

        Args:
            now: what was true.
            gap_s_max: what is seen now says nothing of a time longer than this, seconds.
        """
        elapsed_s = 0.0 if self.at is None else now.at - self.at
        self.at = now.at
        missed = now.missed + self.missed_meanwhile
        self.missed_meanwhile = 0.0
        if self.known_at is not None and now.at - self.known_at > gap_s_max:
            self.misses.requests[UNKNOWN] += missed
            self.regrets.forget()
            missed = 0.0
        self.known_at = now.at
        if elapsed_s > gap_s_max:
            self.unscored_s += elapsed_s
            elapsed_s = 0.0
        self.scored_s += elapsed_s
        need, ready, asked, to_serve, _, interrupted, start_s, kept_by, gpus, usd, *_ = now[1:]
        if ready > need:
            self.idle.observe(
                elapsed_s,
                need=need,
                ready=ready,
                kept_by=kept_by,
                gpus_per_replica=gpus,
                usd_per_hour=usd,
            )
        misses, late, regrets = self.misses, self.late, self.regrets
        # On almost every tick nothing is short, late or changed, and a call each is spared.
        if need > ready or interrupted or misses.short_at is not None:
            misses.observe(
                now.at,
                need=need,
                ready=ready,
                asked=asked,
                waiting=now.waiting,
                interrupted=interrupted,
                cold_start_s=start_s,
            )
        if missed:
            misses.requests[misses.blame(now.at, need=need, ready=ready, lag_s=now.lag_s)] += missed
        came = regret = None
        if need > ready or late.lasts_s:
            came = late.observe(elapsed_s, need=need, ready=ready, asked=asked)
        if to_serve != regrets.asked:
            regret = regrets.observe(
                now.at, asked=to_serve, cold_start_s=start_s, gpus_per_replica=gpus
            )
        if came is None and regret is None:
            return ()
        return tuple([remark for remark in (came, regret) if remark is not None])

    def skip(self, at: float, *, missed: float = 0.0) -> None:
        """Let a tick pass of which too little is known: nothing is scored since the last one.

        Args:
            at: now, seconds.
            missed: as in `Moment`: why, the next look tells, if it is soon.
        """
        if self.at is not None:
            self.unscored_s += at - self.at
        self.at = at
        self.missed_meanwhile += missed

    def lose(self, requests: float, *, interrupted: bool) -> None:
        """Take in requests that were lost with a replica.

        Args:
            requests: how many.
            interrupted: its node was taken away.
        """
        self.misses.requests[INTERRUPTION if interrupted else CUT_OFF] += requests

    def totals(self, *, priced: bool, remarks: tuple[str, ...]) -> Scores:
        """Return all of it, as of now.

        Args:
            priced: every pool has a price.
            remarks: what is to be said of this tick.
        """
        late, regrets = self.late, self.regrets
        return Scores(
            self.scored_s,
            self.unscored_s,
            late.seconds,
            late.replica_s,
            regrets.scale_downs,
            regrets.regretted,
            regrets.replicas,
            regrets.gpu_s,
            IdleGpuSeconds(*self.idle.gpu_s),
            self.idle.usd if priced else None,
            MissedRequests(*self.misses.requests),
            remarks,
        )
