"""The first resource: which Deployments are its pools, and what has to be written of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from autoscaler.core.contract.state import CapacityType
from autoscaler.errors import SettingsError
from autoscaler.foreign_text import listed, shown
from autoscaler.kube.first_resource.namespace_read import NamespaceRead
from autoscaler.kube.first_resource.served import ServedBy, served_by
from autoscaler.kube.first_resource.starts import StartsSeen
from autoscaler.settings import EngineType
from autoscaler.settings.resource import ColdStartSection, Spec

_POOL_NAMES = {
    CapacityType.ON_DEMAND: "on-demand",
    CapacityType.SPOT: "spot",
    CapacityType.MIXED: "mixed",
}
_ORDER = (CapacityType.ON_DEMAND, CapacityType.MIXED, CapacityType.SPOT)
REPLICAS_MAX: int = Spec.model_fields["max_replicas"].default
"""Of a resource that says nothing of it."""
_PRIOR_S: int = ColdStartSection.model_fields["prior_seconds"].default


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstResource:
    """A resource that is to be written for what is there."""

    namespace: str
    name: str
    origin: str
    """Where it was read, for the reader."""
    pools: tuple[ServedBy, ...]
    """One or more; the one that was asked for stands first among its kind."""
    starts: Mapping[str, StartsSeen] = field(default_factory=dict)
    """By name of the Deployment; empty: nothing was measured, as from a file."""
    notes: tuple[str, ...] = ()
    """What was found, and what somebody has to look at."""

    @property
    def engine(self) -> EngineType:
        """Of all its pools."""
        return self.pools[0].engine

    @property
    def pool_names(self) -> tuple[str, ...]:
        """By capacity type; by its Deployment where that has several."""
        kinds = [pool.capacity_type for pool in self.pools]
        return tuple(
            _POOL_NAMES[pool.capacity_type]
            if kinds.count(pool.capacity_type) == 1
            else _label(pool.name)
            for pool in self.pools
        )

    @property
    def replicas_max(self) -> int:
        """The default, or twice what is there where that is more: it has to be able to grow."""
        return max(REPLICAS_MAX, 2 * sum(pool.replicas for pool in self.pools))

    @property
    def keeps_on_demand(self) -> bool:
        """Whether one replica has to stay off spot: one notice must not take the last one."""
        kinds = {pool.capacity_type for pool in self.pools}
        return CapacityType.ON_DEMAND in kinds and len(kinds) > 1

    @property
    def cold_start_s(self) -> int | None:
        """The longest of its pools' middle starts, in whole seconds; None: not measured, or as believed anyway."""
        middles = [seen.middle_s for seen in self.starts.values() if seen.middle_s is not None]
        found = max(1, math.ceil(max(middles))) if middles else _PRIOR_S
        return None if found == _PRIOR_S else found


def first_resource(
    read: NamespaceRead,
    name: str | None,
    *,
    engine: EngineType | None = None,
    port: int | None = None,
) -> FirstResource:
    """Draft a resource for a Deployment and its twins: Deployments of the same model on other nodes.

    Args:
        read: Its namespace.
        name: Of the Deployment; None: the only model there.
        engine: Of somebody who knows; None: it is told by image and command line.
        port: Of the page, likewise.

    Raises:
        SettingsError: There is no such Deployment, or it does not tell what it serves.
    """
    asked_for = _only(read) if name is None else name
    asked = served_by(read, asked_for, engine=engine, port=port)
    others: list[ServedBy] = []
    for other in sorted(read.deployments):
        if other != asked_for:
            try:
                others.append(served_by(read, other, engine=engine, port=port))
            except SettingsError:  # no engine, or no page: it is no twin
                continue
    pools, notes = _pools(asked, others)
    ordered = sorted(pools, key=lambda pool: _ORDER.index(pool.capacity_type))
    scaled = [
        f"{each.name} by {read.scaled_by[each.name]}"
        for each in ordered
        if each.name in read.scaled_by
    ]
    if scaled:
        notes.append(
            f"scaled already: {listed(scaled)}; a Deployment is scaled by one resource: change that one, or "
            "delete it before this one is applied"
        )
    return FirstResource(
        namespace=read.namespace,
        name=_common_name([pool.name for pool in ordered]),
        origin=read.origin,
        pools=tuple(ordered),
        notes=tuple(notes),
    )


def with_starts(draft: FirstResource, starts: Mapping[str, StartsSeen]) -> FirstResource:
    """Return the draft with what was measured, by name of the Deployment."""
    return replace(draft, starts=starts)


def _only(read: NamespaceRead) -> str:
    """Return the Deployment that is meant where none is named."""
    serving = []
    for name in sorted(read.deployments):
        try:
            served_by(read, name)
        except SettingsError:
            continue
        serving.append(name)
    if not serving:
        raise SettingsError(
            f"no Deployment of namespace {read.namespace} in {read.origin} tells an engine; there: "
            f"{listed(sorted(read.deployments), names=20) or 'none'}; name one, or another namespace (-n)"
        )
    draft = first_resource(read, serving[0])
    left = [name for name in serving if name not in {pool.name for pool in draft.pools}]
    if left:
        raise SettingsError(
            f"several Deployments of namespace {read.namespace} run engines; name one of: "
            f"{listed(serving, names=20)}"
        )
    return serving[0]


def _pools(asked: ServedBy, others: Sequence[ServedBy]) -> tuple[list[ServedBy], list[str]]:
    """Return the pools, and what has to be said of Deployments that might have been."""
    pools, notes = [asked], []
    for other in others:
        if other.engine is not asked.engine or other.model != asked.model:
            continue
        if (why := _no_twin(asked, other)) is not None:
            notes.append(f"{other.name} serves the same model, and is left out: {why}")
        else:
            pools.append(other)
    for kind in (CapacityType.ON_DEMAND, CapacityType.MIXED):
        same = [pool for pool in pools if pool.capacity_type is kind]
        if len(same) > 1 and asked not in same:
            notes.append(
                f"{listed([each.name for each in same])} serve the same model on {_POOL_NAMES[kind]} nodes: "
                f"which of them is its other pool cannot be told, so none is"
            )
            pools = [pool for pool in pools if pool not in same]
    return pools, notes


def _no_twin(asked: ServedBy, other: ServedBy) -> str | None:
    """Say why a Deployment of the same model is no pool of it; None: it is one."""
    if other.ports != asked.ports or other.tls != asked.tls:
        return (
            f"its page is at {'HTTPS' if other.tls else 'HTTP'} port {listed(other.ports)}, "
            f"and that of {asked.name} at {'HTTPS' if asked.tls else 'HTTP'} port {listed(asked.ports)}"
        )
    if asked.services and not asked.services & (other.services or frozenset()):
        return f"no Service sends to both (to {asked.name}: {listed(sorted(asked.services))})"
    if other.capacity_type is asked.capacity_type is not CapacityType.SPOT:
        return f"both are {asked.capacity_type}, and nothing tells that they are one model's"
    return None


def _common_name(names: Sequence[str]) -> str:
    """Return what names have in common, in whole words; else the first.

    >>> _common_name(["qwen3-8b-on-demand", "qwen3-8b-spot"])
    'qwen3-8b'
    """
    words = [name.split("-") for name in names]
    common = []
    for column in zip(*words, strict=False):
        if len(set(column)) > 1:
            break
        common.append(column[0])
    return "-".join(common).strip("-.") or names[0]


def _label(name: str) -> str:
    """Return a name of a Deployment as a label has it."""
    return re.sub(r"[^a-z0-9-]", "-", shown(name).lower())[:63].strip("-")
