"""How much a source may send: whatever is beyond is refused, and what is within is read in small steps.

A page comes from a pod that any tenant may fill with anything. So a foreign byte has a small, fixed
price: what is read is bounded by these figures and not by the sender, and `tests/benchmarks` prints
what the worst of it costs.
"""

from __future__ import annotations

POD_PAGE_BYTES_MAX = 2**20
"""Of one pod's page. A vLLM page has 50 kB; TGI's, the longest, 85 kB."""
RAY_PAGE_BYTES_MAX = 4 * 2**20
"""A Ray node of fifty engines has some 3 MB on one page."""
EXPORTER_PAGE_BYTES_MAX = 2 * 2**20
"""Of a dcgm-exporter: eight GPUs of seven MIG instances, twenty-five fields, are 560 kB."""
ANSWER_BYTES_MAX = 4 * 2**20
"""Of Prometheus, for PODS_PER_QUERY pods."""

LINE_BYTES_MAX = 8 * 2**10
"""Of a line that is needed. vLLM's longest, `cache_config_info`, has 1.5 kB."""
ROWS_MAX = 4_000
"""Needed, on one page; fifty engines of a dozen series with their reasons are 1,500."""
BUCKETS_MAX = 4_000
"""Of the histograms that are read, on one page; fifty engines of two with twenty each are 2,100."""
LABELS_MAX = 128
"""Of one row; `cache_config_info` has forty."""
PAGE_LABELS_MAX = 20_000
"""Of all needed rows of one page."""
BEGINNING_BYTES = 4 * 2**10
"""By which a page without a needed line is judged: what it is, it shows there."""
SERIES_MAX = 20_000
"""In one answer of Prometheus: 50 pods of eight ranks, fifty series each."""
SERIES_BYTES_MAX = 64 * 2**10
"""Of one series in an answer: 300 samples of 26 bytes, and its labels."""

STEP_BYTES = 32 * 2**10
"""Parsed before others get their turn on the event loop."""
STEP_ROWS = 250

EARLY_BYTES = 64 * 2**10
"""Of each body, held without a place in the budget: what the HTTP client buffers anyway."""
BYTES_IN_FLIGHT_MAX = 32 * 2**20
"""Of all bodies that are longer than that, at one time."""
"""What one feed may hold of it is a quarter, so that a model with hostile pods leaves the rest."""
FEED_SHARE = 4

REQUESTS_MAX = 1e9
"""Waiting or running on one server; beyond it no count is believed. (A port has 65,536 connections.)"""
COUNTER_MAX = 2.0**53
"""Of tokens or requests since a process began: beyond it a float counts no ones."""
SKEW_S_MAX = 30.0
"""By which a row's own time may lie ahead of our clock; then it is taken as of now."""
