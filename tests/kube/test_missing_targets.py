"""Scale targets that do not exist: told with what there is, and never where it is not known."""

from __future__ import annotations

from autoscaler.kube.watch.timing import Timing
from tests.kube.api_server import refuse
from tests.kube.scene import deployment, fleet, node

QUICK = Timing(backoff_s_min=0.01, backoff_s_max=0.01, return_s_max=0.01)


async def test_one_that_is_not_there_is_told_with_the_names_most_like_it_first(begin):
    names = [f"a{number}" for number in range(8)]
    there = [deployment(name) for name in (*names, "llama-spot")]
    scene = await begin(fleet("lama-spot"), node("n"), *there)
    (text,) = scene.cluster.missing_targets().values()
    assert text == (
        "Deployment/serving/lama-spot does not exist; in serving there are: llama-spot, a0, a1, a2, a3 "
        "and 4 more"
    )
    made = deployment("lama-spot")
    scene.held.put(made)
    await scene.until(lambda: not scene.cluster.missing_targets())
    scene.held.drop(made)
    await scene.until(lambda: bool(scene.cluster.missing_targets()))


async def test_in_a_namespace_without_any_it_says_so(begin):
    scene = await begin(fleet("llama"), node("n"))
    assert list(scene.cluster.missing_targets().values()) == [
        "Deployment/serving/llama does not exist: there is no Deployment in serving"
    ]


async def test_of_a_namespace_that_refuses_nothing_is_missing(begin):
    scene = await begin(fleet("llama"), node("n"), timing=QUICK)
    assert scene.cluster.missing_targets()
    scene.held.refuse("/deployments", refuse(403, "Forbidden", "no"))
    await scene.until(lambda: not scene.cluster.missing_targets())


async def test_one_that_is_there_and_cannot_be_read_is_not_missing(begin):
    garbled = {**deployment("llama"), "spec": 3}
    scene = await begin(fleet("llama"), node("n"), garbled)
    assert scene.cluster.unreadable_objects == 1
    assert scene.cluster.missing_targets() == {}
