"""How large an entry is: what its peak needs, how many runs it takes, and about how long they last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from autoscaler.errors import SettingsError
from simulations.agenda import NS
from simulations.peers.rules.registry import KINDS
from simulations.replay.conditions import (
    Conditions,
    load_tested,
    with_maximum,
    with_score_from,
    with_told_target,
)
from simulations.replay.engine_loop import ENGINE_POLICIES
from simulations.results.scorecard import Score
from simulations.runs.found.search import replays_for
from simulations.runs.runs import Plan, cached_trace
from simulations.runs.sweep import BEST, DEFAULT
from simulations.serving.offered_demand import offered_replicas, peak_replicas
from simulations.studies.scoreboard.cache import SIZE, EntryCache
from simulations.studies.scoreboard.entries import POLICIES, Setting
from simulations.traces.overlay import scaled_requests

REQUESTS_MAX = 5_000_000
SPAN_S_MAX = 3 * 86_400.0
NEAR = 1.7
"""The peak's need is called `about 8` from 8 / NEAR to 8 * NEAR: a load test of eight replicas in place of four
moves it by up to a half."""
ENGINE_TICK_S = 450e-6
BASELINE_TICK_S = 200e-6
ENGINE_PERIOD_S = 5.0
BASELINE_PERIOD_S = 15.0
REQUEST_S = 2e-6
"""The kernel's microsecond, scaling and scoring beside it, and what overloaded runs take more."""
TRIED = 22
"""Settings that a sweep comes to: twelve, and those around the best of them."""
HULL = 12
"""Schedules on the hull of what was found, which are replayed on every other seed."""
RUN_S = 0.05
"""Of setting up one run."""


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """The size of an entry: its trace, read and load-tested."""

    tested_target: float
    """Requests in flight that a replica carries, as a load test of a fleet of the entry's size finds."""
    replicas_max: int
    requests: int
    """After scaling, with the first seed."""
    span_s: float
    score_from_s: float
    """Of the span: what is played before it is not scored."""
    peak_replicas: int
    """Offered work of the busiest ten seconds."""
    mean_replicas: float
    """Offered work over the span."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizedEntry:
    """An entry ready to be run."""

    setting: Setting
    size: Size

    @property
    def conditions(self) -> Conditions:
        """With the target that is told, a maximum, and where the score begins."""
        asked, size = self.setting.conditions, self.size
        tested = replace(
            asked,
            tested_target=size.tested_target,
            replicas_max=size.replicas_max,
            score_from_s=size.score_from_s,
        )
        return with_told_target(tested, asked.told)

    @property
    def policies(self) -> tuple[str, ...]:
        """Those that are run, in the order of the board."""
        chosen = self.setting.entry.policies
        return tuple(name for name in POLICIES if not chosen or name in chosen)

    @property
    def tuned(self) -> tuple[str, ...]:
        """Those of them that are swept."""
        if not self.setting.entry.sweep:
            return ()
        return tuple(name for name in self.policies if name in KINDS and KINDS[name].axes)

    @property
    def plans(self) -> list[Plan]:
        """Our policy, every baseline with its defaults and the reference, each on every seed."""
        conditions = self.conditions
        return [
            Plan(trace=self.setting.spec, policy=policy, seed=seed, conditions=conditions)
            for policy in self.policies
            for seed in range(self.setting.entry.seeds)
        ]

    @property
    def schedules(self) -> bool:
        """Whether cheap schedules are searched: under a wrong target they would be the right one's again."""
        return self.setting.entry.in_flight_target == "x1"

    def covered(self, scores: Sequence[Score]) -> bool:
        """Whether these are all the rows that the entry asks for, in whatever setting."""
        made = {(score.policy, score.seed, score.setting) for score in scores}
        settings = [(name, DEFAULT) for name in self.policies]
        settings += [(name, BEST) for name in self.tuned]
        seeds = range(self.setting.entry.seeds)
        return made == {(name, seed, kind) for name, kind in settings for seed in seeds}

    @property
    def runs(self) -> int:
        """About how many: defaults on every seed, the sweep on one, the best of it on the others, schedules."""
        seeds = self.setting.entry.seeds
        own = seeds * len(self.policies) + len(self.tuned) * (TRIED + seeds - 1)
        if not self.schedules:
            return own
        return own + replays_for(self.size.requests) + HULL * (seeds - 1)

    @property
    def cpu_s(self) -> float:
        """Estimate of all runs, seconds of one processor."""
        size, engines = self.size, self.setting.entry.seeds * (ENGINE_POLICIES[0] in self.policies)
        each = RUN_S + size.requests * REQUEST_S
        baseline = each + size.span_s / BASELINE_PERIOD_S * BASELINE_TICK_S
        return self.ours_cpu_s + (self.runs - engines) * baseline

    @property
    def ours_cpu_s(self) -> float:
        """The same of our own runs."""
        size, engines = self.size, self.setting.entry.seeds * (ENGINE_POLICIES[0] in self.policies)
        ticks_s = size.span_s / ENGINE_PERIOD_S * ENGINE_TICK_S
        return engines * (RUN_S + size.requests * REQUEST_S + ticks_s)


def sized_entry(setting: Setting, cache: EntryCache) -> SizedEntry:
    """The entry with its size: measured now, or taken from the cache.

    Raises:
        SettingsError: It is longer or larger than an entry may be, or far from the size it names.
        TraceError: The trace cannot be read.
    """
    size = cache.read(SIZE, Size)
    if size is None:
        size = measured_size(setting)
        cache.write(SIZE, size)
    entry = setting.entry
    if size.requests > REQUESTS_MAX or size.span_s > SPAN_S_MAX:
        raise SettingsError(
            f"entry {entry.name!r}: {size.requests} requests over {size.span_s / 3600:.1f} h; an entry "
            f"has at most {REQUESTS_MAX} over {SPAN_S_MAX / 3600:.0f} h: lower its scale or cut a slice"
        )
    wanted, peak = entry.replicas, size.peak_replicas
    if wanted is not None and not wanted / NEAR <= peak <= wanted * NEAR:
        raise SettingsError(
            f"entry {entry.name!r}: at scale {entry.scale:g} the peak needs {peak} replicas, which is "
            f"not about {wanted}: try scale {entry.scale * wanted / peak:.3g}"
        )
    return SizedEntry(setting=setting, size=size)


def measured_size(setting: Setting) -> Size:
    """Read the entry's trace and load-test it; raises TraceError."""
    trace = cached_trace(setting.spec)
    requests = scaled_requests(trace.requests, scale=setting.entry.scale, seed=0)
    tested = load_tested(setting.conditions, trace, replicas=setting.entry.tested_replicas)
    conditions = with_score_from(with_maximum(tested, trace), trace)
    profile = conditions.tested_profile
    return Size(
        tested_target=profile.in_flight_target,
        replicas_max=conditions.replicas_max,
        requests=len(requests),
        span_s=trace.end_ns / 1e9,
        score_from_s=conditions.score_from_ns / NS,
        peak_replicas=peak_replicas(requests, profile),
        mean_replicas=float(offered_replicas(requests, profile).mean()),
    )
