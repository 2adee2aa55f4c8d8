"""What the daemon would do beside what is there: the differences that a person looks at before a takeover."""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.hindsight import HindsightPolicy, WindowHindsight
from autoscaler.core.contract.spec import Mode
from autoscaler.explain.asked import AskedModel
from autoscaler.explain.explanation import desired_usd_per_hour, headline, wrong_conditions
from autoscaler.explain.figures import counted, number, percent, span, usd_per_hour

AGE_S_MAX = 60.0
"""Of a decision that is one of now: a dozen ticks."""


def why_not_yet(decision: Decision, asked: AskedModel, *, at: float) -> str:
    """Say why nobody would scale if the daemon took over now; empty: it would.

    Args:
        decision: The last one on the model.
        asked: What it was decided by.
        at: The daemon's clock, seconds since the epoch.
    """
    if at - decision.at > AGE_S_MAX:
        return f"its last decision is {span(at - decision.at)} old"
    if asked.mode is not Mode.OBSERVE:
        return "it does not know yet that its mode is Observe"
    if decision.current_replicas is None or decision.desired_replicas is None:
        return "it cannot tell how many replicas there are to be"
    if decision.proposal_replicas is None:
        return "it cannot tell the load: look whether it reads the pods' pages (autoscaler explain)"
    return ""


def shadow_lines(decision: Decision, asked: AskedModel) -> Iterator[str]:
    """Say what is there, what the daemon would have, and what either costs."""
    current, desired = decision.current_replicas, decision.desired_replicas
    assert current is not None, "asked before"
    assert desired is not None, "asked before"
    yield f"now: {counted(current, 'replica')} there; it would have {desired}: {headline(decision, asked)}"
    yield f"cost now: {_cost_text(decision, asked)}"
    yield from _last_windows(decision)
    measures = decision.measures
    if measures.rule_replicas is not None:
        yield (
            f"its rule would have asked for {number(measures.rule_replicas)} replicas in the mean (the last day weighs "
            f"most), and served {percent(measures.rule_attained_ratio)} in time"
        )
    else:
        yield "what its rule would have asked for is not known yet: let it observe for a day where you can"
    for condition in wrong_conditions(decision):
        yield f"see to {condition.type}: {condition.reason}: {condition.message}"


def _cost_text(decision: Decision, asked: AskedModel) -> str:
    desired_usd = desired_usd_per_hour(decision, asked)
    there_usd = _there_usd_per_hour(decision, asked)
    if desired_usd is None or there_usd is None:
        return "not known; write priceUSDPerHour of each pool"
    difference = desired_usd - there_usd
    sign = "+" if difference > 0 else "-" if difference < 0 else ""
    return (
        f"{usd_per_hour(there_usd)} there, {usd_per_hour(desired_usd)} with what it would have "
        f"({sign}{usd_per_hour(abs(difference))})"
    )


def _there_usd_per_hour(decision: Decision, asked: AskedModel) -> float | None:
    prices = {pool.pool: pool.price_usd_per_hour for pool in asked.pools}
    total = 0.0
    for pool in decision.pools:
        price = prices.get(pool.pool)
        if price is None or pool.current_replicas is None:
            return None
        total += price * pool.current_replicas
    return total


def _last_windows(decision: Decision) -> Iterator[str]:
    for window in decision.hindsight or ():
        line = _window_text(window)
        if line:
            yield line


def _window_text(window: WindowHindsight) -> str:
    """Say what the fleet that is there cost and attained; it is the predecessor's while the daemon observes."""
    own = [each for each in window.policies if each.policy is HindsightPolicy.OWN]
    if not own or not window.covered_s:
        return ""
    mean = own[0].replica_s / window.covered_s
    usd = "" if own[0].usd is None else f", for ${own[0].usd:,.2f}"
    attained = (
        "" if own[0].attained_ratio is None else f", {percent(own[0].attained_ratio)} in time"
    )
    return (
        f"the last {span(window.span_s)} ({span(window.covered_s)} of it seen): {number(mean)} replicas in the "
        f"mean{usd}{attained}"
    )
