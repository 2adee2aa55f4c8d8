"""One HTTP read within a deadline: its body, or a `SourceError` that says how it ended.

Who calls owns the session. Nothing is retried here: the next period is the retry, and a value that is
a period old is better than a period that takes two.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

import aiohttp
from yarl import URL

from autoscaler.errors import SourceError
from autoscaler.sources.pages.outcome import ReadOutcome

BODY_BYTES_MAX = 16 * 2**20
"""Of one answer, decompressed. A vLLM page has 50 kB; a Ray node of fifty engines some 3 MB."""
_SHOWN_CHARACTERS = 120
"""Of an error's body, in a message."""


async def fetch_page(session: aiohttp.ClientSession, url: URL, *, deadline_s: float) -> bytes:
    """Read a metrics page.

    Redirects are not followed: a pod must not send us to another address.

    Raises:
        SourceError: With the outcome that names how it ended.
    """
    # Text is asked for by name: engines that can speak OpenMetrics would send exemplars otherwise.
    headers = {"Accept": "text/plain;version=0.0.4, text/plain;q=0.5"}
    return await fetch(session, url, deadline_s=deadline_s, headers=headers)


async def fetch(
    session: aiohttp.ClientSession,
    url: URL,
    *,
    deadline_s: float,
    headers: Mapping[str, str],
    form: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """Get a body, at most BODY_BYTES_MAX of it; with a form post that, as Prometheus takes long queries.

    Prometheus says what is wrong with a query in the body of a 400 or 422: after a form that body is
    an answer too, for the caller to read.

    Raises:
        SourceError: With the outcome that names how it ended.
    """
    try:
        async with (
            asyncio.timeout(deadline_s),
            session.request(
                "POST" if form else "GET",
                url,
                data=form,
                headers=headers,
                ssl=tls if tls is not None else True,
                allow_redirects=False,
            ) as response,
        ):
            body = await _body(response)
    except TimeoutError as error:
        message = f"{url} did not answer within {deadline_s:g} s"
        raise SourceError(message, outcome=ReadOutcome.TIMED_OUT) from error
    except aiohttp.ClientPayloadError as error:
        message = f"{url} stopped in the middle of its answer: {error}"
        raise SourceError(message, outcome=ReadOutcome.TRUNCATED) from error
    except (aiohttp.ClientError, OSError) as error:
        message = f"{url} could not be read: {str(error) or type(error).__name__}"
        raise SourceError(message, outcome=ReadOutcome.REFUSED) from error
    if response.status != 200 and not (form and response.status in {400, 422}):
        shown = " ".join(body.decode(errors="replace").split())[:_SHOWN_CHARACTERS]
        message = f"{url} answered {response.status} {response.reason}: {shown!r}"
        raise SourceError(message, outcome=ReadOutcome.STATUS)
    return body


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """Read a body to its end.

    An answer whose end is only that the connection closed may have been cut anywhere. A page and a
    JSON answer both show it: the first ends in a newline, the second does not parse.
    """
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            message = f"{response.url} sends more than {BODY_BYTES_MAX} bytes"
            raise SourceError(message, outcome=ReadOutcome.TOO_LARGE)
    if response.status != 200:
        return bytes(body)
    framed = response.content_length is not None or "Transfer-Encoding" in response.headers
    if not framed and response.method == "GET" and not body.endswith(b"\n"):
        message = f"{response.url} closed in the middle of a line, after {len(body)} bytes"
        raise SourceError(message, outcome=ReadOutcome.TRUNCATED)
    return bytes(body)
