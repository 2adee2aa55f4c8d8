"""What counts as a start that was recorded."""

from __future__ import annotations

import numpy as np
import pytest

from simulations.field.advise.starts import SeenReplicas, _durations_s
from simulations.field.capture.ranges import Grid, Series

GRID = Grid(start=1_000, step=30, points=121)


def began(pod: str, at: float) -> Series:
    values = np.full(len(GRID.moments), np.nan)
    values[40:] = at
    return Series(labels={"pod": pod, "instance": f"{pod}:8000"}, values=values)


@pytest.mark.parametrize(
    ("name", "at", "seconds"),
    [
        ("began within the span", 2_000.0, [185.0]),
        ("was there before and missed its first scrape", 990.0, []),
        ("began and was seen at once: too short to be a start", 2_184.0, []),
    ],
)
def test_a_start_is_one_that_began_within_the_span(name, at, seconds):
    first_seen = {("llama-1", "llama-1:8000"): 2_200.0}
    replicas = SeenReplicas(pods=("llama-1",), first_seen=first_seen)
    assert _durations_s([began("llama-1", at)], replicas, GRID) == seconds, name
