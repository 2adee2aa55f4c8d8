"""APA as it ships: pods that do not answer are 0, and the way down takes the lowest of five minutes."""

import pytest

from simulations.peers.rules.aibrix_apa import AibrixApa
from tests.simulations.peers.views import page, pod, setting, view


@pytest.mark.parametrize(
    ("rule", "usages", "expected"),
    [
        ("inside a tenth of 0.5", [0.55, 0.55], 2),
        ("above: N times the ratio, rounded up", [0.7, 0.7], 3),
        ("at most double", [1.0] * 2, 4),
        ("below: N times the ratio", [0.3, 0.3, 0.3, 0.3], 3),
        ("at least half", [0.0] * 4, 2),
    ],
)
def test_one_tick(rule: str, usages: list[float], expected: int):
    pods = [pod(page(kv=usage)) for usage in usages]
    assert AibrixApa(setting()).sync(view(*pods, at=0.0)) == expected, rule


def test_a_loading_pod_reads_as_nothing_in_use():
    apa = AibrixApa(setting(), pending_guard=0.0)
    # 0.6 and 0 make 0.3 on average: down, though the one that serves is over its target
    assert apa.sync(view(pod(page(kv=0.6)), pod(ready=False), at=0.0)) == 2
    assert apa.sync(view(*[pod(page(kv=0.2))] * 3, pod(ready=False), at=10.0)) == 2


def test_the_guard_holds_while_replicas_load():
    loads = [pod(page(kv=0.95)), pod(page(kv=0.95)), pod(page(kv=0.95)), pod(ready=False)]
    assert AibrixApa(setting()).sync(view(*loads, at=0.0)) == 4
    assert AibrixApa(setting(), pending_guard=0.0).sync(view(*loads, at=0.0)) == 6


def test_the_way_down_goes_to_the_lowest_recommendation_of_five_minutes():
    apa = AibrixApa(setting())
    quiet, busy = page(kv=0.1), page(kv=0.42)
    assert apa.sync(view(*[pod(quiet)] * 8, at=0.0)) == 4
    # the mean of 180 s is 0.26 now, which asks for 5 of 8; the 4 of ten seconds ago is taken
    assert apa.sync(view(*[pod(busy)] * 8, at=10.0)) == 4


def test_without_a_cooldown_the_recommendation_of_now_is_taken():
    """A sweep goes down to none: nothing that was recommended before counts, and nothing breaks."""
    apa = AibrixApa(setting(), down_cooldown_s=0.0)
    assert apa.sync(view(*[pod(page(kv=0.1))] * 8, at=0.0)) == 4
    # the mean of 180 s is 0.26 by now
    assert apa.sync(view(*[pod(page(kv=0.42))] * 8, at=10.0)) == 5
