"""Declared faults: what goes wrong between the world and a policy, when, and for whom.

A file of faults is TOML:

    [[fault]]
    kind = "no-metrics"      # pages do not answer: the last samples stay and age
    from_s = 600
    until_s = 660
    share = 0.5              # of the pods, drawn once a pod; all where it is not given

    kind = "stale-pages"     # pages answer with what they said when the fault began
    kind = "blind"           # the watch is silent: what is known of pods and nodes stays as it was
    kind = "slow-api"        # a write takes `delay_s` longer
    kind = "refused-writes"  # `share` of the writes are refused
    kind = "stuck-starts"    # `share` of the pods created meanwhile never become ready

Faults draw from streams of their own: adding one moves no arrival and no cold start.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from autoscaler.core.contract.state import FloatArray
from autoscaler.errors import SettingsError
from simulations.agenda import NS
from simulations.rng import stream


class FaultKind(StrEnum):
    """What goes wrong."""

    NO_METRICS = "no-metrics"
    STALE_PAGES = "stale-pages"
    BLIND = "blind"
    SLOW_API = "slow-api"
    REFUSED_WRITES = "refused-writes"
    STUCK_STARTS = "stuck-starts"


_OF_PAGES = (FaultKind.NO_METRICS, FaultKind.STALE_PAGES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong for a while."""

    kind: FaultKind
    from_ns: int
    until_ns: int
    share: float = 1.0
    """Of the pods or writes that it could hit, 0 to 1."""
    delay_ns: int = 0
    """Of SLOW_API."""

    def holds(self, at_ns: int) -> bool:
        """Whether it goes on at this moment; its end is outside."""
        return self.from_ns <= at_ns < self.until_ns


class Faults:
    """What is declared for a run, asked at each place where something may go wrong."""

    def __init__(self, faults: Sequence[Fault] = (), *, seed: int = 0) -> None:
        """`seed` decides which pods and writes a share hits."""
        self._faults = tuple(faults)
        self._seed = seed
        self._drawn: dict[tuple[int, int], float] = {}
        self._writes = stream(seed, "faults/writes")

    def answers(self, pod: int, *, at_ns: int) -> bool:
        """Whether this pod's page can be read."""
        return self._hit(FaultKind.NO_METRICS, pod, at_ns) is None

    def hides_pages(self, at_ns: int) -> bool:
        """Whether there may be a pod whose page cannot be read, or says what it said before."""
        return any(f.kind in _OF_PAGES and f.holds(at_ns) for f in self._faults)

    def frozen(self, pod: int, *, at_ns: int) -> bool:
        """Whether this pod's page says what it said before."""
        return self._hit(FaultKind.STALE_PAGES, pod, at_ns) is not None

    def take_back(
        self, table: FloatArray, before: FloatArray, numbers: Iterable[int], *, at_ns: int
    ) -> None:
        """Undo in a table of pages what a fault keeps from being read.

        Args:
            table: As just read, see `pages`; written.
            before: The same before that reading.
            numbers: Of the pods that serve: their columns.
            at_ns: The moment of the reading.
        """
        for number in numbers:
            if not self.answers(number, at_ns=at_ns):
                table[:, number] = before[:, number]
            elif self.frozen(number, at_ns=at_ns) and not math.isnan(before[0, number]):
                table[1:, number] = before[1:, number]

    def blind(self, at_ns: int) -> bool:
        """Whether nothing new is heard of pods and nodes."""
        return any(f.kind is FaultKind.BLIND and f.holds(at_ns) for f in self._faults)

    def write_delay_ns(self, at_ns: int) -> int:
        """How much longer a write takes."""
        slow = (f for f in self._faults if f.kind is FaultKind.SLOW_API and f.holds(at_ns))
        return sum(f.delay_ns for f in slow)

    def refuses(self, at_ns: int) -> bool:
        """Whether a write at this moment is refused. Draws; ask once a write."""
        shares = [
            f.share for f in self._faults if f.kind is FaultKind.REFUSED_WRITES and f.holds(at_ns)
        ]
        return bool(shares) and float(self._writes.random()) < max(shares)

    def stuck(self, pod: int, *, at_ns: int) -> bool:
        """Whether a pod that is created now never becomes ready."""
        return self._hit(FaultKind.STUCK_STARTS, pod, at_ns) is not None

    def _hit(self, kind: FaultKind, pod: int, at_ns: int) -> Fault | None:
        for number, fault in enumerate(self._faults):
            if fault.kind is kind and fault.holds(at_ns) and self._draw(number, pod) < fault.share:
                return fault
        return None

    def _draw(self, number: int, pod: int) -> float:
        """One draw for each fault and pod, whenever it is asked for."""
        key = (number, pod)
        if key not in self._drawn:
            random = stream(self._seed, f"faults/{number}/{pod}")
            self._drawn[key] = float(random.random())
        return self._drawn[key]


def read_faults(path: Path) -> tuple[Fault, ...]:
    """Read a file of faults; raises SettingsError, with all that is wrong in it."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}; write [[fault]] tables") from error
    entries = document.get("fault")
    if set(document) != {"fault"} or not isinstance(entries, list) or not entries:
        raise SettingsError(
            f"{path}: holds {sorted(document) or 'nothing'}; write [[fault]] tables"
        )
    problems: list[str] = []
    faults: list[Fault] = []
    for number, entry in enumerate(entries, start=1):
        found = _problems(entry)
        problems += [f"{path}: fault {number}: {problem}" for problem in found]
        if not found:
            faults.append(_fault(entry))
    if problems:
        raise SettingsError("\n".join(problems))
    return tuple(faults)


_KEYS = ("kind", "from_s", "until_s", "share", "delay_s")


def _problems(entry: object) -> list[str]:
    if not isinstance(entry, dict):
        return [f"is {entry!r}; write a [[fault]] table"]
    problems = [f"no key {key!r}; write {', '.join(_KEYS)}" for key in entry if key not in _KEYS]
    if entry.get("kind") not in list(FaultKind):
        problems.append(f"kind is {entry.get('kind')!r}; write one of {', '.join(FaultKind)}")
    limits = {
        "from_s": (0.0, 1e9),
        "until_s": (0.0, 1e9),
        "share": (0.0, 1.0),
        "delay_s": (0.0, 1e6),
    }
    given = {"from_s", "until_s"} | (set(entry) & set(limits))
    for key in sorted(given):
        low, high = limits[key]
        value = entry.get(key)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if (
            not number
            or not math.isfinite(float(value or 0))
            or not low <= float(value or 0) <= high
        ):
            problems.append(f"{key} is {value!r}; write a number from {low:g} to {high:g}")
    if not problems and entry["until_s"] <= entry["from_s"]:
        problems.append(
            f"ends at {entry['until_s']} s, before it begins; write until_s above from_s"
        )
    if not problems and (entry["kind"] == FaultKind.SLOW_API) != ("delay_s" in entry):
        problems.append("delay_s belongs to slow-api, and to it alone; write it there")
    return problems


def _fault(entry: Mapping[str, Any]) -> Fault:
    return Fault(
        kind=FaultKind(entry["kind"]),
        from_ns=int(entry["from_s"] * NS),
        until_ns=int(entry["until_s"] * NS),
        share=float(entry.get("share", 1.0)),
        delay_ns=int(entry.get("delay_s", 0.0) * NS),
    )
