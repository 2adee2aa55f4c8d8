"""Idle GPU time: whole replicas beyond the demand, by who kept them."""

from __future__ import annotations

import pytest

from autoscaler.core.contract.scores import IdleGpuSeconds
from autoscaler.core.scores.idle_gpu_time import IdleGpuTime


def idle(need: float, ready: int, *kept_by: int, gpus: float = 1.0) -> tuple[float, ...]:
    told = IdleGpuTime()
    told.observe(
        10.0,
        need=need,
        ready=ready,
        kept_by=kept_by or (0, 0, 0, 0, 0),
        gpus_per_replica=gpus,
        usd_per_hour=3.6,
    )
    assert told.usd == pytest.approx(sum(told.gpu_s) / gpus * 0.001)
    return IdleGpuSeconds(*told.gpu_s)


@pytest.mark.parametrize(
    ("need", "ready", "kept_by", "expected"),
    [
        (2.3, 3, (1, 1, 3, 3, 3), (0, 0, 0, 0, 0, 0)),
        (2.3, 2, (1, 1, 3, 3, 3), (0, 0, 0, 0, 0, 0)),
        (0.0, 1, (1, 1, 1, 1, 1), (10, 0, 0, 0, 0, 0)),
        (0.2, 3, (1, 2, 3, 3, 3), (0, 10, 10, 0, 0, 0)),
        (0.0, 6, (1, 2, 3, 4, 5), (10, 10, 10, 10, 10, 10)),
        (2.0, 6, (1, 1, 3, 5, 5), (0, 0, 10, 20, 0, 10)),
        (2.0, 4, (1, 1, 2, 0, 4), (0, 0, 0, 0, 20, 0)),
        (3.0, 4, (1, 1, 9, 9, 9), (0, 0, 10, 0, 0, 0)),
    ],
    ids=["a part is no whole one", "short", "the minimum", "the floor", "each its own",
         "the window, and released", "another guard", "no more than are ready"],
)  # fmt: skip
def test_who_kept_it(need, ready, kept_by, expected):
    assert idle(need, ready, *kept_by) == tuple(map(float, expected))


def test_it_is_in_gpus():
    assert idle(1.0, 2, 0, 0, 2, 2, 2, gpus=8.0).forecast == 80.0
