"""What is seen of each pool's scale target: the Deployment, our promises on it, how sound it is."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from autoscaler.core.contract.commands import FALLBACK_ANNOTATION
from autoscaler.core.contract.reasons import FindingReason
from autoscaler.core.contract.spec import FleetSpec, ModelSpec, PoolSpec, ScaleTarget
from autoscaler.core.contract.state import PoolObservation, Rival
from autoscaler.foreign_text import listed
from autoscaler.kube.ownership import deployment_of
from autoscaler.kube.soundness.lint import unsound
from autoscaler.kube.soundness.starts import start_s_max
from autoscaler.kube.soundness.terms import terms_of
from autoscaler.kube.watch.caches import NamespaceCaches
from autoscaler.kube.watch.optional import Readability
from autoscaler.kube.watch.slim import SlimDeployment

PROMISES_HELD_S = 600.0
"""So long a pool is held whose promises cannot be read. Whoever wrote it has had time to mend it; what was
promised, if it was ours, is older than any notice, and nothing is promised from then on."""

_NAMES_COMPARED_MAX = 500
"""Of a namespace: to compare more of them with one that is missing would hold up the loop."""


class ScaleTargets:
    """Remembers since when promises cannot be read, and what a target's lint found."""

    def __init__(self, namespaces: Mapping[str, NamespaceCaches]) -> None:
        """Prepare.

        Args:
            namespaces: What the caches hold of each namespace; read anew each time.
        """
        self._namespaces = namespaces
        self._junk_since: dict[ScaleTarget, float] = {}
        """Those whose promises cannot be read, and since when."""
        self._unsound: dict[
            ScaleTarget, tuple[SlimDeployment, ModelSpec, tuple[FindingReason, ...]]
        ] = {}

    def forget_findings(self) -> None:
        """The fleet is another: what was found of a target may have been another model's."""
        self._unsound.clear()

    def look_at_promises(self, fleet: FleetSpec, *, at: float) -> None:
        """Note since when the promises of which scale target cannot be read."""
        pools = [pool for model in fleet.models for pool in model.pools]
        found = ((pool.target, deployment_of(pool, self._namespaces)) for pool in pools)
        self._junk_since = {
            target: self._junk_since.get(target, at)
            for target, deployment in found
            if deployment is not None and deployment.promises is None
        }

    def observe(self, model: ModelSpec, pool: PoolSpec, *, at: float) -> PoolObservation:
        """Make the observation of one pool, but for its replicas."""
        deployment = deployment_of(pool, self._namespaces)
        if deployment is None:
            return PoolObservation(
                name=pool.name,
                current_replicas=None,
                rolling_out=False,
                gpus_per_replica=0,
                promises=(),
            )
        return PoolObservation(
            name=pool.name,
            current_replicas=deployment.replicas,
            rolling_out=deployment.rolling_out,
            rollout_stuck=deployment.rollout_stuck,
            gpus_per_replica=deployment.gpus or 0,
            promises=deployment.promises or (),
            promises_readable=deployment.promises is not None or self._given_up(pool, at=at),
            unsound=self._find_unsound(model, pool, deployment),
            start_s_max=start_s_max(deployment.template),
            rivals=self._rivals(pool.target),
            writer=deployment.writer,
        )

    def _rivals(self, target: ScaleTarget) -> tuple[Rival, ...] | None:
        """Find the HPAs on a target; None: they cannot be read."""
        hpas = self._namespaces[target.namespace].hpas
        if hpas.readability is Readability.ABSENT:
            return ()
        if hpas.readability is not Readability.READABLE and not hpas.synced:
            return None
        named = target.api_version.rpartition("/")[0], target.kind, target.name
        found = [hpa.rival for hpa in hpas.objects.values() if hpa.target == named]
        # Where the right was taken away, what was seen before may be gone; that there is one is as good as known.
        if hpas.forbidden and not found:
            return None
        return tuple(sorted(found, key=lambda rival: (rival.kind, rival.name)))

    def missing(self, fleet: FleetSpec) -> dict[str, str]:
        """Say, by model, which of its scale targets do not exist, and what there is in their place.

        Of a namespace that was never listed, or cannot be read now, nothing is missing: it is unknown.
        """
        found: dict[str, list[str]] = {}
        for model in fleet.models:
            for pool in model.pools:
                caches = self._namespaces.get(pool.target.namespace)
                if caches is None or not caches.deployments.synced or caches.deployments.forbidden:
                    continue
                unread = (pool.target.namespace, pool.target.name) in caches.deployments.unreadable
                if deployment_of(pool, self._namespaces) is None and not unread:
                    names = [name for _, name in caches.deployments.objects]
                    found.setdefault(model.key, []).append(_missing_text(pool.target, names))
        return {key: "; ".join(texts) for key, texts in found.items()}

    def problems(self, fleet: FleetSpec) -> tuple[str, ...]:
        """What is wrong with those of a fleet now, for people; empty: nothing."""
        junk = tuple(
            f"{target}: its annotation {FALLBACK_ANNOTATION} cannot be read; for {PROMISES_HELD_S:.0f} s "
            "its pool is held, and then nothing counts as promised; repair it or take it away"
            for target in self._junk_since
        )
        found = (
            (pool, deployment_of(pool, self._namespaces))
            for model in fleet.models
            for pool in model.pools
        )
        return junk + tuple(
            f"{pool.target}: how many devices a replica holds is not in its pod template (a resource "
            "claim asks for them, or the amount is no whole number); it is not held to a GPU budget"
            for pool, deployment in found
            if deployment is not None and deployment.gpus is None
        )

    def _given_up(self, pool: PoolSpec, *, at: float) -> bool:
        """Whether promises that cannot be read were waited for long enough: nothing is promised then."""
        return at - self._junk_since.get(pool.target, at) >= PROMISES_HELD_S

    def _find_unsound(
        self, model: ModelSpec, pool: PoolSpec, deployment: SlimDeployment
    ) -> tuple[FindingReason, ...]:
        """Lint a target whose object or model changed; else what was found then."""
        before = self._unsound.get(pool.target)
        if before is not None and before[0] is deployment and before[1] is model:
            return before[2]
        found = unsound(deployment.template, terms_of(model, pool))
        self._unsound[pool.target] = deployment, model, found
        return found


def _missing_text(target: ScaleTarget, names: list[str]) -> str:
    """Say that it is not there, with the names that are most like its own first."""
    if not names:
        return f"{target} does not exist: there is no Deployment in {target.namespace}"
    close = difflib.get_close_matches(target.name, names[:_NAMES_COMPARED_MAX], n=3, cutoff=0.4)
    others = sorted(set(names) - set(close))
    return f"{target} does not exist; in {target.namespace} there are: {listed([*close, *others])}"
