"""What is asked of a Prometheus, as PromQL.

An instant query of `metric` returns the evaluation's time beside a value that may be five minutes old.
`timestamp(metric)` would tell its age, in a second query that may see another scrape. So a *range* is
asked for, as an instant query: `metric[60s]` returns the raw samples with their own times, value and
time in one answer, and a target that vanished stays visible with its age.

All series of some pods come by one query, with a pattern for their names, where a server takes one.
Some that speak Prometheus's API (Google's) take exact names alone: they are asked name by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence


def raw_samples(names: Iterable[str], *, window_s: float, matchers: Sequence[str] = ()) -> str:
    """Write the expression for the raw samples of several series in the last `window_s`."""
    alternatives = "|".join(re.escape(name) for name in names)
    return _range("", [f"__name__=~{quoted_string(alternatives)}", *matchers], window_s=window_s)


def raw_samples_of(name: str, *, window_s: float, matchers: Sequence[str] = ()) -> str:
    """Write the expression for the raw samples of one series, by its exact name."""
    return _range(name, matchers, window_s=window_s)


def pod_matchers(namespace: str, pods: Iterable[str]) -> list[str]:
    """Write the matchers for these pods, by name: a ghost of a deleted pod never comes back."""
    alternatives = "|".join(re.escape(pod) for pod in pods)
    return [f"namespace={quoted_string(namespace)}", f"pod=~{quoted_string(alternatives)}"]


def label_matchers(labels: Iterable[tuple[str, str]]) -> list[str]:
    """Write the matchers for labels with exactly these values."""
    return [f"{label}={quoted_string(value)}" for label, value in labels]


def quoted_string(text: str) -> str:
    """Quote a string for PromQL, whose escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False)


def _range(name: str, matchers: Sequence[str], *, window_s: float) -> str:
    return f"{name}{{{','.join(matchers)}}}[{max(1, round(window_s * 1000))}ms]"
