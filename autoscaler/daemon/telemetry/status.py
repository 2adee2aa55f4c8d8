"""What the daemon shows of its state: health, readiness, and the page of the last decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from autoscaler import __version__
from autoscaler.core.contract.codec import to_builtins
from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.events import Observed, SpecChanged
from autoscaler.core.contract.spec import FleetSpec, ModelSpec
from autoscaler.daemon.clock import Clock
from autoscaler.daemon.loop import Handled, Listener
from autoscaler.daemon.observer import FleetObserver

_STALLED_TICKS = 3
_STALLED_S_MIN = 30.0
"""Less than this is a busy machine, not a stalled loop."""


class Status(Listener):
    """The last decisions, and when they were made."""

    def __init__(self, *, clock: Clock, tick_s: float, observer: FleetObserver) -> None:
        self.fleet: FleetSpec | None = None
        """None: none was given yet."""
        self.decisions: Mapping[str, Decision] = {}
        """The last one of each model of the fleet that has any, by its key."""
        self.spec_problems: tuple[str, ...] = ()
        """Of the configuration on disk, a line each; empty: it is in use."""
        self._clock = clock
        self._tick_s = tick_s
        self._observer = observer
        self._decided_at: float | None = None
        self._alive_at = clock.now()

    def alive(self) -> None:
        """Note that the loop came round."""
        self._alive_at = self._clock.now()

    def handled(self, handled: Handled) -> None:
        """Keep the fleet and the decisions."""
        event, decisions = handled.event, handled.outcome.decisions
        self._alive_at = event.at
        if isinstance(event, Observed):
            if decisions:
                self._decided_at = event.at
            decided = {decision.model: decision for decision in decisions}
            self.decisions = {**self.decisions, **decided}
        elif isinstance(event, SpecChanged):
            self.fleet = event.fleet
            keys = {model.key for model in event.fleet.models}
            self.decisions = {key: each for key, each in self.decisions.items() if key in keys}

    def set_spec_problems(self, lines: tuple[str, ...]) -> None:
        """Replace the problems of the configuration on disk."""
        self.spec_problems = lines

    def unhealthy(self) -> str:
        """Why the process should be restarted; empty: it should not."""
        silent_s = self._clock.now() - self._alive_at
        if silent_s > max(_STALLED_S_MIN, 2 * _STALLED_TICKS * self._tick_s):
            return f"the loop has not come round for {silent_s:.0f} s"
        return ""

    def unready(self) -> tuple[str, ...]:
        """Why its decisions are not to be counted on now; empty: they are."""
        reasons = []
        outage = self._observer.outage()
        if outage:
            reasons.append(outage)
        if self._decided_at is None:
            reasons.append("no decision was made yet")
        else:
            silent_s = self._clock.now() - self._decided_at
            if silent_s > max(_STALLED_S_MIN, _STALLED_TICKS * self._tick_s):
                reasons.append(f"the last decision was made {silent_s:.0f} s ago")
        return tuple(reasons)

    def page(self) -> dict[str, Any]:
        """The last decision of each model, with its specification; and how the sources fare."""
        problems = self.unready()
        return {
            "at": self._clock.now(),
            "decided_at": self._decided_at,
            "version": __version__,
            "ready": not problems,
            "problems": list(problems),
            "spec_problems": list(self.spec_problems),
            "refused_namespaces": self._observer.cluster.refusals(),
            "models": [
                {**to_builtins(self.decisions[model.key], Decision), "spec": _specification(model)}
                for model in (self.fleet.models if self.fleet else ())
                if model.key in self.decisions
            ],
            "sources": msgspec.to_builtins(self._observer.collector.reports()),
        }


def _specification(model: ModelSpec) -> dict[str, Any]:
    """What a reader of a decision needs of the specification."""
    return {
        "mode": str(model.mode),
        "pause": str(model.pause),
        "min_replicas": model.min_replicas,
        "max_replicas": model.max_replicas,
        "pools": [
            {
                "pool": pool.name,
                "target": str(pool.target),
                "capacity_type": str(pool.capacity_type),
                "price_usd_per_hour": pool.price_usd_per_hour,
            }
            for pool in model.pools
        ],
    }
