"""WVA V2: tokens asked for against tokens that fit, those on their way included."""

import pytest

from simulations.peers.rules.wva_v2 import WvaV2
from tests.simulations.peers.views import page, pod, setting, view
from tests.simulations.world.world_builder import PROFILE

KV_TOKENS = PROFILE.kv_blocks * PROFILE.block_tokens


def test_in_use_over_085_of_80_per_cent_of_the_cache():
    # one replica's capacity is 0.8 of its cache; 0.7 in use is 1.03 of 0.85 of that: one more
    assert WvaV2(setting()).sync(view(pod(page(kv=0.7)), at=0.0)) == 2
    assert WvaV2(setting()).sync(view(pod(page(kv=0.67)), at=0.0)) == 1


def test_what_is_on_its_way_counts_as_supply():
    wva = WvaV2(setting())
    assert wva.sync(view(pod(page(kv=0.7)), pod(ready=False), at=0.0)) == 2


def test_down_by_what_exceeds_demand_over_070():
    wva = WvaV2(setting())
    idle = [pod(page(kv=0.1)) for _ in range(4)]
    assert wva.sync(view(*idle, at=0.0)) == 4  # the HPA's own stabilization
    assert wva.sync(view(*idle, at=300.0)) == 1


def test_the_queue_weighs_its_prompts():
    wva = WvaV2(setting())
    first = page(finished=0)
    one = pod(first)
    assert wva.sync(view(one, at=0.0)) == 1
    # 100 requests of 5,000 tokens finished; 30 wait: 150,000 tokens beside what is in use
    one.sample = page(
        finished=100, prompt_tokens=500_000, generation_tokens=10_000, waiting=30, kv=0.4
    )
    answer = wva.sync(view(one, at=60.0))
    # a full queue teaches that 0.4 of the cache is all it can compute with
    capacity = 0.4 * KV_TOKENS
    demand = 0.4 * KV_TOKENS + 150_000
    assert answer == min(4, 1 + -(-(demand / 0.85 - capacity) // capacity))


@pytest.mark.parametrize("pods", [[], [pod(ready=False)]])
def test_without_a_page_it_repeats_itself(pods: list):
    assert WvaV2(setting()).sync(view(*pods, at=0.0, spec=1)) == 1
