"""A static fleet is sized for the busiest ten seconds."""

import numpy as np
import pytest

from simulations.peers.rules.static_peak import StaticPeak
from simulations.serving.offered_demand import offered_replicas, work_s
from tests.simulations.peers.views import setting, view
from tests.simulations.world.world_builder import PROFILE, requests


def test_work_is_prefill_and_a_share_of_the_steps():
    columns = requests([0.0], prompt_tokens=1000, output_tokens=200)
    batch = PROFILE.in_flight_target
    prefill = 1000 * PROFILE.token_ns + 500_000 * PROFILE.attention_ps / 1000
    step = PROFILE.step_ns + PROFILE.pause_ns
    step += batch * (PROFILE.pause_decode_ns + PROFILE.kv_token_ns * 1100)
    assert work_s(columns, PROFILE)[0] == pytest.approx((prefill + 200 * step / batch) / 1e9)


def test_the_busiest_ten_seconds_make_the_fleet():
    work = float(work_s(requests([0.0]), PROFILE)[0])
    burst = int(33 / work)  # just below 3.3 replicas for ten seconds
    arrivals = np.sort(np.concatenate([np.linspace(20, 29.9, burst), np.linspace(0, 600, 60)]))
    columns = requests(arrivals.tolist())
    assert 3.1 < offered_replicas(columns, PROFILE).max() < 3.5
    static = StaticPeak(setting(traffic=columns))
    assert static.initial_replicas == 4
    assert static.sync(view()) is None


def test_it_stays_within_the_bounds_of_the_run():
    columns = requests([0.0] * 100_000)
    assert StaticPeak(setting(traffic=columns, replicas_max=7)).initial_replicas == 7
    assert StaticPeak(setting(traffic=requests([0.0]), replicas_min=3)).initial_replicas == 3
