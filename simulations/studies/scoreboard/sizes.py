"""How large an entry is: what its peak needs, how many runs it takes, and about how long they last."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from autoscaler.errors import SettingsError
from simulations.peers.rules.registry import KINDS
from simulations.replay.conditions import Conditions, load_tested, with_maximum
from simulations.replay.engine_loop import ENGINE_POLICIES
from simulations.runs.runs import Plan, cached_trace
from simulations.serving.offered_demand import offered_replicas, peak_replicas
from simulations.studies.scoreboard.cache import SIZE, EntryCache
from simulations.studies.scoreboard.entries import Setting
from simulations.traces.overlay import scaled_requests

REQUESTS_MAX = 2_000_000
SPAN_S_MAX = 86_400.0
NEAR = 1.4
"""The peak's need is called `about 8` from 8 / NEAR to 8 * NEAR."""
ENGINE_TICK_S = 450e-6
BASELINE_TICK_S = 200e-6
ENGINE_PERIOD_S = 5.0
BASELINE_PERIOD_S = 15.0
REQUEST_S = 2e-6
"""The kernel's microsecond, scaling and scoring beside it, and what overloaded runs take more."""
RUN_S = 0.05
"""Of setting up one run."""


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """The size of an entry: its trace, read and load-tested."""

    in_flight_target: float
    """Requests in flight that a replica carries, as all policies are told."""
    replicas_max: int
    requests: int
    """After scaling, with the first seed."""
    span_s: float
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
        """With the load-tested target and a maximum."""
        asked, size = self.setting.conditions, self.size
        profile = replace(asked.profile, in_flight_target=size.in_flight_target)
        return replace(asked, profile=profile, replicas_max=size.replicas_max)

    @property
    def plans(self) -> list[Plan]:
        """Our policy, every baseline with its defaults and the reference, each on every seed."""
        conditions = self.conditions
        return [
            Plan(trace=self.setting.spec, policy=policy, seed=seed, conditions=conditions)
            for policy in (ENGINE_POLICIES[0], *KINDS)
            for seed in range(self.setting.entry.seeds)
        ]

    @property
    def runs(self) -> int:
        """Defaults on every seed, the sweep on one, the best of it on the others."""
        seeds = self.setting.entry.seeds
        sweeps = [kind.sweep for kind in KINDS.values() if kind.sweep]
        return seeds * (1 + len(KINDS)) + sum(len(sweep) + seeds - 1 for sweep in sweeps)

    @property
    def cpu_s(self) -> float:
        """Estimate of all runs, seconds of one processor."""
        ours, size = self.setting.entry.seeds, self.size
        each = RUN_S + size.requests * REQUEST_S
        engine = each + size.span_s / ENGINE_PERIOD_S * ENGINE_TICK_S
        baseline = each + size.span_s / BASELINE_PERIOD_S * BASELINE_TICK_S
        return ours * engine + (self.runs - ours) * baseline


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
    conditions = with_maximum(load_tested(setting.conditions, trace), trace)
    return Size(
        in_flight_target=conditions.profile.in_flight_target,
        replicas_max=conditions.replicas_max,
        requests=len(requests),
        span_s=trace.end_ns / 1e9,
        peak_replicas=peak_replicas(requests, conditions.profile),
        mean_replicas=float(offered_replicas(requests, conditions.profile).mean()),
    )
