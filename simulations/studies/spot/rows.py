"""The rows of the study, as a table, and the bars that they are held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

SAVING_RATIO_MIN, SAVING_RATIO_AIM = 0.85, 0.95
"""Of the clairvoyant's saving, who keeps the same warm replica on demand."""
ATTAINMENT_LOSS_MAX = 0.005
"""Against the engine with all on demand."""
ENGINE, PEER = "inference-aware", "skyserve"
CLAIRVOYANTS = (
    "saving: of what a clairvoyant saves who keeps the warm replica on demand that the resource demands, as "
    "the engine must; free: of one who need not."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One policy on one market under one traffic, with one seed."""

    traffic: str
    market: str
    policy: str
    seed: int
    cost_usd: float
    attainment: float
    lost: int
    lost_short: int
    interruptions: int
    fallback_hours: float
    on_demand_usd: float
    on_demand_attainment: float
    clairvoyant_usd: float
    free_usd: float

    @property
    def saving_ratio(self) -> float:
        """Share of the clairvoyant's saving over all on demand."""
        return self._share(self.clairvoyant_usd)

    @property
    def free_ratio(self) -> float:
        """Share of what is saved by one that need not keep a warm replica on demand."""
        return self._share(self.free_usd)

    def _share(self, least_usd: float) -> float:
        possible = self.on_demand_usd - least_usd
        return (self.on_demand_usd - self.cost_usd) / possible if possible > 0.0 else 1.0

    @property
    def attainment_loss(self) -> float:
        """Against all on demand."""
        return self.on_demand_attainment - self.attainment


def table(rows: Sequence[Row]) -> list[str]:
    """The rows, and which of them meet the bars."""
    lines = [
        (
            f"{'traffic/market':28} {'policy':15} seed {'cost $':>9} {'all o.d.':>9} {'clairv.':>9} "
            f"{'saving':>7} {'free':>6} {'attained':>9} {'less':>7} {'lost':>5} {'short':>5} {'taken':>5} {'o.d. h':>7}"
        )
    ]
    lines += [
        f"{row.traffic + '/' + row.market:28} {row.policy:15} {row.seed:4d} {row.cost_usd:9.2f} "
        f"{row.on_demand_usd:9.2f} {row.clairvoyant_usd:9.2f} {100 * row.saving_ratio:6.1f}% "
        f"{100 * row.free_ratio:5.1f}% "
        f"{100 * row.attainment:8.2f}% {100 * row.attainment_loss:6.2f}p {row.lost:5d} "
        f"{row.lost_short:5d} {row.interruptions:5d} {row.fallback_hours:7.1f}"
        for row in rows
    ]
    lines.append(CLAIRVOYANTS)
    ours = [row for row in rows if row.policy == ENGINE]
    bars: list[tuple[str, Callable[[Row], bool]]] = [
        (
            f"saving >= {SAVING_RATIO_MIN:.0%} of the clairvoyant's",
            lambda row: row.saving_ratio >= SAVING_RATIO_MIN,
        ),
        (
            f"saving >= {SAVING_RATIO_AIM:.0%}, the aim",
            lambda row: row.saving_ratio >= SAVING_RATIO_AIM,
        ),
        (
            f"at most {100 * ATTAINMENT_LOSS_MAX:.1f} points less attained than all on demand",
            lambda row: row.attainment_loss <= ATTAINMENT_LOSS_MAX,
        ),
        ("none lost with less to go than the lead", lambda row: row.lost_short == 0),
    ]
    peers = {(r.traffic, r.market, r.seed): r for r in rows if r.policy == PEER}
    if peers:
        bars.append(
            (
                f"cheaper or better than {PEER}",
                lambda row: (
                    row.cost_usd < peers[row.traffic, row.market, row.seed].cost_usd
                    or row.attainment > peers[row.traffic, row.market, row.seed].attainment
                ),
            )
        )
    for words, holds in bars:
        missed = [f"{row.traffic}/{row.market}" for row in ours if not holds(row)]
        said = f"; not {', '.join(dict.fromkeys(missed))}" if missed else ""
        lines.append(f"{len(ours) - len(missed)} of {len(ours)}: {words}{said}")
    return lines
