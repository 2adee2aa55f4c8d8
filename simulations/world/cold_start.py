"""How long a new replica takes: phases, each a distribution, drawn anew for every start.

The four profiles are the ones a field survey suggests (a slept or warm pod; node, image and compile
cache warm; a node's image pull and load; a fresh node and an uncached image). A phase is lognormal
around its mean, cut at both ends, so that there is a shortest cold start for the bounds to use.

Or phases are as somebody measured them, and each draw is one of the recorded starts. Two formats are
read, told by content, plain or gzipped. One row a start, of any of `node_s`, `pull_s`, `load_s` and
`warm_up_s`: phases of one row are drawn together, for a slow disk slows more than one of them. And
ServerlessLLM's load times (weights to GPU memory, nothing else), of which one model, loader and way
of access is meant. Phases that are not in the file come from the profile named by `rest=`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType

import numpy as np

from autoscaler.errors import SettingsError, TraceError
from simulations.agenda import NS
from simulations.traces.files import open_lines
from simulations.traces.rows import TraceLines, header_columns
from simulations.traces.spec import split_spec

SPREAD = 0.25
"""Of the logarithm of a phase: 5 % of the starts take more than one and a half times the mean."""
SHORTEST = 0.65
LONGEST = 3.0
"""Of a phase's mean: what is drawn beyond is cut to it."""
PHASES = ("node_s", "pull_s", "load_s", "warm_up_s")
LOAD_HEADER = "run,model,loader,access,replica,loading_time_s,first_inference_s"
CHOICES = ("run", "model", "loader", "access")
LONGEST_S = 86_400.0
"""Of a measured phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTimes:
    """What one start takes, in nanoseconds."""

    node_ns: int
    """A node to be provided; only where it takes a new one."""
    pull_ns: int
    """The image to be pulled; only where the node does not have it."""
    load_ns: int
    """The process to start and the weights to be in GPU memory."""
    warm_up_ns: int
    """Compilation, CUDA graphs, the first pass, the readiness probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """Means of the phases, seconds."""

    name: str
    node_s: float = 0.0
    pull_s: float = 0.0
    load_s: float
    warm_up_s: float

    @property
    def mean_s(self) -> float:
        """Of a start on a new node without the image, before cuts."""
        return self.node_s + self.pull_s + self.load_s + self.warm_up_s

    @property
    def shortest_s(self) -> float:
        """No start is shorter (node and image there already)."""
        return (self.load_s + self.warm_up_s) * SHORTEST

    def draw(self, random: np.random.Generator) -> StartTimes:
        """Draw one start; always four draws, so that the stream does not depend on what is used."""
        node, pull, load, warm_up = (_factor(x) for x in random.standard_normal(4))
        return StartTimes(
            node_ns=int(self.node_s * node * NS),
            pull_ns=int(self.pull_s * pull * NS),
            load_ns=int(self.load_s * load * NS),
            warm_up_ns=int(self.warm_up_s * warm_up * NS),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredColdStart(ColdStart):
    """A cold start some of whose phases are drawn from recorded starts."""

    starts: tuple[Mapping[str, float], ...]
    """Seconds by phase, the same phases in each."""

    @property
    def shortest_s(self) -> float:
        """No start is shorter: the quickest recorded one, with the cut of what was not recorded."""
        measured = self.starts[0]
        rest: float = sum(
            getattr(self, phase) * SHORTEST
            for phase in ("load_s", "warm_up_s")
            if phase not in measured
        )
        return rest + min(
            start.get("load_s", 0.0) + start.get("warm_up_s", 0.0) for start in self.starts
        )

    def draw(self, random: np.random.Generator) -> StartTimes:
        """Draw one start; as much of the stream as every other cold start takes."""
        normals = random.standard_normal(4)
        # the third is that of the load: its place in the normal is the recorded start's place
        share = 0.5 * (1.0 + math.erf(float(normals[2]) / math.sqrt(2.0)))
        start = self.starts[min(int(share * len(self.starts)), len(self.starts) - 1)]
        node, pull, load, warm_up = (
            int(NS * (start[phase] if phase in start else getattr(self, phase) * _factor(x)))
            for phase, x in zip(PHASES, normals, strict=True)
        )
        return StartTimes(node_ns=node, pull_ns=pull, load_ns=load, warm_up_ns=warm_up)


def _factor(normal: float) -> float:
    return min(max(math.exp(SPREAD * normal - SPREAD**2 / 2), SHORTEST), LONGEST)


COLD_STARTS: Mapping[str, ColdStart] = MappingProxyType(
    {
        "hot": ColdStart(name="hot", load_s=5.0, warm_up_s=10.0),
        "warm": ColdStart(name="warm", load_s=25.0, warm_up_s=35.0),
        "standard": ColdStart(name="standard", pull_s=75.0, load_s=45.0, warm_up_s=60.0),
        "cold": ColdStart(name="cold", node_s=120.0, pull_s=120.0, load_s=80.0, warm_up_s=100.0),
    }
)


def cold_start(text: str) -> ColdStart:
    """The profile of this name, one of so many seconds, or a file of measured starts.

    Raises:
        SettingsError: It is none of them.
        TraceError: It is a file, and something in it is wrong.
    """
    if text in COLD_STARTS:
        return COLD_STARTS[text]
    if text and split_spec(text)[0].is_file():
        return measured_cold_start(text)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 86_400:
        raise SettingsError(
            f"--cold-start {text!r}: no such cold start; "
            f"write {', '.join(COLD_STARTS)}, or seconds from 0 to 86400, "
            "or name a readable file of measured starts"
        )
    # as a warm start: the node is there and has the image
    return ColdStart(name=text, load_s=seconds * 0.4, warm_up_s=seconds * 0.6)


def measured_cold_start(spec: str) -> ColdStart:
    """Read `PATH[,key=value…]`.

    Raises:
        TraceError: It cannot be read, or says not which of its starts are meant.
    """
    path, settings = split_spec(spec)
    rest = COLD_STARTS.get(settings.get("rest", "standard"))
    if rest is None:
        raise TraceError(
            f"{spec}: rest is {settings['rest']!r}; write one of {', '.join(COLD_STARTS)}"
        )
    with open_lines(path) as lines:
        text = iter(lines)
        header = next(text, "")
        names = [name.strip() for name in header.split(",")]
        if header == LOAD_HEADER:
            starts = _load_times(lines, text, spec, settings)
        elif any(phase in names for phase in PHASES):
            _only(spec, settings, ("rest",))
            starts = _phases(lines, text, [phase for phase in PHASES if phase in names], header)
        else:
            raise TraceError(
                f"{path}: line 1: no known format of cold starts: begins with {header[:60]!r}; "
                f"known are, plain or gzipped: {LOAD_HEADER}; or any of {', '.join(PHASES)}"
            )
    if not starts:
        raise TraceError(f"{path}: holds no start; name a file that does")
    means = {phase: getattr(rest, phase) for phase in PHASES}
    means |= {phase: fmean(start[phase] for start in starts) for phase in starts[0]}
    suffix = "".join(f",{key}={value}" for key, value in settings.items())
    return MeasuredColdStart(
        name=path.name.split(".")[0] + suffix, starts=tuple(_ordered(starts)), **means
    )


def _ordered(starts: list[dict[str, float]]) -> list[dict[str, float]]:
    """The quickest first, so that a start's place among them is that of its draw."""
    return sorted(starts, key=lambda start: (sum(start.values()), *start.values()))


def _phases(
    lines: TraceLines, text: Iterator[str], phases: list[str], header: str
) -> list[dict[str, float]]:
    places = header_columns(header, tuple(phases)) or ()
    starts: list[dict[str, float]] = []
    for line in text:
        fields = line.split(",")
        if len(fields) <= max(places):
            raise lines.failure(
                f"{len(fields)} fields where the header names more: {line[:60]!r}",
                remedy=f"complete the row: {header[:60]}",
            )
        starts.append(
            {
                phase: _seconds(lines, fields[place], column=phase)
                for phase, place in zip(phases, places, strict=True)
            }
        )
    return starts


def _load_times(
    lines: TraceLines, text: Iterator[str], spec: str, settings: Mapping[str, str]
) -> list[dict[str, float]]:
    _only(spec, settings, (*CHOICES, "rest"))
    found: dict[tuple[str, ...], list[dict[str, float]]] = {}
    for line in text:
        fields = line.split(",")
        if len(fields) != len(LOAD_HEADER.split(",")):
            raise lines.failure(
                f"{len(fields)} fields: {line[:60]!r}", remedy=f"complete the row: {LOAD_HEADER}"
            )
        load_s = _seconds(lines, fields[5], column="loading_time_s")
        found.setdefault(tuple(fields[:4]), []).append({"load_s": load_s})
    meant = [
        kind
        for kind in found
        if all(settings.get(key) in (None, kind[place]) for place, key in enumerate(CHOICES))
    ]
    if len(meant) != 1:
        there = "; ".join(
            ",".join(f"{key}={value}" for key, value in zip(CHOICES, kind, strict=True))
            for kind in (meant or found)
        )
        said = "several kinds of start" if meant else "no such start"
        raise TraceError(f"{spec}: {said}; choose one of: {there}")
    return found[meant[0]]


def _only(spec: str, settings: Mapping[str, str], known: tuple[str, ...]) -> None:
    for key in settings:
        if key not in known:
            raise TraceError(
                f"{spec}: no setting {key!r} of this format of cold starts; "
                f"write one of {', '.join(known)}"
            )


def _seconds(lines: TraceLines, text: str, *, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= LONGEST_S:
        raise lines.failure(
            f"{column} is {text!r}", remedy=f"write seconds from 0 to {LONGEST_S:.0f}"
        )
    return value
