"""The command; the package says what it does."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from autoscaler.errors import AutoscalerError
from simulations.replay.conditions import (
    ConditionsRequest,
    conditions_of,
    load_tested,
    with_maximum,
    with_score_from,
)
from simulations.results.text import markdown_table
from simulations.studies.hindsight.study import HindsightRow, study
from simulations.traces.trace import read_trace

HEADS = ("trace", "policy", "replicas", "replayed", "error", "attained", "replayed", "points")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; 0 whatever its figures say, 2 for input that cannot be worked with."""
    parser = argparse.ArgumentParser(prog="python -m simulations.studies.hindsight")
    parser.add_argument("traces", nargs="+", metavar="TRACE")
    parser.add_argument("--objective", default="ttft=2,tpot=0.1", help="the same for all requests")
    parser.add_argument("--cold-start", default="standard")
    parser.add_argument("--in-flight-target", default="x1")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args(arguments)
    request = ConditionsRequest(
        objective=options.objective,
        cold_start=options.cold_start,
        in_flight_target=options.in_flight_target,
    )
    rows: list[HindsightRow] = []
    try:
        for name in options.traces:
            trace = read_trace(name)
            conditions = load_tested(conditions_of(request), trace)
            rows += study(trace, with_score_from(with_maximum(conditions, trace), trace))
    except AutoscalerError as error:
        print(f"hindsight: {error}", file=sys.stderr)
        return 2
    if options.output == "json":
        json.dump([asdict(row) for row in rows], sys.stdout, indent=2)
        return 0
    print(markdown_table(HEADS, [cells(row) for row in rows], left=(0, 1)))
    return 0


def cells(row: HindsightRow) -> tuple[str, ...]:
    """One line of the table."""
    policy = row.policy
    if row.size is not None:
        policy += f" {row.size} ({'none' if row.replayed_size is None else row.replayed_size})"
    if row.foretold is not None:
        policy += f" (foretold {100.0 * row.foretold:.2f})"
    points = row.attained_error
    return (
        row.trace,
        policy,
        f"{row.replicas:.2f}",
        f"{row.replayed_replicas:.2f}",
        f"{100.0 * row.cost_error_ratio:+.1f} %",
        "-" if row.attained is None else f"{100.0 * row.attained:.2f}",
        f"{100.0 * row.replayed_attained:.2f}",
        "-" if points is None else f"{100.0 * points:+.2f}",
    )


if __name__ == "__main__":
    sys.exit(main())
