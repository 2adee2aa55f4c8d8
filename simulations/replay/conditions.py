"""The conditions of a comparison: the same for every policy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from autoscaler.core.contract.spec import Targets, WarmFloor
from autoscaler.core.contract.state import CapacityType
from autoscaler.errors import SettingsError
from simulations.agenda import NS
from simulations.serving.fleet import ROUTINGS
from simulations.serving.objective import RequestObjective, parse_objective
from simulations.serving.offered_demand import peak_replicas
from simulations.serving.profiles.profile_files import find_profile
from simulations.serving.profiles.profiles import Profile
from simulations.serving.replica_capacity import replica_capacity, written_target
from simulations.traces.overlay import scaled_requests
from simulations.traces.spec import duration_s
from simulations.traces.trace import Trace
from simulations.world.cold_start import COLD_STARTS, ColdStart
from simulations.world.cold_start import cold_start as parse_cold_start
from simulations.world.faults import Fault, read_faults
from simulations.world.market.prices import MarketProfile, priced
from simulations.world.market.spot import SpotHistory, read_spot

REPLICAS_MAX = 10
"""As in the resource, unless the trace's peak needs more."""
TESTED_REPLICAS = 4
"""Of the fleet that is load-tested: an objective is a fleet's, and a router evens out what a single
replica cannot."""
ONE_WARM = WarmFloor(replicas=1, capacity_type=CapacityType.ON_DEMAND)
"""What the resource of a replay keeps warm where nothing else is asked for."""
REPEAT = "repeat"
LEADS_S: Mapping[str, float] = MappingProxyType(
    {"aws": 120.0, "gcp": 30.0, "azure": 30.0, "none": 0.0}
)
"""From a spot notice to the machine's end, as each cloud documents it."""
TARGET_LEAST, TARGET_MOST = 0.1, 100_000.0
"""Of an in-flight target, as in the resource."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What every policy of a comparison is given alike."""

    profile: Profile
    """Its `in_flight_target` is what every policy is told."""
    told: str = "x1"
    """What they are told in place of the load-tested target: see `told_target`."""
    tested_target: float | None = None
    """What the load test found; None: nothing was tested, the profile's own stands."""
    cold_start: ColdStart = COLD_STARTS["standard"]
    scale: float = 1.0
    objective: RequestObjective = field(default_factory=RequestObjective)
    replicas_max: int = 10
    """0: still open, see `with_maximum`."""
    spot: SpotHistory | None = None
    spot_lead_s: float = 120.0
    faults: tuple[Fault, ...] = ()
    routing: str = "least-outstanding"
    warm_floor: WarmFloor = ONE_WARM
    """Of the production engine; its schedules on the replay's clock, on which a trace begins at `EPOCH_S`."""
    replicas_first: int | None = None
    """Ready at the first moment; None: what the trace's first five minutes need."""
    score_from_s: float | None = 0.0
    """Where the score begins, on the trace's clock; before it all is played and nothing counted. None:
    where a repeated recording begins anew, see `with_score_from`."""

    @property
    def score_from_ns(self) -> int:
        """The same in nanoseconds."""
        assert self.score_from_s is not None, "with_score_from has not seen the trace"
        return round(self.score_from_s * NS)

    @property
    def tested_profile(self) -> Profile:
        """The profile with what the load test found.

        For what is no policy's business: the fleet's first size and maximum, the judge's schedules.
        """
        if self.tested_target is None:
            return self.profile
        return replace(self.profile, in_flight_target=self.tested_target)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionsRequest:
    """The conditions as a user writes them."""

    profile: str = "llama-3.1-8b/1xL40S"
    """A name in PROFILES, or a file that `autoscaler calibrate` wrote."""
    prices: str | None = None
    """A TOML file of dollars per GPU-hour, or a history of spot prices; None: list prices."""
    cold_start: str = "standard"
    """A name in COLD_STARTS, seconds, or a file of measured starts."""
    scale: float = 1.0
    """Copies of the trace laid over each other; below 1 it is thinned."""
    objective: str = "ttft=1+2x,tpot=0.1"
    """`ttft=SECONDS,tpot=SECONDS`, or `ttft=1+2x,…` with x for a request's own prefill."""
    max_replicas: int | None = None
    """Of every policy; None: 10, or half more than the peak needs."""
    routing: str = "least-outstanding"
    """`round-robin`, `least-outstanding` or `prefix`."""
    spot: str | None = None
    """A recording of a spot market; None: all nodes are on demand."""
    spot_lead: float | str = 120.0
    """From a notice to the loss: `aws`, `gcp`, `azure`, `none`, or seconds."""
    faults: str | None = None
    """A TOML file of declared faults; None: nothing goes wrong."""
    warm_floor: WarmFloor | None = None
    """What the production engine keeps warm, on demand; its schedules on the replay's clock, on which a trace begins
    at `EPOCH_S`. None: one replica."""
    in_flight_target: str = "x1"
    """What every policy is told that a replica carries: `N`, `xF` or `default`, see `told_target`."""
    score_from: str = "0"
    """How much of the trace is played and not scored: seconds, `90m`, `24h`, `1d`; or `repeat`: all of a
    recording with `repeat=` before it begins anew."""


