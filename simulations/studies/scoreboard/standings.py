"""What the rows of an entry come to: one standing a policy and setting, and who beats whom.

A policy *attains* where its mean attainment over the seeds is at least the objective's. Of two that
attain the cheaper one wins; one that attains beats one that does not; of two that do not, the one that
serves more within the objective wins, or, within half a percentage point, the cheaper one. A
difference in cost of at most 2 % is a tie.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

from simulations.peers.rules.registry import BASELINES
from simulations.replay.replay import ENGINE_POLICIES
from simulations.results.scorecard import Row
from simulations.runs.sweep import BEST

OURS = ENGINE_POLICIES[0]
TIE_RATIO = 0.02
"""Of the dearer one's cost: five seeds differ by as much."""
NEAR_ATTAINMENT = 0.005
"""Two policies that miss the objective are alike within this share of requests."""


class Verdict(StrEnum):
    """How our policy stands to a peer."""

    WON = "won"
    TIED = "tied"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One policy with one setting over all seeds; means unless a name says otherwise."""

    policy: str
    setting: str
    parameters: Mapping[str, float]
    cost_usd: float
    cost_usd_worst: float
    attainment: float
    attainment_worst: float
    attainment_relative: float
    """To the fleet without limit."""
    ratio: float | None
    """Cost over the clairvoyant's at the same attainment; None: the clairvoyant pays nothing."""
    relaxed_ratio: float | None
    gpu_hours: float
    goodput_per_gpu: float | None
    """Requests within the objective, per second and average GPU; None: nothing was paid."""
    replicas_mean: float
    replicas_max: int
    worst_5min: float | None
    """Of all seeds; None: no five minutes had enough requests."""
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    ttft_p99_s: float | None
    tpot_p50_s: float | None
    tpot_p95_s: float | None
    tpot_p99_s: float | None
    starts_per_day: float | None
    flaps: float
    aborted: float
    lost: float
    interruptions: float | None
    """None, as the next two: there was no spot."""
    lost_within_notice: float | None
    fallback_hours: float | None

    @property
    def is_best(self) -> bool:
        """Whether its setting was chosen in hindsight."""
        return self.setting == BEST


def standings(rows: Sequence[Row]) -> list[Standing]:
    """One standing a policy and setting, in the order of the rows."""
    return [
        _standing(list(group))
        for _, group in itertools.groupby(rows, key=lambda row: (row.policy, row.setting))
    ]


def _standing(rows: Sequence[Row]) -> Standing:
    first = rows[0]
    bounds = [row.bound for row in rows if row.bound is not None]
    worst = [row.worst_5min_attainment for row in rows if row.worst_5min_attainment is not None]
    spots = [row.spot for row in rows if row.spot is not None]
    return Standing(
        policy=first.policy,
        setting=first.setting or "default",
        parameters=first.parameters or {},
        cost_usd=fmean(row.cost_usd for row in rows),
        cost_usd_worst=max(row.cost_usd for row in rows),
        attainment=fmean(row.attainment for row in rows),
        attainment_worst=min(row.attainment for row in rows),
        attainment_relative=fmean(row.attainment / (row.attainment_unlimited or 1) for row in rows),
        ratio=_mean([bound.ratio for bound in bounds]),
        relaxed_ratio=_mean([bound.relaxed_ratio for bound in bounds]),
        gpu_hours=fmean(row.gpu_hours for row in rows),
        goodput_per_gpu=_mean([row.goodput_per_gpu for row in rows]),
        replicas_mean=fmean(row.replicas_mean for row in rows),
        replicas_max=max(row.replicas_max for row in rows),
        worst_5min=min(worst, default=None),
        ttft_p50_s=_mean([row.ttft_s.p50 for row in rows]),
        ttft_p95_s=_mean([row.ttft_s.p95 for row in rows]),
        ttft_p99_s=_mean([row.ttft_s.p99 for row in rows]),
        tpot_p50_s=_mean([row.tpot_s.p50 for row in rows]),
        tpot_p95_s=_mean([row.tpot_s.p95 for row in rows]),
        tpot_p99_s=_mean([row.tpot_s.p99 for row in rows]),
        starts_per_day=_mean([row.starts_per_day for row in rows]),
        flaps=fmean(row.flaps for row in rows),
        aborted=fmean(row.aborted for row in rows),
        lost=fmean(row.lost for row in rows),
        interruptions=_mean([spot.interruptions for spot in spots]),
        lost_within_notice=_mean([spot.lost_within_notice for spot in spots]),
        fallback_hours=_mean([spot.fallback_hours for spot in spots]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def leader(peers: Sequence[Standing], *, attainment_ratio: float) -> Standing:
    """The cheapest that attains, or, where none does, the one that attains most."""

    def rank(peer: Standing) -> tuple[bool, float, float]:
        attains = peer.attainment >= attainment_ratio
        return not attains, peer.cost_usd if attains else -peer.attainment, peer.cost_usd

    return min(peers, key=rank)


def verdict(ours: Standing, peer: Standing, *, attainment_ratio: float) -> Verdict:
    """How our policy stands to a peer; see the module."""
    attains, peer_attains = (s.attainment >= attainment_ratio for s in (ours, peer))
    if attains != peer_attains:
        return Verdict.WON if attains else Verdict.LOST
    if not attains and abs(ours.attainment - peer.attainment) > NEAR_ATTAINMENT:
        return Verdict.WON if ours.attainment > peer.attainment else Verdict.LOST
    if abs(peer.cost_usd - ours.cost_usd) <= TIE_RATIO * max(ours.cost_usd, peer.cost_usd):
        return Verdict.TIED
    return Verdict.WON if ours.cost_usd < peer.cost_usd else Verdict.LOST


def peers(table: Sequence[Standing]) -> list[Standing]:
    """Every baseline with every setting: not our policy, and not the one that sees ahead."""
    return [standing for standing in table if standing.policy in BASELINES]


def as_it_comes(table: Sequence[Standing]) -> list[Standing]:
    """Each peer with its defaults."""
    return [standing for standing in peers(table) if not standing.is_best]


def hindsight(table: Sequence[Standing], *, attainment_ratio: float) -> list[Standing]:
    """Each peer as well as it can be made: with its best setting, or as it comes where that is better.

    A setting that was the best on one seed need not be so on all.
    """
    of: dict[str, list[Standing]] = {}
    for standing in peers(table):
        of.setdefault(standing.policy, []).append(standing)
    return [leader(settings, attainment_ratio=attainment_ratio) for settings in of.values()]
