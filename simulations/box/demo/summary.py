"""What was served, lost and paid, beside a static fleet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import RenderableType
from rich.table import Table

from simulations.box.demo.load import SentRequest
from simulations.box.demo.static_fleet import StaticFleet


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What the clients saw."""

    sent: int
    completed: int
    lost: int
    attainment: float
    """Share of all requests, lost ones included, that met both parts of the objective."""
    attainment_by_ramp: tuple[float, ...]
    """The same, of the requests that were sent in each ramp."""
    ttft_s_p50: float
    ttft_s_p95: float
    tpot_s_p95: float


def served(
    requests: Sequence[SentRequest], *, ttft_s: float, tpot_s: float, ramp_s: float
) -> Served:
    """Sum up the clients' requests; NaN where none was completed.

    Args:
        requests: All that were sent; all have ended.
        ttft_s: Objective of the time to the first token.
        tpot_s: Objective of the time per further token.
        ramp_s: Length of a ramp.
    """
    completed = [request for request in requests if request.is_completed]
    ttft = np.array([request.ttft_s for request in completed], dtype=np.float64)
    tpot = np.array([request.tpot_s or 0.0 for request in completed], dtype=np.float64)
    met = (ttft <= ttft_s) & (tpot <= tpot_s)
    ramp_of = np.array([int(r.arrival.at_s // ramp_s) for r in completed], dtype=np.int64)
    sent = Counter(int(request.arrival.at_s // ramp_s) for request in requests)
    return Served(
        sent=len(requests),
        completed=len(completed),
        lost=len(requests) - len(completed),
        attainment=int(met.sum()) / len(requests) if requests else float("nan"),
        attainment_by_ramp=tuple(
            int(met[ramp_of == ramp].sum()) / sent[ramp] for ramp in sorted(sent)
        ),
        ttft_s_p50=_quantile(ttft, 0.5),
        ttft_s_p95=_quantile(ttft, 0.95),
        tpot_s_p95=_quantile(tpot, 0.95),
    )


def _quantile(values: np.ndarray[tuple[int], np.dtype[np.float64]], share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """Replica-minutes by capacity type, and their price."""

    on_demand_minutes: float
    spot_minutes: float
    cost_usd: float


def comparison(
    *, ours: Served, paid: Paid, static: StaticFleet, static_paid: Paid, seconds: float
) -> RenderableType:
    """The table at the end."""
    table = Table(title=f"{ours.sent} requests in {seconds:.0f} s")
    table.add_column("")
    table.add_column("this run", justify="right")
    table.add_column(f"static fleet of {static.replicas}", justify="right")
    rows = (
        ("served", str(ours.completed), str(static.completed)),
        ("lost", str(ours.lost), str(ours.sent - static.completed)),
        ("met the objective", f"{ours.attainment:.1%}", f"{static.attainment:.1%}"),
        ("  ramp by ramp", " ".join(f"{share:.0%}" for share in ours.attainment_by_ramp), ""),
        ("time to first token, 95 %", f"{ours.ttft_s_p95:.2f} s", f"{static.ttft_s_p95:.2f} s"),
        ("on-demand replica-minutes", *_pair("on_demand_minutes", paid, static_paid)),
        ("spot replica-minutes", *_pair("spot_minutes", paid, static_paid)),
        ("paid", f"${paid.cost_usd:.4f}", f"${static_paid.cost_usd:.4f}"),
    )
    for row in rows:
        table.add_row(*row)
    saved = 1.0 - paid.cost_usd / static_paid.cost_usd
    table.add_row("cost against static", f"{-saved:+.0%}", "")
    table.caption = (
        "The static fleet is computed: the same requests through the serving model, on the fewest "
        "on-demand replicas that keep the objective, known beforehand."
    )
    return table


def _pair(name: str, ours: Paid, static: Paid) -> tuple[str, str]:
    return f"{getattr(ours, name):.2f}", f"{getattr(static, name):.2f}"
