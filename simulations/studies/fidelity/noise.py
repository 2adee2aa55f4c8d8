"""The noise floor: how far a machine is from itself when the same plan is run on it twice.

No model that knows one run can be expected to come closer to another. Two runs are the same plan when
one server's settings and at least nine in ten requests (by name and lengths) are in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from simulations.studies.fidelity.runs import MeasuredRun, latency_figures

SHARED_RATIO_MIN = 0.9
SERVER = (
    *("model", "requests_max", "step_tokens_max", "kv_blocks", "block_tokens", "prefix_caching"),
)
"""What two runs of one server have in common."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The second run against the first, over the requests that came whole in both.

    Signed and relative: second / first - 1.
    """

    first: str
    second: str
    requests: int
    ttft_mean_difference: float
    ttft_p95_difference: float
    tpot_mean_difference: float
    e2e_mean_difference: float


def noise_floor(runs: Sequence[MeasuredRun]) -> list[Noise]:
    """Every pair of runs of one plan, in order of name."""
    return [
        noise
        for first, second in combinations(sorted(runs, key=lambda run: run.name), 2)
        if (noise := _noise(first, second)) is not None
    ]


def _noise(first: MeasuredRun, second: MeasuredRun) -> Noise | None:
    if any(getattr(first, name) != getattr(second, name) for name in SERVER):
        return None
    places = {name: row for row, name in enumerate(second.names)}
    pairs = [(row, places[name]) for row, name in enumerate(first.names) if name in places]
    pairs = [
        (a, b)
        for a, b in pairs
        if first.columns.prompt_tokens[a] == second.columns.prompt_tokens[b]
        and first.columns.output_tokens[a] == second.columns.output_tokens[b]
    ]
    if len(pairs) < SHARED_RATIO_MIN * min(len(first.names), len(second.names)):
        return None
    whole = [(a, b) for a, b in pairs if first.whole[a] and second.whole[b]]
    if not whole:
        return None
    one, other = np.array(whole).T
    output_tokens = first.columns.output_tokens[one]
    before, after = (
        latency_figures(run.ttft_s[rows], run.e2e_s[rows], output_tokens)
        for run, rows in ((first, one), (second, other))
    )
    return Noise(
        first=first.name,
        second=second.name,
        requests=len(whole),
        **{f"{name}_difference": value / before[name] - 1 for name, value in after.items()},
    )
