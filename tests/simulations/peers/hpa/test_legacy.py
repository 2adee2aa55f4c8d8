"""An HPA without a `behavior`, by hand-worked tables."""

from __future__ import annotations

import pytest

from simulations.peers.hpa.legacy import limit_legacy, stabilize_legacy


@pytest.mark.parametrize(
    ("remembered", "proposal", "after"),
    [
        pytest.param([], 3, 3, id="nothing remembered"),
        pytest.param([(100.0, 7)], 3, 7, id="the highest of the window"),
        pytest.param([(0.0, 7)], 3, 3, id="age equal to the window is outside"),
        pytest.param([(0.001, 7)], 3, 7, id="a little younger is inside"),
        pytest.param([(100.0, 2)], 3, 3, id="never below the proposal"),
    ],
)
def test_stabilization_at_300_s(remembered, proposal, after):
    slots = list(remembered)
    assert stabilize_legacy(slots, at=300.0, proposal=proposal).replicas == after
    assert (300.0, proposal) in slots


@pytest.mark.parametrize(
    ("current", "proposal", "after"),
    [
        (1, 9, 4),
        (2, 9, 4),
        (3, 9, 6),
        (5, 20, 10),
        (6, 20, 12),
        (9, 20, 12),
        (5, 0, 2),
        (5, 3, 3),
    ],
)
def test_limits_of_2_to_12(current, proposal, after):
    limited = limit_legacy(current=current, proposal=proposal, replicas_min=2, replicas_max=12)
    assert limited == after
