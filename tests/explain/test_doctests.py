"""The examples of its docstrings."""

import doctest

from autoscaler.explain import figures


def test_the_examples_hold():
    found = doctest.testmod(figures)
    assert found.attempted
    assert not found.failed
