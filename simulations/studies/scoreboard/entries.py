"""What the scoreboard is made of: `scoreboard.toml`, read and checked before anything runs."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from autoscaler.errors import AutoscalerError, SettingsError
from simulations.agenda import NS
from simulations.peers.rules.registry import KINDS
from simulations.replay.conditions import (
    TESTED_REPLICAS,
    Conditions,
    ConditionsRequest,
    conditions_of,
)
from simulations.replay.engine_loop import ENGINE_POLICIES
from simulations.traces.generate import PREFIX, recipe_of
from simulations.traces.spec import split_spec

POLICIES = (ENGINE_POLICIES[0], *KINDS)
"""What an entry may run: ours with its defaults, all baselines, and the reference."""
SEEDS_MIN = 5
"""Fewer say nothing about the worst of them."""


class BoardEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One trace and what it is replayed under."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9.-]*$")]
    """Names the entry on the board and in the cache."""
    trace: str
    """`PATH,key=value,…` as `autoscaler simulate` takes it, below the folder of traces; or `generate:…`."""
    why: str
    """What this traffic is like, and why it is on the board."""
    profile: str
    scale: float
    use: Literal["tuning", "scoring"]
    """Whether a rule may be chosen by it. What is tuned on an entry is no news on it; so the other half of
    them is kept for the score."""
    score_from: str = "0"
    """As `--score-from`: what comes before is played and not scored. Declared faults count from there."""
    in_flight_target: str = "x1"
    """As `--in-flight-target`: what every policy is told. `x1`: what the load test found."""
    policies: tuple[str, ...] = ()
    """Those that are run; empty: ours, all baselines, and the reference."""
    sweep: bool = True
    """Each tunable baseline also with the best of its settings."""
    replicas: int | None = None
    """About what the peak needs: 8, 32 or 100. A run refuses a scale that is far from it."""
    cold_start: str = "standard"
    routing: str = "least-outstanding"
    seeds: Annotated[int, msgspec.Meta(ge=1)] = SEEDS_MIN
    spot: str | None = None
    """A recorded market below the folder of traces; None: all nodes are on demand."""
    spot_lead: str = "aws"
    faults: str | None = None
    """A file of declared faults beside the board's own."""
    remark: str = ""
    """Printed below the entry's table: what a reader should know about its outcome."""

    @property
    def tested_replicas(self) -> int:
        """The size of the fleet that is load-tested: the entry's own."""
        return self.replicas or TESTED_REPLICAS

    @property
    def warm(self) -> bool:
        """Whether its policies have seen this traffic when the score begins."""
        return self.score_from != "0"


