"""The histograms of a replica's page, with the bounds of vLLM 0.32, and where they stand in a table of pages.

Without numpy, so that a server process starts quickly.
"""

from __future__ import annotations

from simulations.serving.gauges import Gauges

NS = 1_000_000_000
TTFT_BOUNDS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
"""Of the time to first token."""
TPOT_BOUNDS_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0),
)
"""Of a request's time per further token."""
TTFT_BOUNDS_NS = tuple(round(bound * NS) for bound in TTFT_BOUNDS_S)
TPOT_BOUNDS_NS = tuple(round(bound * NS) for bound in TPOT_BOUNDS_S)

SAMPLED_AT = 0
"""Row of a table of pages: the moment of the reading, seconds. A column is a replica."""
GAUGES = slice(1, 1 + len(Gauges._fields))
"""The fields of `Gauges`, in their order."""
TTFT = slice(GAUGES.stop, GAUGES.stop + len(TTFT_BOUNDS_S) + 1)
"""Requests whose time to first token was at most each bound, then all that had one."""
TPOT = slice(TTFT.stop, TTFT.stop + len(TPOT_BOUNDS_S) + 1)
"""The same of the time per token of requests that ended whole."""
ROWS: int = TPOT.stop
