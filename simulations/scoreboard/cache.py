"""Finished parts of a board, on disk: a run that was stopped goes on where it was.

A part is known by what it depends on: the code that makes a run, the libraries under it, the entry and
its files. Anything else of that name is stale, and is not read.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

import autoscaler
import simulations
from autoscaler.errors import SettingsError
from simulations.scoreboard.entries import Setting

Part = TypeVar("Part")
LIBRARIES = ("numba", "numpy", "scipy")
BESIDE = (
    "calibrate",
    "capture",
    "conformance",
    "demo",
    "fidelity",
    "local_cluster",
    "report",
    "scoreboard",
    "vllm_server",
)
"""Rooms of the simulations that no run passes through."""


def code_files() -> Iterator[tuple[str, Path]]:
    """Every source file that a run may depend on, with its name in the project."""
    for package, rooms in ((autoscaler, ("core", "errors.py")), (simulations, None)):
        root = Path(package.__path__[0])
        for file in sorted(root.rglob("*.py")):
            room = file.relative_to(root).parts[0]
            if room in rooms if rooms is not None else room not in BESIDE:
                yield f"{root.name}/{file.relative_to(root).as_posix()}", file


def code_digest() -> str:
    """Of the code that makes runs, and of the libraries and the Python under it."""
    digest = hashlib.sha256(sys.version.encode())
    for library in LIBRARIES:
        digest.update(f"{library} {importlib.metadata.version(library)}\n".encode())
    for name, file in code_files():
        digest.update(name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def entry_digest(setting: Setting, *, code: str) -> str:
    """Of all that the entry's outcome depends on; what is only said about it is left out."""
    entry = msgspec.structs.replace(setting.entry, why="", remark="", replicas=None)
    digest = hashlib.sha256(code.encode())
    digest.update(msgspec.json.encode(entry))
    digest.update(repr(setting.conditions.objective).encode())
    for file in setting.files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


class Cache:
    """The finished parts of one entry."""

    def __init__(
        self, folder: Path, setting: Setting, *, code: str, digest_now: Callable[[], str]
    ) -> None:
        """Know the entry.

        Args:
            folder: Where parts lie.
            setting: The entry.
            code: Digest of the code as the run began.
            digest_now: Of the code as it is; a part that was made by two versions is not kept.
        """
        self._folder = folder
        self._name = setting.entry.name
        self._key = entry_digest(setting, code=code)[:32]
        self._code = code
        self._digest_now = digest_now

    def _file(self, part: str) -> Path:
        return self._folder / f"{self._name}.{part}.json"

    def read(self, part: str, kind: type[Part]) -> Part | None:
        """The part; None: there is none, or it is of other code, another entry or another shape."""
        try:
            kept = msgspec.json.decode(self._file(part).read_bytes())
            if not isinstance(kept, dict) or kept.get("key") != self._key:
                return None
            return msgspec.convert(kept["part"], kind)
        except (OSError, KeyError, msgspec.DecodeError):
            return None

    def write(self, part: str, content: Any) -> None:
        """Keep the part, whole or not at all.

        Raises:
            SettingsError: The code changed since the run began, or the folder cannot be written.
        """
        if self._digest_now() != self._code:
            raise SettingsError(
                f"entry {self._name!r}: the code of the replay changed while it ran; nothing of it "
                "is kept: start again when the code rests, or from a copy of it"
            )
        file = self._file(part)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            made = file.with_suffix(".part")
            made.write_bytes(msgspec.json.encode({"key": self._key, "part": content}))
            made.replace(file)
        except OSError as error:
            raise SettingsError(
                f"--cache {self._folder}: {error.strerror or error}; name a folder that can be written"
            ) from error

    def forget(self, parts: Sequence[str]) -> None:
        """Take these parts away."""
        for part in parts:
            self._file(part).unlink(missing_ok=True)
