"""The edge where users write: the resource, its documents in files, and what the rest makes of them.

Everything is validated here, once, and every problem of every document is reported at once. Past this
package values are trusted: `to_core` gives the core its frozen specification in its own units.
"""

from autoscaler.settings.config import (
    Config,
    SpecError,
    load_config,
    read_config,
    read_resources,
)
from autoscaler.settings.convert import (
    MetricsSettings,
    TlsSettings,
    metrics_settings,
    to_core,
    to_fleet,
)
from autoscaler.settings.resource import EngineType, InferenceAutoscaler, MetricsSource
from autoscaler.settings.servers import PrometheusSettings, Servers, read_servers

__all__ = [
    "Config",
    "EngineType",
    "InferenceAutoscaler",
    "MetricsSettings",
    "MetricsSource",
    "PrometheusSettings",
    "Servers",
    "SpecError",
    "TlsSettings",
    "load_config",
    "metrics_settings",
    "read_config",
    "read_resources",
    "read_servers",
    "to_core",
    "to_fleet",
]
