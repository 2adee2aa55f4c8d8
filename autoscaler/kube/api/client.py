"""The one client: raw JSON over kubernetes_asyncio's shared ApiClient, with its traps closed.

What the library does not do, and this file does: a time-out on every call (its default is none at
all), statuses checked (a call that asks for the raw response raises nothing on 403 or 502), bodies
that are no JSON told apart from answers, and messages that say what was asked, of whom, what came back
and what to do. Deserialising into its models is never used: it costs ten times the parsing.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self, TypeAlias

import aiohttp
import msgspec

from autoscaler import __version__
from autoscaler.errors import AutoscalerError
from autoscaler.kube.api.access import Access, load_access
from autoscaler.kube.api.resources import NODES, ApiResource

Json: TypeAlias = dict[str, Any]

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
CALL_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 10.0
_UNAUTHORIZED = 401


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
    ) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status; 0: there was no answer."""
        self.found = found
        """What the server answered, without the text that we put around it."""
        self.causes = causes
        """Messages of the Status's causes, e.g. which disruption budget."""
        self.retry_after_s = retry_after_s


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
        try:
            response = await self._send(verb, path, query, body, content_type, timeout)
            async with response:
                raw = await response.read()
        except TimeoutError as error:
            raise self._no_answer_error(what, f"no answer within {timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._no_answer_error(what, _error_text(error)) from error
        answer = _json(raw)
        if not response.ok or answer is None or not _is_answer(verb, answer):
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
            response = await self._send("watch", path, query, None, "application/json", timeout)
            async with response:
                if not response.ok:
                    raw = await response.read()
                    raise self._refusal_error(what, "watch", resource, "", response, raw)
                yield response.content.iter_any()
        except TimeoutError as error:
            raise self._no_answer_error(what, f"nothing was said for {silence_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._no_answer_error(what, _error_text(error)) from error

    async def _send(
        self,
        verb: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Json | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  aiohttp's own, not a deadline of ours
    ) -> aiohttp.ClientResponse:
        for again in (True, False):
            response: aiohttp.ClientResponse = await self._api.call_api(
                path,
                _METHODS[verb],
                query_params=list((query or {}).items()),
                header_params={"Accept": "application/json", "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=timeout,
            )
            sent = response.request_info.headers.get("Authorization")
            rejected = response.status == _UNAUTHORIZED
            if not (again and rejected and await self._access.renew(sent)):
                break
            response.release()  # a token that ran out between two refreshes: once more with a new one
        return response

    def _no_answer_error(self, what: str, found: str) -> ApiError:
        return ApiError(
            f"{what} at {self.server}: {found}; check that the API server runs and can be reached "
            f"from here ({self._access.origin} says where it is)",
            found=found,
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
        answer = _json(raw) or {}
        details = answer.get("details") or {}
        found = answer.get("message") or _foreign_body(response, raw)
        remedy = self._remedy(response.status, verb, resource, subresource)
        return ApiError(
            f"{what} at {self.server}: {response.status} {found}; {remedy}",
            status=response.status,
            found=str(found),
            causes=tuple(
                str(cause.get("message", ""))
                for cause in details.get("causes") or ()
                if isinstance(cause, dict)
            ),
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
            case _:
                return _REMEDIES.get(status, "it is tried again")


async def connect(kubeconfig: str | None = None, *, context: str | None = None) -> Client:
    """Connect as kubectl would; raises SettingsError where no usable configuration is found.

    The first of: `kubeconfig`, the environment's KUBECONFIG, the pod's service account,
    ~/.kube/config. Nothing is sent yet; `Client.check` does that.
    """
    from kubernetes_asyncio.client import ApiClient  # noqa: PLC0415  2.6 s of CPU to import

    access = await load_access(kubeconfig, context=context)
    api = ApiClient(access.configuration)
    api.user_agent = f"inference-autoscaler/{__version__}"
    if access.loopback:
        # Corporate proxies are named in the environment; a proxy cannot reach this machine's
        # loopback, and Go's clients (kubectl) never ask it to.
        old = api.rest_client.pool_manager
        api.rest_client.pool_manager = aiohttp.ClientSession(
            connector=old.connector, trust_env=False, read_bufsize=2**21
        )
        old.detach()
    return Client(api, access)


def _call_text(
    verb: str, resource: ApiResource, namespace: str, name: str, subresource: str
) -> str:
    plural = "/".join(part for part in (resource.plural, subresource) if part)
    where = "/".join(part for part in (namespace, name) if part)
    return f"{verb} {plural} {where}".rstrip()


def _json(raw: bytes) -> Json | None:
    try:
        answer = msgspec.json.decode(raw)
    except msgspec.MsgspecError:
        return None
    return answer if isinstance(answer, dict) else None


def _is_answer(verb: str, answer: Json) -> bool:
    """Whether a JSON object is what was read: some proxies answer 200 with one of their own.

    Taken for an empty list it would be a cluster without pods.
    """
    if verb not in {"get", "list"}:
        return True
    versioned = bool((answer.get("metadata") or {}).get("resourceVersion"))
    return versioned and (verb == "get" or "items" in answer)


def _error_text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _foreign_body(response: aiohttp.ClientResponse, raw: bytes) -> str:
    """The beginning of a body that is not what was asked for, as text: of an HTML page without its tags."""
    text = re.sub(r"<[^>]*>", " ", raw[:2000].decode("utf-8", "replace"))
    text = " ".join(text.split())[:120]
    kind = response.content_type or "no content type"
    return f"{response.reason or ''} with {kind} that is no answer: {text or 'nothing'}".strip()


def _retry_after_s(response: aiohttp.ClientResponse, details: Mapping[str, Any]) -> float | None:
    for value in (response.headers.get("Retry-After"), details.get("retryAfterSeconds")):
        try:
            if value is not None:
                return max(0.0, float(value))
        except ValueError:
            continue  # a date: no server of Kubernetes sends one
    return None
