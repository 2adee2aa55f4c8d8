"""What a crowd of replicas does with what arrives, against a finer one and against what follows by hand."""

from __future__ import annotations

import numpy as np
import pytest

from autoscaler.core.hindsight.serving import PATIENCE_S, Crowds, Serving, serve_crowds

SERVING = Serving(alone_s=8.0, beside_s=0.1, seats=40.0)


def serve(
    held: float, arrivals: float, *, ready: float = 2.0, steps: int = 1, step_s: float = 15.0
) -> Crowds:
    made = Crowds(np.array([held]), np.zeros(1), np.zeros(1))
    for _ in range(steps):
        made = serve_crowds(
            made.held,
            arrivals=np.array([arrivals]),
            ready=np.array([ready]),
            serving=SERVING,
            step_s=step_s,
            slack_s=1.0,
        )
    return made


def test_a_load_that_stands_still_holds_what_littles_law_says():
    """Of each replica 2 requests a second, 8 s alone: h = 2 (8 + 0.1 h), so h = 20."""
    made = serve(0.0, 60.0, steps=40)
    assert made.held[0] == pytest.approx(40.0, rel=1e-3)
    assert made.service_s[0] == pytest.approx(10.0, rel=1e-3)
    assert made.late_ratio[0] == 0.0


def test_what_comes_above_the_full_rate_waits_and_is_late():
    """Two full replicas finish 2 * 40 / (8 + 4) a second, 100 in 15 s; of 150 that come 50 are left over."""
    made = serve(80.0, 150.0)
    assert made.held[0] == pytest.approx(130.0)
    # a wait of a second is 6.67 requests of queue: of 50 that is passed after 6.67
    assert made.late_ratio[0] == pytest.approx(1.0 - 100.0 / 15.0 / 50.0)


def test_clients_do_not_wait_for_ever():
    made = serve(80.0, 300.0, steps=200)
    assert made.held[0] == pytest.approx(80.0 + 100.0 / 15.0 * PATIENCE_S)
    assert made.late_ratio[0] == 1.0


def test_nobody_serves_and_all_that_comes_is_late():
    made = serve(0.0, 30.0, ready=0.0)
    assert made.late_ratio[0] > 0.99


@pytest.mark.parametrize("arrivals", [0.0, 3.0, 40.0, 90.0, 100.0, 140.0])
@pytest.mark.parametrize("held", [0.0, 10.0, 70.0, 81.0, 200.0])
def test_a_step_is_about_what_many_small_ones_are(held: float, arrivals: float):
    """Within a tenth: a step is as long as what a request takes, and twice that, and what runs beside it changes."""
    fine = serve(held, arrivals / 60.0, steps=60, step_s=0.25)
    assert serve(held, arrivals).held[0] == pytest.approx(fine.held[0], rel=0.1, abs=2.0)


def test_requests_much_shorter_than_a_step_are_gone_at_its_end():
    made = serve_crowds(
        np.array([5.0]),
        arrivals=np.array([30.0]),
        ready=np.array([1.0]),
        serving=Serving(alone_s=0.1, beside_s=0.0, seats=10.0),
        step_s=15.0,
        slack_s=1.0,
    )
    assert made.held[0] == pytest.approx(0.2, rel=1e-3)
