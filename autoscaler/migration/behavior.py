"""HPA's `behavior`, which the resource has by the same names and obeys as HPA would."""

from __future__ import annotations

from typing import Any

from autoscaler.core.contract.spec import PolicyType, SelectPolicy
from autoscaler.kube.api.plain import Plain, part, parts, text, whole
from autoscaler.migration.amounts import amount_text, read_amount
from autoscaler.migration.predecessor import Predecessor

_DIRECTIONS = ("scaleUp", "scaleDown")
_WINDOW_S_MAX = 3600
_PERIOD_S_MAX = 1800


def take_behavior(predecessor: Predecessor, found: Plain, path: str) -> None:
    """Keep a behavior, or note what stands in the place of one that is not given."""
    for direction in _DIRECTIONS:
        rules = part(found, direction)
        where = f"{path}.{direction}"
        if rules:
            predecessor.behavior[direction] = _rules(predecessor, rules, where)
        elif direction == "scaleDown":
            predecessor.change(
                where,
                None,
                "not given: HPA looks back 300 s; here it is the learnt cold start. To keep the 300 s write "
                "behavior.scaleDown.stabilizationWindowSeconds: 300",
            )
        else:
            predecessor.change(
                where,
                None,
                "not given: HPA at most doubles, or goes to four, in 15 s; here there is no limit",
            )


def _rules(predecessor: Predecessor, found: Plain, path: str) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    window = whole(found, "stabilizationWindowSeconds")
    if window is not None and window <= _WINDOW_S_MAX:
        rules["stabilizationWindowSeconds"] = window
        predecessor.keep(f"{path}.stabilizationWindowSeconds", str(window), "by the same name")
    elif window is not None:
        predecessor.drop(
            f"{path}.stabilizationWindowSeconds", str(window), f"more than {_WINDOW_S_MAX}"
        )
    elif path.endswith("scaleDown"):
        rules["stabilizationWindowSeconds"] = 300
        predecessor.keep(
            f"{path}.stabilizationWindowSeconds", None, "300, which HPA takes where none is given"
        )
    select = text(found, "selectPolicy")
    if select in {str(each) for each in SelectPolicy}:
        rules["selectPolicy"] = select
        predecessor.keep(f"{path}.selectPolicy", select, "by the same name")
    elif select:
        predecessor.drop(f"{path}.selectPolicy", select, "no word of HPA's")
    policies = _policies(predecessor, found, f"{path}.policies")
    if policies:
        rules["policies"] = policies
    tolerance = read_amount(found.get("tolerance"))
    if tolerance is not None and 0.0 <= tolerance <= 1.0:
        rules["tolerance"] = amount_text(tolerance)
        predecessor.keep(f"{path}.tolerance", amount_text(tolerance), "by the same name")
    elif "tolerance" in found:
        predecessor.drop(f"{path}.tolerance", found.get("tolerance"), "no ratio of at most 1")
    return rules


def _policies(predecessor: Predecessor, found: Plain, path: str) -> list[dict[str, Any]]:
    kept = []
    for index, policy in enumerate(parts(found, "policies")):
        kind, value = text(policy, "type"), whole(policy, "value")
        period = whole(policy, "periodSeconds")
        told = f"{kind} {value} in {period} s"
        if kind in {str(each) for each in PolicyType} and value and period:
            limited = min(period, _PERIOD_S_MAX)
            kept.append({"type": kind, "value": value, "periodSeconds": limited})
            predecessor.keep(f"{path}[{index}]", told, "by the same name")
        else:
            predecessor.drop(f"{path}[{index}]", told, "no policy that HPA would take")
    return kept
