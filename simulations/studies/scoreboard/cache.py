"""Finished runs of a board, on disk: a board that was stopped goes on where it was.

A run is known by what it depends on: the code that makes it, the libraries under it, the entry's
conditions and files, and its plan. Anything else in its file is stale: it is not read. So a peer more, a
longer sweep or another seed needs only its own runs. (`joblib.Memory` would not know when the code
changed while a run was made.)
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

import autoscaler
import simulations
from autoscaler.core.tuning import TUNING
from autoscaler.errors import SettingsError
from simulations.peers.rules.registry import KINDS
from simulations.replay.engine_loop import ENGINE_POLICIES
from simulations.results.scorecard import Score
from simulations.runs.runs import Plan
from simulations.studies.scoreboard.entries import Setting

Part = TypeVar("Part")
SIZE, RUNS, BOUNDED = "size", "runs", "bounded"
PEER_RUNS = "peer-runs"
"""Kept beside our own in one file, and known by less code."""
LIBRARIES = ("numba", "numpy", "scipy")
RUN_ROOMS = (
    "autoscaler/core",
    "autoscaler/errors.py",
    "simulations/agenda.py",
    "simulations/rng.py",
    "simulations/serving",
    "simulations/traces",
    "simulations/world",
    "simulations/peers",
    "simulations/replay",
    "simulations/results/scorecard.py",
)
"""What a run passes through, its score included."""
CORE_OF_PEERS = (
    "autoscaler/core/contract/commands.py",
    "autoscaler/core/contract/scores.py",
    "autoscaler/core/contract/spec.py",
    "autoscaler/core/contract/state.py",
    "autoscaler/core/hpa.py",
    "autoscaler/core/scores",
    "autoscaler/core/supply/deletion_order.py",
)
"""Of the core, what the runs of peers, schedules and bounds pass through."""
ONLY_OURS = ("simulations/replay/engine_loop.py", "simulations/replay/observation.py")
"""Of the replay, what only our own runs pass through."""
CHOICE = ("simulations/peers/axes.py", "simulations/peers/rules/registry.py")
"""What says which runs are made, and not how: a run is known by its peer's class and its parameters."""
SCORE_ROOMS = ("simulations/bounds", "simulations/results", "simulations/runs")
"""What holds scores against the bounds: a better bound needs no run anew."""
SAID = ("why", "remark", "replicas", "use", "policies", "sweep", "seeds")
"""Of an entry: what no single run depends on, or (`replicas`) depends on through the load test alone."""


def code_digests() -> Mapping[str, str]:
    """Of each part of an entry: a digest of the code that makes it."""
    run, score = code_digest(RUN_ROOMS), code_digest(RUN_ROOMS + SCORE_ROOMS + CHOICE)
    peers = code_digest(peers_rooms(RUN_ROOMS), without=ONLY_OURS)
    return {SIZE: peers, RUNS: run, PEER_RUNS: peers, BOUNDED: score}


def code_digest(rooms: tuple[str, ...], *, without: tuple[str, ...] = ()) -> str:
    """Digest of Python, the libraries, and the code of these rooms as it is now."""
    digest = hashlib.sha256(sys.version.encode())
    for library in LIBRARIES:
        digest.update(f"{library} {importlib.metadata.version(library)}\n".encode())
    digest.update(sources_digest(rooms, without=without).encode())
    return digest.hexdigest()


def peers_digest() -> str:
    """Digest of the code that makes all of a board but our own rows: the same on every machine."""
    return sources_digest(peers_rooms(RUN_ROOMS + SCORE_ROOMS + CHOICE), without=ONLY_OURS)


def peers_rooms(rooms: tuple[str, ...]) -> tuple[str, ...]:
    """The rooms, with no more of the core than peers use: another rule of ours makes none of their runs stale."""
    return (*CORE_OF_PEERS, *[room for room in rooms if room != "autoscaler/core"])


def sources_digest(
    rooms: tuple[str, ...] = RUN_ROOMS + SCORE_ROOMS + CHOICE, *, without: tuple[str, ...] = ()
) -> str:
    """Digest of the code of these rooms alone: the same on every machine."""
    digest = hashlib.sha256()
    if without:
        # the two numbers of ours that the work which a trace offers is counted with
        digest.update(f"{TUNING.backlog_ratio} {TUNING.backlog_replicas}".encode())
    for name, file in code_files(rooms):
        if name in without:
            continue
        stat = file.stat()
        digest.update(name.encode() + b"\0" + _file_digest(file, stat.st_mtime_ns, stat.st_size))
    return digest.hexdigest()


@functools.lru_cache(maxsize=4096)
def _file_digest(file: Path, changed_ns: int, size: int) -> bytes:
    """Of its bytes; read again only where it was written since, as it is asked for after every run."""
    del changed_ns, size
    return hashlib.sha256(file.read_bytes()).digest()