def conditions_of(request: ConditionsRequest) -> Conditions:
    """Read and check what is requested; the maximum may still be open.

    Raises:
        AutoscalerError: Something in it cannot be worked with.
    """
    most, scale, routing = request.max_replicas, request.scale, request.routing
    if most is not None and most < 1:
        raise SettingsError(f"--max-replicas {most}: write 1 or more")
    if routing not in ROUTINGS:
        raise SettingsError(f"--routing {routing!r}: write one of {', '.join(ROUTINGS)}")
    if not 0 < scale <= 10_000:
        raise SettingsError(f"--scale {scale}: write a number above 0, at most 10000")
    told_target(request.in_flight_target, tested=1.0)  # refused before anything is read
    profile = find_profile(request.profile)
    if request.prices is not None:
        profile = priced(profile, request.prices)
    if request.spot is None and isinstance(profile, MarketProfile):
        raise SettingsError(
            f"--prices {request.prices}: a history of spot prices, and nothing is bought on spot; "
            "name a market with --spot, or flat prices in TOML"
        )
    return Conditions(
        profile=profile,
        told=request.in_flight_target,
        cold_start=parse_cold_start(request.cold_start),
        scale=scale,
        objective=parse_objective(request.objective),
        replicas_max=most or 0,
        spot=None if request.spot is None else read_spot(request.spot),
        spot_lead_s=_lead_s(request.spot_lead),
        faults=() if request.faults is None else read_faults(Path(request.faults)),
        routing=routing,
        warm_floor=request.warm_floor or ONE_WARM,
        score_from_s=_score_from_s(request.score_from),
    )


def load_tested(
    conditions: Conditions, trace: Trace, *, replicas: int = TESTED_REPLICAS
) -> Conditions:
    """The conditions with the in-flight target that a load test on this trace's requests finds.

    Four long documents fill a replica that thirty conversations fit into: a figure that is right for
    other traffic would judge the guess, not the policy. `replicas` are tested behind one router: large
    fleets carry more of long prompts, each replica of them, than small ones. Where the conditions say
    so, policies are told another target all the same (`told_target`).
    """
    if not len(trace.requests):
        return with_told_target(conditions, conditions.told)
    objective = conditions.objective
    carried = replica_capacity(
        conditions.profile,
        trace.requests,
        ttft_s=objective.ttft_limits_s(trace.requests, conditions.profile),
        tpot_s=objective.tpot_s,
        attainment_ratio=objective.attainment_ratio,
        replicas=replicas,
    )
    target = written_target(carried.linear_target)
    return with_told_target(replace(conditions, tested_target=target), conditions.told)


def with_told_target(conditions: Conditions, text: str) -> Conditions:
    """The conditions in which every policy is told this target, whatever the load test found.

    Raises:
        SettingsError: It is none.
    """
    target = told_target(text, tested=conditions.tested_profile.in_flight_target)
    if target == conditions.profile.in_flight_target:
        return replace(conditions, told=text)
    return replace(
        conditions,
        told=text,
        tested_target=conditions.tested_profile.in_flight_target,
        profile=replace(conditions.profile, in_flight_target=target),
    )


def told_target(text: str, *, tested: float) -> float:
    """The in-flight target that policies are told.

    Args:
        text: `N`: so many requests in flight; `xF`: F times the load-tested target; `default`: what
            the resource has where nobody writes one.
        tested: The load-tested target.

    Raises:
        SettingsError: It is none of them.
    """
    if text == "default":
        return Targets().in_flight_requests
    relative = text.startswith("x")
    try:
        number = float(text.removeprefix("x"))
    except ValueError:
        number = math.nan
    if not (number > 0 if relative else number >= TARGET_LEAST) or number > TARGET_MOST:
        raise SettingsError(
            f"--in-flight-target {text!r}: write requests in flight from {TARGET_LEAST:g} to "
            f"{TARGET_MOST:g}, xF for F times the load-tested ones (x0.5), or default"
        )
    return min(max(number * tested, TARGET_LEAST), TARGET_MOST) if relative else number


def with_maximum(conditions: Conditions, trace: Trace) -> Conditions:
    """The conditions with a maximum, where none was given: 10, or half more than the peak needs."""
    if conditions.replicas_max:
        return conditions
    requests = scaled_requests(trace.requests, scale=conditions.scale, seed=0)
    peak = peak_replicas(requests, conditions.tested_profile)
    return replace(conditions, replicas_max=max(REPLICAS_MAX, peak + peak // 2))


def with_score_from(conditions: Conditions, trace: Trace) -> Conditions:
    """The conditions with the moment at which this trace's score begins.

    Raises:
        SettingsError: Nothing would be left to score, or nothing is repeated where `repeat` was said.
    """
    from_s = conditions.score_from_s
    if from_s is None:
        from_s = trace.repeat_s
        if not from_s:
            raise SettingsError(
                f"--score-from {REPEAT}: {trace.name} is not repeated; name it with repeat=, as in "
                "PATH,repeat=4, or write seconds, or 90m, 24h, 1d"
            )
    if from_s and from_s * NS >= trace.end_ns:
        raise SettingsError(
            f"--score-from: {from_s:g} s of {trace.name} are not scored, and its last request arrives "
            f"at {trace.end_ns / NS:g} s: write less, or name a longer part"
        )
    return replace(conditions, score_from_s=from_s)


def _score_from_s(text: str) -> float | None:
    if text == REPEAT:
        return None
    found = duration_s(text)
    if found is None:
        raise SettingsError(
            f"--score-from {text!r}: write seconds, or 90m, 24h, 1d, or {REPEAT} for all of a recording "
            "with repeat= before it begins anew"
        )
    return found


def _lead_s(text: float | str) -> float:
    if isinstance(text, str) and text in LEADS_S:
        return LEADS_S[text]
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 3600:
        raise SettingsError(
            f"--spot-lead {text!r}: write {', '.join(LEADS_S)}, or seconds from 0 to 3600"
        )
    return seconds
