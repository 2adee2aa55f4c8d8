"""PodDisruptionBudgets: which of them select a target's pods, and whether they let any of them go."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autoscaler.core.contract.reasons import FindingReason
from autoscaler.foreign_text import listed
from autoscaler.kube.api.plain import Plain, pairs, part, parts, text, texts
from autoscaler.kube.soundness.findings import Finding, error, warning


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorTerm:
    """One expression of a label selector."""

    key: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetFacts:
    """One PodDisruptionBudget."""

    name: str
    selects: tuple[SelectorTerm, ...] | None
    """All must hold; empty: all pods; None: no pod."""
    available_min: str
    """As it is written: a number or a percentage; empty: not given."""
    unavailable_max: str
    evicts_unready: bool
    """`unhealthyPodEvictionPolicy: AlwaysAllow`."""


def budget_facts(item: Plain) -> BudgetFacts:
    """Read one budget of `policy/v1`."""
    spec = part(item, "spec")
    return BudgetFacts(
        name=text(part(item, "metadata"), "name"),
        selects=_requirements(spec.get("selector")),
        available_min=_amount(spec.get("minAvailable")),
        unavailable_max=_amount(spec.get("maxUnavailable")),
        evicts_unready=text(spec, "unhealthyPodEvictionPolicy") == "AlwaysAllow",
    )


def find_blocked(
    budgets: Iterable[BudgetFacts], labels: Mapping[str, str], *, replicas: int
) -> list[Finding]:
    """Find budgets that let no pod with these labels go, of so many replicas at the least."""
    ours = [budget for budget in budgets if _selects(budget, labels)]
    found = []
    if len(ours) > 1:
        found.append(
            error(
                FindingReason.SEVERAL_BUDGETS,
                f"PodDisruptionBudget {listed([budget.name for budget in ours])}",
                found="several budgets that select the same pods: every eviction is answered with 500",
                remedy="keep one",
            )
        )
    for budget in ours:
        path = f"PodDisruptionBudget {budget.name}: spec"
        if budget.unavailable_max in ("0", "0%") or budget.available_min == "100%":
            field = "maxUnavailable" if budget.unavailable_max else "minAvailable"
            written = budget.unavailable_max or budget.available_min
            found.append(
                error(
                    FindingReason.DISRUPTION_BLOCKED,
                    f"{path}.{field}",
                    found=f"{written}, which lets no pod go: every drain waits until its deadline, and "
                    "a spot node's replicas end without one",
                    remedy="write maxUnavailable: 1, or more",
                )
            )
        elif budget.available_min.isdigit() and int(budget.available_min) >= max(1, replicas):
            found.append(
                warning(
                    FindingReason.DISRUPTION_BLOCKED,
                    f"{path}.minAvailable",
                    found=f"{budget.available_min}, with {replicas} replicas at the least: at that "
                    "number no pod may go",
                    remedy="write maxUnavailable: 1 instead, which moves with the replicas",
                )
            )
        if not budget.evicts_unready:
            found.append(
                warning(
                    FindingReason.UNREADY_NOT_EVICTED,
                    f"{path}.unhealthyPodEvictionPolicy",
                    found="IfHealthyBudget, the default: a replica that still loads holds up the drain "
                    "of its node",
                    remedy="write AlwaysAllow",
                )
            )
    return found


def _amount(value: Any) -> str:
    known = isinstance(value, int | str) and not isinstance(value, bool)
    return str(value) if known and re.fullmatch(r"[0-9]{1,9}%?", str(value)) else ""


def _requirements(selector: Any) -> tuple[SelectorTerm, ...] | None:
    if not isinstance(selector, Mapping):
        return None
    equal = [
        SelectorTerm(key=key, operator="In", values=(value,))
        for key, value in pairs(part(selector, "matchLabels"))
    ]
    return (
        *equal,
        *(
            SelectorTerm(
                key=text(each, "key"),
                operator=text(each, "operator"),
                values=tuple(texts(each, "values")),
            )
            for each in parts(selector, "matchExpressions")
        ),
    )


def _selects(budget: BudgetFacts, labels: Mapping[str, str]) -> bool:
    return budget.selects is not None and all(_holds(each, labels) for each in budget.selects)


def _holds(requirement: SelectorTerm, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    if requirement.operator == "In":
        return value in requirement.values
    if requirement.operator == "NotIn":
        return value not in requirement.values
    if requirement.operator == "Exists":
        return value is not None
    return requirement.operator == "DoesNotExist" and value is None