def code_files(rooms: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Every source file of these rooms, with its name in the project."""
    roots = {package.__name__: Path(package.__path__[0]) for package in (autoscaler, simulations)}
    for room in rooms:
        package, _, inside = room.partition("/")
        place = roots[package] / inside
        for file in [place] if place.is_file() else sorted(place.rglob("*.py")):
            name = f"{package}/{file.relative_to(roots[package]).as_posix()}"
            if name == room or name not in CHOICE:
                yield name, file


def entry_digest(setting: Setting, *, code: str = "") -> str:
    """Digest of all that a run of the entry depends on, but for its plan."""
    entry = msgspec.to_builtins(setting.entry)
    kept = {name: value for name, value in entry.items() if name not in (*SAID, "name")}
    digest = hashlib.sha256(code.encode())
    digest.update(msgspec.json.encode(kept, order="sorted"))
    digest.update(str(setting.entry.tested_replicas).encode())
    digest.update(repr(setting.conditions.objective).encode())
    for file in setting.files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


class EntryCache:
    """The finished runs and parts of one entry."""

    def __init__(
        self,
        folder: Path,
        setting: Setting,
        *,
        code: Callable[[], Mapping[str, str]] = code_digests,
    ) -> None:
        """Know the entry, and the code as it is now: a part that two versions made is not kept."""
        self._folder = folder
        self._setting = setting
        self._digests = code
        self._code = code()
        self._runs: dict[str, Score] | None = None

    def _file(self, part: str) -> Path:
        ending = "jsonl" if part == RUNS else "json"
        return self._folder / f"{self._setting.entry.name}.{part}.{ending}"

    def _key(self, part: str) -> str:
        return entry_digest(self._setting, code=f"{part} {self._code[part]}")[:32]

    def read(self, part: str, kind: type[Part]) -> Part | None:
        """The part; None: there is none, or it is of other code, another entry or another shape."""
        try:
            kept = msgspec.json.decode(self._file(part).read_bytes())
            if not isinstance(kept, dict) or kept.get("key") != self._key(part):
                return None
            return msgspec.convert(kept["part"], kind)
        except (OSError, KeyError, msgspec.DecodeError):
            return None

    def write(self, part: str, content: Any) -> None:
        """Keep the part; a file is never half written.

        Raises:
            SettingsError: The code changed since the run began, or the folder cannot be written.
        """
        self._check(part)
        made = self._file(part).with_suffix(".part")
        text = msgspec.json.encode({"key": self._key(part), "part": content})
        with _Writable(self._folder):
            made.write_bytes(text)
            made.replace(self._file(part))

    def run(self, plan: Plan) -> Score | None:
        """The score of a run that was finished before; None: it was not."""
        if self._runs is None:
            self._runs = dict(self._kept_runs())
        return self._runs.get(_run_key(plan))

    def runs_kept(self) -> int:
        """How many runs are kept that today's code would make alike."""
        return len(dict(self._kept_runs()))

    def keep(self, plan: Plan, score: Score) -> None:
        """Keep a finished run at once; raises as `write` does."""
        part = _part(plan)
        self._check(part)
        self.run(plan)
        assert self._runs is not None
        key = _run_key(plan)
        self._runs[key] = score
        line = msgspec.json.encode({"key": self._key(part), "run": key, "score": score})
        with _Writable(self._folder), self._file(RUNS).open("ab") as file:
            file.write(line + b"\n")

    def forget(self) -> None:
        """Delete all of it."""
        for part in self._code:
            self._file(part).unlink(missing_ok=True)
        self._runs = None

    def _kept_runs(self) -> Iterator[tuple[str, Score]]:
        try:
            lines = self._file(RUNS).read_bytes().splitlines()
        except OSError:
            return
        keys = {self._key(RUNS), self._key(PEER_RUNS)}
        for line in lines:
            try:
                kept = msgspec.json.decode(line)
                if isinstance(kept, dict) and kept.get("key") in keys:
                    yield kept["run"], msgspec.convert(kept["score"], Score)
            except (KeyError, msgspec.DecodeError):
                continue  # the last line of a run that was stopped, or of another shape

    def _check(self, part: str) -> None:
        if self._digests()[part] != self._code[part]:
            raise SettingsError(
                f"entry {self._setting.entry.name!r}: the code of the replay changed while it ran; what "
                "it made since is not kept: start again when the code rests, or from a copy of it"
            )


class _Writable:
    """Makes the folder; what cannot be written is said as a mistake of the command line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._failure(error) from error

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> SettingsError:
        return SettingsError(
            f"--cache {self._folder}: {error.strerror or error}; name a folder that can be written"
        )


def _part(plan: Plan) -> str:
    """Whether the engine decides in it."""
    return RUNS if plan.schedule is None and plan.policy in ENGINE_POLICIES else PEER_RUNS


def _run_key(plan: Plan) -> str:
    """What identifies a run among those of its entry; settings are names, parameters are what is run."""
    parameters = ",".join(f"{name}={value!r}" for name, value in sorted(plan.parameters.items()))
    made = KINDS[plan.policy].make.__name__ if plan.policy in KINDS else "engine"
    if plan.schedule is not None:
        made, parameters = "schedule", plan.schedule.digest
    return f"{plan.policy} {made} {plan.seed} {parameters}"
