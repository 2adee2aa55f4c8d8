"""One HTTP read within a deadline: its body, or a `SourceError` that says how it ended.

Who calls owns the session. Nothing is retried here: the next period is the retry, and a value that is
a period old is better than a period that takes two.

What answers may be hostile. It is asked for no compression and given none, led to no other address,
and cut off where it sends more than its kind of answer has.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from autoscaler.errors import SourceError
from autoscaler.foreign_text import quoted, shown
from autoscaler.sources.pages.budget import ByteBudget
from autoscaler.sources.pages.lateness import Lateness
from autoscaler.sources.pages.limits import BEGINNING_BYTES, EARLY_BYTES
from autoscaler.sources.pages.outcome import ReadOutcome

_SHOWN_CHARACTERS = 120
"""Of an error's body, in a message."""
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


@contextlib.asynccontextmanager
async def fetched(
    session: aiohttp.ClientSession,
    request: ReadRequest,
    *,
    budget: ByteBudget,
    lateness: Lateness,
) -> AsyncIterator[bytes]:
    """Get a body, which counts against the budget until the context ends.

    The deadline does not count how late our own event loop is: a page that came in time is read.

    Prometheus says what is wrong with a query in the body of a 400 or 422: after a form that body is
    an answer too, for the caller to read. Redirects are not followed: nobody sends us to another address.

    Raises:
        SourceError: With the outcome that names how it ended.
    """
    async with contextlib.AsyncExitStack() as held:
        yield await _body_of(session, request, budget=budget, lateness=lateness, held=held)


async def _body_of(
    session: aiohttp.ClientSession,
    request: ReadRequest,
    *,
    budget: ByteBudget,
    lateness: Lateness,
    held: contextlib.AsyncExitStack,
) -> bytes:
    """Ask, and put how it ended into the words of ReadOutcome."""
    try:
        async with (
            lateness.deadline(request.deadline_s),
            session.request(
                "POST" if request.form else "GET",
                request.url,
                data=request.form,
                headers={
                    **(request.headers or {}),
                    "Accept": request.accept,
                    "Accept-Encoding": "identity",
                },
                ssl=request.tls if request.tls is not None else True,
                server_hostname=request.server_name,
                allow_redirects=False,
            ) as response,
        ):
            if response.status != 200 and not (request.form and response.status in {400, 422}):
                await _refuse_status(response, url=_shown(request))
            return await _body(response, request, budget=budget, held=held)
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


async def _refuse_status(response: aiohttp.ClientResponse, *, url: str) -> None:
    """Refuse a status, with what the beginning of its body says."""
    beginning = await response.content.read(BEGINNING_BYTES)
    said = quoted(beginning, limit=_SHOWN_CHARACTERS)
    message = f"{url} answered {response.status} {shown(response.reason or '', limit=40)}: {said}"
    raise SourceError(message, outcome=ReadOutcome.STATUS)


async def _body(
    response: aiohttp.ClientResponse,
    request: ReadRequest,
    *,
    budget: ByteBudget,
    held: contextlib.AsyncExitStack,
) -> bytes:
    """Read a body to its end, at most `bytes_max` of it.

    An answer whose end is only that the connection closed may have been cut anywhere. A page and a
    JSON answer both show it: the first ends in a newline, the second does not parse.
    """
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() not in ("", "identity"):
        message = f"{_shown(request)} answers compressed ({shown(encoding, limit=20)}), which was not asked for"
        raise SourceError(message, outcome=ReadOutcome.NOT_METRICS)
    if (response.content_length or 0) > request.bytes_max:
        raise _too_large(request)
    body = bytearray()
    async for chunk in response.content.iter_any():
        if len(body) <= EARLY_BYTES < len(body) + len(chunk):
            await held.enter_async_context(budget.place(request.owner, request.bytes_max))
        body += chunk
        if len(body) > request.bytes_max:
            raise _too_large(request)
    framed = response.content_length is not None or "Transfer-Encoding" in response.headers
    if not framed and response.method == "GET" and not body.endswith(b"\n"):
        message = f"{_shown(request)} closed in the middle of a line, after {len(body)} bytes"
        raise SourceError(message, outcome=ReadOutcome.TRUNCATED)
    return bytes(body)


def _shown(request: ReadRequest) -> str:
    """Its address, for people; made only where there is something to say."""
    return shown(str(request.url))


def _too_large(request: ReadRequest) -> SourceError:
    message = (
        f"{_shown(request)} sends more than {request.bytes_max} bytes, more than such an answer has"
    )
    return SourceError(message, outcome=ReadOutcome.TOO_LARGE)
