"""One decision, told: what was seen and how old, what was expected, how the number came about, and what would change it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from autoscaler.core.contract.decision import Condition, Decision, Direction, ErrorBudget
from autoscaler.core.contract.hindsight import HindsightPolicy, WindowHindsight
from autoscaler.core.contract.reasons import Reason
from autoscaler.core.contract.scores import MissedRequests
from autoscaler.core.contract.spec import Mode
from autoscaler.explain.asked import AskedModel
from autoscaler.explain.figures import (
    counted,
    listed_all,
    number,
    percent,
    span,
    usd_per_hour,
)
from autoscaler.explain.words import BAD_STATUS, BECAUSE, OTHERWISE, STEPS

_MISSED: dict[str, str] = {
    "no_capacity_yet": "while replicas that were asked for were not ready",
    "interruption": "by interruptions of spot",
    "undersized": "by too few replicas, with no more asked for",
    "cut_off": "cut off with a replica that went",
    "within_capacity": "on replicas that should have carried them (bursts, routing, long prompts)",
    "not_attainable": "that no number of replicas would have served in time",
    "unknown": "in a time of which too little is known",
}
"""Field of `MissedRequests`: how to say it."""


_RULES = "candidates"
"""The policy by which a played rule decides."""


class Section(NamedTuple):
    """What a decision says of one thing."""

    title: str
    lines: tuple[str, ...]


class Explanation(NamedTuple):
    """One decision as a person would tell it."""

    model: str
    at: float
    """Seconds since the epoch."""
    headline: str
    sections: tuple[Section, ...]


def explain(decision: Decision, asked: AskedModel) -> Explanation:
    """Tell a decision.

    Args:
        decision: of one model.
        asked: of the same.
    """
    told = (
        Section("What was seen", tuple(_seen(decision))),
        Section("What is expected", tuple(_expected(decision))),
        Section("What a replica carries", tuple(_carried(decision, asked))),
        Section("How the number came about", tuple(_came_about(decision))),
        Section("What would have made it another", tuple(_otherwise(decision))),
        Section("Where the replicas are", tuple(_places(decision, asked))),
        Section("What was attained", tuple(_attained(decision, asked))),
        Section("What others would have cost", tuple(_hindsight(decision))),
        Section("What somebody may have to see to", tuple(_to_see_to(decision))),
    )
    return Explanation(
        model=decision.model,
        at=decision.at,
        headline=headline(decision, asked),
        sections=tuple(section for section in told if section.lines),
    )


def headline(decision: Decision, asked: AskedModel | None = None) -> str:
    """Say what is decided, and why, in a sentence.

    Args:
        decision: of one model.
        asked: of the same; None: not known, and so nor whether anybody acts on it.
    """
    current, desired = decision.current_replicas, decision.desired_replicas
    observes = asked is not None and asked.mode is Mode.OBSERVE
    if desired is None or current is None:
        said = "decides nothing"
    elif decision.direction is Direction.HOLD:
        said = f"stays at {counted(desired, 'replica')}"
    else:
        word = "up" if decision.direction is Direction.UP else "down"
        verb = "would scale" if observes else "scales"
        said = f"{verb} {word} from {current} to {counted(desired, 'replica')}"
    tail = " (mode Observe: nothing is written)" if observes else ""
    return f"{said}: {BECAUSE[decision.reason]}{tail}"


def _seen(decision: Decision) -> Iterator[str]:
    measures = decision.measures
    if measures.waiting_requests is None and measures.running_requests is None:
        yield "Nothing is known of what its replicas do."
    else:
        age = (
            ""
            if measures.observation_age_s is None
            else f"; the oldest sample is {span(measures.observation_age_s)} old"
        )
        yield (
            f"{number(measures.waiting_requests)} requests wait, {number(measures.running_requests)} run, "
            f"KV caches are {percent(measures.kv_usage_ratio)} full{age}."
        )
    if measures.demand_replicas is not None:
        yield f"That is work for {number(measures.demand_replicas)} replicas, each filled to its target."
    if measures.requests_at_risk:
        yield f"{number(measures.requests_at_risk)} requests will be cut with nodes that are being taken away."


def _expected(decision: Decision) -> Iterator[str]:
    measures = decision.measures
    ahead = f"In one cold start ({span(measures.cold_start_s)})"
    if measures.forecast_replicas is None:
        yield f"{ahead}: not known yet, too little was seen."
        return
    yield (
        f"{ahead}: work for {number(measures.forecast_replicas)} replicas, from "
        f"{number(measures.forecast_low_replicas)} to {number(measures.forecast_high_replicas)} (9 of 10 times)."
    )
    if measures.forecast_coverage_ratio is not None:
        error = (
            ""
            if measures.forecast_error_ratio is None
            else f", off by {percent(measures.forecast_error_ratio)} on average"
        )
        yield f"Such forecasts held in {percent(measures.forecast_coverage_ratio)} of all times so far{error}."


def _carried(decision: Decision, asked: AskedModel) -> Iterator[str]:
    measures = decision.measures
    sure = (
        "nothing was seen yet that could refute it"
        if measures.carried_sureness_ratio is None
        else f"sure to {percent(measures.carried_sureness_ratio)}, by what was missed and what was not"
    )
    yield (
        f"{number(measures.carried_ratio * asked.in_flight_requests)} requests within the objective, "
        f"{measures.carried_ratio:.2f} of the {number(asked.in_flight_requests)} that it is said to carry: {sure}."
    )
    if measures.rule_replicas is not None:
        rule = (
            "the rule that decides"
            if decision.policy == _RULES
            else "the best of the rules that are played"
        )
        yield (
            f"Over the last day {rule} would have had {number(measures.rule_replicas)} replicas on "
            f"average and attained {percent(measures.rule_attained_ratio)}; the next best "
            f"{number(measures.runner_up_replicas)} and {percent(measures.runner_up_attained_ratio)}."
        )


def _came_about(decision: Decision) -> Iterator[str]:
    for step in decision.trail:
        moved = f"{step.before} -> {step.after}" if step.after != step.before else f"{step.after}"
        name = f"{step.by} ({decision.policy})" if step is decision.trail[0] else str(step.by)
        yield f"{name}: {moved}, {step.reason}: {step.message}"


def _otherwise(decision: Decision) -> Iterator[str]:
    changed = [step for step in decision.trail[1:] if step.after != step.before]
    for step in reversed(changed):
        when = OTHERWISE.get(step.reason)
        if when is not None:
            yield f"It would be {step.before} {when}: {STEPS[step.by]} made it {step.after}."
    first = decision.trail[0] if decision.trail else None
    if first is not None and first.reason in (Reason.METRICS_STALE, Reason.DEMAND_UNKNOWN):
        yield "Any other number, once its replicas can be read."


def _places(decision: Decision, asked: AskedModel) -> Iterator[str]:
    by_name = {pool.pool: pool for pool in asked.pools}
    for pool in decision.pools:
        known = by_name.get(pool.pool)
        parts = [f"{pool.ready_replicas} ready"]
        parts += [
            f"{count} {word}"
            for count, word in (
                (pool.starting_replicas, "starting"),
                (pool.doomed_replicas, "on nodes that are being taken away"),
                (pool.unhealthy_replicas, "on GPUs that can carry none"),
                (pool.fallback_replicas, "in place of spot"),
            )
            if count
        ]
        asked_for = (
            "its target cannot be read"
            if pool.desired_replicas is None
            else f"{pool.desired_replicas} desired"
        )
        kind = "" if known is None else f" ({known.capacity_type}, {known.target})"
        yield f"{pool.pool}{kind}: {asked_for}; {', '.join(parts)}."
    floor = decision.measures.warm_floor_replicas
    if floor:
        costs = decision.measures.warm_floor_usd_per_hour
        yield (
            f"{counted(floor, 'replica')} {'is' if floor == 1 else 'are'} kept warm whatever is asked for"
            + (f", for {usd_per_hour(costs)}." if costs is not None else ".")
        )
    usd = desired_usd_per_hour(decision, asked)
    if usd is not None and decision.pools:
        yield f"What is desired costs {usd_per_hour(usd)}."


def desired_usd_per_hour(decision: Decision, asked: AskedModel) -> float | None:
    """Price what is desired; None: a pool has no price, or cannot be read."""
    prices = {pool.pool: pool.price_usd_per_hour for pool in asked.pools}
    total = 0.0
    for pool in decision.pools:
        price = prices.get(pool.pool)
        if price is None or pool.desired_replicas is None:
            return None
        total += price * pool.desired_replicas
    return total


def _attained(decision: Decision, asked: AskedModel) -> Iterator[str]:
    objective = asked.objective
    promised = (
        f"{percent(objective.attainment_ratio)} of the requests with their first token within "
        f"{span(objective.ttft_s)} and each further one within {1000.0 * objective.tpot_s:.0f} ms"
    )
    told = decision.attainment
    if told is None or told.both is None:
        yield f"Not known: no engine tells. Promised are {promised}."
    else:
        yield (
            f"{percent(told.both.ratio)} of {number(told.both.requests)} requests in the last hour "
            f"({percent(told.both.low_ratio)} to {percent(told.both.high_ratio)}); promised are {promised}."
        )
        yield from _budgets(told.budgets)
    missed = None if decision.scores is None else decision.scores.missed_requests
    if missed is not None and any(missed):
        yield f"Missed since the daemon began: {', '.join(_causes(missed))}."


def _budgets(budgets: tuple[ErrorBudget, ...]) -> Iterator[str]:
    """Say what is left of each; spans of which the same is known, in one sentence."""
    spans: dict[str, list[str]] = {}
    for budget in budgets:
        spans.setdefault(_left(budget), []).append(span(float(budget.span_s)))
    for left, over in spans.items():
        yield f"Of what may be missed in {listed_all(over)}: {left}."


def _left(budget: ErrorBudget) -> str:
    if budget.left_ratio is None:
        return "not known"
    if budget.left_ratio < 0.0:
        return f"nothing is left, {number(1.0 - budget.left_ratio)} times as much was missed"
    return f"{percent(budget.left_ratio)} is left"


def _causes(missed: MissedRequests) -> Iterator[str]:
    counts = {name: getattr(missed, name) for name in _MISSED}
    for name, count in sorted(counts.items(), key=lambda each: -each[1]):
        if count >= 0.5:
            yield f"{number(round(count))} {_MISSED[name]}"


def _hindsight(decision: Decision) -> Iterator[str]:
    told_s = 0.0
    for window in decision.hindsight or ():
        # Of a daemon that began lately all windows speak of the same time.
        if window.covered_s > told_s and window.requests > 0.0:
            told_s = window.covered_s
            yield _window(window)


def _window(window: WindowHindsight) -> str:
    said = []
    for each in window.policies:
        name = "this" if each.policy is HindsightPolicy.OWN else str(each.policy)
        size = f" of {each.replicas}" if each.replicas is not None else ""
        costs = (
            f"{each.replica_s / window.covered_s:.2f} replicas"
            if each.usd is None
            else f"${each.usd:,.2f}"
        )
        said.append(f"{name}{size} {costs} and {percent(each.attained_ratio)}")
    known = (
        ""
        if window.covered_s >= 0.99 * window.span_s
        else f" (known of {span(window.covered_s)} of it)"
    )
    return f"In the last {span(float(window.span_s))}{known}: {'; '.join(said)}."


def _to_see_to(decision: Decision) -> Iterator[str]:
    for condition in wrong_conditions(decision):
        yield f"{condition.type} is {condition.status}, {condition.reason}: {condition.message}"


def wrong_conditions(decision: Decision) -> tuple[Condition, ...]:
    """Return the conditions that somebody may have to do something about."""
    return tuple(each for each in decision.conditions if each.status == BAD_STATUS.get(each.type))
