"""Finished parts of a board, on disk: a run that was stopped goes on where it was.

A part is known by what it depends on: the code that makes a run, the libraries under it, the entry and
its files. Anything else of that name is stale: it is not read, and the part that is made replaces it.
(`joblib.Memory` would know neither an entry's parts nor when the code changed while they were made.)
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

import autoscaler
import simulations
from autoscaler.errors import SettingsError
from simulations.studies.scoreboard.entries import Setting

Part = TypeVar("Part")
SIZE, SWEPT, PLAYED, BOUNDED = "size", "swept", "played", "bounded"
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
)
"""What a run passes through."""
SCORE_ROOMS = ("simulations/bounds", "simulations/results", "simulations/runs")
"""What scores it and holds it against the bounds: a better bound needs no run anew."""


def code_digests() -> Mapping[str, str]:
    """Of each part of an entry, in the order in which they are made: a digest of the code that makes it."""
    run, score = code_digest(RUN_ROOMS), code_digest(RUN_ROOMS + SCORE_ROOMS)
    return {SIZE: run, SWEPT: run, PLAYED: run, BOUNDED: score}


def code_digest(rooms: tuple[str, ...]) -> str:
    """Digest of Python, the libraries, and the code of these rooms as it is now."""
    digest = hashlib.sha256(sys.version.encode())
    for library in LIBRARIES:
        digest.update(f"{library} {importlib.metadata.version(library)}\n".encode())
    for name, file in code_files(rooms):
        digest.update(name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def code_files(rooms: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Every source file of these rooms, with its name in the project."""
    roots = {package.__name__: Path(package.__path__[0]) for package in (autoscaler, simulations)}
    for room in rooms:
        package, _, inside = room.partition("/")
        place = roots[package] / inside
        for file in [place] if place.is_file() else sorted(place.rglob("*.py")):
            yield f"{package}/{file.relative_to(roots[package]).as_posix()}", file


def entry_digest(setting: Setting, *, code: str) -> str:
    """Digest of all that the entry's outcome depends on; its descriptions are left out."""
    entry = msgspec.structs.replace(setting.entry, why="", remark="", replicas=None)
    digest = hashlib.sha256(code.encode())
    digest.update(msgspec.json.encode(entry))
    digest.update(repr(setting.conditions.objective).encode())
    for file in setting.files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


class EntryCache:
    """The finished parts of one entry."""

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

    def _file(self, part: str) -> Path:
        return self._folder / f"{self._setting.entry.name}.{part}.json"

    def _key(self, part: str) -> str:
        return entry_digest(self._setting, code=self._code[part])[:32]

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
        if self._digests()[part] != self._code[part]:
            raise SettingsError(
                f"entry {self._setting.entry.name!r}: the code of the replay changed while it ran; what "
                "it made since is not kept: start again when the code rests, or from a copy of it"
            )
        file = self._file(part)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            made = file.with_suffix(".part")
            made.write_bytes(msgspec.json.encode({"key": self._key(part), "part": content}))
            made.replace(file)
        except OSError as error:
            raise SettingsError(
                f"--cache {self._folder}: {error.strerror or error}; name a folder that can be written"
            ) from error

    def forget(self) -> None:
        """Delete all parts."""
        for part in self._code:
            self._file(part).unlink(missing_ok=True)
