"""All findings about one scale target: one pure function over its object and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from autoscaler.core.contract.reasons import FindingReason
from autoscaler.kube.api.plain import Plain
from autoscaler.kube.soundness.ends import find_ends
from autoscaler.kube.soundness.findings import Finding, Severity
from autoscaler.kube.soundness.places import find_places
from autoscaler.kube.soundness.reads import find_reads
from autoscaler.kube.soundness.starts import find_starts
from autoscaler.kube.soundness.template import TemplateFacts, template_facts
from autoscaler.kube.soundness.terms import TargetTerms

Check: TypeAlias = Callable[[TemplateFacts, TargetTerms], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (find_ends, find_starts, find_places, find_reads)


def lint(item: Plain, terms: TargetTerms) -> list[Finding]:
    """Find what is wrong with a Deployment, errors first; its object may have any shape."""
    facts = template_facts(item, port=terms.port)
    return in_order([finding for check in CHECKS for finding in check(facts, terms)])


def in_order(findings: list[Finding]) -> list[Finding]:
    """Put errors first; else as they were found."""
    return sorted(findings, key=lambda finding: finding.severity is not Severity.ERROR)


def unsound(facts: TemplateFacts, terms: TargetTerms) -> tuple[FindingReason, ...]:
    """Return the reasons of all errors, each once: what a condition says of a target.

    Starts are left out: what they take is learnt, and the engine compares it with `start_s_max`.
    """
    found = [
        finding.reason
        for check in CHECKS
        for finding in check(facts, terms)
        if finding.severity is Severity.ERROR and finding.reason is not FindingReason.START_CUT
    ]
    return tuple(dict.fromkeys(found))
