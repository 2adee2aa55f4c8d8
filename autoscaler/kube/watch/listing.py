"""A whole list of one resource, read page by page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from typing import Any

from autoscaler.kube.api.client import ApiError, Client
from autoscaler.kube.api.fields import UnreadableError
from autoscaler.kube.api.resources import ApiResource
from autoscaler.kube.watch.frames import Page, read_page
from autoscaler.kube.watch.timing import Timing

OBJECTS_MAX = 200_000
"""Of one cache; a list that has more is not taken (5,000 nodes and 150,000 pods are what Kubernetes is
made for)."""
PAGES_MAX = 2_000
"""Of one list; one that goes on is taken for one that never ends."""


class Listing:
    """Remembers how many objects a page may have, where so many were too many bytes."""

    def __init__(
        self, client: Client, resource: ApiResource, *, namespace: str, watched: str, timing: Timing
    ) -> None:
        """Prepare.

        Args:
            client: The shared client.
            resource: What to list.
            namespace: Empty: all of them.
            watched: The same for people.
            timing: How long things last.
        """
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._watched = watched
        self._timing = timing
        self._page = timing.page

    async def read(
        self, selection: Mapping[str, str], take: Callable[[Any], None], *, found: Sized
    ) -> str:
        """Read all pages; raises ApiError where one cannot be read, or there is no end to them.

        Args:
            selection: Parameters of the query: which objects.
            take: Called with each object, in order.
            found: What was taken so far.

        Returns:
            The version of the list.
        """
        tokens = {""}
        then = ""
        for _ in range(PAGES_MAX):
            page = await self._read_page(selection, then)
            for item in page.items:
                take(item)
            then = page.then
            if not then:
                return page.version
            if then in tokens or len(found) > OBJECTS_MAX:
                break
            tokens.add(then)
        raise self.error("it does not end")

    def error(self, found: str) -> ApiError:
        """The error of a list in which this was found."""
        return ApiError(f"list {self._watched}: {found}; what was known stays")

    async def _read_page(self, selection: Mapping[str, str], then: str) -> Page:
        """One page; of fewer objects where so many are too many bytes."""
        while True:
            query = {**selection, "limit": str(self._page)}
            if then:
                query["continue"] = then
            try:
                answer = await self._client.call(
                    "list",
                    self._resource,
                    namespace=self._namespace,
                    query=query,
                    timeout_s=self._timing.list_timeout_s,
                )
                return read_page(answer)
            except UnreadableError as error:
                raise self.error(str(error)) from error
            except ApiError as error:
                if not error.too_large or self._page == 1:
                    raise
                self._page = max(1, self._page // 2)
