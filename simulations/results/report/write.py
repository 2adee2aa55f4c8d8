"""From rows to the report's file."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from autoscaler.errors import SettingsError
from simulations.bounds.figures import BoundCurve
from simulations.results.report.page import render
from simulations.results.scorecard import Score
from simulations.results.seeds import FIGURES, seed_averages


def check_report(path: Path) -> None:
    """Say what would keep a report from being written, before the runs that it is to show.

    Raises:
        SettingsError: There is no such folder, or plotly is not installed.
    """
    if not path.parent.is_dir():
        raise SettingsError(f"--report {path}: no folder {path.parent}; give one that exists")
    if importlib.util.find_spec("plotly") is None:
        raise SettingsError(
            "--report: plotly is not installed; pip install 'inference-autoscaler[report]'"
        )


def write_report(path: Path, scores: Sequence[Score], *, curves: Sequence[BoundCurve]) -> None:
    """Write the report of a comparison.

    Raises:
        SettingsError: The file cannot be written, or plotly is not installed.
    """
    entries = seed_averages(scores)
    had = [key for key in FIGURES if any(entry.mean[key] is not None for entry in entries)]
    seeds = len({score.seed for score in scores})
    page = render(
        title="Replay",
        subtitle=(
            f"{len({entry.policy for entry in entries if not entry.reference})} policies, "
            f"{seeds} seed{'s' if seeds > 1 else ''}; small figures are the worst seed's, charts over "
            "time are of the first; (best) is a setting chosen in hindsight"
        ),
        entries=entries,
        columns={key: (FIGURES[key].title, FIGURES[key].form) for key in had},
        bounds=curves,
    )
    write_page(path, page)


def write_page(path: Path, page: str) -> None:
    """Write a page that is made; raises SettingsError where the file cannot be written."""
    try:
        path.write_text(page)
    except OSError as error:
        raise SettingsError(
            f"--report {path}: {error}; give a file in a folder that exists"
        ) from error
