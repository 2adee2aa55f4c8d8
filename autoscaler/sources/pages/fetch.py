"""One HTTP read within a deadline: its body, or a `SourceError` that says how it ended.

Who calls owns the session. Nothing is retried here: the next period is the retry, and a value that is
a period old is better than a period that takes two.

What answers may be hostile. It is asked for no compression and given none, led to no other address,
and cut off where it sends more than its kind of answer has.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import aiohttp
from yarl import URL

from autoscaler.errors import SourceError
from autoscaler.foreign_text import quoted, shown
from autoscaler.sources.pages.budget import ByteBudget
from autoscaler.sources.pages.exchange import Exchange, Get
from autoscaler.sources.pages.lateness import Lateness
from autoscaler.sources.pages.limits import BEGINNING_BYTES, EARLY_BYTES
from autoscaler.sources.pages.outcome import ReadOutcome

_SHOWN_CHARACTERS = 120
"""Of an error's body, in a message."""
Hold: TypeAlias = Callable[[], Awaitable[None]]
"""Wait for a place in the budget."""
_TEXT = "text/plain;version=0.0.4, text/plain;q=0.5"
"""By name: engines that can speak OpenMetrics would send exemplars otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest:
    """What is asked of whom, and how much it may answer."""

    url: URL
    bytes_max: int
    deadline_s: float
    owner: str
    """Whose share of the budget it is."""
    accept: str = _TEXT
    headers: Mapping[str, str] | None = None
    form: Mapping[str, str] | None = None
    """Posted, as Prometheus takes long queries; None: a GET."""
    tls: ssl.SSLContext | None = None
    """None: the system's authorities."""
    server_name: str | None = None
    """That its certificate must be of; None: the host of the URL."""


def fetched(
    session: aiohttp.ClientSession,
    request: ReadRequest,
    *,
    budget: ByteBudget,
    lateness: Lateness,
) -> FetchedBody:
    """Get a body, which counts against the budget until the context ends.

    The deadline does not count how late our own event loop is: a page that came in time is read.

    Prometheus says what is wrong with a query in the body of a 400 or 422: after a form that body is
    an answer too, for the caller to read. Redirects are not followed: nobody sends us to another address.

    Entering the context raises SourceError, with the outcome that names how it ended.
    """
    return FetchedBody(session, request, budget, lateness)


