"""Which rows of an answer are a pod's own: one for each port, engine and model.

Prometheus adds labels of its own (job, instance, endpoint, service), its operator more (cluster,
replica of a pair), and one pod that two ServiceMonitors find, or two servers scrape, is there twice.
None of these labels tells one engine from another: only those do that the engine writes.

What tells one *target* from another is its address. Several at one address are one pod seen twice, and
the newest row counts; several ports of it are several pages of one pod. An address that is not the
pod's may be somebody who claims its name: it counts only where there is no other.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from autoscaler.errors import SourceError
from autoscaler.foreign_text import listed
from autoscaler.kube.samples import PodKey
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.rows import SeriesRow
from autoscaler.sources.prometheus.answer import Answer

_ADDRESS = re.compile(r"(.*?)(?::([0-9]{1,5}))?", re.DOTALL)
_Found = dict[str, list[SeriesRow]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRows:
    """One pod's part of an answer."""

    pages: tuple[Answer, ...]
    """One for each port that is read, with each series of an engine once."""
    other_ports: tuple[str, ...]
    """Where Prometheus finds pages of this pod that nobody asked for."""


def by_pod(answer: Answer) -> dict[PodKey, Answer]:
    """Part an answer by the pod that Prometheus's discovery labelled the series with.

    Not by `exported_pod`, which is what a page says of itself.
    """
    parts: dict[PodKey, _Found] = {}
    for name, rows in answer.by_name.items():
        for row in rows:
            key = (row.labels.get("namespace", ""), row.labels.get("pod", ""))
            parts.setdefault(key, {}).setdefault(name, []).append(row)
    return {key: Answer(by_name=by_name) for key, by_name in parts.items()}


def pod_rows(part: Answer, *, labels: Collection[str], ip: str, ports: Sequence[int]) -> PodRows:
    """Find the rows of a pod's own pages.

    Args:
        part: What `by_pod` has of it.
        labels: Those that the engine writes.
        ip: Of the pod.
        ports: That are to be read.

    Raises:
        SourceError: Several targets claim to be it; a port has no samples.
    """
    by_port = _by_port(part, ip=ip)
    needed = [str(port) for port in ports]
    if len(ports) == 1 and len(by_port) == 1:
        # However the address is written there: it is the only one.
        needed = list(by_port)
    missing = [port for port in needed if port not in by_port]
    if missing and len(ports) == 1:
        message = (
            f"Prometheus scrapes this pod at the ports {listed(sorted(by_port))}; write "
            "spec.metrics.port, or ports, so that it is known which of them count"
        )
        raise SourceError(message, outcome=ReadOutcome.DUPLICATE)
    if missing:
        message = f"Prometheus has no recent sample of the ports {listed(missing)} of this pod"
        raise SourceError(message, outcome=ReadOutcome.NO_SIGNAL)
    return PodRows(
        pages=tuple(_newest(by_port[port], labels=sorted(labels)) for port in needed),
        other_ports=tuple(sorted(by_port.keys() - set(needed))),
    )


def sample_interval_s(pages: Iterable[Answer]) -> float | None:
    """Return the seconds between the two last samples of a pod; None: only one is in the answer.

    Of its rows the shortest, as a scrape that was lost makes it longer.
    """
    intervals = [
        row.at - row.before_at
        for page in pages
        for rows in page.by_name.values()
        for row in rows
        if row.at is not None and row.before_at is not None and row.at > row.before_at
    ]
    return min(intervals, default=None)


def _by_port(part: Answer, *, ip: str) -> dict[str, _Found]:
    """Part a pod's rows by the port of the target they are of, at the one host that is the pod."""
    by_host: dict[str, dict[str, _Found]] = {}
    for name, rows in part.by_name.items():
        for row in rows:
            host, port = _address(row.labels.get("instance", ""))
            found = by_host.setdefault(host, {}).setdefault(port, {})
            found.setdefault(name, []).append(row)
    if ip and ip in by_host:
        return by_host[ip]
    if len(by_host) == 1:
        return next(iter(by_host.values()))
    message = (
        f"Prometheus has several targets that claim to be this pod ({listed(sorted(by_host))}) and "
        f"none at its address {ip}; tell them apart with spec.metrics.prometheus.matchers"
    )
    raise SourceError(message, outcome=ReadOutcome.DUPLICATE)


def _address(instance: str) -> tuple[str, str]:
    """Part `host:port`; without a port, or in brackets, as IPv6 addresses are."""
    if instance.count(":") > 1 and not instance.startswith("["):
        return instance, ""
    found = _ADDRESS.fullmatch(instance)
    host, port = (found[1], found[2] or "") if found else (instance, "")
    return host.removeprefix("[").removesuffix("]"), port


def _newest(found: _Found, *, labels: Sequence[str]) -> Answer:
    """Keep one row for each series of an engine: the newest of those that are the same."""
    by_name: _Found = {}
    for name, rows in found.items():
        own: dict[tuple[str | None, ...], SeriesRow] = {}
        for row in rows:
            key = tuple(row.labels.get(label) for label in labels)
            known = own.get(key)
            if known is None or (row.at or 0.0) > (known.at or 0.0):
                own[key] = row
        by_name[name] = list(own.values())
    return Answer(by_name=by_name)
