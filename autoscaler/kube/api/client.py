"""The one client: raw JSON over kubernetes_asyncio's shared ApiClient, with its traps closed.

What the library does not do, and this file does: a time-out on every call (its default is none at
all), statuses checked (a call that asks for the raw response raises nothing on 403 or 502), no redirect
followed (a list, or an eviction, would go to whoever is named), no more bytes taken than an answer may
have, bodies that are no JSON told apart from answers, and messages that say what was asked, of whom, what
came back and what to do. Deserialising into its models is never used: it costs ten times the parsing.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from types import NoneType
from typing import Any, Self

import aiohttp

from autoscaler import __version__
from autoscaler.errors import AutoscalerError
from autoscaler.foreign_text import shown
from autoscaler.kube.api.access import Access, load_access
from autoscaler.kube.api.fields import Json, finite, json_object
from autoscaler.kube.api.resources import NODES, ApiResource
from autoscaler.kube.api.transport import fit_transport

_METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}
"""HTTP method of each verb of RBAC that is used."""
MESSAGE_CHARACTERS_MAX = 500
"""Of a Status: what an admission policy has to say stands behind its own name and that of its binding."""
FIELD_MANAGER = "inference-autoscaler"
"""Whose a field is that we set, by managedFields."""
MERGE_PATCH = "application/merge-patch+json"
_NOT_ACCEPTED = "the API server does not accept what was sent; this is a bug, please report it"
_REMEDIES = {
    200: "something between here and the API server answers in its place",
    400: _NOT_ACCEPTED,
    404: "check that it exists and that its name and namespace are right",
    409: "somebody else was quicker; the next tick reads again",
    410: "what was known is too old; it is listed anew",
    422: _NOT_ACCEPTED,
}
"""By HTTP status, where no more need be known."""
_METADATA_ONLY = {
    "list": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
    "watch": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
}
"""What is accepted of a resource of which only the metadata is needed; a server that cannot sends all."""
ANSWER_BYTES_MAX = 8 * 1024 * 1024
"""Of one answer. An object has 1.5 MiB in etcd at most; who lists asks for fewer where that is too many."""
_REFUSAL_BYTES_MAX = 64 * 1024
RETRY_AFTER_S_MAX = 3600.0
CALL_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 10.0
_UNAUTHORIZED = 401
_CAUSES_MAX = 10


class ApiError(AutoscalerError):
    """One call that the API server refused, or did not answer."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        found: str = "",
        causes: tuple[str, ...] = (),
        retry_after_s: float | None = None,
        too_large: bool = False,
        unanswered: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status; 0: there was no answer."""
        self.found = found
        """What the server answered, without the text that we put around it."""
        self.causes = causes
        """Messages of the Status's causes, e.g. which disruption budget."""
        self.retry_after_s = retry_after_s
        self.too_large = too_large
        """Whether the answer had more bytes than one may have: less is to be asked for."""
        self.unanswered = unanswered
        """Whether there was nobody who answered, or not to the end."""


class _TooLargeError(Exception):
    """An answer of more bytes than are taken."""


