"""A cache that nothing hangs on: of a resource that may not be there, or that we may have no right to read.

Without it something is not known, and that is said; it never makes the daemon blind. Where it is absent or
refused it is looked for again, but seldom: a CRD may be installed and a right be granted at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

from autoscaler.kube.api.client import ApiError, Client
from autoscaler.kube.api.fields import Json
from autoscaler.kube.api.resources import ApiResource
from autoscaler.kube.watch.watch import ResourceCache

T = TypeVar("T")

LOOK_AGAIN_S = 60.0
"""While it is absent or refused."""
_NOT_FOUND = 404


class Readability(StrEnum):
    """Whether an optional resource can be read."""

    READABLE = "Readable"
    ABSENT = "Absent"
    """The cluster has no such resource."""
    FORBIDDEN = "Forbidden"
    """A right is lacking."""
    UNKNOWN = "Unknown"
    """It was not answered yet, or not well."""


class OptionalCache(ResourceCache[T]):
    """As `ResourceCache`; additionally by a field selector."""

    def __init__(
        self,
        client: Client,
        resource: ApiResource,
        slim: Callable[[Json], T],
        *,
        fields: str = "",
        **more: Any,
    ) -> None:
        """Prepare, as `ResourceCache` does.

        Args:
            client: As there.
            resource: As there.
            slim: As there.
            fields: A field selector; empty: all of them.
            more: As there.
        """
        super().__init__(client, resource, slim, **more)
        self.absent = False
        """The API server does not know the resource; what was known of it is forgotten."""
        self._fields = fields

    @property
    def readability(self) -> Readability:
        """Whether it can be read."""
        if self.absent:
            return Readability.ABSENT
        if self.forbidden:
            return Readability.FORBIDDEN
        return Readability.READABLE if self.synced else Readability.UNKNOWN

    def _selection(self) -> dict[str, str]:
        fields = {"fieldSelector": self._fields} if self._fields else {}
        return {**super()._selection(), **fields}

    async def _list(self) -> None:
        try:
            await super()._list()
        except ApiError as error:
            self.absent = error.status == _NOT_FOUND
            if self.absent:
                self._forget()
            raise
        self.absent = False

    async def _watch(self, *, brief: bool = False) -> bool:
        try:
            return await super()._watch(brief=brief)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                # The CRD was taken away: list again, which says so for certain.
                raise ApiError(str(error), status=410) from error
            raise

    def _pause_s(self, retry_after_s: float | None, *, returning: bool = False) -> float:
        pause_s = super()._pause_s(retry_after_s, returning=returning)
        if self.absent or self.forbidden:
            return max(pause_s, LOOK_AGAIN_S * self._rng.uniform(0.75, 1.0))
        return pause_s
