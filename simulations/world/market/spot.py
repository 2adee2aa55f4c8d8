"""Recorded spot markets: which machines could be had when, and when they were taken away.

Four formats, told by content. Two are of Bamboo (uclasystem/bamboo, NSDI 2023): machines that come and
go by name, and counts of machines alive, polled. Two are of training_on_a_dime (stanford-futuredata):
probes that start a machine wherever they can, and ping it every ten minutes; and prices, which are a
market to whoever names the most that he pays (`spot_prices.read_bids`). A machine of the recording
stands for one that our nodes may sit on; when the recording takes it away, our node is lost. Probes and
prices say in which zone a machine is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import numpy as np

from autoscaler.errors import TraceError
from simulations.agenda import NS
from simulations.rng import stream
from simulations.traces.files import open_lines
from simulations.traces.rows import TraceLines
from simulations.traces.spec import number, split_spec
from simulations.world.market.spot_prices import HEADER as PRICES_HEADER
from simulations.world.market.spot_prices import read_bids

EVENTS_HEADER = "t_ms,event,node"
COUNTS_HEADER = "time,instances"
PROBES_HEADER = "time_utc,event,instance,zone,gpu,gpus"
PROBE_EVENTS = ("created", "running", "not_running", "create_failed", "deleted")
PROBE_SETTINGS = ("slot", "zone", "gpu", "machines")


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineLife:
    """One machine of the recording: there from `up_ns` until `down_ns`."""

    up_ns: int
    down_ns: int
    """The end of the recording where it survived it."""
    zone: str = ""
    """Empty: the recording has none."""
    instance_type: str = ""
    """Likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotHistory:
    """All machines of a recording, in order of `up_ns`."""

    name: str
    span_ns: int
    lives: tuple[MachineLife, ...]
    zones: tuple[str, ...] = ()
    """Of which it tells, in order of name, also those in which there never was a machine."""

    def unrolled(self, *, offset_ns: int, until_ns: int) -> Iterator[MachineLife]:
        """The recording from `offset_ns` on as time 0, begun anew as often as `until_ns` asks.

        A machine that survives the end is cut there; the next round brings machines of its own.
        """
        start = -offset_ns
        while start < until_ns:
            for life in self.lives:
                up, down = max(0, life.up_ns + start), life.down_ns + start
                if down > 0 and up < until_ns and down > up:
                    yield replace(life, up_ns=up, down_ns=down)
            start += self.span_ns


def read_spot(spec: str | Path) -> SpotHistory:
    """Read a recording, plain or gzipped: `PATH[,key=value…]`.

    Availability probes take `slot=NAME`, or `zone=` and `gpu=` (all matching slots), and `machines=`:
    how many machines a slot stands for, 1 unless told otherwise. Prices take what `read_bids` says.

    Raises:
        TraceError: It cannot be read, or has nothing of what is asked for.
    """
    path, settings = split_spec(str(spec))
    with open_lines(path) as lines:
        text = iter(lines)
        header = next(text, "")
        zones: Iterable[str] = ()
        if header == PROBES_HEADER:
            lives, span_ns, zones = _read_probes(lines, text, str(spec), settings)
        elif header == PRICES_HEADER:
            lives, span_ns, zones = _read_bids(str(spec))
        elif header in _READERS:
            if settings:
                raise TraceError(
                    f"{spec}: no setting {next(iter(settings))!r} of this format; "
                    "only availability probes have slots to choose from"
                )
            lives = _READERS[header](lines, text)
            if not lives:
                raise TraceError(f"{path}: holds no machine; name a spot file that does")
            span_ns = max(life.down_ns for life in lives)
        else:
            known = "; or ".join((*_READERS, PROBES_HEADER, PRICES_HEADER))
            raise TraceError(
                f"{path}: line 1: no known spot format: begins with {header[:60]!r}; "
                f"known are, plain or gzipped: {known}"
            )
    lives.sort(key=lambda life: (life.up_ns, life.down_ns))
    suffix = "".join(f",{key}={value}" for key, value in settings.items())
    return SpotHistory(
        name=path.name.split(".")[0] + suffix,
        span_ns=span_ns,
        lives=tuple(lives),
        zones=tuple(sorted({zone for zone in zones if zone})),
    )


