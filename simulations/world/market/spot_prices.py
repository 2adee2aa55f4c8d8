"""Recorded spot prices: what a machine cost from each change of its price to the next.

The format is that of training_on_a_dime (stanford-futuredata), as `aws ec2
describe-spot-price-history` has it: `time_utc,zone,instance_type,product,price_usd_per_h`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

from autoscaler.errors import TraceError
from simulations.agenda import NS
from simulations.traces.files import open_lines
from simulations.traces.rows import TraceLines
from simulations.traces.spec import number, seconds, split_spec

HEADER = "time_utc,zone,instance_type,product,price_usd_per_h"
SETTINGS = ("instance_type", "zone", "product", "gpus", "from", "level", "on_demand")
LEVEL_SETTINGS = ("recorded", "list")
BID_SETTINGS = ("instance_type", "zone", "product", "bid", "machines")
GPUS_OF: Mapping[str, int] = MappingProxyType(
    {
        "p2.xlarge": 1,
        "p2.8xlarge": 8,
        "p2.16xlarge": 16,
        "p3.2xlarge": 1,
        "p3.8xlarge": 4,
        "p3.16xlarge": 8,
        "p3dn.24xlarge": 8,
        "p4d.24xlarge": 8,
        "p4de.24xlarge": 8,
        "p5.48xlarge": 8,
    }
)
"""AWS instance types, as their pages say; of others the user says it (`gpus=`)."""
_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotPrices:
    """The price of one GPU over time; the recording begins anew where it ends."""

    at_s: tuple[float, ...]
    """When each price begins to hold; the first at 0."""
    usd_per_gpu_hour: tuple[float, ...]
    span_s: float
    """Of the recording."""
    from_s: float = 0.0
    """Where in it the replayed trace begins."""
    paid_usd: tuple[float, ...] = ()
    """What one GPU came to by each change; made by `of`."""

    @classmethod
    def of(
        cls, changes: list[tuple[float, float]], *, span_s: float, from_s: float = 0.0
    ) -> SpotPrices:
        """Of (second, price) in order, the first at 0."""
        paid = [0.0]
        for (at, price), (following, _) in pairwise([*changes, (span_s, 0.0)]):
            paid.append(paid[-1] + price * (following - at) / 3600.0)
        return cls(
            at_s=tuple(at for at, _ in changes),
            usd_per_gpu_hour=tuple(price for _, price in changes),
            span_s=span_s,
            from_s=from_s,
            paid_usd=tuple(paid),
        )

    @property
    def mean_usd_per_gpu_hour(self) -> float:
        """Over the whole recording."""
        return self.paid_usd[-1] / (self.span_s / 3600.0)

    def usd(self, *, from_ns: int, to_ns: int) -> float:
        """What one GPU costs between two moments of the trace."""
        return self._until(to_ns) - self._until(from_ns)

    def lowest_usd_per_gpu_hour(self, *, from_ns: int = 0, until_ns: int) -> float:
        """The lowest price between two moments of the trace."""
        first, last = self.from_s + from_ns / NS, self.from_s + until_ns / NS
        if last - first >= self.span_s:
            return min(self.usd_per_gpu_hour)
        begin, end = (bisect_right(self.at_s, at % self.span_s) - 1 for at in (first, last))
        around = first // self.span_s != last // self.span_s
        prices = self.usd_per_gpu_hour
        return min(prices[begin:] + prices[: end + 1] if around else prices[begin : end + 1])

    def _until(self, at_ns: int) -> float:
        """From the recording's start to a moment of the trace."""
        rounds, rest_s = divmod(self.from_s + at_ns / NS, self.span_s)
        index = bisect_right(self.at_s, rest_s) - 1
        within = (rest_s - self.at_s[index]) * self.usd_per_gpu_hour[index] / 3600.0
        return rounds * self.paid_usd[-1] + self.paid_usd[index] + within


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceHistory:
    """What a spec of a price history asks for."""

    prices: SpotPrices
    at_list_price: bool
    """Only the movement counts: the mean is to be the GPU's own spot price."""
    on_demand_usd_per_hour: float | None
    """Of one GPU; None: its list price."""

    def of_gpu(self, spot_usd_per_hour: float) -> SpotPrices:
        """The prices of a GPU whose own spot price is listed so."""
        prices = self.prices
        if not self.at_list_price:
            return prices
        factor = spot_usd_per_hour / prices.mean_usd_per_gpu_hour
        return SpotPrices.of(
            [
                (at, price * factor)
                for at, price in zip(prices.at_s, prices.usd_per_gpu_hour, strict=True)
            ],
            span_s=prices.span_s,
            from_s=prices.from_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bids:
    """What can be had at a bid: in each zone, as long as its price is no higher."""

    spans_s: Mapping[str, Sequence[tuple[float, float]]]
    """By zone: from when to when, seconds from the recording's start."""
    span_s: float
    machines: int
    """That come and go together in each zone."""
    instance_type: str


def read_bids(spec: str) -> Bids:
    """Read `PATH,bid=DOLLARS[,instance_type=…][,product=…][,zone=…][,machines=N]` as a market.

    So AWS sold spot until 2017, and so a highest price still works: a machine is taken away once its
    price is above it.

    Raises:
        TraceError: It cannot be read, or says not which of its machines is meant.
    """
    path, settings = split_spec(spec)
    unknown = [key for key in settings if key not in BID_SETTINGS]
    if unknown:
        raise TraceError(
            f"{spec}: no setting {unknown[0]!r} of prices as a market; "
            f"write one of {', '.join(BID_SETTINGS)}"
        )
    bid = number(spec, settings, "bid", least=0.001, most=10_000.0)
    if math.isnan(bid):
        raise TraceError(
            f"{spec}: prices are a market only at a bid; write bid= in dollars an hour"
        )
    machines = number(spec, settings, "machines", otherwise=1.0, least=1.0, most=10_000.0)
    if not machines.is_integer():
        raise TraceError(f"{spec}: machines is {settings['machines']!r}; write a whole number")
    with open_lines(path) as lines:
        text = iter(lines)
        next(text, "")
        changes, first_s, last_s = _changes(lines, text)
    if last_s <= first_s:
        raise TraceError(f"{path}: one moment only; name a longer history")
    series = _asked_series(spec, settings, changes)
    spans = {
        key[0]: [
            (at - first_s, until - first_s)
            for (at, price), (until, _) in pairwise([*changes[key], (last_s, 0.0)])
            if price <= bid and until > at
        ]
        for key in series
    }
    return Bids(
        spans_s={zone: _joined(parts) for zone, parts in spans.items()},
        span_s=last_s - first_s,
        machines=int(machines),
        instance_type=series[0][1],
    )


def _joined(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans that follow on each other without a gap are one: the price changed and stayed below."""
    joined: list[tuple[float, float]] = []
    for up, down in spans:
        if joined and joined[-1][1] == up:
            joined[-1] = (joined[-1][0], down)
        else:
            joined.append((up, down))
    return joined


def is_price_history(path: Path) -> bool:
    """Whether a file begins like one; raises TraceError where it cannot be read."""
    with open_lines(path) as lines:
        return next(iter(lines), "") == HEADER


def read_price_history(spec: str) -> PriceHistory:
    """Read `PATH,instance_type=…[,key=value…]`.

    Without `zone=` the price of each moment is that of the cheapest zone, where a buyer who looks
    would buy.

    Raises:
        TraceError: It cannot be read, or says not which of its machines is meant.
    """
    path, settings = split_spec(spec)
    unknown = [key for key in settings if key not in SETTINGS]
    if unknown:
        raise TraceError(
            f"{spec}: no setting {unknown[0]!r} of a price history; write one of "
            f"{', '.join(SETTINGS)}"
        )
    level = settings.get("level", LEVEL_SETTINGS[0])
    if level not in LEVEL_SETTINGS:
        raise TraceError(f"{spec}: level is {level!r}; write {' or '.join(LEVEL_SETTINGS)}")
    with open_lines(path) as lines:
        text = iter(lines)
        header = next(text, "")
        if header != HEADER:
            raise lines.failure(f"begins with {header[:60]!r}", remedy=f"write {HEADER}")
        changes, first_s, last_s = _changes(lines, text)
    series = _asked_series(spec, settings, changes)
    gpus = _gpus(spec, settings, series[0][1])
    on_demand = number(spec, settings, "on_demand", least=0.001, most=1000.0)
    cheapest = _cheapest([changes[key] for key in series])
    begin_s = cheapest[0][0]
    span_s = last_s - begin_s
    if span_s <= 0:
        raise TraceError(f"{path}: one moment only, from {first_s:g} s on; name a longer history")
    return PriceHistory(
        prices=SpotPrices.of(
            [(at - begin_s, price / gpus) for at, price in cheapest if at < last_s],
            span_s=span_s,
            from_s=seconds(spec, settings.get("from", "0")),
        ),
        at_list_price=level == "list",
        on_demand_usd_per_hour=None if math.isnan(on_demand) else on_demand,
    )


def _changes(
    lines: TraceLines, text: Iterator[str]
) -> tuple[dict[_Key, list[tuple[float, float]]], float, float]:
    """Prices by zone, type and product, and the first and the last moment of the file."""
    changes: dict[_Key, list[tuple[float, float]]] = {}
    first_s = last_s = -math.inf
    for row in text:
        fields = row.split(",")
        try:
            moment, zone, kind, product, written = fields
            at_s, price = datetime.fromisoformat(moment).timestamp(), float(written)
        except ValueError:
            raise lines.failure(repr(row[:60]), remedy=f"write {HEADER}") from None
        if not 0 < price < 10_000:
            raise lines.failure(f"price_usd_per_h is {written!r}", remedy="write dollars above 0")
        if at_s < last_s:
            raise lines.failure(
                f"{moment} is before the row above it", remedy="sort the file by time"
            )
        first_s = at_s if math.isinf(first_s) else first_s
        last_s = at_s
        changes.setdefault((zone, kind, product), []).append((at_s, price))
    if not changes:
        raise lines.failure("no price below the header", remedy="name a history that holds some")
    return changes, first_s, last_s


def _asked_series(
    spec: str, settings: Mapping[str, str], changes: Mapping[_Key, object]
) -> list[_Key]:
    """The series meant: one type and product, of one zone or of all; raises TraceError."""
    keys = list(changes)
    for place, name in ((1, "instance_type"), (2, "product"), (0, "zone")):
        there = sorted({key[place] for key in keys})
        asked = settings.get(name)
        if asked is None and len(there) > 1 and name != "zone":
            raise TraceError(f"{spec}: several of {name}; write {name}= with {', '.join(there)}")
        keys = [key for key in keys if asked in (None, key[place])]
        if not keys:
            raise TraceError(f"{spec}: no {name} {asked!r}; write one of {', '.join(there)}")
    return keys


def _gpus(spec: str, settings: Mapping[str, str], kind: str) -> int:
    given = number(spec, settings, "gpus", least=1.0, most=64.0)
    if not math.isnan(given):
        return int(given)
    if kind not in GPUS_OF:
        raise TraceError(f"{spec}: how many GPUs has {kind}? write gpus=NUMBER")
    return GPUS_OF[kind]


def _cheapest(series: list[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """The lowest price at each moment of those that are known by then."""
    events = sorted(
        (at, index, price) for index, changes in enumerate(series) for at, price in changes
    )
    now: dict[int, float] = {}
    lowest: list[tuple[float, float]] = []
    for at, index, price in events:
        now[index] = price
        least = min(now.values())
        if lowest and lowest[-1][0] == at:
            lowest.pop()
        if not lowest or lowest[-1][1] != least:
            lowest.append((at, least))
    return lowest
