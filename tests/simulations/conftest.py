"""What the tests of the simulations share."""

from __future__ import annotations

import importlib.util

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    """Compile the serving kernel before any test's time runs, where numba is installed."""
    if session.items and importlib.util.find_spec("numba") is not None:
        from simulations.serving.kernel.fleet import prepare
        from simulations.serving.profiles.profiles import PROFILES

        prepare(next(iter(PROFILES.values())))