class Client:
    """One connection pool to one API server. An asynchronous context manager."""

    def __init__(self, api: Any, access: Access) -> None:
        """Take an ApiClient that is configured; `connect` makes one."""
        self._api = api
        self._access = access

    @property
    def server(self) -> str:
        """Address of the API server."""
        return self._access.server

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def check(self) -> None:
        """Ask something small: raises ApiError where the server cannot be reached or refuses us."""
        await self.call("list", NODES, query={"limit": "1"})

    async def call(
        self,
        verb: str,
        resource: ApiResource,
        *,
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> Json:
        """One call with one JSON object as its answer; raises ApiError for anything else."""
        what = _call_text(verb, resource, namespace, name, subresource)
        path = resource.path(namespace=namespace, name=name, subresource=subresource)
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        headers = _headers(verb, resource, content_type)
        try:
            response = await self._send(verb, path, query, body, headers, timeout)
            async with response:
                raw = await _body(response)
        except TimeoutError as error:
            raise self._no_answer_error(what, f"no answer within {timeout_s:g} s") from error
        except _TooLargeError as error:
            raise ApiError(
                f"{what} at {self.server}: an answer of more than {ANSWER_BYTES_MAX} bytes; less is "
                "asked for, or it is not taken",
                status=response.status,
                found="an answer that is too large",
                too_large=True,
            ) from error
        except _NO_ANSWER as error:
            raise self._no_answer_error(what, shown(error)) from error
        answer = json_object(raw)
        if not _is_ok(response) or answer is None or not _is_answer(verb, answer):
            raise self._refusal_error(what, verb, resource, subresource, response, raw)
        return answer

    @contextlib.asynccontextmanager
    async def stream(
        self,
        resource: ApiResource,
        *,
        namespace: str = "",
        query: Mapping[str, str],
        silence_s: float,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Chunks of a watch as they come; raises ApiError when it breaks or says nothing too long.

        Args:
            resource: What is watched.
            namespace: Where; empty: everywhere.
            query: With `watch`, `resourceVersion` and `timeoutSeconds`.
            silence_s: Longest time without a byte; beyond it the connection is taken for dead.
        """
        what = _call_text("watch", resource, namespace, "", "")
        path = resource.path(namespace=namespace)
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=silence_s
        )
        try:
            headers = _headers("watch", resource, "application/json")
            response = await self._send("watch", path, query, None, headers, timeout)
            async with response:
                if not _is_ok(response):
                    raw = await _body(response)
                    raise self._refusal_error(what, "watch", resource, "", response, raw)
                yield response.content.iter_any()
        except TimeoutError as error:
            raise self._no_answer_error(what, f"nothing was said for {silence_s:g} s") from error
        except _TooLargeError as error:
            raise self._no_answer_error(what, "a refusal that does not end") from error
        except _NO_ANSWER as error:
            raise self._no_answer_error(what, shown(error)) from error

    async def _send(
        self,
        verb: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Json | None,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  aiohttp's own, not a deadline of ours
    ) -> aiohttp.ClientResponse:
        for again in (True, False):
            try:
                response: aiohttp.ClientResponse = await self._api.call_api(
                    path,
                    _METHODS[verb],
                    query_params=list((query or {}).items()),
                    header_params=dict(headers),
                    body=body,
                    auth_settings=["BearerToken"],
                    _preload_content=False,
                    _request_timeout=timeout,
                )
            except aiohttp.ClientSSLError:
                if not (again and await self._trust_anew()):
                    raise
                continue
            sent = response.request_info.headers.get("Authorization")
            rejected = response.status == _UNAUTHORIZED
            if not (again and rejected and await self._access.renew(sent)):
                break
            response.release()  # a token that ran out between two refreshes: once more with a new one
        return response

    async def _trust_anew(self) -> bool:
        """After a certificate that was refused: whether other certificates are trusted now."""
        if not await self._access.renew_authorities():
            return False
        old = self._api.rest_client
        try:
            new = type(old)(self._access.configuration)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            self._access.distrust(shown(error))
            return False
        self._api.rest_client = new
        fit_transport(new, loopback=self._access.loopback)
        await old.close()  # watches that are open begin anew, with what is trusted now
        return True

    def _no_answer_error(self, what: str, found: str) -> ApiError:
        problem = self._access.authorities_problem
        also = f"; its certificates cannot be read anew: {problem}" if problem else ""
        return ApiError(
            f"{what} at {self.server}: {found}{also}; check that the API server runs and can be reached "
            f"from here ({self._access.origin} says where it is)",
            found=found,
            unanswered=True,
        )

    def _refusal_error(
        self,
        what: str,
        verb: str,
        resource: ApiResource,
        subresource: str,
        response: aiohttp.ClientResponse,
        raw: bytes,
    ) -> ApiError:
        answer = json_object(raw) or {}
        details = answer.get("details")
        details = details if isinstance(details, dict) else {}
        message = answer.get("message")
        found = (
            shown(message, limit=MESSAGE_CHARACTERS_MAX)
            if message
            else _foreign_body(response, raw)
        )
        remedy = self._remedy(response.status, verb, resource, subresource)
        return ApiError(
            f"{what} at {self.server}: {response.status} {found}; {remedy}",
            status=response.status,
            found=found,
            causes=_causes(details),
            retry_after_s=_retry_after_s(response, details),
        )

    def _remedy(self, status: int, verb: str, resource: ApiResource, subresource: str) -> str:
        plural = "/".join(part for part in (resource.plural, subresource) if part)
        match status:
            case 401:
                problem = self._access.problem
                also = f" (the last attempt to renew them failed: {problem})" if problem else ""
                return (
                    f"the credentials of {self._access.origin} are not accepted{also}; renew them"
                )
            case 403:
                return (
                    f"the role of {self._access.origin} lacks the verb `{verb}` on `{plural}` "
                    f"in API group `{resource.group}`; grant it (see deploy/)"
                )
            case status if 300 <= status < 400:
                return "a redirect is not followed; name the API server itself"
            case _:
                return _REMEDIES.get(status, "it is tried again")


async def connect(kubeconfig: str | None = None, *, context: str | None = None) -> Client:
    """Connect as kubectl would; raises SettingsError where no usable configuration is found.

    The first of: `kubeconfig`, the environment's KUBECONFIG, the pod's service account,
    ~/.kube/config. Nothing is sent yet; `Client.check` does that.
    """
    return client_of(await load_access(kubeconfig, context=context))


def client_of(access: Access) -> Client:
    """Make a client of what an API server is reached by. To be called in an event loop; nothing is sent yet."""
    from kubernetes_asyncio.client import ApiClient  # noqa: PLC0415  2.6 s of CPU to import

    api = ApiClient(access.configuration)
    api.user_agent = f"{FIELD_MANAGER}/{__version__}"
    fit_transport(api.rest_client, loopback=access.loopback)
    return Client(api, access)


def _call_text(
    verb: str, resource: ApiResource, namespace: str, name: str, subresource: str
) -> str:
    plural = "/".join(part for part in (resource.plural, subresource) if part)
    where = "/".join(part for part in (namespace, name) if part)
    return f"{verb} {plural} {where}".rstrip()


_NO_ANSWER = (aiohttp.ClientError, OSError, ValueError)
"""What a request ends by that has no answer; ValueError: a header that no header can be."""


def _headers(verb: str, resource: ApiResource, content_type: str) -> dict[str, str]:
    accept = _METADATA_ONLY.get(verb) if resource.metadata_only else None
    return {
        "Accept": accept or "application/json",
        "Accept-Encoding": "identity",  # nothing is unpacked that was not asked for packed
        "Content-Type": content_type,
    }


def _is_ok(response: aiohttp.ClientResponse) -> bool:
    """Whether it is an answer: a redirect, which aiohttp takes for one, is not."""
    return 200 <= response.status < 300


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """The whole body; raises _TooLargeError. Of a refusal its beginning is enough."""
    most = ANSWER_BYTES_MAX if _is_ok(response) else _REFUSAL_BYTES_MAX
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > most:
            response.close()  # the rest is not read, so the connection cannot be used again
            if _is_ok(response):
                raise _TooLargeError
            break
    return b"".join(parts)[:most]


def _is_answer(verb: str, answer: Json) -> bool:
    """Whether a JSON object is what was read: some proxies answer 200 with one of their own.

    Taken for an empty list it would be a cluster without pods.
    """
    if verb not in {"get", "list"}:
        return True
    metadata = answer.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("resourceVersion"), str | int):
        return False
    versioned = bool(metadata["resourceVersion"])
    return versioned and (verb == "get" or isinstance(answer.get("items", 0), list | NoneType))


def _causes(details: Mapping[str, Any]) -> tuple[str, ...]:
    """Messages of a Status's causes; what is no list of them has none."""
    causes = details.get("causes")
    return tuple(
        shown(cause.get("message", ""))
        for cause in (causes if isinstance(causes, list) else ())[:_CAUSES_MAX]
        if isinstance(cause, dict)
    )


def _foreign_body(response: aiohttp.ClientResponse, raw: bytes) -> str:
    """The beginning of a body that is not what was asked for, as text: of an HTML page without its tags."""
    text = shown(re.sub(r"<[^>]*>", " ", raw[:2000].decode("utf-8", "replace")), limit=120)
    kind = shown(response.content_type or "no content type", limit=80)
    reason = shown(response.reason or "", limit=80)
    return f"{reason} with {kind} that is no answer: {text or 'nothing'}".strip()


def _retry_after_s(response: aiohttp.ClientResponse, details: Mapping[str, Any]) -> float | None:
    # a date is none of them: no server of Kubernetes sends one
    for value in (response.headers.get("Retry-After"), details.get("retryAfterSeconds")):
        pause_s = finite(value, most=RETRY_AFTER_S_MAX)
        if pause_s is not None:
            return pause_s
    return None
