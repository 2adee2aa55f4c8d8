"""Replicas that went, counted and logged: why, and what became of what was in flight on them."""

from __future__ import annotations

import structlog

from autoscaler.core.contract.decision import Decision, Departure, DepartureCause, Drained
from autoscaler.core.contract.events import Observed, SpecChanged
from autoscaler.daemon.loop import Handled, Listener
from autoscaler.daemon.telemetry.metrics import Metrics

OUTCOMES = ("Finished", "Aborted", "Lost", "Unknown")
"""What became of requests, in the order of the fields of `Departure`."""
_COUNTERS = (
    "departed_replicas_total",
    "departed_in_flight_requests_total",
    "departed_requests_total",
)

_log = structlog.get_logger(__name__)


class DepartureListener(Listener):
    """Takes note of each replica that has gone."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._models: frozenset[str] = frozenset()
        self._created: set[str] = set()
        """Models that have series."""

    def handled(self, handled: Handled) -> None:
        """Follow the fleet; create the series of a model, at zero, once a replica of it begins to go."""
        event = handled.event
        if isinstance(event, SpecChanged):
            self._follow(frozenset(model.key for model in event.fleet.models))
        if isinstance(event, Observed):
            for model in event.models:
                if model.model not in self._created and model.replicas.deleting.any():
                    self._create_series(model.model)

    def decided(self, _: Handled, decision: Decision) -> None:
        """Count and log the departures that a decision tells."""
        for departure in decision.departed:
            self._take_note(decision, departure)

    def _take_note(self, decision: Decision, departure: Departure) -> None:
        namespace, _, model = decision.model.partition("/")
        cause = str(departure.cause)
        count = self._metrics.count
        count("departed_replicas_total", namespace, model, cause, str(departure.drained))
        count(
            "departed_in_flight_requests_total",
            namespace,
            model,
            cause,
            by=departure.in_flight_requests or 0.0,
        )
        requests = _requests(departure)
        for outcome, number in requests.items():
            # Unknown adds nothing here: `drained` says of how many replicas it is.
            count("departed_requests_total", namespace, model, cause, outcome, by=number or 0.0)
        cut = departure.drained is Drained.CUT or bool(departure.aborted_requests)
        (_log.warning if cut else _log.info)(
            "replica.departed",
            model=decision.model,
            pod=departure.pod,
            pool=departure.pool or None,
            cause=cause,
            drained=str(departure.drained),
            leaving_s=_rounded(departure.leaving_s),
            in_flight=departure.in_flight_requests,
            finished=requests["Finished"],
            aborted=requests["Aborted"],
            lost=requests["Lost"],
            unknown=requests["Unknown"],
        )

    def _follow(self, models: frozenset[str]) -> None:
        """Forget the models that are gone."""
        before, self._models = self._models, models
        for key in before - models:
            namespace, _, model = key.partition("/")
            for name in _COUNTERS:
                self._metrics.forget(name, namespace, model)
        self._created &= models

    def _create_series(self, key: str) -> None:
        """Before the first of them counts, so that nobody who takes differences misses it."""
        self._created.add(key)
        namespace, _, model = key.partition("/")
        count = self._metrics.count
        for cause in map(str, DepartureCause):
            count("departed_in_flight_requests_total", namespace, model, cause, by=0)
            for drained in Drained:
                count("departed_replicas_total", namespace, model, cause, str(drained), by=0)
            for outcome in OUTCOMES:
                count("departed_requests_total", namespace, model, cause, outcome, by=0)


def _requests(departure: Departure) -> dict[str, float | None]:
    """What became of its requests, by outcome; None: unknown."""
    numbers = (
        departure.finished_requests,
        departure.aborted_requests,
        departure.lost_requests,
        departure.unknown_requests,
    )
    return dict(zip(OUTCOMES, numbers, strict=True))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
