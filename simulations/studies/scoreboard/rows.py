"""What an entry came to, as it is kept in the repository: one small file an entry, `rows/NAME.json`.

The page is made of these files alone. So the board can be run in parts, by night and on several machines,
and whoever changes only the page needs no run. Each file says which revision and which code made it, and
what the entry was asked for then: rows that were made by other code, or of another entry, are seen and
named, never mixed in silently.
"""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from autoscaler.errors import SettingsError
from simulations.bounds.envelope import Envelope, FoundPoint
from simulations.results.seeds import FIGURES, SeedAverage, seed_averages
from simulations.studies.scoreboard.cache import LIBRARIES, peers_digest, sources_digest
from simulations.studies.scoreboard.entries import BoardEntry
from simulations.studies.scoreboard.entry_runs import FinishedEntry, FoundHull, TriedSetting
from simulations.studies.scoreboard.sizes import Size, SizedEntry
from simulations.studies.scoreboard.standings import OURS

ROWS = Path(__file__).with_name("rows")
DIGITS = 5
"""Of a figure that is kept: more than any table shows."""
SAID = ("why", "remark", "use")
"""Of an entry: what can be said otherwise without another outcome."""


class MadeBy(msgspec.Struct, frozen=True, kw_only=True):
    """What made the rows."""

    revision: str
    """Of the repository, `+` where something was changed beside it; empty: no repository."""
    commits: int = 0
    """Up to that revision: the larger, the later."""
    sources: str = ""
    """Digest of the code of runs and scores."""
    peers: str = ""
    """The same without what our own runs alone pass through; empty: it was not kept."""
    versions: str = ""
    """Python, libraries and machine."""
    note: str = ""
    """What a reader must know of rows that a former board made."""


class PolicyFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A policy in a setting, over its seeds."""

    policy: str
    setting: str
    parameters: dict[str, float]
    mean: dict[str, float | None]
    """By key of FIGURES."""
    worst: dict[str, float | None]
    replicas_max: int


class EntryRows(msgspec.Struct, frozen=True, kw_only=True):
    """All that is kept of an entry."""

    name: str
    made: MadeBy
    """What made our own rows, and all others where `peers_made` does not say otherwise."""
    asked: dict[str, Any]
    """The entry's definition."""
    size: Size
    cold_start_s: float
    attainment_ratio: float
    told_target: float
    """Requests in flight that policies were told a replica carries."""
    unlimited_attainment: float | None
    """Of a fleet without limit, the least of the seeds."""
    rows: list[PolicyFigures]
    tried: list[TriedSetting]
    """Each setting on the first seed; empty: not kept."""
    edges: list[str] = []
    unsound: list[str] = []
    """What else is wrong with the board on this entry, a sentence each."""
    found: list[FoundHull] = []
    """The schedules that were found, one hull a seed."""
    peers_made: MadeBy | None = None
    """What made all rows but our own, by code that is the same today."""
    runs: int = 0
    seconds: float = 0.0

    @property
    def averages(self) -> list[SeedAverage]:
        """One a policy and setting, as tables take them."""
        return [
            SeedAverage(
                trace=self.name,
                policy=row.policy,
                setting=row.setting,
                mean={key: row.mean.get(key) for key in FIGURES},
                worst={key: row.worst.get(key) for key in FIGURES},
                parameters=row.parameters,
                replicas_max=row.replicas_max,
            )
            for row in self.rows
        ]

    def at_equal_attainment(self) -> dict[str, float | None]:
        """By peer: our cost over what its settings cost at our attainment, on the first seed.

        None: we attain more than any of its settings did, and nothing is known of what it would cost.
        """
        ours = next((tried for tried in self.tried if tried.policy == OURS), None)
        if ours is None:
            return {}
        points: dict[str, list[FoundPoint]] = {}
        for tried in self.tried:
            if tried.policy != OURS:
                point = FoundPoint(attainment=tried.attainment, cost_usd=tried.cost_usd)
                points.setdefault(tried.policy, []).append(point)
        costs = {name: Envelope(of).cost_usd(ours.attainment) for name, of in points.items()}
        return {name: ours.cost_usd / cost if cost else None for name, cost in costs.items()}

    def is_of(self, entry: BoardEntry) -> bool:
        """Whether the entry asks for the same today."""
        return self.asked == definition(entry)


def definition(entry: BoardEntry) -> dict[str, Any]:
    """What an entry asks for."""
    asked: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(entry))
    return {name: value for name, value in asked.items() if name not in SAID}


