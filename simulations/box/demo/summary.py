"""What was served, lost and paid, beside a static fleet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.table import Table

from simulations.box.demo.load import SentRequest
from simulations.box.demo.scenario import TPOT_S, TTFT_S, cost_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What clients got of a fleet."""

    sent: int
    completed: int
    attainment: float
    """Share of all requests, lost ones included, that met both parts of the objective."""
    attainment_by_ramp: tuple[float, ...]
    """The same, of the requests that were sent in each ramp."""
    ttft_s_p95: float
    """Of those that were completed; NaN: none was."""

    @property
    def lost(self) -> int:
        """Not completed."""
        return self.sent - self.completed


def served(
    *,
    sent_at_s: NDArray[np.float64],
    ttft_s: NDArray[np.float64],
    tpot_s: NDArray[np.float64],
    ramp_s: float,
) -> Served:
    """Sum up at least one request; one that was lost has NaN for its time to the first token."""
    completed = ~np.isnan(ttft_s)
    met = completed & (ttft_s <= TTFT_S) & (tpot_s <= TPOT_S)
    ramp = sent_at_s // ramp_s
    return Served(
        sent=len(completed),
        completed=int(completed.sum()),
        attainment=float(met.mean()),
        attainment_by_ramp=tuple(float(met[ramp == number].mean()) for number in np.unique(ramp)),
        ttft_s_p95=float(np.quantile(ttft_s[completed], 0.95)) if completed.any() else np.nan,
    )


def served_to(requests: Sequence[SentRequest], *, ramp_s: float) -> Served:
    """What our clients got; all their requests have ended."""
    return served(
        sent_at_s=np.array([r.arrival.at_s for r in requests]),
        ttft_s=np.array([r.ttft_s if r.is_completed else None for r in requests], dtype=float),
        tpot_s=np.array([r.tpot_s or 0.0 for r in requests]),
        ramp_s=ramp_s,
    )


def comparison(
    *,
    ours: Served,
    paid_s: Mapping[str, float],
    replicas: int,
    static: Served,
    seconds: float,
) -> RenderableType:
    """The table at the end.

    Args:
        ours: What this run served.
        paid_s: Its replicas' seconds, by capacity type.
        replicas: Of the static fleet, all on demand.
        static: What that fleet would have served.
        seconds: How long both were there.
    """
    table = Table(title=f"{ours.sent} requests in {seconds:.0f} s")
    table.add_column("")
    table.add_column("this run", justify="right")
    table.add_column(f"static fleet of {replicas}", justify="right")
    static_paid_s = {"on-demand": replicas * seconds}
    here, there = _column(ours, paid_s), _column(static, static_paid_s)
    for name in here:
        table.add_row(name, here[name], there[name])
    saved = 1.0 - cost_usd(paid_s) / cost_usd(static_paid_s)
    table.add_row("cost against static", f"{-saved:+.0%}", "")
    table.caption = (
        "The static fleet is computed: the same requests through the serving model, on the fewest "
        "on-demand replicas that keep the objective, known beforehand."
    )
    return table


def _column(fleet: Served, paid_s: Mapping[str, float]) -> dict[str, str]:
    return {
        "served": str(fleet.completed),
        "lost": str(fleet.lost),
        "met the objective": f"{fleet.attainment:.1%}",
        "  ramp by ramp": " ".join(f"{share:.0%}" for share in fleet.attainment_by_ramp),
        "time to first token, 95 %": f"{fleet.ttft_s_p95:.2f} s",
        "on-demand replica-minutes": f"{paid_s.get('on-demand', 0.0) / 60.0:.2f}",
        "spot replica-minutes": f"{paid_s.get('spot', 0.0) / 60.0:.2f}",
        "paid": f"${cost_usd(paid_s):.4f}",
    }
