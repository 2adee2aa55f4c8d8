"""Who beats whom on an entry: policies as they are on average over the seeds.

A policy *attains* where its mean attainment over the seeds is at least the objective's. Of two that
attain the cheaper one wins; one that attains beats one that does not; of two that do not, the one that
serves more within the objective wins, or, within half a percentage point, the cheaper one. A
difference in cost of at most 2 % is a tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from simulations.peers.rules.registry import BASELINES
from simulations.replay.engine_loop import ENGINE_POLICIES
from simulations.results.seeds import SeedAverage
from simulations.runs.sweep import BEST, rank

OURS = ENGINE_POLICIES[0]
TIE_RATIO = 0.02
"""Of the dearer one's cost: five seeds differ by as much."""
NEAR_ATTAINMENT = 0.005
"""Two policies that miss the objective are alike within this share of requests."""


class DuelResult(StrEnum):
    """How our policy stands to a peer."""

    WON = "won"
    TIED = "tied"
    LOST = "lost"


def best_peer(peers: Sequence[SeedAverage], *, attainment_ratio: float) -> SeedAverage:
    """The cheapest that attains, or, where none does, the one that attains most."""
    return min(peers, key=lambda peer: rank(peer.cost_usd, peer.attainment, least=attainment_ratio))


def duel_result(ours: SeedAverage, peer: SeedAverage, *, attainment_ratio: float) -> DuelResult:
    """How our policy stands to a peer; see the module."""
    attains, peer_attains = (s.attainment >= attainment_ratio for s in (ours, peer))
    if attains != peer_attains:
        return DuelResult.WON if attains else DuelResult.LOST
    if not attains and abs(ours.attainment - peer.attainment) > NEAR_ATTAINMENT:
        return DuelResult.WON if ours.attainment > peer.attainment else DuelResult.LOST
    if abs(peer.cost_usd - ours.cost_usd) <= TIE_RATIO * max(ours.cost_usd, peer.cost_usd):
        return DuelResult.TIED
    return DuelResult.WON if ours.cost_usd < peer.cost_usd else DuelResult.LOST


def peers_as_shipped(averages: Sequence[SeedAverage]) -> list[SeedAverage]:
    """Each baseline with its defaults: not our policy, and not the one that sees ahead."""
    return [peer for peer in averages if peer.policy in BASELINES and peer.setting != BEST]


def peers_in_hindsight(
    averages: Sequence[SeedAverage], *, attainment_ratio: float
) -> list[SeedAverage]:
    """Each baseline as well as it can be made: with its best setting, or as shipped where that is better.

    A setting that was the best on one seed need not be so on all.
    """
    of: dict[str, list[SeedAverage]] = {}
    for peer in averages:
        if peer.policy in BASELINES:
            of.setdefault(peer.policy, []).append(peer)
    return [best_peer(settings, attainment_ratio=attainment_ratio) for settings in of.values()]
