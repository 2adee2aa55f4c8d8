"""Every part of the core earns its place: its witness passes with it, and fails without it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator

import pytest

from autoscaler.core.guards import GUARDS
from autoscaler.core.tick.parts import Parts
from tests.expect import built_of
from tests.mutations import MUTATIONS


def calls(nodeid: str) -> Iterator[Callable[[], None]]:
    """The calls that pytest would make of a test that has no fixtures: one for each row of its tables."""
    path, name = nodeid.split("::")
    test = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
    rows: list[dict[str, object]] = [{}]
    for mark in getattr(test, "pytestmark", []):
        if mark.name != "parametrize":
            continue
        names, values = mark.args[0], mark.args[1]
        names = [names] if isinstance(names, str) else list(names)
        tables = []
        for value in values:
            row = value.values if hasattr(value, "values") and hasattr(value, "marks") else value
            row = (
                row
                if isinstance(row, tuple) and (len(names) > 1 or hasattr(value, "marks"))
                else (row,)
            )
            tables.append(dict(zip(names, row, strict=True)))
        rows = [{**row, **table} for row in rows for table in tables]
    assert set(inspect.signature(test).parameters) == set(rows[0])
    for row in rows:
        yield lambda row=row: test(**row)


def outcome(call: Callable[[], None]) -> bool:
    """Whether a call passes."""
    try:
        call()
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n == "forecast" else ()) for n in MUTATIONS],
)
def test_its_witness_notices(name):
    mutation = MUTATIONS[name]
    # The ramps take seconds each: one seed tells.
    witnesses = list(calls(mutation.witness))
    witnesses = witnesses[:1] if "ramps" in mutation.witness else witnesses
    assert all(outcome(call) for call in witnesses), "fails also with it"
    with built_of(mutation.apply(Parts())):
        assert not all(outcome(call) for call in witnesses), "nobody notices"


def test_every_guard_has_a_mutation():
    assert set(GUARDS) <= set(MUTATIONS)
