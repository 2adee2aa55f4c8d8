"""The same signals through Prometheus: instant queries, with each sample's own time.

An instant query of `metric` returns the evaluation's time beside a value that may be five minutes old.
`timestamp(metric)` would tell its age, in a second query that may see another scrape. So a *range* is
asked for, as an instant query: `metric[60s]` returns the raw samples with their own times, value and
time in one answer, and a target that vanished stays visible with its age. The newest sample counts,
also where it is NaN.

All series of a model come by one query, grouped here by pod, and go through the same reader as a page
would: one engine, one meaning, whichever way it came.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from autoscaler.errors import SourceError
from autoscaler.kube.samples import PodKey
from autoscaler.settings import PrometheusSettings
from autoscaler.sources.pages.exposition import SeriesRow
from autoscaler.sources.pages.fetch import fetch
from autoscaler.sources.pages.outcome import ReadOutcome

PODS_PER_QUERY = 250
"""Names in one expression: some 15 kB of a form, and Prometheus looks each name up directly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a query returned: the newest sample of each series, by the name of the series."""

    by_name: Mapping[str, list[SeriesRow]]
    warnings: tuple[str, ...] = ()
    """Warnings of Prometheus, such as that the answer is partial."""

    def rows(self, name: str) -> list[SeriesRow]:
        """Return the rows of `name`."""
        return self.by_name.get(name, [])


@dataclass(slots=True)
class PrometheusClient:
    """Asks one server."""

    server: PrometheusSettings
    """Its token file is read again for every query, as such tokens are rotated; its CA file whenever it
    changed."""
    _trusted: tuple[int, ssl.SSLContext] | None = None
    """The CA file as last loaded, with its time; None: not loaded yet."""

    async def query(
        self, session: aiohttp.ClientSession, expression: str, *, deadline_s: float
    ) -> Answer:
        """Run one instant query whose result is raw samples (`selector[60s]`).

        Raises:
            SourceError: No answer, or one that is an error or not Prometheus's.
        """
        url = URL(self.server.server_address)
        url = url.with_path(url.path.rstrip("/") + "/api/v1/query")
        body = await fetch(
            session,
            url,
            form={"query": expression, "timeout": f"{max(1, round(deadline_s * 1000))}ms"},
            headers={"Accept": "application/json", **self._headers()},
            tls=self._context(),
            deadline_s=deadline_s,
        )
        return read_answer(body)

    def _headers(self) -> dict[str, str]:
        """Return the extra headers and the token as its file has it now."""
        headers = dict(self.server.headers)
        if self.server.bearer_token_file:
            try:
                token = Path(self.server.bearer_token_file).read_text(encoding="utf-8").strip()
            except OSError as error:
                message = f"the bearer token cannot be read: {error}"
                raise SourceError(message, outcome=ReadOutcome.REFUSED) from error
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _context(self) -> ssl.SSLContext | None:
        """Return what to trust; None is the system's authorities."""
        path = self.server.ca_file
        if not path:
            return None
        try:
            mtime_ns = Path(path).stat().st_mtime_ns
            if self._trusted is None or self._trusted[0] != mtime_ns:
                self._trusted = (mtime_ns, ssl.create_default_context(cafile=path))
        except OSError as error:  # an SSLError is one: the file holds no certificate
            message = f"the CA file {path} cannot be loaded: {error}"
            raise SourceError(message, outcome=ReadOutcome.REFUSED) from error
        return self._trusted[1]


def raw_samples(names: Iterable[str], *, window_s: float, matchers: Sequence[str] = ()) -> str:
    """Write the expression for the raw samples of several series in the last `window_s`."""
    alternatives = "|".join(re.escape(name) for name in names)
    selectors = ",".join([f"__name__=~{_quote(alternatives)}", *matchers])
    return f"{{{selectors}}}[{max(1, round(window_s * 1000))}ms]"


def pod_matchers(namespace: str, pods: Iterable[str]) -> list[str]:
    """Write the matchers for these pods, by name: a ghost of a deleted pod never comes back."""
    alternatives = "|".join(re.escape(pod) for pod in pods)
    return [f"namespace={_quote(namespace)}", f"pod=~{_quote(alternatives)}"]


def by_pod(answer: Answer) -> dict[PodKey, Answer]:
    """Part an answer by the pod that their series are labelled with."""
    parts: dict[PodKey, dict[str, list[SeriesRow]]] = {}
    for name, rows in answer.by_name.items():
        for row in rows:
            key = (row.labels.get("namespace", ""), row.labels.get("pod", ""))
            parts.setdefault(key, {}).setdefault(name, []).append(row)
    return {key: Answer(by_name=by_name) for key, by_name in parts.items()}


def read_answer(body: bytes) -> Answer:
    """Read the body of a query's answer.

    Raises:
        SourceError: It reports an error, or is not what Prometheus answers.
    """
    try:
        answer: Any = json.loads(body)
        if answer["status"] != "success":
            message = f"Prometheus refused the query: {answer['errorType']}: {answer['error']}"
            raise SourceError(message, outcome=ReadOutcome.STATUS)
        if answer["data"]["resultType"] != "matrix":
            message = f"a {answer['data']['resultType']} came where raw samples were asked for"
            raise SourceError(message, outcome=ReadOutcome.NOT_METRICS)
        by_name: dict[str, list[SeriesRow]] = {}
        for series in answer["data"]["result"]:
            labels = dict(series["metric"])
            name = labels.pop("__name__")
            at, value = series["values"][-1]
            row = SeriesRow(labels=labels, value=float(value), at=float(at))
            by_name.setdefault(name, []).append(row)
        warnings = (*answer.get("warnings", ()), *answer.get("infos", ()))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        shown = repr(" ".join(body[:320].decode(errors="replace").split())[:120])
        message = f"no answer of a Prometheus came: {shown}"
        raise SourceError(message, outcome=ReadOutcome.NOT_METRICS) from error
    return Answer(by_name=by_name, warnings=tuple(str(warning) for warning in warnings))


def _quote(text: str) -> str:
    """Quote a string for PromQL, whose escapes are those of JSON."""
    return json.dumps(text, ensure_ascii=False)
