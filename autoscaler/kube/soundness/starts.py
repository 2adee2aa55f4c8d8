"""How replicas start and are kept: probes against the cold start, and what a rollout takes away."""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.core.contract.reasons import FindingReason
from autoscaler.kube.soundness.findings import Finding, error, warning
from autoscaler.kube.soundness.template import TemplateFacts
from autoscaler.kube.soundness.terms import TargetTerms

RESTART_SHARE = 0.5
"""Of a cold start: what probes allow below it is surely too short. The whole of one also has the node and
the image in it, before the container starts and its probes begin."""
BUSY_S = 5.0
"""A probe's answer under full load: 0.3 s at worst for vLLM; SGLang's runs a generation, a second or more."""
LIVENESS_S = 30.0
"""A restart costs a cold start: nobody should judge sooner."""
START_DELAY_S = 30.0
"""A readiness probe that waits longer than this makes the cold start longer by as much."""


def find_starts(facts: TemplateFacts, terms: TargetTerms) -> Iterator[Finding]:
    """Find what ends a replica that starts or works, or calls it ready too soon or too late."""
    yield from _start(facts, terms)
    yield from _readiness(facts, terms)
    yield from _liveness(facts, terms)
    yield from _rollout(facts, terms)


def start_s_max(facts: TemplateFacts) -> float | None:
    """Return what the probes allow a start to take, in seconds; None: any time."""
    if facts.startup is not None:
        return facts.startup.allowed_s
    return None if facts.liveness is None else facts.liveness.allowed_s


def _start(facts: TemplateFacts, terms: TargetTerms) -> Iterator[Finding]:
    allowed_s = start_s_max(facts)
    name = "livenessProbe" if facts.startup is None else "startupProbe"
    path = f"{facts.container}.{name}"
    if allowed_s is not None and allowed_s < terms.cold_start_s:
        sure = allowed_s < RESTART_SHARE * terms.cold_start_s
        yield (error if sure else warning)(
            FindingReason.START_CUT,
            path,
            found=f"{allowed_s:g} s (initialDelaySeconds + periodSeconds x failureThreshold), and a cold "
            f"start is counted to take {terms.cold_start_s:g} s: the container is restarted while it loads"
            + (", for ever" if sure else ", if image and node are not what takes long"),
            remedy="allow a startupProbe three cold starts: periodSeconds 5, failureThreshold "
            f"{-(-3 * terms.cold_start_s // 5):g}",
        )
    if facts.startup is None and facts.liveness is not None:
        yield warning(
            FindingReason.LIVENESS_DURING_START,
            path,
            found=f"a livenessProbe without a startupProbe: any start that takes longer than {allowed_s:g} s "
            "is killed and begins again",
            remedy="add a startupProbe, and take initialDelaySeconds away",
        )


def _readiness(facts: TemplateFacts, terms: TargetTerms) -> Iterator[Finding]:
    path = f"{facts.container}.readinessProbe"
    if facts.readiness is None:
        yield error(
            FindingReason.NO_READINESS_PROBE,
            path,
            found="nothing: the replica counts as ready, and is sent requests, while it loads"
            if facts.startup is None
            else "nothing: the replica is sent requests whatever becomes of it",
            remedy="add one, GET /health on the engine's port",
        )
    elif facts.readiness.initial_delay_s > min(START_DELAY_S, terms.cold_start_s):
        yield warning(
            FindingReason.START_DELAYED,
            f"{path}.initialDelaySeconds",
            found=f"{facts.readiness.initial_delay_s:g}: no replica is ready before that, however fast it "
            "loads",
            remedy="take it away: a probe that fails early costs nothing",
        )


def _liveness(facts: TemplateFacts, terms: TargetTerms) -> Iterator[Finding]:
    probe, path = facts.liveness, f"{facts.container}.livenessProbe"
    if probe is None:
        return
    if probe.timeout_s < BUSY_S or probe.period_s * probe.failures < LIVENESS_S:
        yield warning(
            FindingReason.LIVENESS_HASTY,
            path,
            found=f"timeoutSeconds {probe.timeout_s:g}, periodSeconds {probe.period_s:g} x failureThreshold "
            f"{probe.failures}: an engine that is only busy is restarted, which costs a cold start",
            remedy=f"write timeoutSeconds {BUSY_S:g} or more, and a minute in all",
        )
    grace_s = 30.0 if facts.grace_s is None else facts.grace_s
    if probe.grace_s is not None and probe.grace_s < grace_s:
        yield warning(
            FindingReason.LIVENESS_DURING_DRAIN,
            f"{path}.terminationGracePeriodSeconds",
            found=f"{probe.grace_s:g}, less than the pod's {grace_s:g}: a restart for want of an answer "
            "cuts what is in flight",
            remedy="take it away",
        )
    drains_s = facts.pre_stop.seconds + (facts.shutdown_timeout_s or 0.0)
    unwell = (terms.engine or facts.engine) == "SGLang" or probe.path in (
        "/health_generate",
        "/ready",
    )
    if unwell and probe.period_s * probe.failures < drains_s:
        yield warning(
            FindingReason.LIVENESS_DURING_DRAIN,
            path,
            found=f"GET {probe.path or '/health'}, which answers 503 while the engine drains: a kubelet "
            "before 1.22 kills it then",
            remedy=f"let periodSeconds x failureThreshold be more than {drains_s:g}",
        )


def _rollout(facts: TemplateFacts, terms: TargetTerms) -> Iterator[Finding]:
    if facts.recreate:
        yield warning(
            FindingReason.RECREATED,
            "spec.strategy.type",
            found="Recreate: a rollout ends every replica, and for a cold start there is none",
            remedy="write RollingUpdate with maxSurge 1, maxUnavailable 0, where a GPU can be had for it",
        )
    most = facts.replicas_unavailable_max
    if most and most not in ("0", "0%") and (not most.endswith("%") or _percent(most) >= 50):
        yield warning(
            FindingReason.ROLLOUT_TAKES_READY,
            "spec.strategy.rollingUpdate.maxUnavailable",
            found=f"{most}: a rollout ends so many ready replicas before the new ones have loaded",
            remedy="write maxSurge 1, maxUnavailable 0",
        )
    if facts.progress_deadline_s < terms.cold_start_s:
        yield warning(
            FindingReason.PROGRESS_DEADLINE_SHORT,
            "spec.progressDeadlineSeconds",
            found=f"{facts.progress_deadline_s:g}, less than a cold start of {terms.cold_start_s:g} s: every "
            "rollout is called failed",
            remedy="write three cold starts",
        )


def _percent(text: str) -> int:
    digits = text.rstrip("%")
    return int(digits) if digits.isdigit() else 0