def _read_events(lines: TraceLines, text: Iterator[str]) -> list[MachineLife]:
    up: dict[str, int] = {}
    lives: list[MachineLife] = []
    at = 0
    for row in text:
        fields = row.split(",")
        before = at
        try:
            at, event, node = int(fields[0]) * 1_000_000, fields[1], fields[2]
        except (ValueError, IndexError):
            raise lines.failure(repr(row[:60]), remedy=f"write {EVENTS_HEADER}") from None
        if at < before or event not in ("add", "remove") or (event == "add") == (node in up):
            raise lines.failure(
                repr(row[:60]),
                remedy="times never fall, and a node is added once before it is removed",
            )
        if event == "add":
            up[node] = at
        else:
            lives.append(MachineLife(up_ns=up.pop(node), down_ns=at))
    # those that survive are there for a minute more than the last event, which is how they are known
    return lives + [MachineLife(up_ns=start, down_ns=at + 60 * NS) for start in up.values()]


def _read_counts(lines: TraceLines, text: Iterator[str]) -> list[MachineLife]:
    """Machines from counts: a drop takes any of them, always the same ones of the same file.

    The file carries each reading on for two minutes in which it may be overtaken by the next one:
    of several rows of one moment the last is the reading.
    """
    counts: dict[int, int] = {}
    for row in text:
        fields = row.split(",")
        try:
            moment = int(datetime.fromisoformat(fields[0]).replace(tzinfo=UTC).timestamp())
            counts[moment] = int(fields[1])
        except (ValueError, IndexError):
            raise lines.failure(repr(row[:60]), remedy=f"write {COUNTS_HEADER}") from None
    moments = sorted(counts)
    lives: list[MachineLife] = []
    up: list[int] = []
    random = stream(0, f"spot/{lines.path.name}")
    for moment in moments:
        at = (moment - moments[0]) * NS
        count = counts[moment]
        while len(up) > count:
            start = up.pop(int(random.integers(len(up))))
            lives.append(MachineLife(up_ns=start, down_ns=at))
        up.extend([at] * (count - len(up)))
    end = (moments[-1] - moments[0] + 60) * NS if moments else 0
    return lives + [MachineLife(up_ns=start, down_ns=end) for start in up]


@dataclass(slots=True, kw_only=True)
class _Slot:
    """One place that was probed, over and over: a zone, a kind of GPU."""

    zone: str = ""
    gpu: str = ""
    up_ns: int | None = None
    """A machine is there since; None: there is none."""
    spans: list[tuple[int, int]] = field(default_factory=list)

    def end(self, at_ns: int) -> None:
        if self.up_ns is not None and at_ns > self.up_ns:
            self.spans.append((self.up_ns, at_ns))
        self.up_ns = None


def _read_probes(
    lines: TraceLines, text: Iterator[str], asked: str, settings: Mapping[str, str]
) -> tuple[list[MachineLife], int, list[str]]:
    """Machines of the slots asked for, the span of the recording, and the zones of the slots.

    A machine can be had from `created` (or the first `running`) on, and is taken away at
    `not_running`; in between and after `create_failed` there is none. A slot that was never had is a
    market too: one in which nothing can be bought.
    """
    slots: dict[str, _Slot] = {}
    first_ns: int | None = None
    at_ns = 0
    for row in text:
        fields = row.split(",")
        before = at_ns
        try:
            moment, event, name, zone, gpu, _ = fields
            at_ns = round(datetime.fromisoformat(moment).timestamp() * 1000) * 1_000_000
        except ValueError:
            raise lines.failure(repr(row[:60]), remedy=f"write {PROBES_HEADER}") from None
        if first_ns is None:
            first_ns = before = at_ns
        if at_ns < before or event not in PROBE_EVENTS:
            raise lines.failure(
                repr(row[:60]),
                remedy=f"times never fall, and an event is one of {', '.join(PROBE_EVENTS)}",
            )
        slot = slots.setdefault(name, _Slot())
        slot.zone, slot.gpu = zone or slot.zone, gpu or slot.gpu
        if event not in ("created", "running"):
            slot.end(at_ns - first_ns)
        elif slot.up_ns is None:
            slot.up_ns = at_ns - first_ns
    if not slots or first_ns is None:
        raise TraceError(f"{lines.path}: holds no probe; name a spot file that does")
    span_ns = at_ns - first_ns
    machines = _machines(asked, settings)
    lives: list[MachineLife] = []
    chosen = _chosen(asked, settings, slots)
    for slot in chosen:
        slot.end(span_ns)
        for up, down in slot.spans:
            life = MachineLife(up_ns=up, down_ns=down, zone=slot.zone, instance_type=slot.gpu)
            lives += [life] * machines
    return lives, max(span_ns, 1), [slot.zone for slot in chosen]


