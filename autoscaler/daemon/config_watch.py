"""Watches the configuration on disk, and reads it again when it has changed.

Polled, because that works for every file system and for a ConfigMap, whose files are links that are
turned to a new folder. A configuration with a problem is not used: the one before stays, and every
problem is logged once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from autoscaler.settings import Config, SpecError, load_config
from autoscaler.settings.documents import files_of

POLL_S = 3.0

_log = structlog.get_logger(__name__)

_Fingerprint = tuple[tuple[str, int, int, int], ...]


class ConfigWatch:
    """One configuration."""

    def __init__(
        self,
        path: Path,
        *,
        config: Config,
        changed: Callable[[Config], None],
        problems: Callable[[tuple[str, ...]], None],
        poll_s: float = POLL_S,
    ) -> None:
        """Watch.

        Args:
            path: A file or a folder.
            config: What was read from it and is in use.
            changed: Called with a new one that is valid.
            problems: Called after each reading, with a line for each problem.
            poll_s: Between two looks.
        """
        self._path = path
        self._config = config
        self._changed = changed
        self._problems = problems
        self._poll_s = poll_s
        self._fingerprint = _fingerprint_of(path)
        self._logged: tuple[str, ...] = ()

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await asyncio.sleep(self._poll_s)
            await self.look()

    async def look(self) -> None:
        """Look once. Reading happens in a thread: a disk that hangs must not hold up the loop."""
        found = await asyncio.to_thread(_fingerprint_of, self._path)
        if found == self._fingerprint:
            return
        self._fingerprint = found
        try:
            config = await asyncio.to_thread(load_config, self._path)
        except SpecError as error:
            lines = tuple(str(each) for each in error.problems)
            self._problems(lines)
            if lines != self._logged:
                self._logged = lines
                _log.error("spec.rejected", problems=lines)
            return
        self._logged = ()
        self._problems(())
        if config.resources != self._config.resources:
            self._config = config
            self._changed(config)


def _fingerprint_of(path: Path) -> _Fingerprint:
    """What tells one state of the files from another; a file that is missing is a state too."""
    prints = []
    try:
        for file in files_of(path):
            status = file.stat()
            prints.append((str(file), status.st_ino, status.st_size, status.st_mtime_ns))
    except OSError as error:
        prints.append((str(error.filename), 0, 0, 0))
    return tuple(prints)
