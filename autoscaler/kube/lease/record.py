"""What stands in a Lease: read from the API's JSON, and written into it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from autoscaler.kube.api.fields import Json, UnreadableError, mapping, text, whole

LEASE_S_MAX = 60
"""What is believed of another's `leaseDurationSeconds`, seconds: a slip of the pen there must not keep everybody
out for good. Ours is ten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """The election's part of one Lease. Two that differ were not written by the same write."""

    holder: str
    """Who has it; empty: it was given back."""
    lease_s: int
    """How long whoever sees it must see no change before it is taken, seconds; 0: not said."""
    acquired: str = ""
    """When the holder took it, by the holder's wall clock, as it was written. Shown, never compared."""
    renewed: str = ""
    """When the holder last renewed it, likewise. Another text is a change; what it says is not looked at."""
    transitions: int = 0
    """How often it went from one holder to another."""


def read_record(lease: Json) -> LeaseRecord:
    """The record of a Lease as the API server answers it.

    Raises:
        UnreadableError: A field of it is of another type than the API gives it.
    """
    spec = mapping(lease, "spec")
    return LeaseRecord(
        holder=text(spec, "holderIdentity"),
        lease_s=min(LEASE_S_MAX, whole(spec, "leaseDurationSeconds")),
        acquired=text(spec, "acquireTime"),
        renewed=text(spec, "renewTime"),
        transitions=whole(spec, "leaseTransitions"),
    )


def annotation(lease: Json, name: str) -> str:
    """One of a Lease's annotations, as text; empty: it has none of that name."""
    try:
        found = mapping(mapping(lease, "metadata"), "annotations").get(name)
    except UnreadableError:
        return ""
    return found if isinstance(found, str) else ""


def write_record(record: LeaseRecord, *, over: Json | None, namespace: str, name: str) -> Json:
    """The Lease to be sent, with all else as it was read.

    Args:
        record: What it is to say.
        over: What was read: its resourceVersion and its uid go with it, so that it replaces this very version of
            this very object or nothing (the API server makes a Lease of a PUT on one that is gone, unless the
            uid says which is meant). None: it is made anew.
        namespace: Where it is.
        name: Of it.
    """
    found = over or {}
    spec = {
        **mapping(found, "spec"),
        "holderIdentity": record.holder,
        "leaseDurationSeconds": record.lease_s,
        "acquireTime": record.acquired or None,
        "renewTime": record.renewed or None,
        "leaseTransitions": record.transitions,
    }
    metadata = {**mapping(found, "metadata"), "namespace": namespace, "name": name}
    metadata.pop("managedFields", None)
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": spec,
    }


def micro_time(at_us: int) -> str:
    """A moment as Leases have it (RFC 3339 in UTC, to the microsecond), of microseconds since the epoch."""
    at_s, rest_us = divmod(at_us, 1_000_000)
    moment = datetime.fromtimestamp(at_s, tz=UTC).replace(microsecond=rest_us)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
