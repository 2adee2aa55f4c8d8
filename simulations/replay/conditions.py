"""The conditions of a comparison: the same for every policy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from autoscaler.errors import SettingsError
from simulations.serving.fleet import ROUTINGS
from simulations.serving.objective import RequestObjective, parse_objective
from simulations.serving.offered_demand import peak_replicas
from simulations.serving.profiles.profile_files import find_profile
from simulations.serving.profiles.profiles import Profile
from simulations.serving.replica_capacity import replica_capacity, written_target
from simulations.traces.overlay import scaled_requests
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
LEADS_S: Mapping[str, float] = MappingProxyType(
    {"aws": 120.0, "gcp": 30.0, "azure": 30.0, "none": 0.0}
)
"""From a spot notice to the machine's end, as each cloud documents it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What every policy of a comparison is given alike."""

    profile: Profile
    cold_start: ColdStart = COLD_STARTS["standard"]
    scale: float = 1.0
    objective: RequestObjective = field(default_factory=RequestObjective)
    replicas_max: int = 10
    """0: still open, see `with_maximum`."""
    spot: SpotHistory | None = None
    spot_lead_s: float = 120.0
    faults: tuple[Fault, ...] = ()
    routing: str = "least-outstanding"
    replicas_first: int | None = None
    """Ready at the first moment; None: what the trace's first five minutes need."""


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
        cold_start=parse_cold_start(request.cold_start),
        scale=scale,
        objective=parse_objective(request.objective),
        replicas_max=most or 0,
        spot=None if request.spot is None else read_spot(request.spot),
        spot_lead_s=_lead_s(request.spot_lead),
        faults=() if request.faults is None else read_faults(Path(request.faults)),
        routing=routing,
    )


def load_tested(conditions: Conditions, trace: Trace) -> Conditions:
    """The conditions with the in-flight target that a load test on this trace's requests finds.

    Four long documents fill a replica that thirty conversations fit into: a figure that is right for
    other traffic would judge the guess, not the policy.
    """
    if not len(trace.requests):
        return conditions
    objective = conditions.objective
    carried = replica_capacity(
        conditions.profile,
        trace.requests,
        ttft_s=objective.ttft_limits_s(trace.requests, conditions.profile),
        tpot_s=objective.tpot_s,
        attainment_ratio=objective.attainment_ratio,
        replicas=TESTED_REPLICAS,
    )
    target = written_target(carried.linear_target)
    return replace(conditions, profile=replace(conditions.profile, in_flight_target=target))


def with_maximum(conditions: Conditions, trace: Trace) -> Conditions:
    """The conditions with a maximum, where none was given: 10, or half more than the peak needs."""
    if conditions.replicas_max:
        return conditions
    requests = scaled_requests(trace.requests, scale=conditions.scale, seed=0)
    peak = peak_replicas(requests, conditions.profile)
    return replace(conditions, replicas_max=max(REPLICAS_MAX, peak + peak // 2))


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
