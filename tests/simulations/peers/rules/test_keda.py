"""The ScaledObject of five waiting requests a replica, worked by hand."""

import pytest

from simulations.peers.rules.keda import Keda
from tests.simulations.peers.views import page, pod, setting, view


@pytest.mark.parametrize(
    ("rule", "waiting", "expected"),
    [
        ("five waiting requests a replica", [11, 11], 5),
        ("inside the tolerance: as it is", [5, 6], 2),
        ("up by four or by double at once, whichever is more", [200, 200], 6),
    ],
)
def test_going_up(rule: str, waiting: list[int], expected: int):
    pods = [pod(page(waiting=count, running=40)) for count in waiting]
    assert Keda(setting()).sync(view(*pods, at=0.0)) == expected, rule


def test_what_runs_is_not_seen_and_going_down_takes_half_a_minute_after_five():
    keda = Keda(setting())
    pods = [pod(page(running=128, kv=0.99)) for _ in range(8)]
    assert keda.sync(view(*pods, at=0.0)) == 8
    assert keda.sync(view(*pods, at=299.0)) == 8
    assert keda.sync(view(*pods, at=315.0)) == 4
    # 50 % of what there was at the start of the minute, which is 8: no more until it is over
    assert keda.sync(view(*pods[:4], at=330.0)) == 4
    assert keda.sync(view(*pods[:4], at=376.0)) == 2


def test_no_series_is_nothing_waiting():
    keda = Keda(setting())
    assert keda.sync(view(pod(ready=False), pod(ready=False), at=0.0)) == 2
    assert keda.sync(view(pod(ready=False), pod(ready=False), at=301.0)) == 1
