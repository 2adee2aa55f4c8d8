"""SkyServe: a request rate held for minutes, and on-demand in the place of missing spot."""

import pytest

from simulations.peers.baseline import RouterView, SpotAware
from simulations.peers.rules.skyserve import SkyServe
from simulations.serving.offered_demand import work_s
from tests.simulations.peers.views import page, pod, setting, view
from tests.simulations.world.world_builder import PROFILE, requests

TRAFFIC = requests([float(n) for n in range(100)], output_tokens=300)
CARRIED_PER_S = 1 / float(work_s(TRAFFIC, PROFILE)[0])
"""Requests per second that one replica carries."""


class Clock:
    """Feeds a steady rate, 20 s a decision."""

    def __init__(self) -> None:
        self.sky = SkyServe(setting(traffic=TRAFFIC))
        self.at = 0.0
        self.arrived = 0.0

    def decided(self, replicas_worth: float, *, times: int, replicas: int = 1) -> int:
        answer = 0
        for _ in range(times):
            self.at += 20.0
            self.arrived += replicas_worth * CARRIED_PER_S * 20.0
            router = RouterView(
                arrived_total=int(self.arrived), outstanding_requests=0, waiting_requests=0
            )
            pods = [pod(page()) for _ in range(replicas)]
            answer = self.sky.sync(view(*pods, at=self.at, router=router))
        return answer


def test_up_after_five_minutes_down_after_twenty():
    clock = Clock()
    assert clock.decided(0.9, times=10) == 1
    assert clock.decided(3.5, times=14) == 1
    assert clock.decided(3.5, times=1) == 4
    assert clock.decided(0.5, times=59, replicas=4) == 4
    assert clock.decided(0.5, times=1, replicas=4) == 1


def test_a_moment_of_the_old_rate_starts_the_count_anew():
    clock = Clock()
    clock.decided(0.9, times=10)
    assert clock.decided(3.5, times=12) == 1
    assert clock.decided(0.5, times=5) == 1  # the mean of a minute is above for two more
    assert clock.decided(3.5, times=14) == 1


@pytest.mark.parametrize(
    ("rule", "spot_ready", "expected"),
    [
        ("all spot is there", 3, (3, 0)),
        ("one is missing", 2, (3, 1)),
        ("none is there: never more than the target", 0, (3, 3)),
    ],
)
def test_on_demand_covers_what_spot_lacks(rule: str, spot_ready: int, expected: tuple[int, int]):
    sky = SkyServe(setting(traffic=TRAFFIC, replicas_min=3))
    assert isinstance(sky, SpotAware)
    assert not sky.hears_notices
    spot = [pod(page()) for _ in range(spot_ready)] + [pod(ready=False)]
    assert sky.sync_spot([view(*spot, spec=3)], view(spec=0)) == expected, rule


def test_overprovisioned_spot_is_not_covered():
    sky = SkyServe(setting(traffic=TRAFFIC, replicas_min=2), overprovision=1.0)
    assert sky.sync_spot([view(pod(page()), pod(page()))], view(spec=0)) == (3, 1)
    assert sky.sync_spot([view()], view(spec=0)) == (3, 2)
