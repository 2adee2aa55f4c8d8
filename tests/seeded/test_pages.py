"""Which of the odd pages the daemon reads as the true ones that they are."""

from __future__ import annotations

import pytest

from tests.seeded.kubelets import Pod
from tests.seeded.pages import HOSTILE, TRUE_AFTER_ALL
from tests.seeded.run import Length, Run, run_seed
from tests.seeded.test_killed_between_writes import scenario
from tests.seeded.world import EPOCH


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_who_answers_oddly_and_truly_is_not_silent(name: str):
    """The judge counts a page as an answer where the daemon has to have taken it for one, and nowhere else."""
    struck: list[Pod] = []
    found: list[tuple[float, float, float]] = []

    def strike(run: Run) -> None:
        pods = run.world.kubelets.pods.values()
        struck.extend(pod for pod in pods if pod.name.startswith("m0-on-demand"))
        for pod in struck:
            pod.hostile = name

    def look(run: Run) -> None:
        (pod,) = struck
        for key, sample in run.daemon.collector.last_values.samples().items():
            if pod.name in key and sample.running_requests is not None:
                age_s = EPOCH + run.now() - sample.sampled_at
                found.append((age_s, run.now() - pod.answered_at, sample.running_requests))

    def begin(run: Run) -> None:
        run.later(20.0, lambda: strike(run))
        run.later(50.0, lambda: look(run))

    length = Length(chaos_s=55.0, calm_s=1.0)
    report = run_seed(1, plan=(), scenario=scenario(), length=length, begin=begin)
    assert report.violations == ()
    is_true = bool(found) and found[0][0] < 10.0
    assert is_true == (name in TRUE_AFTER_ALL)
    if is_true:
        assert found[0][1] < 10.0
        assert found[0][2] == round(struck[0].replica.running)