def entry_rows(sized: SizedEntry, finished: FinishedEntry, *, made: MadeBy) -> EntryRows:
    """What is kept of a finished entry."""
    conditions = sized.conditions
    unlimited = [s.attainment_unlimited for s in finished.scores if s.attainment_unlimited]
    return EntryRows(
        name=sized.setting.entry.name,
        made=made,
        asked=definition(sized.setting.entry),
        size=sized.size,
        cold_start_s=conditions.cold_start.mean_s,
        attainment_ratio=conditions.objective.attainment_ratio,
        told_target=float(conditions.profile.in_flight_target),
        unlimited_attainment=min(unlimited, default=None),
        rows=[_row(average) for average in seed_averages(finished.scores)],
        tried=[
            msgspec.structs.replace(
                tried, cost_usd=_short(tried.cost_usd), attainment=_short(tried.attainment)
            )
            for tried in finished.tried
        ],
        edges=list(finished.edges),
        unsound=list(finished.unsound),
        found=[
            FoundHull(
                seed=hull.seed,
                points=[(float(f"{a:.9g}"), float(f"{c:.9g}")) for a, c in hull.points],
            )
            for hull in finished.found
        ],
        runs=finished.runs,
        seconds=_short(finished.seconds),
    )


def with_ours(
    kept: EntryRows, sized: SizedEntry, ours: FinishedEntry, *, made: MadeBy
) -> EntryRows:
    """The kept rows with our own anew."""
    fresh = entry_rows(sized, ours, made=made)
    said = f"{kept.name}, {OURS}, "
    return msgspec.structs.replace(
        kept,
        made=made,
        peers_made=kept.peers_made or kept.made,
        rows=[*fresh.rows, *[row for row in kept.rows if row.policy != OURS]],
        tried=[*fresh.tried, *[tried for tried in kept.tried if tried.policy != OURS]],
        unsound=[*fresh.unsound, *[text for text in kept.unsound if not text.startswith(said)]],
    )


def why_not_ours_alone(kept: EntryRows | None, entry: BoardEntry, *, made: MadeBy) -> str | None:
    """Why the entry has to be run whole; None: all but our own rows is as today's code would make it."""
    if kept is None:
        return "it has no rows yet"
    if not kept.is_of(entry):
        return "the entry asks for something else since"
    made_before = kept.peers_made or kept.made
    if not made_before.peers:
        return f"its rows of {made_before.revision} do not say by which code peers were run"
    if (made_before.peers, made_before.versions) != (made.peers, made.versions):
        return f"what peers run through has changed since {made_before.revision}"
    return None


def _row(average: SeedAverage) -> PolicyFigures:
    return PolicyFigures(
        policy=average.policy,
        setting=average.setting,
        parameters=dict(average.parameters),
        mean=_figures(average.mean),
        worst=_figures(average.worst),
        replicas_max=average.replicas_max,
    )


def _figures(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    """Those that are known."""
    return {key: _short(value) for key, value in figures.items() if value is not None}


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def made_by(repository: Path) -> MadeBy:
    """What makes rows now, in this checkout."""
    revision = _git(repository, "rev-parse", "--short=10", "HEAD")
    changed = _git(repository, "status", "--porcelain", "--untracked-files=no", "--", "*.py")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES]
    return MadeBy(
        revision=revision + "+" * bool(changed),
        commits=int(_git(repository, "rev-list", "--count", "HEAD") or 0),
        sources=sources_digest()[:16],
        peers=peers_digest()[:16],
        versions=", ".join((f"Python {platform.python_version()}", *versions, platform.machine())),
    )


def _git(repository: Path, *asked: str) -> str:
    """What git answers; empty: there is no git, or no repository."""
    try:
        done = subprocess.run(  # noqa: S603  fixed words
            ["git", *asked],  # noqa: S607  whichever git made the checkout
            cwd=repository,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def read_rows(folder: Path, entries: Sequence[BoardEntry]) -> list[EntryRows]:
    """The rows that there are, in the order of the board.

    Raises:
        SettingsError: A file is none of ours.
    """
    found = []
    for entry in entries:
        file = folder / f"{entry.name}.json"
        if not file.exists():
            continue
        try:
            found.append(msgspec.json.decode(file.read_bytes(), type=EntryRows))
        except (OSError, msgspec.DecodeError) as error:
            raise SettingsError(
                f"{file}: no rows of an entry: {error}; delete it and run the entry anew"
            ) from error
    return found


def write_rows(folder: Path, rows: EntryRows) -> None:
    """Keep the rows of an entry; raises SettingsError where the folder cannot be written."""
    made = folder / f"{rows.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made.write_text(_lines(rows), encoding="utf-8")
        made.replace(folder / f"{rows.name}.json")
    except OSError as error:
        raise SettingsError(
            f"--rows {folder}: {error.strerror or error}; name a folder that can be written"
        ) from error


def _lines(rows: EntryRows) -> str:
    """JSON with a line a field, and one for each thing in a list: a change can be read."""
    fields = []
    for name, value in msgspec.to_builtins(rows).items():
        if isinstance(value, list) and value:
            parts = ",\n".join(msgspec.json.encode(part).decode() for part in value)
            fields.append(f'"{name}": [\n{parts}\n]')
        else:
            fields.append(f'"{name}": {msgspec.json.encode(value).decode()}')
    return "{\n" + ",\n".join(fields) + "\n}\n"


def without_time(rows: EntryRows) -> EntryRows:
    """The rows without what no two runs have alike."""
    return msgspec.structs.replace(rows, seconds=0.0)
