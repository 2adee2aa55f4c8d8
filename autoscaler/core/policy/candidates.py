"""Candidates policy: what the rule asks for that would have been the cheapest on the model's own traffic.

Rules are played on what really arrives (`core.candidates`); the cheapest of those that would have kept
the objective decides. Until enough was played the economic policy does. While requests wait it proposes at
least what clears them.
"""

from __future__ import annotations

import math

from autoscaler.core.candidates import Played, Standing
from autoscaler.core.contract.reasons import Reason
from autoscaler.core.policy import economic
from autoscaler.core.policy.backlog import pressing_replicas
from autoscaler.core.policy.contract import PolicyInput, Proposal
from autoscaler.core.tuning import ROUNDING

NAME = "candidates"


def propose(given: PolicyInput, /) -> Proposal:
    """Propose what the rule that decides asks for, at least the floor."""
    played = given.played
    if played is None or not played.settled or given.demand.replicas is None:
        return economic.propose(given)
    replicas, reason = played.replicas, Reason.CHEAPEST_RULE
    pressing = pressing_replicas(given)
    if pressing is not None and math.ceil(pressing - ROUNDING) > replicas:
        replicas, reason = math.ceil(pressing - ROUNDING), Reason.REQUESTS_WAIT
    if given.floor > replicas:
        replicas, reason = given.floor, Reason.AT_FLOOR
    message = f"{_account(played, given=given)}; {given.demand.message}"
    return Proposal(replicas=replicas, policy=NAME, reason=reason, message=message)


def _account(played: Played, *, given: PolicyInput) -> str:
    """Say which rule decides, since when, how it stands, and what is next."""
    start_s = given.cold_start_s
    said = f"{played.rule.said(start_s)}: {_load(played)}; decides"
    if played.since is None:
        said += " until others are known"
    else:
        said += f" for {(given.at - played.since) / 60.0:.0f} min"
    if played.standing is not None:
        said += f": it would have {_stood(played.standing)}"
    if played.runner_up is not None and played.runner_up_standing is not None:
        said += f"; next {played.runner_up.said(start_s)}: {_stood(played.runner_up_standing)}"
    return (
        f"{said}; a replica carries {played.carried_ratio:.2f} of its target "
        f"(sure to {100.0 * played.sureness_ratio:.0f} %)"
    )


def _load(played: Played) -> str:
    """Say which load it looked at, and from where to where that asks for the same."""
    load_from, load_to = played.load_from, played.load_to
    if load_from <= 0.0:
        span = f"up to {load_to:.2f}" if math.isfinite(load_to) else "at any load"
    else:
        span = f"from {load_from:.2f}" + (f" to {load_to:.2f}" if math.isfinite(load_to) else " on")
    return f"{played.load:.2f}, and {span} it asks for {played.replicas}"


def _stood(standing: Standing) -> str:
    return (
        f"had {standing.replicas:.2f} replicas and attained {100.0 * standing.attained_ratio:.2f} %"
    )
