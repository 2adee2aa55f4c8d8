"""What holds for every test: examples by day and night, and the rule for slow ones."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.extent import NIGHT, examples

# No test asserts wall-clock time: a busy machine is no failure.
settings.register_profile(
    "house",
    deadline=None,
    max_examples=examples(day=50, night=500),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("house")

SLOW_S = 0.25
"""CPU seconds, own and of ended children, above which a test is to be marked `slow`."""
SAID_S = 2.0 * SLOW_S
"""Over the limit by a little is no reason to speak; twice the limit is."""
CPU = "cpu_s"
COUNTED_TO = 200_000
COUNTING_S = 0.0156
"""What `_slowness` counts takes so long on the machine on which the limit was set."""


def _cpu_s() -> float:
    used = os.times()
    return time.process_time() + used.children_user + used.children_system


def _slowness() -> float:
    """How much slower this machine is at this moment than the one on which the limit was set; 1 at least."""
    began = time.process_time()
    sum(number * number for number in range(COUNTED_TO))
    return max(1.0, (time.process_time() - began) / COUNTING_S)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Measure a test's CPU time; it travels with its report, also from another process."""
    before = _cpu_s()
    try:
        return (yield)
    finally:
        used = _cpu_s() - before
        if used > SAID_S:
            used /= _slowness()
        item.user_properties.append((CPU, used))


class SlowRule:
    """Names the tests that are not marked `slow` and were: `make quick` has to stay quick.

    It says so and fails nothing: a figure of a clock on a shared machine is no defect of the code.
    """

    def __init__(self) -> None:
        self.slow: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep who took too long."""
        cpu_s = dict(report.user_properties).get(CPU)
        if report.when != "call" or "slow" in report.keywords or not isinstance(cpu_s, float):
            return
        if cpu_s > SAID_S:
            self.slow[report.nodeid] = cpu_s

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say who, and what to do."""
        if not self.slow:
            return
        terminalreporter.section("slow and not marked so")
        for name, cpu_s in sorted(self.slow.items(), key=lambda each: -each[1]):
            terminalreporter.write_line(f"{name}: {cpu_s:.2f} s of CPU")
        terminalreporter.write_line(
            f"over {SLOW_S} s a test is marked `slow` (pytest.mark.slow), or made quicker"
        )


def pytest_configure(config: pytest.Config) -> None:
    """Watch where results come together: in the one process, or in xdist's controller."""
    if not NIGHT and not hasattr(config, "workerinput"):  # by night a test tries more
        config.pluginmanager.register(SlowRule(), "slow-rule")