class FetchedBody:
    """A context that yields a body; see `fetched`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        request: ReadRequest,
        budget: ByteBudget,
        lateness: Lateness,
    ) -> None:
        self._session = session
        self._request = request
        self._budget = budget
        self._lateness = lateness
        self._place: contextlib.AbstractAsyncContextManager[None] | None = None
        """In the budget; None: it is small enough to need none."""

    async def __aenter__(self) -> bytes:
        """Ask, and wait until it is there."""
        try:
            return await _body_of(
                self._session, self._request, lateness=self._lateness, hold=self._hold
            )
        except BaseException:
            await self._give_back()
            raise

    async def __aexit__(self, *_: object) -> None:
        """It is not needed any more."""
        await self._give_back()

    async def _hold(self) -> None:
        """Wait for a place in the budget."""
        place = self._budget.place(self._request.owner, self._request.bytes_max)
        await place.__aenter__()
        self._place = place

    async def _give_back(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            await place.__aexit__(None, None, None)


async def _body_of(
    session: aiohttp.ClientSession, request: ReadRequest, *, lateness: Lateness, hold: Hold
) -> bytes:
    """Ask, and put how it ended into the words of ReadOutcome."""
    try:
        async with lateness.deadline(request.deadline_s), _asked(session, request) as answer:
            if answer.status != 200 and not (request.form and answer.status in {400, 422}):
                await _refuse_status(answer, url=_shown(request))
            return await _body(answer, request, hold=hold)
    except SourceError:
        raise
    except TimeoutError as error:
        message = f"{_shown(request)} did not answer within {request.deadline_s:g} s"
        raise SourceError(message, outcome=ReadOutcome.TIMED_OUT) from error
    except aiohttp.ClientPayloadError as error:
        message = f"{_shown(request)} stopped in the middle of its answer: {shown(error)}"
        raise SourceError(message, outcome=ReadOutcome.TRUNCATED) from error
    except Exception as error:  # what an HTTP client meets in hostile bytes is no closed list
        message = f"{_shown(request)} could not be read: {type(error).__name__}: {shown(error)}"
        raise SourceError(message, outcome=ReadOutcome.REFUSED) from error


def _asked(
    session: aiohttp.ClientSession, request: ReadRequest
) -> contextlib.AbstractAsyncContextManager[Exchange]:
    """Ask: a page by itself, a form through the session."""
    connector = session.connector
    assert connector is not None, "the session is open"
    if request.form:
        return _posted(session, request)
    return Get(
        connector,
        request.url,
        headers=_headers(request),
        tls=request.tls,
        server_name=request.server_name,
    )


@contextlib.asynccontextmanager
async def _posted(session: aiohttp.ClientSession, request: ReadRequest) -> AsyncIterator[Exchange]:
    async with session.post(
        request.url,
        data=request.form,
        headers=_headers(request),
        ssl=request.tls if request.tls is not None else True,
        server_hostname=request.server_name,
        allow_redirects=False,
    ) as response:
        yield Exchange(response.status, response.reason or "", response.headers, response.content)


def _headers(request: ReadRequest) -> tuple[tuple[str, str], ...]:
    return (
        *(request.headers or {}).items(),
        ("Accept", request.accept),
        ("Accept-Encoding", "identity"),
    )


async def _refuse_status(answer: Exchange, *, url: str) -> None:
    """Refuse a status, with what the beginning of its body says."""
    beginning = await answer.content.read(BEGINNING_BYTES)
    said = quoted(beginning, limit=_SHOWN_CHARACTERS)
    message = f"{url} answered {answer.status} {shown(answer.reason, limit=40)}: {said}"
    raise SourceError(message, outcome=ReadOutcome.STATUS)


async def _body(answer: Exchange, request: ReadRequest, *, hold: Hold) -> bytes:
    """Read a body to its end, at most `bytes_max` of it.

    An answer whose end is only that the connection closed may have been cut anywhere. A page and a
    JSON answer both show it: the first ends in a newline, the second does not parse.
    """
    headers = answer.headers
    encoding = headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() not in ("", "identity"):
        message = f"{_shown(request)} answers compressed ({shown(encoding, limit=20)}), which was not asked for"
        raise SourceError(message, outcome=ReadOutcome.NOT_METRICS)
    length = headers.get("Content-Length")
    if length is not None and int(length) > request.bytes_max:
        raise _too_large(request)
    if length is not None and int(length) <= EARLY_BYTES:
        body = await _whole(answer.content)  # nearly always: woken once, and not for each part
    else:
        body = await _by_and_by(answer.content, request, hold=hold)
    framed = length is not None or "Transfer-Encoding" in headers
    if not framed and not request.form and not body.endswith(b"\n"):
        message = f"{_shown(request)} closed in the middle of a line, after {len(body)} bytes"
        raise SourceError(message, outcome=ReadOutcome.TRUNCATED)
    return body


async def _whole(content: aiohttp.StreamReader) -> bytes:
    """Wait for all of a body that has said how long it is."""
    error = content.exception()
    if error is not None:
        raise error
    await content.wait_eof()
    return content.read_nowait()


async def _by_and_by(content: aiohttp.StreamReader, request: ReadRequest, *, hold: Hold) -> bytes:
    """Take a body as it comes, with a place in the budget from where it is long."""
    parts: list[bytes] = []
    size = 0
    while part := await content.readany():
        if size <= EARLY_BYTES < size + len(part):
            await hold()
        parts.append(part)
        size += len(part)
        if size > request.bytes_max:
            raise _too_large(request)
    return b"".join(parts)


def _shown(request: ReadRequest) -> str:
    """Its address, for people; made only where there is something to say."""
    return shown(str(request.url))


def _too_large(request: ReadRequest) -> SourceError:
    message = (
        f"{_shown(request)} sends more than {request.bytes_max} bytes, more than such an answer has"
    )
    return SourceError(message, outcome=ReadOutcome.TOO_LARGE)
