"""Which of a page's figures a metric or a query of an HPA means; what is not one of them is said."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from autoscaler.errors import SettingsError
from simulations.serving.columns import Gauges

PageValue = Callable[[Gauges], float]

METRICS: Mapping[str, PageValue] = MappingProxyType(
    {
        "num_requests_running": lambda page: float(page.running_requests),
        "num_requests_waiting": lambda page: float(page.waiting_requests),
        "kv_cache_usage_perc": lambda page: page.kv_usage_ratio,
        "gpu_cache_usage_perc": lambda page: page.kv_usage_ratio,
    }
)
"""vLLM's gauges that the replay has, both generations of names."""
_AGGREGATES: Mapping[str, Callable[[Sequence[float]], float]] = MappingProxyType(
    {
        "sum": sum,
        "avg": lambda values: sum(values) / len(values),
        "max": max,
        "min": min,
        "": sum,  # without an aggregation an HPA sums the items
    }
)
_METRIC = r"(?:vllm[:_])?(?P<metric>[a-z_]+)"
_NAME = re.compile(_METRIC, re.ASCII)
_SELECTOR = re.compile(r"\{(?:[^}\"]|\"(?:[^\"\\]|\\.)*\")*\}")
_BY = r"(?:\s*by\s*\([^)]*\)\s*)?"
_AGGREGATED = re.compile(rf"(?P<aggregate>[a-z]+)\s*{_BY}\(\s*{_METRIC}\s*\){_BY}", re.ASCII)
"""A term of a query without its selectors: which pods it selects is a matter of the cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A sum of aggregates over the pages: `sum(waiting) + sum(running)`."""

    terms: tuple[tuple[str, str], ...]
    """(aggregate, metric), by the names above."""

    def over(self, pages: Sequence[Gauges]) -> float | None:
        """Its value; None: there is no page, so the query has no answer."""
        if not pages:
            return None
        return float(
            sum(
                _AGGREGATES[how]([METRICS[name](page) for page in pages])
                for how, name in self.terms
            )
        )

    def of(self, page: Gauges) -> float:
        """Its value on one page."""
        return float(sum(METRICS[name](page) for _, name in self.terms))


def signal_of_metric(name: str) -> Signal:
    """The signal that a metric's name means, as `vllm:num_requests_waiting` and what adapters make of it.

    Raises:
        SettingsError: It is none that the replay has.
    """
    found = _NAME.fullmatch(name.strip())
    if found is None or found["metric"] not in METRICS:
        raise SettingsError(f"the metric {name!r} is not modelled; modelled are {_known()}")
    return Signal(terms=(("", found["metric"]),))


def signal_of_query(query: str) -> Signal:
    """The signal that a PromQL query means: aggregates of vLLM's gauges, added.

    Raises:
        SettingsError: It is more than that, or of something else.
    """
    terms = []
    for part in _SELECTOR.sub("", query).split("+"):
        term = part.strip()
        found = _AGGREGATED.fullmatch(term) or _NAME.fullmatch(term)
        how = (found.groupdict().get("aggregate") or "") if found else "?"
        if found is None or found["metric"] not in METRICS or how not in _AGGREGATES:
            raise SettingsError(
                f"the query {query!r} is not modelled; modelled are sum, avg, max and min of "
                f"{_known()}, and sums of these"
            )
        terms.append((how, found["metric"]))
    return Signal(terms=tuple(terms))


def _known() -> str:
    return ", ".join(f"vllm:{name}" for name in METRICS)
