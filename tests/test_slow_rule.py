"""The rule for slow tests, held to what it says."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.conftest import CPU, SLOW_S, SlowRule


@pytest.mark.parametrize(
    ("used_s", "marks", "ends"),
    [
        pytest.param(SLOW_S, (), pytest.ExitCode.OK, id="at the limit"),
        pytest.param(1.9 * SLOW_S, (), pytest.ExitCode.OK, id="a little over it"),
        pytest.param(2.1 * SLOW_S, (), pytest.ExitCode.TESTS_FAILED, id="twice as long"),
        pytest.param(9.0, ("slow",), pytest.ExitCode.OK, id="marked"),
    ],
)
def test_a_run_fails_by_a_slow_test_that_is_not_marked_so(used_s, marks, ends):
    rule, session = SlowRule(), SimpleNamespace(exitstatus=pytest.ExitCode.OK)
    report = SimpleNamespace(
        when="call", nodeid="t", user_properties=[(CPU, used_s)], keywords=dict.fromkeys(marks, 1)
    )
    rule.pytest_runtest_logreport(report)
    rule.pytest_sessionfinish(session)
    assert session.exitstatus is ends