class WrongTargets(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One entry again, under targets that no load test found."""

    of: str
    """The entry's name."""
    targets: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """As `--in-flight-target`."""
    policies: tuple[str, ...] = ()
    """Those that are run; empty: all."""
    seeds: Annotated[int, msgspec.Meta(ge=1)] = SEEDS_MIN

    def entries(self, base: BoardEntry) -> list[BoardEntry]:
        """One a target, none swept: a peer whose target is tuned was told another one."""
        return [
            msgspec.structs.replace(
                base,
                name=f"{base.name}.told-{target}",
                why=f"As `{base.name}`, but every policy is told {_told(target)}.",
                remark="",
                in_flight_target=target,
                policies=self.policies,
                seeds=self.seeds,
                sweep=False,
            )
            for target in self.targets
        ]


def _told(target: str) -> str:
    if target == "default":
        return "what ships, where nobody has measured anything"
    if target.startswith("x"):
        return f"{target[1:]} times the load-tested target"
    return f"{target} requests in flight"


class Board(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All entries, in the order of the page."""

    objective: str = "ttft=1+2x,tpot=0.1"
    entry: Annotated[tuple[BoardEntry, ...], msgspec.Meta(min_length=1)]
    wrong_targets: tuple[WrongTargets, ...] = ()
    """Added behind the entries."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """An entry whose files were found and whose conditions were read."""

    entry: BoardEntry
    spec: str
    """What `read_trace` takes."""
    conditions: Conditions
    """Before the load test; the maximum is open."""
    files: tuple[Path, ...]
    """What the entry's outcome depends on besides code."""


def read_board(path: Path) -> Board:
    """Read the board's file.

    Raises:
        SettingsError: It cannot be read, or something in it is unknown, missing or wrong.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        board = msgspec.convert(content, Board)
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read: {error.strerror or error}; name a scoreboard's TOML file"
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: no TOML: {error}; correct the file") from error
    except msgspec.ValidationError as error:
        known = ", ".join(BoardEntry.__struct_fields__)
        raise SettingsError(f"{path}: {error}; an [[entry]] has {known}") from error
    board = _with_wrong_targets(board, path)
    names = [entry.name for entry in board.entry]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"{path}: entry {twice[0]!r} is there twice; give each its own name")
    return board


def _with_wrong_targets(board: Board, path: Path) -> Board:
    by_name = {entry.name: entry for entry in board.entry}
    added: list[BoardEntry] = []
    for told in board.wrong_targets:
        if told.of not in by_name:
            raise SettingsError(
                f"{path}: wrong_targets of {told.of!r}: no such entry; write one of {', '.join(by_name)}"
            )
        added += told.entries(by_name[told.of])
    return msgspec.structs.replace(board, entry=(*board.entry, *added), wrong_targets=())


def settings_of(board: Board, *, path: Path, traces: Path, only: tuple[str, ...]) -> list[Setting]:
    """The board's entries, or those named in `only`, with their files found; faults lie beside `path`.

    Raises:
        SettingsError: A name is none, a file is missing, or a condition is wrong; says in which entry.
    """
    names = [entry.name for entry in board.entry]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise SettingsError(
            f"--only {unknown[0]!r}: no such entry in {path}; write one of {', '.join(names)}"
        )
    return [
        _setting(entry, board=board, path=path, traces=traces)
        for entry in board.entry
        if not only or entry.name in only
    ]


def _setting(entry: BoardEntry, *, board: Board, path: Path, traces: Path) -> Setting:
    where = f"{path}: entry {entry.name!r}"
    files: list[Path] = []
    spec = entry.trace
    try:
        if spec.startswith(PREFIX):
            recipe_of(spec)
        else:
            spec = str(traces / spec)
            files += _recording(where, spec)
        if entry.spot is not None:
            files += _recording(where, str(traces / entry.spot))
        if entry.faults is not None:
            files.append(_found(where, path.parent / entry.faults))
        if (profile := Path(entry.profile)).is_file():
            files.append(profile)
        conditions = conditions_of(
            ConditionsRequest(
                profile=entry.profile,
                cold_start=entry.cold_start,
                scale=entry.scale,
                objective=board.objective,
                routing=entry.routing,
                spot=None if entry.spot is None else str(traces / entry.spot),
                spot_lead=entry.spot_lead,
                faults=None if entry.faults is None else str(path.parent / entry.faults),
                score_from=entry.score_from,
                in_flight_target=entry.in_flight_target,
            )
        )
        from_ns = round((conditions.score_from_s or 0.0) * NS)
        faults = tuple(
            replace(fault, from_ns=fault.from_ns + from_ns, until_ns=fault.until_ns + from_ns)
            for fault in conditions.faults
        )
        conditions = replace(conditions, faults=faults)
        unknown = [name for name in entry.policies if name not in POLICIES]
        if unknown:
            raise SettingsError(f"policies: no {unknown[0]!r}; write some of {', '.join(POLICIES)}")
    except AutoscalerError as error:
        text = str(error)
        raise SettingsError(text if text.startswith(where) else f"{where}: {text}") from error
    return Setting(entry=entry, spec=spec, conditions=conditions, files=tuple(files))


def _recording(where: str, spec: str) -> list[Path]:
    """The files of a recording: the named one, and the token lengths beside measured windows."""
    path, _ = split_spec(spec)
    beside = path.with_name(path.name.replace("_windows", "_tokens"))
    return [_found(where, path), *([beside] if beside != path and beside.is_file() else [])]


def _found(where: str, file: Path) -> Path:
    if not file.is_file():
        raise SettingsError(
            f"{where}: no file {file}; name one that is there, or another folder with --traces"
        )
    return file
