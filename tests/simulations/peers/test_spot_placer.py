"""Where SkyServe puts spot replicas: active zones, the least used first."""

from __future__ import annotations

from collections.abc import Sequence

from simulations.agenda import EPOCH_S, NS
from simulations.peers.baseline import TargetView
from simulations.peers.spot_placer import LAUNCH_S, SpotPlacer
from simulations.world.objects import SimulatedPod
from tests.simulations.peers.views import pod, view

NOW_S = 1000.0


def zones(*pods: Sequence[SimulatedPod], spec: Sequence[int]) -> list[TargetView]:
    return [
        view(*each, spec=replicas, at=EPOCH_S + NOW_S)
        for each, replicas in zip(pods, spec, strict=True)
    ]


def waiting(for_s: float) -> SimulatedPod:
    made = pod(ready=False)
    made.unschedulable_ns = int((NOW_S - for_s) * NS)
    return made


def test_new_replicas_are_spread_and_one_zone_has_all():
    assert SpotPlacer().place(zones([], [], [], spec=[0, 0, 0]), 5) == [2, 2, 1]
    assert SpotPlacer().place(zones([], spec=[3]), 5) == [5]


def test_a_preempted_zone_is_avoided_until_fewer_than_two_are_active():
    placer = SpotPlacer()
    a, b, c = [pod(), pod()], [pod(), pod()], [pod()]
    placer.place(zones(a, b, c, spec=[2, 2, 1]), 5)
    # one of zone a is taken: it goes to c, which has the fewest
    assert placer.place(zones(a[:1], b, c, spec=[2, 2, 1]), 5) == [1, 2, 2]
    # and one of b: then only c is active, and all are again
    assert placer.place(zones(a[:1], b[:1], c, spec=[1, 2, 2]), 5) == [2, 1, 2]


def test_a_launch_that_finds_no_machine_has_failed_after_a_minute():
    placer = SpotPlacer()
    late, early = [waiting(LAUNCH_S)], [waiting(LAUNCH_S - 1.0)]
    assert placer.place(zones(early, [], [], spec=[1, 0, 0]), 1) == [1, 0, 0]
    assert placer.place(zones(late, [], [], spec=[1, 0, 0]), 1) == [0, 1, 0]


def test_what_it_gave_up_itself_was_not_preempted():
    placer = SpotPlacer()
    a, b = [pod(), pod()], [pod(), pod()]
    placer.place(zones(a, b, spec=[2, 2]), 4)
    assert placer.place(zones(a, b, spec=[2, 2]), 3) == [2, 1]
    assert placer.place(zones(a, b[:1], spec=[2, 1]), 4) == [2, 2]


def test_a_replica_that_is_not_ready_goes_first():
    placer = SpotPlacer()
    ready, starting = [pod(), pod()], [pod(), pod(ready=False)]
    placer.place(zones(ready, starting, spec=[2, 2]), 4)
    assert placer.place(zones(ready, starting, spec=[2, 2]), 3) == [2, 1]
