"""GPU utilization says whether anything runs, not how much."""

import pytest

from simulations.peers.rules.hpa_gpu import HpaGpu, utilization
from tests.simulations.peers.views import page, pod, setting, view
from tests.simulations.world.world_builder import PROFILE


@pytest.mark.parametrize(("running", "percent"), [(0, 0), (1, 99), (128, 99)])
def test_one_request_shows_what_a_hundred_do(running: int, percent: float):
    assert utilization(page(running=running), PROFILE) == pytest.approx(percent, abs=2)


def test_up_while_anything_runs_and_down_only_when_nothing_does():
    hpa = HpaGpu(setting())
    one_each = [pod(page(running=1)) for _ in range(4)]
    assert hpa.sync(view(*one_each, at=0.0)) == 5  # 99 of 80: 1.24 x 4, rounded up
    idle = [pod(page()) for _ in range(4)]
    assert hpa.sync(view(*idle, at=400.0)) == 1
