"""Each part of the core earns its place: replaced by its identity, at least one test fails.

    python -m tests.mutations [NAME]...

runs the core's scenarios once for each mutation and prints which tests notice. Parts are handed to the
engine (`autoscaler.core.tick.parts.Parts`); nothing is patched. `tests/core/test_mutations.py` keeps one
witness of each alive in the ordinary run.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from autoscaler.core.supply.free_gpus import FreeGpus
from autoscaler.core.tick.parts import Parts
from tests.expect import built_of

SCENARIOS = [
    "tests/core/guards/test_guards.py",
    "tests/core/supply/test_supply.py",
    "tests/core/pools/test_placement.py",
    "tests/core/pools/test_promises.py",
    "tests/core/tick/test_drain.py",
    "tests/core/test_interrupted_sequences.py",
    "tests/core/test_engine.py",
    "tests/core/test_ramps.py",
]


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One part replaced by its identity."""

    what: str
    apply: Callable[[Parts], Parts]
    witness: str
    """A test that notices, as pytest names it."""


def without_guard(name: str) -> Callable[[Parts], Parts]:
    def apply(parts: Parts) -> Parts:
        return replace(parts, guards={k: v for k, v in parts.guards.items() if k != name})

    return apply


def unknown_gpus(nodes, doom) -> FreeGpus:
    return FreeGpus(nodes=replace(nodes, gpus_free=np.full(len(nodes), np.nan)), doom=doom)


def unknown_framebuffers(_memory, *, rows, **_):
    return [None] * len(rows)


def prior_only(_memory, *, prior_s: float) -> float:
    return prior_s


GUARDS_FILE = "tests/core/guards/test_guards.py"
SUPPLY_FILE = "tests/core/supply/test_supply.py"
PROMISES_FILE = "tests/core/pools/test_promises.py"
SPOT_FILE = "tests/core/tick/test_drain.py"

MUTATIONS = {
    "freshness": Mutation(
        what="guard: blind, or while a target rolls out, nothing is held",
        apply=without_guard("freshness"),
        witness=f"{GUARDS_FILE}::test_blind_means_hold_or_up_never_down",
    ),
    "starting": Mutation(
        what="guard: a stuck replica's level is asked for nowhere else",
        apply=without_guard("starting"),
        witness=f"{SUPPLY_FILE}::test_a_stuck_level_is_asked_for_in_another_pool",
    ),
    "stabilization": Mutation(
        what="guard: no window",
        apply=without_guard("stabilization"),
        witness=f"{GUARDS_FILE}::test_a_scale_down_waits_for_the_highest_proposal_of_the_learnt_cold_start",
    ),
    "rate": Mutation(
        what="guard: the behavior's policies are not obeyed",
        apply=without_guard("rate"),
        witness=f"{GUARDS_FILE}::test_the_rate_counts_own_rescales_that_were_accepted",
    ),
    "warm_floor": Mutation(
        what="guard: nothing is kept warm",
        apply=without_guard("warm_floor"),
        witness=f"{GUARDS_FILE}::test_the_warm_floor_is_kept_on_its_capacity_type",
    ),
    "bounds": Mutation(
        what="guard: neither minimum nor maximum",
        apply=without_guard("bounds"),
        witness=f"{GUARDS_FILE}::test_bounds",
    ),
    "budget": Mutation(
        what="guard: the GPU budget binds nobody",
        apply=without_guard("budget"),
        witness="tests/core/test_engine.py::test_budget",
    ),
    "pause": Mutation(
        what="guard: a pause that only forbids scaling down does not",
        apply=without_guard("pause"),
        witness=f"{GUARDS_FILE}::test_pause",
    ),
    "interruption": Mutation(
        what="guard: no on-demand fallback",
        apply=without_guard("interruption"),
        witness=f"{PROMISES_FILE}::test_shortfall",
    ),
    "doomed": Mutation(
        what="interruption: doomed replicas count as if nothing were",
        apply=lambda parts: replace(parts, find_doomed=lambda *_, **__: None),
        witness=f"{SPOT_FILE}::test_a_lost_node_is_made_up_for_but_never_touched",
    ),
    "drain": Mutation(
        what="interruption: nothing is cordoned or evicted",
        apply=lambda parts: replace(parts, drain=lambda *_, **__: None),
        witness=f"{SPOT_FILE}::test_evictions_end_before_the_deadline_and_take_loading_replicas_too",
    ),
    "forecast": Mutation(
        what="no forecast: reactive for ever",
        apply=lambda parts: replace(parts, forecast=lambda *_, **__: None),
        witness="tests/core/test_ramps.py::test_the_third_of_three_equal_ramps_is_met_in_advance",
    ),
    "cold-start": Mutation(
        what="the cold start is not learnt: the spec's prior stays",
        apply=lambda parts: replace(
            parts, cold_start_s=prior_only, finished_cold_start_s=prior_only
        ),
        witness="tests/core/test_engine.py::test_the_learnt_cold_start_is_the_window",
    ),
    "dcgm-free-gpus": Mutation(
        what="DCGM: free GPUs do not cap the starts that are counted on",
        apply=lambda parts: replace(parts, free_gpus=unknown_gpus),
        witness=f"{PROMISES_FILE}::test_free_gpus_decide_whether_a_start_is_counted_on",
    ),
    "dcgm-framebuffer": Mutation(
        what="DCGM: a loading replica is not told from a stuck one",
        apply=lambda parts: replace(parts, watch_loading=unknown_framebuffers),
        witness=f"{SUPPLY_FILE}::test_dcgm_framebuffer_tells_loading_from_stuck",
    ),
}


class Failures:
    """A pytest plugin that keeps the names of the tests that failed."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.ran = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.ran += 1
        if report.failed and report.nodeid not in self.names:
            self.names.append(report.nodeid)


def run(tests: list[str], *, parts: Parts) -> Failures:
    """Run tests on engines that are built of these parts."""
    failures = Failures()
    arguments = [*tests, "-q", "-x" if len(tests) == 1 else "-q", "-p", "no:cacheprovider", "--no-header"]  # fmt: skip
    with built_of(parts), contextlib.redirect_stdout(io.StringIO()):
        pytest.main(arguments, plugins=[failures])
    return failures


def main() -> int:
    """Print which tests notice each mutation; 1 if one goes unnoticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MUTATIONS))
    names = parser.parse_args().names or list(MUTATIONS)
    unnoticed = 0
    for name in names:
        mutation = MUTATIONS[name]
        failures = run(SCENARIOS, parts=mutation.apply(Parts()))
        print(f"{name}: {mutation.what}\n  {len(failures.names)} of {failures.ran} tests notice")
        for test in failures.names:
            print(f"    {test}")
        unnoticed += not failures.names
        sys.stdout.flush()
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
