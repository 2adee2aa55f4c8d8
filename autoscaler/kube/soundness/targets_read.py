"""Scale targets and what stands beside them, read from manifests or from a cluster, and held against a spec."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeAlias

from autoscaler.core.contract.reasons import FindingReason
from autoscaler.core.contract.spec import ModelSpec, ScaleTarget
from autoscaler.foreign_text import listed
from autoscaler.kube.api.client import ApiError, Client
from autoscaler.kube.api.plain import Plain, pairs, part, parts, text
from autoscaler.kube.api.resources import DEPLOYMENTS, DISRUPTION_BUDGETS, PODS
from autoscaler.kube.api.timestamps import seconds
from autoscaler.kube.soundness.budgets import BudgetFacts, budget_facts
from autoscaler.kube.soundness.findings import Finding, error
from autoscaler.kube.soundness.lint import lint
from autoscaler.kube.soundness.terms import terms_of
from autoscaler.settings import MetricsSettings

COLD_START_S_MAX = 7200.0
"""The longest that a resource may say: a pod that was last not ready after more had been ready before."""
_Key: TypeAlias = tuple[str, str]
"""Namespace and name; the namespace is empty where a manifest names none."""


@dataclass(slots=True, kw_only=True)
class TargetsRead:
    """What was found of the scale targets of some models."""

    origin: str
    """Where, for messages."""
    deployments: dict[_Key, Plain] = field(default_factory=dict)
    budgets: dict[str, tuple[BudgetFacts, ...] | None] = field(default_factory=dict)
    """By namespace; None, or not there: not read."""
    cold_starts_s: dict[_Key, list[float]] = field(default_factory=dict)
    """Of the replicas that are ready, from created to ready."""
    unread: list[str] = field(default_factory=list)
    """What could not be read, and why."""

    def deployment(self, target: ScaleTarget) -> Plain | None:
        """Return a target's object; a manifest without a namespace is taken to be meant."""
        exact = self.deployments.get((target.namespace, target.name))
        return self.deployments.get(("", target.name)) if exact is None else exact

    def budgets_of(self, namespace: str) -> tuple[BudgetFacts, ...] | None:
        """Return the budgets of a namespace; None: they were not read."""
        found, anywhere = self.budgets.get(namespace), self.budgets.get("", ())
        return None if found is None and not anywhere else (*(found or ()), *(anywhere or ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFindings:
    """What was found about one pool's target."""

    model: str
    pool: str
    target: ScaleTarget
    findings: tuple[Finding, ...]
    """Errors first; empty: nothing."""


def read_manifests(objects: Iterable[object], *, origin: str) -> TargetsRead:
    """Take Deployments and disruption budgets out of documents; all others are left out."""
    read = TargetsRead(origin=origin)
    budgets: dict[str, list[BudgetFacts]] = {}
    for item in objects:
        metadata, kind = part(item, "metadata"), part({"item": item}, "item").get("kind")
        namespace, name = text(metadata, "namespace"), text(metadata, "name")
        if kind == "Deployment":
            read.deployments[namespace, name] = part({"item": item}, "item")
        elif kind == "PodDisruptionBudget":
            found = budgets.setdefault(namespace, [])
            found.append(budget_facts(part({"item": item}, "item")))
    read.budgets = {namespace: tuple(found) for namespace, found in budgets.items()}
    return read


async def read_cluster(client: Client, models: Sequence[ModelSpec]) -> TargetsRead:
    """Read the targets of these models, their replicas and the disruption budgets of their namespaces.

    Raises ApiError where a Deployment cannot be read. That budgets or pods cannot be is noted.
    """
    read = TargetsRead(origin=client.server)
    for target in dict.fromkeys(pool.target for model in models for pool in model.pools):
        key = (target.namespace, target.name)
        try:
            item = await client.call(
                "get", DEPLOYMENTS, namespace=target.namespace, name=target.name
            )
        except ApiError as failure:
            if failure.status == HTTPStatus.NOT_FOUND:
                continue
            raise
        read.deployments[key] = item
        try:
            read.cold_starts_s[key] = await _cold_starts_s(client, target.namespace, item)
        except ApiError as failure:
            read.unread.append(f"how long replicas of {target} took to start: {failure}")
    for namespace in sorted({namespace for namespace, _ in read.deployments}):
        try:
            page = await client.call("list", DISRUPTION_BUDGETS, namespace=namespace)
        except ApiError as failure:
            read.budgets[namespace] = None
            read.unread.append(f"the disruption budgets of namespace {namespace}: {failure}")
        else:
            read.budgets[namespace] = tuple(budget_facts(each) for each in parts(page, "items"))
    return read


def findings_of(
    read: TargetsRead, models: Sequence[ModelSpec], metrics: Mapping[str, MetricsSettings]
) -> list[TargetFindings]:
    """Hold what was read against what these models ask for, one entry a pool.

    Args:
        read: The targets.
        models: All that are asked about.
        metrics: How their pages are read, by `ModelSpec.key`.
    """
    return [
        TargetFindings(
            model=model.key,
            pool=pool.name,
            target=pool.target,
            findings=tuple(_findings(read, model, index, metrics.get(model.key))),
        )
        for model in models
        for index, pool in enumerate(model.pools)
    ]


def _findings(
    read: TargetsRead, model: ModelSpec, index: int, metrics: MetricsSettings | None
) -> list[Finding]:
    pool = model.pools[index]
    item = read.deployment(pool.target)
    if item is None:
        others = [f"{namespace or '?'}/{name}" for namespace, name in sorted(read.deployments)]
        return [
            error(
                FindingReason.TARGET_MISSING,
                f"spec.pools[{index}].scaleTargetRef",
                found=f"{pool.target.namespace}/{pool.target.name}, which is not in {read.origin}; there: "
                f"{listed(others) or 'no Deployment'}",
                remedy="name a Deployment that is there",
            )
        ]
    terms = terms_of(
        model,
        pool,
        metrics=metrics,
        budgets=read.budgets_of(pool.target.namespace),
        measured_s=_measured_s(read, pool.target),
    )
    return lint(item, terms)


def _measured_s(read: TargetsRead, target: ScaleTarget) -> float | None:
    """Return the middle of what was seen: one that blinked since says nothing of its start."""
    found = read.cold_starts_s.get((target.namespace, target.name))
    return statistics.median(found) if found else None


async def _cold_starts_s(client: Client, namespace: str, deployment: Plain) -> list[float]:
    labels = pairs(part(deployment, "spec", "selector", "matchLabels"))
    if not labels:
        return []
    selector = ",".join(f"{key}={value}" for key, value in labels)
    page = await client.call(
        "list", PODS, namespace=namespace, query={"labelSelector": selector, "limit": "100"}
    )
    found = []
    for pod in parts(page, "items"):
        created_at = seconds(part(pod, "metadata").get("creationTimestamp"))
        ready_at = [
            seconds(each.get("lastTransitionTime"))
            for each in parts(part(pod, "status"), "conditions")
            if each.get("type") == "Ready" and each.get("status") == "True"
        ]
        if ready_at and 0 < ready_at[0] - created_at <= COLD_START_S_MAX:
            found.append(ready_at[0] - created_at)
    return found
