"""KubeAI: a mean of ten minutes, up at once, down after three ticks."""

from simulations.peers.baseline import RouterView
from simulations.peers.rules.kubeai import KubeAI
from tests.simulations.peers.views import page, pod, setting, view
from tests.simulations.world.world_builder import PROFILE


def ticked(kubeai: KubeAI, loads: list[float], *, replicas: int) -> list[int]:
    pods = [pod(page()) for _ in range(replicas)]
    answers = []
    for load in loads:
        outstanding = round(load * PROFILE.in_flight_target)
        router = RouterView(arrived_total=0, outstanding_requests=outstanding, waiting_requests=0)
        answers.append(kubeai.sync(view(*pods, router=router)))
    return answers


def test_the_window_begins_warm_with_what_was_seen_and_no_zeros():
    assert ticked(KubeAI(setting()), [6.0], replicas=1) == [6]


def test_the_mean_is_of_ten_minutes_and_goes_up_at_once():
    kubeai = KubeAI(setting())
    ticked(kubeai, [0.0] * 60, replicas=1)
    answers = ticked(kubeai, [6.0] * 60, replicas=1)
    assert answers[9] == 1  # 10 of 60 samples: exactly one replica's worth
    assert answers[10] == 2
    assert answers[59] == 6


def test_down_after_three_ticks_in_a_row():
    kubeai = KubeAI(setting(), window_s=10.0)
    assert ticked(kubeai, [3.0, 1.0, 1.0, 3.0, 1.0, 1.0, 1.0], replicas=3) == [3, 3, 3, 3, 3, 3, 1]
