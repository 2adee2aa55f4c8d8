"""Ray Serve: ongoing requests over a target, once a direction has held."""

from simulations.peers.baseline import RouterView
from simulations.peers.rules.ray_serve import RayServe
from tests.simulations.peers.views import page, pod, setting, view
from tests.simulations.world.world_builder import PROFILE


def synced(ray: RayServe, loads: list[float], *, replicas: int, at: float = 0.0) -> list[int]:
    pods = [pod(page()) for _ in range(replicas)]
    answers = []
    for n, load in enumerate(loads):
        outstanding = round(load * PROFILE.in_flight_target)
        router = RouterView(arrived_total=0, outstanding_requests=outstanding, waiting_requests=0)
        answers.append(ray.sync(view(*pods, at=at + 10.0 * n, router=router)))
    return answers


def test_up_after_thirty_seconds_by_the_mean_of_thirty():
    assert synced(RayServe(setting()), [4.0] * 4, replicas=1) == [1, 1, 1, 4]


def test_down_after_ten_minutes():
    answers = synced(RayServe(setting()), [1.0] * 62, replicas=3)
    assert set(answers[:60]) == {3}
    assert answers[60] == 1


def test_a_change_of_mind_starts_anew():
    answers = synced(RayServe(setting()), [3.0, 3.0, 0.9, 0.9, 0.9, 3.0, 3.0, 3.0], replicas=2)
    assert set(answers) == {2}


def test_more_is_rounded_up():
    assert synced(RayServe(setting()), [1.1] * 4, replicas=1)[-1] == 2
