"""A write to an object that others write too: read, and patched guarded by the version that was read."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from autoscaler.kube.api.client import MERGE_PATCH, ApiError, Client
from autoscaler.kube.api.fields import Json, written_version
from autoscaler.kube.api.resources import ApiResource

CONFLICTS_MAX = 3
"""Status is written often; under a notice a whole tick is too dear for a lost race."""


async def patch_as_read(
    client: Client,
    resource: ApiResource,
    patch: Callable[[Json], Json | None],
    *,
    name: str,
    namespace: str = "",
) -> None:
    """Read, and write guarded by the version read; a lost race is run again, a few times.

    Args:
        client: The shared client.
        resource: Of the object.
        patch: What to write on what was read, with its `metadata`; None: there is nothing to write.
        name: Of the object.
        namespace: Of the object; empty: it is in none.
    """
    for attempt in range(1, CONFLICTS_MAX + 1):
        found = await client.call("get", resource, namespace=namespace, name=name)
        body = patch(found)
        if body is None:
            return
        body["metadata"]["resourceVersion"] = written_version(found)
        try:
            await client.call(
                "patch",
                resource,
                namespace=namespace,
                name=name,
                body=body,
                content_type=MERGE_PATCH,
            )
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT or attempt == CONFLICTS_MAX:
                raise
        else:
            return
