"""llm-d's blueprint: 30 waiting or 0.6 of KV a replica; one pod in three minutes up, in five down."""

import pytest

from simulations.peers.rules.llmd_keda import LlmdKeda
from tests.simulations.peers.views import page, pod, setting, view


@pytest.mark.parametrize(
    ("rule", "pages", "expected"),
    [
        ("91 waiting ask for four; one pod at a time", [page(waiting=91)], 2),
        ("KV: 0.9 + 0.9 over 0.6 asks for three", [page(kv=0.9), page(kv=0.9)], 3),
        ("the higher of both", [page(waiting=20, kv=0.2), page(waiting=20, kv=0.2)], 2),
        ("a full cache alone asks for two", [page(running=128, kv=1.0)], 2),
    ],
)
def test_up(rule: str, pages: list, expected: int):
    blueprint = LlmdKeda(setting())
    assert blueprint.sync(view(*(pod(p) for p in pages), at=0.0)) == expected, rule


def test_the_next_pod_has_to_wait_three_minutes():
    blueprint = LlmdKeda(setting())
    crowd = page(waiting=500)
    assert blueprint.sync(view(pod(crowd), at=0.0)) == 2
    two = [pod(crowd), pod(ready=False)]
    assert blueprint.sync(view(*two, at=165.0)) == 2
    assert blueprint.sync(view(*two, at=180.0)) == 3


def test_down_by_one_after_the_window():
    blueprint = LlmdKeda(setting())
    idle = [pod(page()) for _ in range(5)]
    assert blueprint.sync(view(*idle, at=0.0)) == 5
    assert blueprint.sync(view(*idle, at=300.0)) == 4
    assert blueprint.sync(view(*idle[:4], at=315.0)) == 4
