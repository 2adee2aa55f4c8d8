"""What a container's preStop hook does, and how long that takes at most."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from autoscaler.kube.api.plain import Plain, part, texts, whole
from autoscaler.kube.soundness.arguments import CommandLine, environment, number, spread

HOOK = "drain.py"
"""The file of `deploy/drain`."""
HOOK_ENVIRONMENT = "INFERENCE_AUTOSCALER_DRAIN_"
BUDGET_S, ENDPOINT_DELAY_S = 60.0, 15.0
"""The hook's own defaults."""
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_LOOPS = frozenset({"while", "until", "for"})


class PreStopKind(StrEnum):
    """What is done before SIGTERM."""

    NONE = "nothing"
    HOOK = "the drain hook"
    SLEEP = "a sleep"
    OTHER = "something else"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreStop:
    """A preStop hook."""

    kind: PreStopKind
    seconds: float
    """That it takes at most; NaN: it cannot be told."""
    drain_s: float = 0.0
    """Of these, the ones in which what is in flight may end while nothing new arrives; NaN: unknown."""


NO_PRE_STOP = PreStop(kind=PreStopKind.NONE, seconds=0.0)


def pre_stop_of(container: Plain) -> PreStop:
    """Read `lifecycle.preStop`."""
    handler = part(container, "lifecycle", "preStop")
    command = texts(handler.get("exec"), "command")
    if command:
        return _of_command(command, container)
    slept = whole(part(handler, "sleep"), "seconds")
    if slept is not None:
        return _sleep(float(slept))
    if handler.get("httpGet") or handler.get("tcpSocket"):
        return PreStop(kind=PreStopKind.OTHER, seconds=math.nan, drain_s=math.nan)
    return NO_PRE_STOP


def _of_command(command: list[str], container: Plain) -> PreStop:
    given = environment(container)
    words, readable = spread(command, given)
    if any(word.rpartition("/")[2] == HOOK for word in words):
        line = CommandLine(words=tuple(words), complete=True)
        budget_s = _hook_seconds(line, given, option="--budget", default=BUDGET_S)
        delay_s = _hook_seconds(line, given, option="--endpoint-delay", default=ENDPOINT_DELAY_S)
        return PreStop(kind=PreStopKind.HOOK, seconds=budget_s, drain_s=budget_s - delay_s)
    slept, others = _slept(words)
    if not readable or _LOOPS & set(words):
        return PreStop(kind=PreStopKind.OTHER, seconds=math.nan, drain_s=math.nan)
    if slept is not None and not others:
        return _sleep(slept)
    kind = PreStopKind.OTHER if slept is None else PreStopKind.SLEEP
    # what else it does takes its own time, mostly none: `kill`, `touch`, `curl`
    seconds = math.nan if slept is None else slept
    return PreStop(kind=kind, seconds=seconds, drain_s=max(0.0, seconds - ENDPOINT_DELAY_S))


def _sleep(seconds: float) -> PreStop:
    return PreStop(
        kind=PreStopKind.SLEEP, seconds=seconds, drain_s=max(0.0, seconds - ENDPOINT_DELAY_S)
    )


def _hook_seconds(
    line: CommandLine, given: dict[str, str], *, option: str, default: float
) -> float:
    told = line.seconds(option)
    variable = HOOK_ENVIRONMENT + option.lstrip("-").replace("-", "_").upper()
    if told is None and variable in given:
        return number(given[variable])
    return default if told is None else told


def _slept(words: Sequence[str]) -> tuple[float | None, list[str]]:
    """Add up all sleeps of a script; and the words that belong to none."""
    total: float | None = None
    others: list[str] = []
    sleeping = False
    for word in words:
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smh]?)", word) if sleeping else None
        if match is not None:
            total = (total or 0.0) + float(match[1]) * _UNITS[match[2]]
        elif sleeping and "$" in word:
            total = math.nan
        elif word.rpartition("/")[2] == "sleep":
            sleeping = True
            continue
        else:
            sleeping = False
            others.append(word)
    return total, others
