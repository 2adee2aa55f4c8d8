"""How replicas end: preStop hook, the engine's own drain, and the grace period that pays for both.

    terminationGracePeriodSeconds > preStop + --shutdown-timeout + teardown

A grace period that is shorter ends in SIGKILL: what is in flight then is cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from autoscaler.core.contract.reasons import FindingReason
from autoscaler.core.contract.state import CapacityType
from autoscaler.kube.soundness.findings import Finding, error, warning
from autoscaler.kube.soundness.pre_stop import PreStopKind
from autoscaler.kube.soundness.template import POD, TemplateFacts
from autoscaler.kube.soundness.terms import TargetTerms

TEARDOWN_S = 10.0
"""Of vLLM after its last request: 8 s were measured."""
GRACE_S = 30.0
"""Kubernetes' default."""
NOTICE_S = 120.0
"""The longest notice that any cloud gives: AWS."""
DRAIN_S = 30.0
"""What an answer should be left at the least when its pod is asked to go; llm-d's charts give 30 to 300."""
DRAIN_ON_SPOT_S = 5.0
"""The same where the notice may be 15 s in all."""
ENDPOINTS_S = 5.0
"""Kube-proxies and gateways take about so long to hear that an endpoint is gone; KServe waits 15."""
_SHUTDOWN_TIMEOUT_SINCE = (0, 18)


def find_ends(facts: TemplateFacts, terms: TargetTerms) -> Iterator[Finding]:
    """Find what cuts requests when a replica is asked to go."""
    vllm = (terms.engine or facts.engine) == "VLLM"
    yield from _pre_stop(facts)
    if vllm:
        yield from _shutdown_timeout(facts, terms)
    yield from _grace(facts, terms, vllm=vllm)


def _pre_stop(facts: TemplateFacts) -> Iterator[Finding]:
    hook, path = facts.pre_stop, f"{facts.container}.lifecycle.preStop"
    if hook.kind is PreStopKind.NONE:
        yield error(
            FindingReason.NO_PRE_STOP,
            path,
            found="nothing: SIGTERM comes while requests still arrive, and they are refused",
            remedy="mount deploy/drain and call it: it waits until nothing arrives and nothing is left",
        )
    elif hook.kind is PreStopKind.SLEEP and not math.isnan(hook.seconds):
        short = hook.seconds < ENDPOINTS_S
        yield warning(
            FindingReason.PRE_STOP_SLEEPS,
            path,
            found=f"a sleep of {hook.seconds:g} s, "
            + (
                "shorter than endpoints take to be withdrawn"
                if short
                else "whether anything is in flight or not: it keeps an idle replica, and cuts a long answer"
            ),
            remedy="call the hook of deploy/drain, which ends when nothing is left",
        )
    elif math.isnan(hook.seconds):
        yield warning(
            FindingReason.PRE_STOP_UNCLEAR,
            path,
            found="a hook whose length cannot be told: the grace period cannot be held against it",
            remedy="call the hook of deploy/drain with a --budget",
        )


def _shutdown_timeout(facts: TemplateFacts, terms: TargetTerms) -> Iterator[Finding]:
    path, told_s = f"{facts.container}.args", facts.shutdown_timeout_s
    old = facts.vllm_version is not None and facts.vllm_version < _SHUTDOWN_TIMEOUT_SINCE
    if old:
        version = ".".join(map(str, facts.vllm_version or ()))
        if told_s is not None:
            yield error(
                FindingReason.SHUTDOWN_TIMEOUT_REFUSED,
                path,
                found=f"--shutdown-timeout, which vLLM {version} does not know: it does not start",
                remedy="take it away, or use 0.18 or newer",
            )
        elif facts.pre_stop.kind is not PreStopKind.HOOK:
            yield error(
                FindingReason.NO_SHUTDOWN_TIMEOUT,
                f"{facts.container}.image",
                found=f"vLLM {version}, which aborts on SIGTERM what is in flight",
                remedy="use 0.18 or newer with --shutdown-timeout, or call the hook of deploy/drain",
            )
        return
    if told_s is None and not facts.complete:
        yield warning(
            FindingReason.NO_SHUTDOWN_TIMEOUT,
            path,
            found="no --shutdown-timeout, but not the whole command line either (a script or a file)",
            remedy="make sure that it is given, and more than 0",
        )
    elif not told_s:
        yield error(
            FindingReason.NO_SHUTDOWN_TIMEOUT,
            path,
            found=("no --shutdown-timeout, so 0" if told_s is None else "--shutdown-timeout 0")
            + ": on SIGTERM vLLM aborts what is in flight, or hangs until the kubelet's SIGKILL",
            remedy="write --shutdown-timeout=30, and a grace period that pays for it",
        )
    else:
        least_s = DRAIN_ON_SPOT_S if terms.capacity_type is CapacityType.SPOT else DRAIN_S
        left_s = told_s + facts.pre_stop.drain_s
        if left_s < least_s:
            yield warning(
                FindingReason.SHUTDOWN_TIMEOUT_SHORT,
                path,
                found=f"--shutdown-timeout {told_s:g}: an answer that has just begun is left {left_s:g} s, "
                "and what takes longer hangs without an error until the kubelet's SIGKILL",
                remedy=f"leave it {least_s:g} s or more, by --shutdown-timeout or the hook's --budget",
            )


def _grace(facts: TemplateFacts, terms: TargetTerms, *, vllm: bool) -> Iterator[Finding]:
    path = f"{POD}.terminationGracePeriodSeconds"
    grace_s = GRACE_S if facts.grace_s is None else facts.grace_s
    written = f"nothing, so {GRACE_S:g}" if facts.grace_s is None else f"{grace_s:g}"
    hook_s = 0.0 if math.isnan(facts.pre_stop.seconds) else facts.pre_stop.seconds
    told_s = facts.shutdown_timeout_s if vllm else None
    shutdown_s = 0.0 if told_s is None or math.isnan(told_s) else told_s
    needed_s = hook_s + shutdown_s + TEARDOWN_S
    if grace_s <= needed_s:
        parts = f"{hook_s:g} (preStop) + {shutdown_s:g} (--shutdown-timeout) + {TEARDOWN_S:g} (teardown)"
        cut = (
            f": the hook is cut at {grace_s:g} s"
            if hook_s >= grace_s
            else ": the engine is killed before it is done"
        )
        yield error(
            FindingReason.GRACE_TOO_SHORT,
            path,
            found=f"{written}, not more than {parts}{cut}",
            remedy=f"write {math.floor(needed_s) + 1:d} or more",
        )
    if terms.capacity_type is CapacityType.SPOT and grace_s + terms.drain_margin_s > NOTICE_S:
        yield warning(
            FindingReason.GRACE_BEYOND_NOTICE,
            path,
            found=f"{written} on spot, where the longest notice is {NOTICE_S:g} s less a margin of "
            f"{terms.drain_margin_s:g}: the grace period is cut to what is left, in the middle of the hook",
            remedy="let hook, shutdown and teardown fit into the notice",
        )
