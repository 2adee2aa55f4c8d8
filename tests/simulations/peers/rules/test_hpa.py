"""HPA on requests in flight, worked by hand with the profile's target."""

from simulations.peers.rules.hpa import Hpa
from tests.simulations.peers.views import page, pod, setting, view
from tests.simulations.world.world_builder import PROFILE

TARGET = PROFILE.in_flight_target


def full(times: float = 1.0, *, waiting: int = 0) -> object:
    return page(running=round(TARGET * times) - waiting, waiting=waiting)


def test_running_and_waiting_count_alike():
    hpa = Hpa(setting())
    assert hpa.sync(view(pod(full(3.0, waiting=TARGET)), at=0.0)) == 3


def test_inside_ten_per_cent_nothing_changes():
    hpa = Hpa(setting())
    assert hpa.sync(view(pod(full(1.1)), at=0.0)) == 1


def test_a_loading_pod_counts_as_idle_on_the_way_up():
    # 3 targets on the one that reports: 1 + 2 loading makes a mean of 1: no more are asked for
    hpa = Hpa(setting())
    pods = [pod(full(3.0)), pod(ready=False), pod(ready=False)]
    assert hpa.sync(view(*pods, at=0.0)) == 3


def test_going_down_waits_for_five_minutes():
    hpa = Hpa(setting())
    busy, idle = [pod(full(1.0)) for _ in range(4)], [pod(full(0.2)) for _ in range(4)]
    assert hpa.sync(view(*busy, at=0.0)) == 4
    assert hpa.sync(view(*idle, at=285.0)) == 4
    assert hpa.sync(view(*idle, at=300.0)) == 1


def test_pages_that_the_last_scrape_did_not_read_are_missing():
    hpa = Hpa(setting())
    pods = [pod(full(0.2)), pod(full(5.0), stale=True)]
    # down: the missing one counts as on target: (0.2 + 1) / 2 of 2 pods is 1.2, which rounds up
    assert hpa.sync(view(*pods, at=0.0)) == 2
