"""Which starting replicas still load: their GPU memory rises.

While weights are loaded the port is closed and the engine says nothing; the framebuffer that DCGM
reports is the only sign of life. It decides when a starting replica is given up (see `supply`):

- Framebuffer unknown: at twice the expected time, because nothing better is known.
- Framebuffer known: one expected time after it last rose, or after the start if it never did. So a
  replica that stands still is given up at the expected time instead of at twice, and one whose
  weights are large and slow is waited for as long as they come.

Only a new high is a rise: a container that crashes and loads again repeats its old climb, which must
not keep it counted on for ever.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

from autoscaler.core.contract.state import IntArray, ReplicaColumns

RISE_BYTES_MIN = 16.0 * 2**20
"""Less is the driver's own coming and going (contexts take some hundred kilobytes at a time)."""
FRAMEBUFFER_AGE_S_MAX = 120.0
"""Four of the exporter's default periods of 30 s; an older reading is unknown."""


Climb: TypeAlias = tuple[float, float, float | None]
"""A pod's creation (a StatefulSet's pod comes back under its name), the highest bytes seen of it, and
when that was, seconds; None: it never rose."""


@dataclass(slots=True, kw_only=True)
class LoadingMemory:
    """The climbs of one model's starting replicas. Part of the engine's memory."""

    climbs: dict[str, Climb] = field(default_factory=dict)
    """By pod name."""


def watch_loading(
    memory: LoadingMemory, *, at: float, replicas: ReplicaColumns, rows: IntArray
) -> list[float | None]:
    """Return when the framebuffer of each starting row last rose, once a tick.

    Args:
        memory: of this model; changed.
        at: now, seconds.
        replicas: of the model.
        rows: those that start.

    Returns:
        One moment a row; -inf: its framebuffer is known and never rose; None: it is unknown.
    """
    used_bytes: list[float] = replicas.framebuffer_used_bytes[rows].tolist()
    read_at: list[float] = replicas.framebuffer_at[rows].tolist()
    oldest = at - FRAMEBUFFER_AGE_S_MAX
    climbs: dict[str, Climb] = {}
    rose: list[float | None] = []
    for row, used, moment in zip(rows.tolist(), used_bytes, read_at, strict=True):
        known = moment >= oldest and not math.isnan(used)
        name = replicas.name[row]
        climb = memory.climbs.get(name)
        if climb is None and not known:
            rose.append(None)
            continue
        created_at = float(replicas.created_at[row])
        if climb is None or climb[0] != created_at:
            climb = (created_at, 0.0, None)
        if known and used >= climb[1] + RISE_BYTES_MIN:
            climb = (created_at, used, moment)
        climbs[name] = climb
        if known:
            rose.append(-math.inf if climb[2] is None else climb[2])
        else:
            rose.append(None)
    memory.climbs = climbs
    return rose
