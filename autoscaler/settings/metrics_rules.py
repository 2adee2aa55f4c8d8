"""Rules that span the fields of `spec.metrics`, checked on what was written."""

from __future__ import annotations

import ssl
from collections.abc import Collection, Iterator
from typing import Any

from autoscaler.errors import SpecProblem
from autoscaler.foreign_text import listed
from autoscaler.settings.documents import Document
from autoscaler.settings.resource import InferenceAutoscaler, MetricsSource

_OUR_LABELS = ("__name__", "namespace", "pod")


def problems_of_metrics(document: Document, metrics: dict[str, Any]) -> Iterator[SpecProblem]:
    """Check how one document's signals are read."""
    place = f"{document.place}: spec.metrics"
    if metrics.get("source") == "Prometheus" and "prometheus" not in metrics:
        yield SpecProblem(
            path=f"{place}.prometheus",
            found="nothing, with source Prometheus",
            remedy="write prometheus: {server: NAME}, a server that the daemon is given "
            "(--prometheus-server NAME=URL)",
        )
    ports = metrics.get("ports")
    if isinstance(ports, list):
        if "port" in metrics:
            yield SpecProblem(
                path=f"{place}.ports",
                found="beside port",
                remedy="write one of them: ports has all of a pod's pages",
            )
        if len({str(port) for port in ports}) < len(ports):
            yield SpecProblem(
                path=f"{place}.ports", found="a port twice", remedy="write each of them once"
            )
    prometheus = metrics.get("prometheus")
    matchers = prometheus.get("matchers") if isinstance(prometheus, dict) else None
    for label in _OUR_LABELS:
        if isinstance(matchers, dict) and label in matchers:
            yield SpecProblem(
                path=f"{place}.prometheus.matchers.{label}",
                found="a label that is asked for anyway",
                remedy="take it away",
            )
    tls = metrics.get("tls")
    if isinstance(tls, dict):
        yield from _problems_of_tls(place, tls, scheme=metrics.get("scheme", "HTTP"))


def problems_with_servers(
    document: Document, resource: InferenceAutoscaler, servers: Collection[str]
) -> Iterator[SpecProblem]:
    """Check that the Prometheus which a document names is one that the daemon was given."""
    metrics = resource.spec.metrics
    prometheus = metrics.prometheus
    if metrics.source is not MetricsSource.PROMETHEUS or prometheus is None:
        return
    if prometheus.server in servers:
        return
    known = f"write one of {listed(sorted(servers))}, or" if servers else "it was given none:"
    yield SpecProblem(
        path=f"{document.place}: spec.metrics.prometheus.server",
        found=f'"{prometheus.server}", which the daemon was not given',
        remedy=f"{known} start it with --prometheus-server {prometheus.server}=URL",
    )


def _problems_of_tls(place: str, tls: dict[str, Any], *, scheme: Any) -> Iterator[SpecProblem]:
    if scheme == "HTTP":
        yield SpecProblem(
            path=f"{place}.tls",
            found="TLS settings, with scheme HTTP",
            remedy="write scheme: HTTPS, or take tls away",
        )
    ca = tls.get("ca")
    if not isinstance(ca, str) or not ca:
        return
    if tls.get("insecureSkipVerify") is True:
        yield SpecProblem(
            path=f"{place}.tls.insecureSkipVerify",
            found="true, beside certificates to trust",
            remedy="write one of them",
        )
    try:
        ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError):
        yield SpecProblem(
            path=f"{place}.tls.ca",
            found="no PEM certificate",
            remedy="write the text of one, from -----BEGIN CERTIFICATE----- on",
        )
