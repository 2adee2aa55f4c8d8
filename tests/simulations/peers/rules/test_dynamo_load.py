"""Dynamo's load mode: a step of one, held while a scaling is in progress."""

import pytest

from simulations.peers.rules.dynamo_load import DynamoLoad
from tests.simulations.peers.views import page, pod, setting, view
from tests.simulations.world.world_builder import PROFILE

KV_TOKENS = PROFILE.kv_blocks * PROFILE.block_tokens


@pytest.mark.parametrize(
    ("rule", "usages", "expected"),
    [
        ("a full cache is not above one", [1.0, 0.7], 2),
        ("all below 0.6: one less", [0.5, 0.55], 1),
        ("one above 0.6 keeps both", [0.5, 0.65], 2),
        ("the last one stays", [0.0], 1),
    ],
)
def test_without_a_queue(rule: str, usages: list[float], expected: int):
    pods = [pod(page(kv=usage)) for usage in usages]
    assert DynamoLoad(setting()).sync(view(*pods, at=0.0)) == expected, rule


def test_a_queue_on_a_full_cache_asks_for_one_more():
    planner = DynamoLoad(setting())
    one = pod(page(kv=0.95))
    assert planner.sync(view(one, at=0.0)) == 1
    waiting = int(0.06 * KV_TOKENS / 1000) + 1
    one.sample = page(
        kv=0.95, waiting=waiting, finished=10, prompt_tokens=10_000, generation_tokens=500
    )
    assert planner.sync(view(one, at=5.0)) == 2


def test_it_holds_while_a_worker_starts_and_without_metrics():
    planner = DynamoLoad(setting())
    full = page(kv=1.0, waiting=50)
    assert planner.sync(view(pod(full), pod(ready=False), at=0.0)) == 2
    assert planner.sync(view(pod(full, stale=True), at=5.0)) == 1