def _read_bids(spec: str) -> tuple[list[MachineLife], int, list[str]]:
    """Machines of each zone while they cost no more than the bid: they come and go together."""
    bids = read_bids(spec)
    lives = [
        MachineLife(
            up_ns=round(up_s * NS),
            down_ns=round(down_s * NS),
            zone=zone,
            instance_type=bids.instance_type,
        )
        for zone, spans in bids.spans_s.items()
        for up_s, down_s in spans
        for _ in range(bids.machines)
    ]
    return lives, round(bids.span_s * NS), list(bids.spans_s)


def _machines(asked: str, settings: Mapping[str, str]) -> int:
    unknown = [key for key in settings if key not in PROBE_SETTINGS]
    if unknown:
        raise TraceError(
            f"{asked}: no setting {unknown[0]!r} of availability probes; "
            f"write one of {', '.join(PROBE_SETTINGS)}"
        )
    machines = number(asked, settings, "machines", otherwise=1.0, least=1.0, most=10_000.0)
    if not machines.is_integer():
        raise TraceError(f"{asked}: machines is {settings['machines']!r}; write a whole number")
    return int(machines)


def _chosen(asked: str, settings: Mapping[str, str], slots: Mapping[str, _Slot]) -> list[_Slot]:
    chosen = [
        slot
        for name, slot in slots.items()
        if settings.get("slot") in (None, name)
        and settings.get("zone") in (None, slot.zone)
        and settings.get("gpu") in (None, slot.gpu)
    ]
    if not chosen:
        there = "; ".join(
            f"{name} ({slot.zone or 'zone not said'}, {slot.gpu or 'gpu not said'})"
            for name, slot in slots.items()
        )
        raise TraceError(f"{asked}: no such slot; there are {there}")
    return chosen


_READERS: Mapping[str, Callable[[TraceLines, Iterator[str]], list[MachineLife]]] = MappingProxyType(
    {EVENTS_HEADER: _read_events, COUNTS_HEADER: _read_counts}
)


class SpotMarket:
    """What of a history is free for us at a moment; a machine is taken at random, once."""

    def __init__(self, lives: Sequence[MachineLife], random: np.random.Generator) -> None:
        """`lives` in order of `up_ns`, as `unrolled` gives them."""
        self._coming = sorted(lives, key=lambda life: (life.up_ns, life.down_ns), reverse=True)
        self._free: list[MachineLife] = []
        self._random = random

    def take(self, at_ns: int, *, zone: str = "") -> MachineLife | None:
        """A machine that is there now and not ours yet, in a zone or in any; None: none can be had."""
        self._advance(at_ns)
        places = [i for i, life in enumerate(self._free) if not zone or life.zone == zone]
        if not places:
            return None
        return self._free.pop(places[int(self._random.integers(len(places)))])

    def give_back(self, machine: MachineLife) -> None:
        """It is free again, for as long as it lives."""
        self._free.append(machine)

    def next_change_ns(self) -> int | None:
        """When the next machine comes; None: no more do."""
        return self._coming[-1].up_ns if self._coming else None

    def _advance(self, at_ns: int) -> None:
        while self._coming and self._coming[-1].up_ns <= at_ns:
            self._free.append(self._coming.pop())
        self._free = [life for life in self._free if life.down_ns > at_ns]
