"""A daemon with a bug planted in it is caught: the whole way from the bug to the invariant's name.

Each has a plan of faults that lets the bug show, so that one run is enough.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from autoscaler.app import Daemon
from autoscaler.core.contract.commands import Annotate, UncordonNode
from autoscaler.core.contract.reasons import StepBy
from autoscaler.core.guards import AFTER_BUDGET, BEFORE_BUDGET, Guards
from autoscaler.core.tick.drain import drain
from autoscaler.core.tick.parts import Parts
from tests.seeded.faults import FAULTS, Planned
from tests.seeded.run import SHORT, run_seed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def plan(*faults: tuple[float, str, float]) -> tuple[Planned, ...]:
    assert {name for _, name, _ in faults} <= FAULTS.keys()
    return tuple(Planned(at=at, name=name, lasts_s=lasts_s, lot=7) for at, name, lasts_s in faults)


NOTICED = plan((60.0, "a notice", 0.0), (100.0, "a notice", 0.0), (150.0, "a notice", 0.0))
WITHDRAWN = plan((60.0, "a notice withdrawn", 0.0), (120.0, "a notice withdrawn", 0.0))


def caught(invariant: str, seeds: range, **given: Any) -> None:
    """One of the seeds names the invariant, and none of them does without the bug."""
    for seed in seeds:
        report = run_seed(seed, length=SHORT, **given)
        if any(found.startswith(f"{invariant}:") for found in report.violations):
            healthy = run_seed(seed, length=SHORT, plan=given.get("plan"))
            assert healthy.violations == ()
            return
    pytest.fail(f"no seed has found what was planted for {invariant!r}")


def without(guards: Any, name: StepBy) -> dict[StepBy, Any]:
    return {by: guard for by, guard in guards.items() if by is not name}


def test_a_missing_maximum_is_caught():
    guards = Guards(before_budget=without(BEFORE_BUDGET, StepBy.BOUNDS))
    caught("bounds", range(6), parts=Parts(guards=guards), plan=())


def test_a_missing_floor_is_caught():
    guards = Guards(floors={}, spare={}, before_budget={}, after_budget=AFTER_BUDGET)
    caught("bounds", range(6), parts=Parts(guards=guards), plan=())


def test_samples_that_never_grow_old_are_caught():
    """The daemon believes that what it read last is of now, and shrinks in the dark."""

    def plant(daemon: Daemon) -> None:
        values, real = daemon.collector.last_values, daemon.collector.last_values.samples

        def samples() -> Any:
            now = daemon.clock.now()
            return {
                key: dataclasses.replace(
                    sample, sampled_at=now, running_requests=0.0, waiting_requests=0.0
                )
                for key, sample in real().items()
            }

        values.samples = samples  # type: ignore[method-assign]

    silent = plan((40.0, "pages silent", 150.0), (45.0, "pages silent", 150.0))
    caught("never smaller while blind", range(12), break_it=plant, plan=silent)


def test_a_drain_that_does_nothing_is_caught():
    def idle(situation: Any, *, memory: Any, writes: Any, raised: Any) -> None:
        pass

    caught("emptied or said why", range(6), parts=Parts(drain=idle), plan=NOTICED)


def test_a_drain_of_the_wrong_node_is_caught():
    def wrong(situation: Any, *, memory: Any, writes: Any, raised: Any) -> None:
        drain(situation, memory=memory, writes=writes, raised=raised)
        if situation.doom is not None:
            writes.cordon(model=situation.spec.key, node="od-0", after=None)

    caught("only the doomed are drained", range(6), parts=Parts(drain=wrong), plan=NOTICED)


def rewritten(value: Callable[[str | None], str | None]) -> Callable[[Daemon], None]:
    """Promises are written otherwise than they were decided."""

    def plant(daemon: Daemon) -> None:
        real = daemon.actuator._perform

        async def perform(command: Any) -> None:
            if isinstance(command, Annotate):
                command = dataclasses.replace(command, value=value(command.value))
            await real(command)

        daemon.actuator._perform = perform

    return plant


def test_promises_that_are_doubled_are_caught():
    def doubled(value: str | None) -> str | None:
        return None if value is None else value.replace('"replicas":', '"replicas":1')

    caught("no promise doubled", range(6), break_it=rewritten(doubled), plan=NOTICED)


def test_promises_that_are_lost_are_caught():
    """The second one written takes the first one's place."""
    seen: list[str] = []

    def lost(value: str | None) -> str | None:
        seen.append(value or "")
        return value if len(seen) < 3 else None

    caught("no promise lost", range(12), break_it=rewritten(lost), plan=NOTICED)


def test_promises_that_are_never_written_are_caught():
    """The API server is said to have taken them."""

    def plant(daemon: Daemon) -> None:
        real = daemon.actuator._perform

        async def perform(command: Any) -> None:
            if not isinstance(command, Annotate):
                await real(command)

        daemon.actuator._perform = perform

    caught("no promise lost", range(6), break_it=plant, plan=NOTICED)


def test_a_task_that_dies_is_caught():
    def plant(daemon: Daemon) -> None:
        def look() -> None:
            raise RuntimeError("planted")

        daemon.telemetry.outages.look = look  # type: ignore[method-assign]

    report = run_seed(1, length=SHORT, plan=(), break_it=plant)
    (name,) = {found.partition(":")[0] for found in report.violations}
    assert name in {"no task dead", "no bug"}


def test_a_hoard_is_caught():
    def plant(daemon: Daemon) -> None:
        values = daemon.collector.last_values
        real, hoard = values.put_sample, []
        daemon.collector.hoard = hoard  # type: ignore[attr-defined]

        def put(target: Any, sample: Any) -> None:
            hoard.append(f"{len(hoard)}" * 200_000)
            real(target, sample)

        values.put_sample = put  # type: ignore[method-assign]

    caught("memory bounded", range(1), break_it=plant, plan=())


def test_a_cordon_that_is_forgotten_is_caught():
    def plant(daemon: Daemon) -> None:
        real = daemon.actuator._perform

        async def perform(command: Any) -> None:
            if not isinstance(command, UncordonNode):
                await real(command)

        daemon.actuator._perform = perform

    caught("healed", range(6), break_it=plant, plan=WITHDRAWN)
