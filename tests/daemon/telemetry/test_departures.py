"""Replicas that went, as metrics and as log lines."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from autoscaler.core.contract.decision import Departure, DepartureCause, Drained, Outcome
from autoscaler.core.contract.events import Observed
from autoscaler.core.engine import build_engine
from autoscaler.daemon.loop import Handled, tellings
from autoscaler.daemon.telemetry.listeners.departures import DepartureListener
from autoscaler.daemon.telemetry.metrics import Metrics
from tests.builders import group, model, observed, seen, specified

SPEC = model()


class Stage:
    def __init__(self) -> None:
        self.metrics = Metrics(tuple)
        self.listener = DepartureListener(self.metrics)
        self.tell(specified(SPEC))

    def tell(self, event, outcome: Outcome | None = None) -> None:
        handled = Handled(event=event, outcome=outcome or Outcome(), observe_s=0.0, decide_s=0.0)
        for _ in tellings(self.listener, handled):
            pass

    def depart(self, **what) -> dict[str, object]:
        """Handle an observation whose decision tells one departure; the line that was logged."""
        departure = Departure(
            **{
                "pod": "llama-1", "pool": "on-demand", "cause": DepartureCause.SCALE_DOWN,
                "drained": Drained.IDLE, "leaving_s": 12.0, "in_flight_requests": 5.0,
                "finished_requests": 4.0, "aborted_requests": 1.0, "lost_requests": 0.0,
                "unknown_requests": 0.0, **what,
            }
        )  # fmt: skip
        event: Observed = observed(seen(SPEC, group(ready=1)), at=10.0)
        engine = build_engine()
        engine.handle(specified(SPEC))
        decision = engine.handle(event).decisions[0]._replace(departed=(departure,))
        with capture_logs() as lines:
            self.tell(event, Outcome(decisions=(decision,)))
        (line,) = lines
        return line

    def value(self, name: str, *labels: str) -> float:
        return self.metrics._counts[name]["serving", "llama", *labels]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_every_series_is_there_at_zero_once_a_replica_begins_to_go_and_goes_with_its_model(
    stage: Stage,
):
    series = stage.metrics._counts
    stage.tell(observed(seen(SPEC, group(ready=1)), at=5.0))
    assert not series["departed_replicas_total"], "a model of which nothing went has none"
    stage.tell(observed(seen(SPEC, group(ready=1, deleting=1)), at=10.0))
    causes, outcomes = len(DepartureCause), 4
    assert len(series["departed_replicas_total"]) == causes * len(Drained)
    assert len(series["departed_requests_total"]) == causes * outcomes
    assert len(series["departed_in_flight_requests_total"]) == causes
    assert not any(sum(each.values()) for each in series.values())
    stage.tell(specified())
    assert not series["departed_replicas_total"]
    assert not series["departed_requests_total"]


def test_what_became_of_it_is_counted_and_logged(stage: Stage):
    line = stage.depart()
    assert stage.value("departed_replicas_total", "ScaleDown", "Idle") == 1
    assert stage.value("departed_in_flight_requests_total", "ScaleDown") == 5
    found = [
        stage.value("departed_requests_total", "ScaleDown", outcome)
        for outcome in ("Finished", "Aborted", "Lost", "Unknown")
    ]
    assert found == [4, 1, 0, 0]
    assert line["event"] == "replica.departed"
    assert (line["pod"], line["cause"], line["drained"]) == ("llama-1", "ScaleDown", "Idle")
    assert (line["in_flight"], line["finished"], line["aborted"], line["lost"]) == (5, 4, 1, 0)
    assert line["log_level"] == "warning", "one was aborted"


def test_unknown_adds_to_no_outcome_and_is_no_zero_in_the_log(stage: Stage):
    nothing = dict.fromkeys(
        ("in_flight_requests", "finished_requests", "aborted_requests", "lost_requests",
         "unknown_requests", "leaving_s")
    )  # fmt: skip
    line = stage.depart(drained=Drained.UNKNOWN, **nothing)
    assert stage.value("departed_replicas_total", "ScaleDown", "Unknown") == 1
    assert [line[key] for key in ("in_flight", "finished", "lost", "unknown")] == [None] * 4
    assert line["log_level"] == "info"


def test_a_cut_is_a_warning(stage: Stage):
    line = stage.depart(
        drained=Drained.CUT, cause=DepartureCause.NOTICE, lost_requests=2.0, aborted_requests=None
    )
    assert line["log_level"] == "warning"
    assert stage.value("departed_requests_total", "Notice", "Lost") == 2
