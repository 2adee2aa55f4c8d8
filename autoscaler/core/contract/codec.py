"""The recording format: events and outcomes to plain builtins and back.

Dictionaries with fixed keys in a fixed order, lists, strings, numbers, booleans and None; NaN is
None. An encoder that keeps this order (the recorder's does) writes the same bytes for the same
events, which is what a replay compares. Columns stay columns: five thousand replicas are a few
lists, not five thousand records.
"""

from __future__ import annotations

import math
from typing import assert_never

from autoscaler.core.contract.codec_fleet import fleet_from_builtins, fleet_to_builtins
from autoscaler.core.contract.codec_observation import (
    interruption_from_builtins,
    interruption_to_builtins,
    nodes_from_builtins,
    nodes_to_builtins,
    observation_from_builtins,
    observation_to_builtins,
)
from autoscaler.core.contract.codec_outcome import (
    command_from_builtins,
    command_to_builtins,
    decision_from_builtins,
    decision_to_builtins,
    outcome_from_builtins,
    outcome_to_builtins,
)
from autoscaler.core.contract.events import (
    CommandFinished,
    Event,
    NoticeReceived,
    Observed,
    SpecChanged,
)
from autoscaler.core.contract.plain import (
    Plain,
    plain_float,
    read_float,
    read_int,
    read_list,
    read_record,
)
from autoscaler.errors import InvariantBroken

__all__ = [
    "command_from_builtins",
    "command_to_builtins",
    "decision_from_builtins",
    "decision_to_builtins",
    "event_from_builtins",
    "event_to_builtins",
    "fleet_from_builtins",
    "fleet_to_builtins",
    "outcome_from_builtins",
    "outcome_to_builtins",
]


def event_to_builtins(event: Event) -> dict[str, Plain]:
    """Write an event; `event` names its class."""
    record: dict[str, Plain] = {"event": type(event).__name__, "id": event.id, "at": event.at}
    match event:
        case Observed():
            record["cluster_at"] = plain_float(event.cluster_at)
            record["nodes"] = nodes_to_builtins(event.nodes)
            record["interruptions"] = [
                interruption_to_builtins(item) for item in event.interruptions
            ]
            record["models"] = [observation_to_builtins(model) for model in event.models]
        case SpecChanged():
            record["fleet"] = fleet_to_builtins(event.fleet)
        case NoticeReceived():
            record["interruption"] = interruption_to_builtins(event.interruption)
        case CommandFinished():
            record["command"] = event.command
            record["accepted"] = event.accepted
            record["reason"] = event.reason
            record["message"] = event.message
        case _:
            assert_never(event)
    return record


def event_from_builtins(value: Plain) -> Event:
    """Read back what `event_to_builtins` wrote."""
    record = read_record(value)
    number, at, name = read_int(record["id"]), read_float(record["at"]), record["event"]
    if name == "Observed":
        cluster_at = record["cluster_at"]
        return Observed(
            id=number,
            at=at,
            nodes=nodes_from_builtins(record["nodes"]),
            interruptions=tuple(
                [interruption_from_builtins(item) for item in read_list(record["interruptions"])]
            ),
            models=tuple([observation_from_builtins(item) for item in read_list(record["models"])]),
            cluster_at=math.nan if cluster_at is None else read_float(cluster_at),
        )
    if name == "SpecChanged":
        return SpecChanged(id=number, at=at, fleet=fleet_from_builtins(record["fleet"]))
    if name == "NoticeReceived":
        interruption = interruption_from_builtins(record["interruption"])
        return NoticeReceived(id=number, at=at, interruption=interruption)
    if name == "CommandFinished":
        return CommandFinished(
            id=number,
            at=at,
            command=str(record["command"]),
            accepted=bool(record["accepted"]),
            reason=str(record["reason"]),
            message=str(record["message"]),
        )
    raise InvariantBroken(f"reading an event: there is none called {name!r}")
