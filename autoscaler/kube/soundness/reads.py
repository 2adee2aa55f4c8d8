"""How replicas are read, what they share, and what an apply would undo."""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.core.contract.reasons import FindingReason
from autoscaler.foreign_text import listed
from autoscaler.kube.soundness.findings import Finding, error, warning
from autoscaler.kube.soundness.template import TemplateFacts
from autoscaler.kube.soundness.terms import TargetTerms


def find_reads(facts: TemplateFacts, terms: TargetTerms) -> Iterator[Finding]:
    """Find pages that nobody reads, and what replicas or applies can spoil."""
    args = f"{facts.container}.args"
    alone = () if terms.port is None else (terms.port,)
    read = set(terms.ports or alone)
    unread = [port for port in facts.ports if port not in read]
    if read and unread:
        yield error(
            FindingReason.PORTS_UNREAD,
            args,
            found=f"servers on ports {listed(facts.ports)}, and spec.metrics reads {listed(sorted(read))}: "
            "what is in flight on the others is not seen"
            if len(facts.ports) > 1
            else f"a server on port {listed(facts.ports)}, and spec.metrics reads {listed(sorted(read))}",
            remedy=f"read {'them all: ports ' if len(facts.ports) > 1 else 'port '}{listed(facts.ports)}",
        )
    if terms.scheme and facts.tls != (terms.scheme == "https"):
        yield error(
            FindingReason.SCHEME_WRONG,
            args,
            found=f"{'TLS (--ssl-certfile)' if facts.tls else 'no TLS'}, and spec.metrics reads "
            f"{terms.scheme}: no page is ever read",
            remedy=f"read {'https' if facts.tls else 'http'}",
        )
    if facts.from_file and facts.replicas is not None:
        yield warning(
            FindingReason.REPLICAS_WRITTEN,
            "spec.replicas",
            found=f"{facts.replicas}: every apply sets the number back to it",
            remedy="take it away",
        )
    for path in facts.writable_volumes:
        yield warning(
            FindingReason.VOLUME_WRITABLE,
            f"{facts.container}.volumeMounts[{path}]",
            found="a claim that all replicas share and each may write: what one writes, the others load and "
            "run",
            remedy="mount it readOnly, and let a Job fill it, as deploy/examples/vllm does",
        )
