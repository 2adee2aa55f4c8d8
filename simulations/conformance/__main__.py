"""`python -m simulations.conformance hpa DIR [-o table|json]`: exits 0 at 99.5 % equal or more."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from autoscaler.errors import AutoscalerError
from simulations.conformance.hpa import Conformance, replay_folder

EQUAL_RATIO_MIN = 0.995


def main(arguments: list[str] | None = None) -> int:
    """Replay a folder of recordings and print one row each."""
    parser = argparse.ArgumentParser(prog="python -m simulations.conformance", description=__doc__)
    parser.add_argument("controller", choices=("hpa",))
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args(arguments)
    try:
        rows = list(replay_folder(options.folder))
    except AutoscalerError as error:
        print(error, file=sys.stderr)
        return 2
    if options.output == "json":
        print(
            json.dumps(
                {"rows": [{"name": r.name, "syncs": r.syncs, "equal": r.equal} for r in rows]},
                indent=1,
            )
        )
    else:
        _print_table(rows)
    for row in rows:
        for difference in row.differences:
            print(f"{row.name}: {difference}", file=sys.stderr)
    syncs = sum(row.syncs for row in rows)
    return 0 if sum(row.equal for row in rows) >= EQUAL_RATIO_MIN * syncs else 1


def _print_table(rows: list[Conformance]) -> None:
    width = max(len(row.name) for row in rows)
    for row in rows:
        print(f"{row.name:<{width}}  {row.equal:5d} of {row.syncs:5d}")
    syncs, equal = sum(row.syncs for row in rows), sum(row.equal for row in rows)
    print(f"{'all':<{width}}  {equal:5d} of {syncs:5d}  ({100 * equal / syncs:.2f} %)")


if __name__ == "__main__":
    sys.exit(main())
