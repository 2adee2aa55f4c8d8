"""What is asked of a Prometheus about a model's past, as one PromQL expression whose series are named.

The server adds up: what comes back is as long for a thousand pods as for one. Of each pod a quantity is the first of
its names that the pod has; rows that say the same (scraped twice, ranks of one scheduler) count once.

- *Gauges* are means over a minute. A plain look at one would show, for five minutes, what it was before the
  server stopped scraping; a mean over a minute without samples is nothing.
- *Counters* are rates, whose restarts the server knows. The window is a minute and one scrape: two that
  follow each other then count each request once, for a rate is of the time between the samples in its window.
- *What comes in* is what ended and what is held more. That change is taken of each pod by itself: what a pod held
  when it vanished is no negative arrival.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from autoscaler.sources.pages.history_series import HistorySeries, PastSeries
from autoscaler.sources.prometheus.expressions import label_matchers, quoted_string

FIGURE = "figure"
"""The label by which the answer's series are told apart."""
RUNNING = "running"
WAITING = "waiting"
FINISHED = "finished"
CHANGE = "change"
KV_USAGE = "kv_usage"
REPLICAS = "replicas"
FIGURES = (RUNNING, WAITING, FINISHED, CHANGE, KV_USAGE, REPLICAS)
LOOK_S = 600.0
"""How long a look at how often pods are scraped is."""
INTERVAL_S_MIN, INTERVAL_S_DEFAULT, INTERVAL_S_MAX = 5.0, 60.0, 120.0
"""Seconds between scrapes; the second is where it is not known."""
_HASH = "[bcdfghjklmnpqrstvwxz2456789]"
"""Of letters that spell no word: of these Kubernetes makes the ends of names."""
_NAME_CHARACTERS_MAX = 58
"""Of what it cuts a pod's name to before it adds five of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastPods:
    """Whose series are meant."""

    namespace: str
    deployments: tuple[str, ...]
    model_names: frozenset[str]
    matchers: tuple[tuple[str, str], ...]
    """(label, value) that every series must have besides."""
    several_pages: bool
    """Whether a pod has a page for each of its ranks, at ports of its own, which are added up."""


def everything(pods: PastPods, series: HistorySeries, *, span_s: float, interval_s: float) -> str:
    """Write the expression for all figures of a span that ends at each moment of the query.

    Args:
        pods: whose series.
        series: of their engine.
        span_s: seconds over which each figure is meant.
        interval_s: seconds between scrapes.
    """
    write = _Writer(pods=pods, series=series)
    mean = f"avg_over_time(%s[{_milliseconds(max(span_s, 1.5 * interval_s))}])"
    wide_s = max(span_s + interval_s, 2.5 * interval_s if interval_s > span_s else 0.0)
    rate = f"rate(%s[{_milliseconds(wide_s)}])"
    change = f"delta(%s[{_milliseconds(wide_s)}])"
    figures = {
        RUNNING: write.total(series.running, mean),
        WAITING: write.total(series.waiting, mean),
        FINISHED: write.total(series.finished, rate),
        CHANGE: f"({write.total(series.running, change)} + {write.total(series.waiting, change)})"
        f" / {wide_s:g}",
        REPLICAS: f"count({write.by_pod(series.running[0], mean)})",
    }
    if series.kv_usage is not None:
        figures[KV_USAGE] = f"sum({write.by_pod(series.kv_usage, mean, over='avg')})"
    return " or ".join(
        f'label_replace({expression}, "{FIGURE}", "{figure}", "", "")'
        for figure, expression in figures.items()
    )


def how_often(pods: PastPods, series: HistorySeries) -> str:
    """Write the expression for how many samples of one series ten minutes have, where they have most."""
    write = _Writer(pods=pods, series=series)
    counted = f"count_over_time(%s[{_milliseconds(LOOK_S)}])"
    return f"max({write.by_pod(series.running[0], counted, over='max')})"


def interval_s(samples: float | None) -> float:
    """Return the seconds between scrapes, of so many samples in ten minutes; None: there were none."""
    if not samples or not samples > 0.0:
        return INTERVAL_S_DEFAULT
    return min(max(LOOK_S / samples, INTERVAL_S_MIN), INTERVAL_S_MAX)


def pod_pattern(deployments: Iterable[str]) -> str:
    """Write the pattern of the names of these Deployments' pods, of all times.

    A ReplicaSet's name is its Deployment's and a hash; a pod's is that, cut where it is too long, and five
    letters more. Of a name so long nothing of the hash may be left.

    >>> bool(re.fullmatch(pod_pattern(["llama"]), "llama-7d9c5b6f4-xk2lp"))
    True
    >>> bool(re.fullmatch(pod_pattern(["llama"]), "llama-chat-7d9c5b6f4-xk2lp"))
    False
    """
    patterns = []
    for name in deployments:
        if len(name) + 12 <= _NAME_CHARACTERS_MAX:  # a hash of ten letters, and two dashes
            patterns.append(f"{re.escape(name)}-{_HASH}{{1,10}}-{_HASH}{{5}}")
        else:
            cut = re.escape(name[: _NAME_CHARACTERS_MAX - 1])
            patterns.append(f"{cut}[-a-z0-9]{{0,11}}-?{_HASH}{{5}}")
    return "|".join(patterns)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    pods: PastPods
    series: HistorySeries

    def total(self, parts: Sequence[PastSeries], function: str) -> str:
        """Add up over the pods; a part that no pod has is left out, but for the first."""
        first, *others = (f"sum({self.by_pod(part, function)})" for part in parts)
        return "(" + " + ".join([first, *(f"({each} or vector(0))" for each in others)]) + ")"

    def by_pod(self, part: PastSeries, function: str, *, over: str = "sum") -> str:
        """Put each pod's rows together, of the first name that it has."""
        labels = ["pod", *(["instance"] if self.pods.several_pages else []), *self.series.labels]
        once = f"{self.series.one_of_several} by ({','.join(labels)})"
        found = [
            f"{over} by (pod) ({once} ({function % self._selector(part, name)}))"
            for name in part.names
        ]
        return "(" + " or ".join(found) + ")" if len(found) > 1 else found[0]

    def _selector(self, part: PastSeries, name: str) -> str:
        pods = self.pods
        matchers = [
            f"namespace={quoted_string(pods.namespace)}",
            f"pod=~{quoted_string(pod_pattern(pods.deployments))}",
            *label_matchers(pods.matchers),
            *part.matchers,
        ]
        if pods.model_names and part.by_model:
            names = "|".join(re.escape(each) for each in sorted(pods.model_names))
            matchers.append(f"model_name=~{quoted_string(names)}")
        return f"{name}{{{','.join(matchers)}}}"


def _milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
