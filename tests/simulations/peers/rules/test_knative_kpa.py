"""KPA: 70 % of the target, two windows, and no way down while it panics."""

from simulations.peers.baseline import RouterView
from simulations.peers.rules.knative_kpa import KnativeKpa
from tests.simulations.peers.views import page, pod, setting, view
from tests.simulations.world.world_builder import PROFILE

CARRIED = PROFILE.in_flight_target * 0.7


def router(replicas_worth: float) -> RouterView:
    return RouterView(
        arrived_total=0, outstanding_requests=round(CARRIED * replicas_worth), waiting_requests=0
    )


def ticked(kpa: KnativeKpa, loads: list[float], *, ready: int, at: float = 0.0) -> list[int]:
    pods = [pod(page()) for _ in range(ready)]
    return [
        kpa.sync(view(*pods, at=at + 2.0 * n, router=router(load))) for n, load in enumerate(loads)
    ]


def test_steady_load_is_divided_by_seventy_per_cent_of_the_target():
    assert ticked(KnativeKpa(setting()), [2.9] * 40, ready=3)[-1] == 3


def test_a_burst_of_twice_what_is_ready_panics_on_six_seconds():
    kpa = KnativeKpa(setting(replicas_max=20))
    answers = ticked(kpa, [0.9] * 40 + [6.0] * 4, ready=1)
    assert answers[39] == 1
    # three of the last three seconds' samples are at 6, the stable window is still low
    assert answers[-1] == 6


def test_it_does_not_go_down_until_a_stable_window_without_panic():
    kpa = KnativeKpa(setting(replicas_max=20))
    assert max(ticked(kpa, [0.9] * 30 + [6.0] * 5, ready=1)) == 6
    calm = ticked(kpa, [0.5] * 31, ready=6, at=70.0)
    assert set(calm[:29]) == {6}
    after = ticked(kpa, [0.5] * 10, ready=6, at=132.0)
    assert after[-1] == 3  # half of what is ready at most


def test_one_step_down_is_at_most_half():
    assert ticked(KnativeKpa(setting()), [0.1] * 40, ready=8)[-1] == 4
