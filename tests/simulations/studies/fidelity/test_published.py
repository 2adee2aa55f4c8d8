"""The profiles that come along beside published measurements: the figures of `VALIDATION.md`.

Not that they are equal, but that the page says by how much they are not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulations.serving.columns import RequestColumns
from simulations.serving.fleet import ServingFleet
from simulations.serving.profiles.profiles import PROFILES, Profile

LONG_NS = 10**15
BYTES_PER_S = {"A100 40 GB": 1555, "A100 80 GB": 2039}
"""Memory bandwidth in 10^9 bytes per second."""


def together(profile: Profile, concurrency: int, *, prompt: int, output: int) -> tuple[float, ...]:
    """(ms between tokens, output tokens/s) of so many requests at once."""
    columns = RequestColumns(
        arrival_ns=np.zeros(concurrency, dtype=np.int64),
        prompt_tokens=np.full(concurrency, prompt),
        output_tokens=np.full(concurrency, output),
    )
    fleet = ServingFleet(profile, columns, timeout_ns=LONG_NS, engine="reference")
    fleet.add_replica(0, 0)
    fleet.run_until(LONG_NS)
    first, last = fleet.results.first_token_ns, fleet.results.finished_ns
    between_ms = float((last - first).mean() / (output - 1) / 1e6)
    return between_ms, concurrency * output / (float(last.max()) / 1e9)


@pytest.mark.parametrize(
    ("concurrency", "theirs_ms", "ours_ms", "off"),
    [(1, 6.48, 7.72, 0.19), (4, 6.59, 7.77, 0.18), (16, 10.94, 8.07, -0.26)],
)
def test_an_8b_on_an_h100(concurrency: int, theirs_ms: float, ours_ms: float, off: float) -> None:
    found, _ = together(PROFILES["llama-3.1-8b/1xH100"], concurrency, prompt=128, output=128)
    assert found == pytest.approx(ours_ms, abs=0.005)
    assert found / theirs_ms - 1 == pytest.approx(off, abs=0.005)


def test_an_8b_on_an_a100() -> None:
    base = PROFILES["llama-3.1-8b/1xA100-80"]
    slower = BYTES_PER_S["A100 80 GB"] / BYTES_PER_S["A100 40 GB"]
    profile = replace(
        base,
        step_ns=round(base.step_ns * slower),
        kv_token_ns=round(base.kv_token_ns * slower),
    )
    alone_ms, alone = together(profile, 1, prompt=1024, output=128)
    _, eight = together(profile, 8, prompt=1024, output=128)
    assert 1000 / alone_ms == pytest.approx(63, abs=0.5)
    assert 1000 / alone_ms / 75 - 1 == pytest.approx(-0.16, abs=0.01)
    assert eight / alone == pytest.approx(5.3, abs=0.05)
