"""The rule for slow tests, held to what it says."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.conftest import CPU, SLOW_S, SlowRule


@pytest.mark.parametrize(
    ("used_s", "marks", "named"),
    [
        pytest.param(SLOW_S, (), False, id="at the limit"),
        pytest.param(1.9 * SLOW_S, (), False, id="a little over it"),
        pytest.param(2.1 * SLOW_S, (), True, id="twice as long"),
        pytest.param(9.0, ("slow",), False, id="marked"),
    ],
)
def test_a_slow_test_that_is_not_marked_so_is_named(used_s, marks, named):
    rule, said = SlowRule(), []
    report = SimpleNamespace(
        when="call", nodeid="t", user_properties=[(CPU, used_s)], keywords=dict.fromkeys(marks, 1)
    )
    rule.pytest_runtest_logreport(report)
    terminal = SimpleNamespace(section=said.append, write_line=said.append)
    rule.pytest_terminal_summary(terminal)
    assert any(line.startswith("t: ") for line in said) is named
