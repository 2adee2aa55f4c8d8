"""The command; the package says what it does."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from simulations.runs.runs import cores
from simulations.studies.spot.rows import ENGINE, PEER, table
from simulations.studies.spot.study import study


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; the exit status is 0 whatever its figures say."""
    parser = argparse.ArgumentParser(prog="python -m simulations.studies.spot")
    parser.add_argument("--traces", required=True, help="the folder of recordings")
    parser.add_argument("--only", default="", help="rows with this in `traffic/market`")
    parser.add_argument("--seeds", type=int, default=1, help="runs each")
    parser.add_argument("--hours", type=float, help="of the traffic; all without")
    parser.add_argument("--peers", type=int, default=1, help="0: without SkyServe")
    parser.add_argument("--jobs", type=int, default=None, help="side by side; one a processor")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args(arguments)
    rows = study(
        options.traces,
        only=options.only,
        seeds=options.seeds,
        hours=options.hours,
        policies=(ENGINE, PEER) if options.peers else (ENGINE,),
        jobs=options.jobs or cores(),
    )
    if options.output == "json":
        json.dump([asdict(row) | {"saving_ratio": row.saving_ratio} for row in rows], sys.stdout)
        return 0
    for line in table(rows):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
