"""Which Prometheus is asked about a model's past, and for which pods.

The one that the model's own signals come from; else the one that is named for it on the command line; else the
only one there is. A document cannot choose another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autoscaler.core.contract.spec import ModelSpec
from autoscaler.settings import MetricsSettings, MetricsSource, PrometheusSettings
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.history.expressions import PastPods
from autoscaler.sources.pages.history_series import HistorySeries


@dataclass(frozen=True, slots=True, kw_only=True)
class PastQuestion:
    """One model's past, and who is asked for it."""

    model: str
    """`ModelSpec.key`."""
    server: str
    """The name of the Prometheus."""
    pods: PastPods
    series: HistorySeries


def whom_to_ask(
    model: ModelSpec, metrics: MetricsSettings, servers: Mapping[str, PrometheusSettings]
) -> PastQuestion | None:
    """Return what is asked about a model, and whom; None: nobody is to be asked."""
    server = _server_of(metrics, servers)
    if server is None:
        return None
    return PastQuestion(
        model=model.key,
        server=server.name,
        pods=PastPods(
            namespace=metrics.namespace,
            deployments=tuple(dict.fromkeys(pool.target.name for pool in model.pools)),
            model_names=metrics.model_names,
            matchers=(*server.matchers, *metrics.matchers),
            several_pages=len(metrics.ports) > 1,
        ),
        series=SOURCES[metrics.engine].history,
    )


def _server_of(
    metrics: MetricsSettings, servers: Mapping[str, PrometheusSettings]
) -> PrometheusSettings | None:
    if metrics.source is MetricsSource.PROMETHEUS:
        return servers.get(metrics.server)
    named = [server for server in servers.values() if server.history] or list(servers.values())
    return named[0] if len(named) == 1 else None
