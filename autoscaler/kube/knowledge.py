"""The ConfigMaps in which the knowledge of models is kept: read, and written over what was read.

They stand in the daemon's own namespace, under names that RBAC can be held to; a model's place among them is that of its
key, for ever. An object has 1 MiB at most: what would be more is left out and told. Nothing of theirs is believed here:
what stands in an entry is whatever stands there.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

from autoscaler.kube.api.client import ApiError, Client
from autoscaler.kube.api.fields import Json, UnreadableError, mapping
from autoscaler.kube.api.resources import CONFIG_MAPS

SHELVES = 4
"""ConfigMaps, of some two hundred models each."""
SHELF_BYTES_MAX = 900 * 1024
"""Of the entries of one: the API server takes 1 MiB of an object, its metadata included."""
_KEY_MAX = 253
_LABELS = {"app.kubernetes.io/managed-by": "inference-autoscaler"}


def shelf_names(lease_name: str) -> tuple[str, ...]:
    """Return the names of the ConfigMaps of all daemons that may stand in for each other: of one Lease."""
    return tuple(f"{lease_name}-knowledge-{number}" for number in range(SHELVES))


def shelf_of(model: str) -> int:
    """Return which of them has a model's knowledge; the same in every process.

    >>> 0 <= shelf_of("serving/llama") < SHELVES
    True
    """
    return zlib.crc32(model.encode()) % SHELVES


def entry_key(model: str) -> str:
    """Return the key of a model's entry: a namespace has no dot in it, so no two are the same.

    >>> entry_key("serving/llama-3.1")
    'serving.llama-3.1'
    """
    key = model.replace("/", ".")
    if len(key) <= _KEY_MAX:
        return key
    return f"{key[: _KEY_MAX - 9]}.{zlib.crc32(model.encode()):08x}"


class Filled(NamedTuple):
    """What a shelf holds after it was filled."""

    entries: dict[str, str]
    left_out: tuple[str, ...]
    """Keys for which there was no room."""


def fill(found: Mapping[str, str], put: Mapping[str, str], *, asked_for: frozenset[str]) -> Filled:
    """Put entries in the place of those that were found; where there is too much, those that nobody asks for go first.

    Args:
        found: as read.
        put: by key, what is to stand there.
        asked_for: keys of all models that there are.
    """
    entries = {**found, **put}
    size = sum(_size(key, text) for key, text in entries.items())
    for key in sorted(entries.keys() - asked_for):
        if size <= SHELF_BYTES_MAX:
            break
        size -= _size(key, entries.pop(key))
    left_out = []
    for key in sorted(entries, reverse=True):
        if size <= SHELF_BYTES_MAX:
            break
        size -= _size(key, entries.pop(key))
        left_out.append(key)
    return Filled(entries, tuple(left_out))


def _size(key: str, text: str) -> int:
    return len(key) + len(text.encode())


class Shelf:
    """One of the ConfigMaps."""

    def __init__(self, client: Client, *, namespace: str, name: str) -> None:
        """Name it.

        Args:
            client: One whose writes pass a fence where there is one.
            namespace: The daemon's own.
            name: One of `shelf_names`.
        """
        self._client = client
        self.namespace, self.name = namespace, name

    async def read(self) -> dict[str, str]:
        """Return its entries; none, where it is not there. Raises ApiError."""
        return _entries(await self._found())

    async def write(self, put: Mapping[str, str], *, asked_for: frozenset[str]) -> Filled:
        """Put entries into what stands there now. Raises ApiError: with status 409 somebody else wrote it meanwhile."""
        found = await self._found()
        filled = fill(_entries(found), put, asked_for=asked_for)
        if found is None:
            metadata = {"name": self.name, "namespace": self.namespace, "labels": _LABELS}
            body: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        else:
            body = found
        body = {**body, "data": filled.entries}
        body.pop("binaryData", None)
        await self._client.call(
            "create" if found is None else "update",
            CONFIG_MAPS,
            namespace=self.namespace,
            name="" if found is None else self.name,
            body=body,
        )
        return filled

    async def _found(self) -> Json | None:
        try:
            return await self._client.call(
                "get", CONFIG_MAPS, namespace=self.namespace, name=self.name
            )
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise


def _entries(found: Json | None) -> dict[str, str]:
    """Return its data: what is no text is none of ours."""
    if found is None:
        return {}
    try:
        data = mapping(found, "data")
    except UnreadableError:
        return {}
    return {key: text for key, text in data.items() if isinstance(text, str)}
