"""`python -m simulations.peers.conformance hpa|keda DIR [-o table|json]`: exits 0 at 99.5 % equal or more.

Of KEDA each recording has two rows, one a layer; what is compared in KEDA's own are the adapter's
answers, its writes and its counts of failures.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from autoscaler.errors import AutoscalerError
from simulations.peers.conformance import hpa, keda
from simulations.peers.conformance.hpa import Conformance

EQUAL_RATIO_MIN = 0.995
REPLAYS: Mapping[str, Callable[[Path], Iterator[Conformance]]] = MappingProxyType(
    {"hpa": hpa.replay_folder, "keda": keda.replay_folder}
)


def main(arguments: list[str] | None = None) -> int:
    """Replay a folder of recordings and print one row each."""
    parser = argparse.ArgumentParser(
        prog="python -m simulations.peers.conformance", description=__doc__
    )
    parser.add_argument("controller", choices=tuple(REPLAYS))
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args(arguments)
    try:
        rows = list(REPLAYS[options.controller](options.folder))
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
