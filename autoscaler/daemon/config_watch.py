"""Watches the configuration on disk, and reads it again when it has changed.

Polled, because that works for every file system and for a ConfigMap, whose files are links that are
turned to a new folder. A document with a problem is not used: its model stays as it was, the others go
on, and every problem is logged once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path

import structlog

from autoscaler.settings import Config, read_config
from autoscaler.settings.documents import files_of

POLL_S = 3.0
_LOGGED_MAX = 100
"""Problems in one line of the log; /debug/models and `autoscaler check` have all."""

_log = structlog.get_logger(__name__)

_Fingerprint = tuple[tuple[str, int, int, int], ...]


class ConfigWatch:
    """One configuration."""

    def __init__(
        self,
        path: Path,
        *,
        config: Config,
        servers: Collection[str] = (),
        changed: Callable[[Config], None],
        problems: Callable[[tuple[str, ...]], None],
        poll_s: float = POLL_S,
    ) -> None:
        """Watch.

        Args:
            path: A file or a folder.
            config: What was read from it and is in use.
            servers: Names of the Prometheus servers that documents may name.
            changed: Called with a new one, when what is in use has changed.
            problems: Called after each reading, and at once if there are any, with a line for each.
            poll_s: Between two looks.
        """
        self._path = path
        self._config = config
        self._servers = servers
        self._changed = changed
        self._problems = problems
        self._poll_s = poll_s
        self._fingerprint = _fingerprint_of(path)
        self._logged: tuple[str, ...] = ()
        if config.problems:
            self._tell(config)

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
        config = await asyncio.to_thread(
            read_config, self._path, last=self._config, servers=self._servers
        )
        self._tell(config)
        before, self._config = self._config, config
        if (config.resources, config.complete) != (before.resources, before.complete):
            self._changed(config)

    def _tell(self, config: Config) -> None:
        lines = tuple(str(each) for each in config.problems)
        self._problems(lines)
        if lines and lines != self._logged:
            _log.error("spec.rejected", problems=lines[:_LOGGED_MAX], more=len(lines[_LOGGED_MAX:]))
        self._logged = lines


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
