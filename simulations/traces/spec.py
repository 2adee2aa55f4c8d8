"""What a user writes to name a recording: `PATH`, or `PATH,key=value,…`.

The same form for traces, spot markets, prices and measured cold starts. Of a trace, `from=` and
`hours=` or `days=` cut a part out, and `thin=` keeps a share of the requests: both before anything is
drawn, so that a day of a recording that would not fit into memory can be asked for. `repeat=` plays
what is left so many times in a row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from autoscaler.errors import TraceError

_SETTINGS = re.compile(r"(?P<path>.+?)(?P<settings>(?:,[a-z_]+=[^,]*)*)", re.DOTALL)
_FILE_SETTINGS = re.compile(r"(?:,[a-z_]+=[^,]*)*", re.DOTALL)
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([smhd]?)", re.ASCII)
_SECONDS: Mapping[str, float] = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
COMMON = ("from", "hours", "days", "thin", "seed", "repeat")
"""Settings that every trace takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSpec:
    """A trace as it was asked for."""

    text: str
    """As it was written."""
    path: Path
    settings: Mapping[str, str]
    """Those of the format, beside the common ones."""
    suffix: str = ""
    """All settings as they were written, to tell parts of one file apart."""
    from_s: float = 0.0
    """Where the part begins, on the recording's own clock."""
    length_s: float = math.inf
    thin: float = 1.0
    """Share of the requests that is kept."""
    seed: int = 0
    """Of what is drawn; the seed of a run draws its own things."""
    repeat: int = 1
    """So many times in a row, the part as a whole."""

    @property
    def to_s(self) -> float:
        """Where the part ends."""
        return self.from_s + self.length_s

    @property
    def whole(self) -> bool:
        """Whether all of the recording is asked for."""
        return self.from_s == 0.0 and math.isinf(self.length_s) and self.thin == 1.0

    def touches(self, start_s: float, end_s: float) -> bool:
        """Whether any of a step from `start_s` to `end_s` is asked for."""
        return start_s < self.to_s and end_s > self.from_s

    def only(self, known: Collection[str], *, format_name: str) -> None:
        """Raise TraceError where a setting is none that the format knows."""
        for key in self.settings:
            if key not in known:
                raise self.failure(
                    f"no setting {key!r} of {format_name}",
                    remedy=f"write one of {', '.join((*COMMON, *known))}",
                )

    def failure(self, found: str, *, remedy: str) -> TraceError:
        """The error to raise about what was asked for."""
        return TraceError(f"{self.text}: {found}; {remedy}")


def split_spec(text: str) -> tuple[Path, dict[str, str]]:
    """The path and the settings of `PATH,key=value,…`; a file of that very name is a path.

    Raises:
        TraceError: A setting is given twice, or there is no path.
    """
    found = _SETTINGS.fullmatch(text)
    if found is None:
        raise TraceError(f"{text!r}: no path; write PATH or PATH,key=value,…")
    path, behind = found["path"], found["settings"]
    # a folder or a file may have commas in its name: of what is there, the longest is meant
    commas = [match.start() for match in re.finditer(",", text)]
    for end in (len(text), *reversed(commas)):
        if end > len(path) and _FILE_SETTINGS.fullmatch(text[end:]) and Path(text[:end]).is_file():
            path, behind = text[:end], text[end:]
            break
    if not behind:
        return Path(path), {}
    settings: dict[str, str] = {}
    for part in behind.removeprefix(",").split(","):
        key, _, value = part.partition("=")
        if key in settings:
            raise TraceError(f"{text}: {key} is given twice; write it once")
        settings[key] = value
    return Path(path), settings


def trace_spec(text: str) -> TraceSpec:
    """What a spec asks for; raises TraceError."""
    path, settings = split_spec(text)
    if "hours" in settings and "days" in settings:
        raise TraceError(f"{text}: hours and days; write one of them")
    length_s = math.inf
    for key, unit_s in (("hours", 3600.0), ("days", 86_400.0)):
        if key in settings:
            length_s = number(text, settings, key, least=0.0, most=1e6) * unit_s
    if length_s == 0.0:
        raise TraceError(f"{text}: a part of no length; write hours or days above 0")
    thin = number(text, settings, "thin", otherwise=1.0, least=0.0, most=1.0)
    if thin == 0.0:
        raise TraceError(f"{text}: thin is 0 and keeps nothing; write a share above 0, at most 1")
    seed = settings.get("seed", "0")
    if not re.fullmatch(r"\d{1,18}", seed, re.ASCII):
        raise TraceError(f"{text}: seed is {seed!r}; write a whole number >= 0")
    repeat = settings.get("repeat", "1")
    if not re.fullmatch(r"[1-9]\d{0,2}", repeat, re.ASCII):
        raise TraceError(f"{text}: repeat is {repeat!r}; write a whole number from 1 to 999")
    return TraceSpec(
        text=text,
        path=path,
        settings={key: value for key, value in settings.items() if key not in COMMON},
        from_s=seconds(text, settings.get("from", "0")),
        length_s=length_s,
        thin=thin,
        suffix="".join(f",{key}={value}" for key, value in settings.items()),
        seed=int(seed),
        repeat=int(repeat),
    )


def seconds(text: str, duration: str) -> float:
    """`90`, `90s`, `1.5m`, `36h` or `2d` in seconds; raises TraceError naming `text`."""
    found = duration_s(duration)
    if found is None:
        raise TraceError(f"{text}: from is {duration!r}; write seconds, or 90m, 36h, 2d")
    return found


def duration_s(text: str) -> float | None:
    """`90`, `90s`, `1.5m`, `36h` or `2d` in seconds; None: it is none of these."""
    found = _DURATION.fullmatch(text)
    return None if found is None else float(found[1]) * _SECONDS[found[2]]


def number(
    text: str,
    settings: Mapping[str, str],
    key: str,
    *,
    least: float,
    most: float,
    otherwise: float = math.nan,
) -> float:
    """A setting as a number within bounds; `otherwise` where it is not there. Raises TraceError."""
    if key not in settings:
        return otherwise
    try:
        value = float(settings[key])
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise TraceError(
            f"{text}: {key} is {settings[key]!r}; write a number from {least:g} to {most:g}"
        )
    return value
