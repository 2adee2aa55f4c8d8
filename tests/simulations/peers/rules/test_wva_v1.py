"""WVA V1: one up, one down, nothing while replicas are on their way."""

import pytest

from simulations.peers.rules.wva_v1 import WvaV1
from tests.simulations.peers.views import page, pod, setting, view


def decided(wva: WvaV1, *pages, at: float = 0.0, loading: int = 0) -> int:
    pods = [pod(p) for p in pages] + [pod(ready=False) for _ in range(loading)]
    return wva.sync(view(*pods, at=at))


@pytest.mark.parametrize(
    ("rule", "pages", "expected"),
    [
        ("KV to spare is below 0.10", [page(kv=0.71)], 2),
        ("queue to spare is below 3", [page(waiting=3)], 2),
        ("all saturated", [page(kv=0.9)], 2),
        ("enough to spare and nothing to give", [page(kv=0.5)], 1),
    ],
)
def test_one_replica(rule: str, pages: list, expected: int):
    assert decided(WvaV1(setting()), *pages) == expected, rule


def lowered(pages: list) -> int:
    """What it recommends of two replicas that it has asked for itself."""
    wva = WvaV1(setting())
    assert decided(wva, page(kv=0.75)) == 2
    return [decided(wva, *pages, at=at) for at in (60.0, 400.0, 460.0, 800.0)][-1]


@pytest.mark.parametrize(
    ("rule", "pages", "expected"),
    [
        # 0.3 each is 0.6 on one: 0.2 of KV to spare is enough
        ("one less survives", [page(kv=0.3), page(kv=0.3)], 1),
        # 0.36 each is 0.72 on one: 0.08 to spare is not
        ("one less does not", [page(kv=0.36), page(kv=0.36)], 2),
        ("the queue counts too", [page(waiting=2), page(waiting=1)], 2),
    ],
)
def test_down(rule: str, pages: list, expected: int):
    assert lowered(pages) == expected, rule


def test_it_is_frozen_while_a_replica_loads():
    wva = WvaV1(setting())
    assert decided(wva, page(kv=0.9)) == 2
    assert decided(wva, page(kv=0.9), loading=1, at=60.0) == 2
    assert decided(wva, page(kv=0.9), page(kv=0.9), at=120.0) == 3


def test_it_optimizes_once_a_minute():
    wva = WvaV1(setting())
    assert decided(wva, page(kv=0.1)) == 1
    assert decided(wva, page(kv=0.9), at=15.0) == 1
    assert decided(wva, page(kv=0.9), at=60.0) == 2


def test_the_highest_of_the_last_minute_counts():
    wva = WvaV1(setting())
    one = pod(page(kv=0.1))
    assert wva.sync(view(one, at=0.0)) == 1
    one.sample = page(kv=0.75)
    assert wva.sync(view(one, at=45.0)) == 1
    one.sample = page(kv=0.1)
    assert wva.sync(view(one, at=60.0)) == 2
