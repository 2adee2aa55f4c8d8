"""Asks one Prometheus."""

from __future__ import annotations

import asyncio
import ssl
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from yarl import URL

from autoscaler.errors import SettingsError, SourceError
from autoscaler.foreign_text import shown
from autoscaler.settings import PrometheusSettings
from autoscaler.settings.servers import below
from autoscaler.sources.pages.fetch import ReadRequest
from autoscaler.sources.pages.limits import ANSWER_BYTES_MAX
from autoscaler.sources.pages.outcome import ReadOutcome
from autoscaler.sources.pages.reader import BodyReader
from autoscaler.sources.pages.rows import SeriesRow
from autoscaler.sources.prometheus.answer import Answer, QueryRefusedError, answer_steps
from autoscaler.sources.prometheus.expressions import (
    label_matchers,
    raw_samples,
    raw_samples_of,
)
from autoscaler.sources.prometheus.range_answer import QueryGrid, RangeAnswer, range_steps

_SECRET_BYTES_MAX = 64 * 2**10
_IN_VAIN_MAX = 10
"""The other way is tried on the first of so many rounds in vain."""
_NAMES_AT_ONCE = 4
"""Queries under way where a server takes exact names alone."""


@dataclass(slots=True)
class PrometheusClient:
    """Asks one server."""

    server: PrometheusSettings
    """Its token file is read again for every query, as such tokens are rotated; its CA file whenever it
    changed."""
    takes_patterns: bool | None = None
    """Whether it answers where names are asked for by a pattern; None: not known yet."""
    _in_vain: int = 0
    """Rounds in which a pattern was refused or found nothing."""
    _trusted: tuple[int, ssl.SSLContext] | None = None
    """The CA file as last loaded, with its time; None: not loaded yet."""

    async def series(
        self,
        reader: BodyReader,
        names: Sequence[str],
        *,
        window_s: float,
        matchers: Sequence[str],
        deadline_s: float,
        owner: str,
    ) -> Answer:
        """Return the series of these names, in the way that the server takes.

        A server that refuses a pattern for names, or finds nothing by it, is asked for them one by one;
        which way finds something is kept to.

        Raises:
            SourceError: No answer, or one that is an error or not Prometheus's.
        """
        matchers = [*matchers, *label_matchers(self.server.matchers)]
        nothing: Answer | None = None
        refused: QueryRefusedError | None = None
        if self.takes_patterns is not False:
            expression = raw_samples(names, window_s=window_s, matchers=matchers)
            try:
                nothing = await self.query(reader, expression, deadline_s=deadline_s, owner=owner)
            except QueryRefusedError as error:
                refused = error
            if nothing is not None and (nothing.by_name or self.takes_patterns):
                self.takes_patterns = True
                return nothing
            self._in_vain += 1
            if self._in_vain % _IN_VAIN_MAX != 1:  # not thirty queries a round, for ever
                return self._what_came(nothing, refused)
        expressions = [raw_samples_of(name, window_s=window_s, matchers=matchers) for name in names]
        try:
            answer = await self._one_by_one(reader, expressions, deadline_s=deadline_s, owner=owner)
        except SourceError:
            if refused is not None or nothing is not None:
                return self._what_came(nothing, refused)
            raise
        if answer.by_name:
            self.takes_patterns = False
        return answer

    @staticmethod
    def _what_came(nothing: Answer | None, refused: QueryRefusedError | None) -> Answer:
        """Return what the pattern found, or raise why it was refused."""
        if nothing is None:
            assert refused is not None
            raise refused
        return nothing

    async def query(
        self, reader: BodyReader, expression: str, *, deadline_s: float, owner: str
    ) -> Answer:
        """Run one instant query whose result is raw samples (`selector[60s]`).

        Raises:
            SourceError: No answer, or one that is an error or not Prometheus's.
        """
        request = self._request("query", {"query": expression}, deadline_s=deadline_s, owner=owner)
        return await reader.read(request, answer_steps)

    async def query_range(
        self,
        reader: BodyReader,
        expression: str,
        *,
        grid: QueryGrid,
        deadline_s: float,
        owner: str,
    ) -> RangeAnswer:
        """Run one query at each moment of a grid.

        Raises:
            SourceError: No answer, or one that is an error or not Prometheus's.
        """
        form = {
            "query": expression,
            "start": str(grid.begin_at),
            "end": str(grid.begin_at + (grid.points - 1) * grid.step_s),
            "step": str(grid.step_s),
        }
        request = self._request("query_range", form, deadline_s=deadline_s, owner=owner)
        return await reader.read(request, partial(range_steps, grid=grid))

    def _request(
        self, path: str, form: dict[str, str], *, deadline_s: float, owner: str
    ) -> ReadRequest:
        url = URL(self.server.server_address)
        return ReadRequest(
            url=url.with_path(f"{url.path.rstrip('/')}/api/v1/{path}"),
            bytes_max=ANSWER_BYTES_MAX,
            deadline_s=deadline_s,
            owner=owner,
            accept="application/json",
            headers=self._headers(),
            form={**form, "timeout": f"{max(1, round(deadline_s * 1000))}ms"},
            tls=self._context(),
        )

    async def _one_by_one(
        self, reader: BodyReader, expressions: Sequence[str], *, deadline_s: float, owner: str
    ) -> Answer:
        """Run several queries within one deadline, and put their answers together."""
        loop = asyncio.get_running_loop()
        until = loop.time() + deadline_s
        places = asyncio.Semaphore(_NAMES_AT_ONCE)

        async def one(expression: str) -> Answer | SourceError:
            async with places:
                left_s = max(0.001, until - loop.time())
                try:
                    return await self.query(reader, expression, deadline_s=left_s, owner=owner)
                except SourceError as error:
                    return error

        found: dict[str, list[SeriesRow]] = {}
        warnings: dict[str, None] = {}
        for answer in await asyncio.gather(*map(one, expressions)):
            if isinstance(answer, SourceError):
                raise answer
            found |= answer.by_name
            warnings |= dict.fromkeys(answer.warnings)
        return Answer(by_name=found, warnings=tuple(warnings))

    def _headers(self) -> dict[str, str]:
        """Return the extra headers and the token as its file has it now."""
        headers = dict(self.server.headers)
        if self.server.token_file is not None:
            headers["Authorization"] = f"Bearer {self._token(self.server.token_file)}"
        return headers

    def _token(self, file: Path) -> str:
        """Read the token, wherever links lead now, but only below the one folder."""
        try:
            path = below(self.server.credentials, file)
            token = _beginning_of_file(path).decode("ascii").strip()
        except (OSError, SettingsError) as error:
            message = f"the bearer token cannot be read: {shown(error)}"
            raise SourceError(message, outcome=ReadOutcome.REFUSED) from error
        except UnicodeDecodeError as error:
            message = f"the token file {file} holds something else than a token"
            raise SourceError(message, outcome=ReadOutcome.REFUSED) from error
        if not token or not token.isprintable() or " " in token:
            message = f"the token file {file} does not hold one line with a token"
            raise SourceError(message, outcome=ReadOutcome.REFUSED)
        return token

    def _context(self) -> ssl.SSLContext | None:
        """Return what to trust; None is the system's authorities."""
        path = self.server.ca_file
        if path is None:
            return None
        try:
            mtime_ns = path.stat().st_mtime_ns
            if self._trusted is None or self._trusted[0] != mtime_ns:
                self._trusted = (mtime_ns, ssl.create_default_context(cafile=path))
        except (OSError, ValueError) as error:  # an SSLError is the first: no certificate in it
            message = f"the CA file {path} cannot be loaded: {shown(error)}"
            raise SourceError(message, outcome=ReadOutcome.REFUSED) from error
        return self._trusted[1]


def _beginning_of_file(path: Path) -> bytes:
    """Read as much of a file as a token may have; a pipe would hold us up for ever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(f"{path} is no file")
    with path.open("rb") as file:
        return file.read(_SECRET_BYTES_MAX)
