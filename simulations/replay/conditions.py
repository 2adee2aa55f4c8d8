"""What a comparison is made under, out of what was asked for; every policy is given the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from autoscaler.errors import SettingsError
from simulations.replay.replay import Conditions
from simulations.serving.fleet import ROUTINGS
from simulations.serving.objective import parse_objective
from simulations.serving.offered_demand import peak_replicas
from simulations.serving.profiles.profile_files import find_profile
from simulations.serving.replica_capacity import replica_capacity, written_target
from simulations.traces.overlay import scaled
from simulations.traces.reading import Trace
from simulations.world.cold_start import cold_start as parse_cold_start
from simulations.world.faults import read_faults
from simulations.world.market.prices import MarketProfile, priced
from simulations.world.market.spot import read_spot

REPLICAS_MAX = 10
"""As in the resource, unless the trace's peak needs more."""
TESTED_REPLICAS = 4
"""Of the fleet that is load-tested: an objective is a fleet's, and a router evens out what a single
replica cannot."""
LEADS_S: Mapping[str, float] = MappingProxyType(
    {"aws": 120.0, "gcp": 30.0, "azure": 30.0, "none": 0.0}
)
"""From a spot notice to the machine's end, as each cloud documents it."""


def conditions_of(
    *,
    profile: str,
    prices: str | None,
    cold_start: str,
    scale: float,
    objective: str,
    max_replicas: int | None,
    spot: str | None,
    spot_lead: float | str,
    faults: str | None,
    routing: str,
) -> Conditions:
    """Read and check what was asked for; the maximum may still be open (0: see `with_room`).

    Raises:
        AutoscalerError: Something in it cannot be worked with.
    """
    if max_replicas is not None and max_replicas < 1:
        raise SettingsError(f"--max-replicas {max_replicas}: write 1 or more")
    if routing not in ROUTINGS:
        raise SettingsError(f"--routing {routing!r}: write one of {', '.join(ROUTINGS)}")
    if not 0 < scale <= 10_000:
        raise SettingsError(f"--scale {scale}: write a number above 0, at most 10000")
    listed = find_profile(profile)
    paid = listed if prices is None else priced(listed, prices)
    if spot is None and isinstance(paid, MarketProfile):
        raise SettingsError(
            f"--prices {prices}: a history of spot prices, and nothing is bought on spot; "
            "name a market with --spot, or flat prices in TOML"
        )
    return Conditions(
        profile=paid,
        cold_start=parse_cold_start(cold_start),
        scale=scale,
        objective=parse_objective(objective),
        replicas_max=max_replicas or 0,
        spot=None if spot is None else read_spot(spot),
        spot_lead_s=_lead_s(spot_lead),
        faults=() if faults is None else read_faults(Path(faults)),
        routing=routing,
    )


def load_tested(conditions: Conditions, trace: Trace) -> Conditions:
    """With the in-flight target that a load test on this trace's requests finds, for all alike.

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


def with_room(conditions: Conditions, trace: Trace) -> Conditions:
    """Where no maximum was given, with one that lets all breathe: 10, or half more than the peak."""
    if conditions.replicas_max:
        return conditions
    requests = scaled(trace.requests, scale=conditions.scale, seed=0)
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
