"""What a run is held against, and what of its losses could have been avoided."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoscaler.core.contract.spec import Spot
from autoscaler.core.contract.state import FloatArray
from autoscaler.core.supply.at_risk import drain_margin_s
from simulations.agenda import NS
from simulations.replay.run import Run
from simulations.results.scorecard import latencies
from simulations.serving.columns import RequestOutcome
from simulations.world.ledger import Payment
from simulations.world.market.spot import MachineLife

LATE_S = 2.0
"""Until the mark is there, and of whole seconds."""
ROUTED_S = 7.0
"""From a notice to the last router that has heard of the eviction: a tick, its writes, and a second."""


def clairvoyant_usd(
    payments: Sequence[Payment],
    lives: Sequence[MachineLife],
    *,
    end_ns: int,
    kept: int,
    on_demand_usd_per_hour: float,
    spot_usd_per_hour: float,
) -> float:
    """What the replicas of these payments cost where each is on spot whenever there is a machine for it.

    Args:
        payments: Of a run that was all on demand.
        lives: Of the market's machines.
        end_ns: Of the trace.
        kept: Replicas that stay on demand.
        on_demand_usd_per_hour: Of a replica.
        spot_usd_per_hour: Likewise.
    """
    moments, needed = _counts([(payment.from_ns, payment.to_ns) for payment in payments], end_ns)
    changes, there = _counts([(life.up_ns, life.down_ns) for life in lives], end_ns)
    at = np.unique(np.concatenate([moments, changes]))
    need = needed[np.searchsorted(moments, at, side="right") - 1]
    have = there[np.searchsorted(changes, at, side="right") - 1]
    hours = np.diff(np.append(at, float(end_ns))) / (3600 * NS)
    spot = float((np.minimum(np.maximum(need - kept, 0.0), have) * hours).sum())
    total = float((need * hours).sum())
    return spot * spot_usd_per_hour + (total - spot) * on_demand_usd_per_hour


def _counts(spans: Sequence[tuple[int, int]], end_ns: int) -> tuple[FloatArray, FloatArray]:
    """Moments, the first of them 0, and how many spans there are from each on."""
    changes = {0: 0}
    for start, stop in spans:
        if start < end_ns:
            changes[max(start, 0)] = changes.get(max(start, 0), 0) + 1
            changes[min(stop, end_ns)] = changes.get(min(stop, end_ns), 0) - 1
    moments = sorted(moment for moment in changes if moment < end_ns)
    counts = np.cumsum([changes[moment] for moment in moments]).astype(np.float64)
    return np.array(moments, dtype=np.float64), counts


def given_s(lead_s: float) -> float:
    """What a pod is given of a lead to finish what it holds."""
    margin_s = drain_margin_s(Spot().drain_margin_s, noticed_at=0.0, deadline_at=lead_s)
    return lead_s - margin_s - LATE_S


def lost_short(done: Run, *, given_s: float) -> int:
    """Requests lost under a notice whose remaining generation was shorter than what their pod was given.

    And those that were sent there later than a tick after the notice: they need not have been.

    What a request would have taken is told by its tokens and the run's median latencies, its own first
    token where it had one; it is at least what it has run.
    """
    notices = done.ledger.ended_in_notice
    lost = np.flatnonzero(
        (done.results.outcome == RequestOutcome.LOST) & np.isin(done.results.replica, list(notices))
    )
    if not len(lost):
        return 0
    completed = done.results.outcome == RequestOutcome.COMPLETED
    ttft_s, tpot_s = latencies(done.requests, done.results)
    many = completed & (done.requests.output_tokens > 1)
    first_s, pace_s = float(np.median(ttft_s[completed])), float(np.median(tpot_s[many]))
    arrived_s = done.requests.arrival_ns[lost] / NS
    noticed_s = np.array([notices[int(replica)] for replica in done.results.replica[lost]]) / NS
    begun = done.results.first_token_ns[lost] / NS
    begun = np.where(begun > 0.0, begun, arrived_s + first_s)
    ends_s = begun + np.maximum(done.requests.output_tokens[lost] - 1, 0) * pace_s
    ends_s = np.maximum(ends_s, done.results.finished_ns[lost] / NS)
    short = (ends_s - noticed_s < given_s) | (arrived_s - noticed_s > ROUTED_S)
    return int(np.count_nonzero(short))
