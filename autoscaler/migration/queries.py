"""The part of PromQL in which autoscalers are written: sums, means and factors of the engines' gauges.

A query becomes a weighed sum of signals and how it is taken over replicas. What is not of this part is refused
with what was not understood: a guess would be a target that nobody chose.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from autoscaler.foreign_text import quoted
from autoscaler.migration.metric_names import MetricSignal, signal_of

QUERY_CHARACTERS_MAX = 10_000
_DEPTH_MAX = 40
_SPACE = re.compile(r"(?:\s|#[^\n]*)*")
_TOKEN = re.compile(
    r"(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?(?![\w:]))"
    r"|(?P<name>[A-Za-z_:][\w:]*)"
    r"|(?P<labels>\{(?:[^{}\"']|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')*\})"
    r"|(?P<range>\[[^\]]*\])"
    r"|(?P<duration>[0-9][0-9a-z]*)"
    r"|(?P<string>\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')"
    r"|(?P<sign>>=|<=|==|!=|[-+*/()><,]))"
)
_NAMED_SERIES = re.compile(r"__name__\s*=~?\s*[\"']\^?([A-Za-z_:][\w:]*)\$?[\"']")
_OVER_TIME = re.compile(r"(avg|max|min|sum|last|quantile)_over_time")
_RATES = frozenset({"rate", "irate", "increase", "delta", "deriv"})
_SHAPES = frozenset(
    {"ceil", "floor", "round", "abs", "scalar", "sort", "clamp_min", "clamp_max", "label_replace"}
)
_GROUPING = frozenset({"by", "without"})
_MATCHING = frozenset({"on", "ignoring", "group_left", "group_right"})
_REPLICA_LABELS = frozenset(
    {"pod", "pod_name", "kubernetes_pod_name", "exported_pod", "instance", "exported_instance"}
)
_COUNTS = re.compile(r"up|kube_.*(replicas|pod).*|.*replicas.*")
"""Series whose sum is a number of replicas."""


class UnclearQueryError(Exception):
    """A query that is not of this part of PromQL; what was not understood."""


class Over(StrEnum):
    """How a query is taken over replicas."""

    SUM = "sum"
    MEAN = "mean"
    MOST = "max"
    BARE = "one series each"
    """No aggregation: as many series as replicas, or what an adapter makes of them."""
    COUNT = "count"
    """A number of replicas, or of series."""
    NUMBER = "number"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryLoad:
    """What a query asks for."""

    weights: Mapping[MetricSignal, float] = field(default_factory=dict)
    """Of each signal in the sum."""
    over: Over = Over.NUMBER
    constant: float = 0.0
    quantile_ratio: float | None = None
    """Of a latency; None: it is none, or its mean."""
    by_replica: bool = False
    """Aggregated within groups: what is taken over these counts."""
    names: tuple[str, ...] = ()
    """Metrics in it."""
    remarks: tuple[str, ...] = ()
    """What of it is not kept."""


def load_of_name(name: str, told: Mapping[str, MetricSignal]) -> QueryLoad:
    """Return what a metric of this name asks for, without a query."""
    return QueryLoad(weights={signal_of(name, told): 1.0}, over=Over.BARE, names=(name,))


def read_query(
    query: str, *, told: Mapping[str, MetricSignal], known: Mapping[str, QueryLoad] | None = None
) -> QueryLoad:
    """Read a query, or a formula over triggers.

    Args:
        query: As it is written.
        told: What the user says of metrics of his own.
        known: What names in it stand for, in KEDA's formula.

    Raises:
        UnclearQueryError: It is another one; says what was not understood.
    """
    reader = _Reader(query, told=told, known=known or {})
    load = reader.whole(0)
    if reader.token is not None:
        raise UnclearQueryError(f"what follows at {quoted(reader.token.text, limit=30)}")
    if load.over is Over.NUMBER:
        raise UnclearQueryError("a number without a metric")
    return load


class _Token(NamedTuple):
    kind: str
    text: str


def _tokens(query: str) -> list[_Token]:
    if len(query) > QUERY_CHARACTERS_MAX:
        raise UnclearQueryError(f"a query of {len(query)} characters")
    found, at = [], _after_space(query, 0)
    while at < len(query):
        match = _TOKEN.match(query, at)
        if match is None:
            raise UnclearQueryError(f"what begins at {quoted(query[at : at + 200], limit=30)}")
        found.append(_Token(str(match.lastgroup), match[str(match.lastgroup)]))
        at = _after_space(query, match.end())
    return found


def _after_space(query: str, at: int) -> int:
    """Pass over white space and comments."""
    match = _SPACE.match(query, at)
    return at if match is None else match.end()


class _Reader:
    """Reads from the left; the loosest operator first."""

    def __init__(
        self, query: str, *, told: Mapping[str, MetricSignal], known: Mapping[str, QueryLoad]
    ) -> None:
        self._tokens = _tokens(query)
        self._at = 0
        self._told = told
        self._known = known

    @property
    def token(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def whole(self, depth: int) -> QueryLoad:
        """Alternatives: `x or vector(0)`."""
        load = self._compared(depth)
        while self._takes("name", "or"):
            self._skip_matching()
            other = self._compared(depth)
            if other.over is Over.NUMBER:
                if other.constant:
                    raise UnclearQueryError(f"or vector({other.constant:g})")
                load = _remarked(
                    load, "without `or vector(0)`: a page that is missing is unknown, never zero"
                )
            elif other.weights != load.weights:
                raise UnclearQueryError("`or` between two different metrics")
        return load

    def _compared(self, depth: int) -> QueryLoad:
        load = self._sum(depth)
        while self.token is not None and self.token.text in {">", ">=", "<", "<=", "==", "!="}:
            sign = self._next().text
            bound = self._sum(depth)
            if load.over is Over.COUNT and bound.over is Over.NUMBER:
                continue  # which of them count, as `up == 1`
            if bound.over is not Over.NUMBER or sign not in {">", ">="}:
                raise UnclearQueryError(f"the comparison {sign}")
            load = _remarked(load, f"without the filter {sign} {bound.constant:g}")
        return load

    def _sum(self, depth: int) -> QueryLoad:
        load = self._product(depth)
        while self.token is not None and self.token.text in {"+", "-"}:
            sign = 1.0 if self._next().text == "+" else -1.0
            self._skip_matching()
            load = _added(load, _scaled(self._product(depth), sign))
        return load

    def _product(self, depth: int) -> QueryLoad:
        load = self._ranged(depth)
        while self.token is not None and self.token.text in {"*", "/"}:
            sign = self._next().text
            self._skip_matching()
            load = _times(load, self._ranged(depth), divided=sign == "/")
        return load

    def _ranged(self, depth: int) -> QueryLoad:
        """One value, or many of a time: `(x)[5m:1m]`."""
        load = self._single(depth)
        if self.token is not None and self.token.kind == "range":
            self._next()
        return load

    def _single(self, depth: int) -> QueryLoad:
        if depth > _DEPTH_MAX:
            raise UnclearQueryError("nesting without end")
        token = self._next()
        if token.kind == "number":
            return QueryLoad(constant=float(token.text))
        if token.kind == "string":
            return QueryLoad()
        if token.text in {"+", "-"}:
            return _scaled(self._single(depth + 1), 1.0 if token.text == "+" else -1.0)
        if token.text == "(":
            load = self.whole(depth + 1)
            self._expect(")")
            return load
        if token.kind == "labels":
            named = _NAMED_SERIES.search(token.text)
            if named is None:
                raise UnclearQueryError("a selector without a metric's name")
            return self._series(named[1])
        if token.kind != "name":
            raise UnclearQueryError(quoted(token.text, limit=30))
        if self.token is not None and (self.token.text == "(" or self.token.text in _GROUPING):
            return self._call(token.text, depth + 1)
        if token.text in self._known:
            return self._known[token.text]
        return self._series(token.text)

    def _series(self, name: str) -> QueryLoad:
        remarks: tuple[str, ...] = ()
        if self.token is not None and self.token.kind == "labels":
            self._next()
        if self.token is not None and self.token.kind == "range":
            self._next()
        if self._takes("name", "offset"):
            self._next()
            remarks = ("without its offset",)
        if _COUNTS.fullmatch(name):
            return QueryLoad(over=Over.COUNT, names=(name,), remarks=remarks)
        return replace(load_of_name(name, self._told), remarks=remarks)

    def _call(self, name: str, depth: int) -> QueryLoad:
        by = self._grouping()
        self._expect("(")
        inputs = [self.whole(depth)]
        while self._takes("sign", ","):
            inputs.append(self.whole(depth))
        self._expect(")")
        by = self._grouping() or by
        return _called(name, inputs, by=by)

    def _grouping(self) -> bool:
        """Pass over `by (…)`; whether what is left is of each replica."""
        if self.token is None or self.token.text not in _GROUPING:
            return False
        apart = self._next().text == "without"
        labels = self._skip_parentheses()
        return apart or bool(labels & _REPLICA_LABELS)

    def _skip_matching(self) -> None:
        """Pass over `on (…) group_left (…)`: which series meet is no matter of ours."""
        while self.token is not None and self.token.text in _MATCHING:
            self._next()
            self._skip_parentheses()

    def _skip_parentheses(self) -> set[str]:
        """Pass over a list of labels, and return them."""
        labels: set[str] = set()
        if self._takes("sign", "("):
            while (token := self._next()).text != ")":
                labels.add(token.text)
        return labels

    def _takes(self, kind: str, text: str) -> bool:
        if self.token is None or self.token != (kind, text):
            return False
        self._at += 1
        return True

    def _next(self) -> _Token:
        token = self.token
        if token is None:
            raise UnclearQueryError("its end, where more was expected")
        self._at += 1
        return token

    def _expect(self, text: str) -> None:
        found = self._next()
        if found.text != text:
            raise UnclearQueryError(f"{quoted(found.text, limit=30)} in the place of {text}")


def _called(name: str, inputs: list[QueryLoad], *, by: bool) -> QueryLoad:
    """Apply an aggregation or a function."""
    first = inputs[0]
    match name:
        case "sum" | "avg" | "max":
            over = {"sum": Over.SUM, "avg": Over.MEAN, "max": Over.MOST}[name]
            if first.over in (Over.NUMBER, Over.COUNT):
                return first
            stays = first.over is not Over.BARE and not first.by_replica
            return replace(first, over=first.over if stays else over, by_replica=by)
        case "count":
            return QueryLoad(over=Over.COUNT, names=first.names)
        case "vector":
            return first
        case "histogram_quantile" if len(inputs) == 2 and first.over is Over.NUMBER:
            return replace(inputs[1], quantile_ratio=first.constant, over=Over.MEAN)
        case _ if name in _RATES:
            return first
        case _ if _OVER_TIME.fullmatch(name):
            return _remarked(inputs[-1], f"without the window of {name}")
        case _ if name in _SHAPES:
            return _remarked(first, f"without {name}()") if name.startswith("clamp") else first
    raise UnclearQueryError(f"the function {name}")


def _remarked(load: QueryLoad, remark: str) -> QueryLoad:
    return replace(load, remarks=(*load.remarks, remark))


def _scaled(load: QueryLoad, factor: float) -> QueryLoad:
    weights = {signal: weight * factor for signal, weight in load.weights.items()}
    return replace(load, weights=weights, constant=load.constant * factor)


def _added(one: QueryLoad, two: QueryLoad) -> QueryLoad:
    if Over.NUMBER in (one.over, two.over):
        kept = two if one.over is Over.NUMBER else one
        return replace(kept, constant=one.constant + two.constant)
    if one.over is not two.over:
        raise UnclearQueryError(f"the sum of a {one.over} and a {two.over}")
    weights = {
        signal: one.weights.get(signal, 0.0) + two.weights.get(signal, 0.0)
        for signal in (*one.weights, *two.weights)
    }
    return replace(
        one,
        weights=weights,
        constant=one.constant + two.constant,
        names=(*one.names, *two.names),
        remarks=tuple(dict.fromkeys((*one.remarks, *two.remarks))),
    )


def _times(one: QueryLoad, two: QueryLoad, *, divided: bool) -> QueryLoad:
    if two.over is Over.NUMBER:
        if divided and not two.constant:
            raise UnclearQueryError("a division by zero")
        factor = 1.0 / two.constant if divided else two.constant
        if not math.isfinite(factor):
            raise UnclearQueryError("a factor without end")
        return _scaled(one, factor)
    if one.over is Over.NUMBER and not divided:
        return _scaled(two, one.constant)
    if divided and one.over is Over.SUM and two.over is Over.COUNT:
        return replace(one, over=Over.MEAN, names=(*one.names, *two.names))
    if divided and _is_mean_latency(one, two):
        return replace(one, over=Over.MEAN)
    raise UnclearQueryError("a quotient of metrics" if divided else "a product of metrics")


def _is_mean_latency(one: QueryLoad, two: QueryLoad) -> bool:
    """Tell `rate(x_sum) / rate(x_count)`."""
    return (
        len(one.names) == len(two.names) == 1
        and one.names[0].endswith("_sum")
        and two.names[0] == one.names[0].removesuffix("_sum") + "_count"
    )
