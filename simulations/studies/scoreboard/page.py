"""`SCOREBOARD.md` out of the standings: the same rows give the same text, but for the line on time."""

from __future__ import annotations

import importlib.metadata
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from autoscaler import __version__
from simulations.peers.rules.lookahead import NAME as LOOKAHEAD
from simulations.peers.rules.registry import BASELINES
from simulations.results.seeds import SeedAverage, seed_averages
from simulations.results.text import markdown_table, number_text, percent_text, usd_text
from simulations.runs.sweep import BEST
from simulations.studies.scoreboard.entry_runs import FinishedEntry
from simulations.studies.scoreboard.sizes import SizedEntry
from simulations.studies.scoreboard.standings import (
    NEAR_ATTAINMENT,
    OURS,
    TIE_RATIO,
    DuelResult,
    best_peer,
    duel_result,
    peers_as_shipped,
    peers_in_hindsight,
)
from simulations.studies.scoreboard.tables import entry_table, parameters_text

COMMAND = "make scoreboard"
INFORMED = ("static-peak", "static-mean")
"""Fleets whose size is the trace's own figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryScores:
    """An entry and all its rows."""

    sized: SizedEntry
    finished: FinishedEntry

    @property
    def name(self) -> str:
        """Of the entry."""
        return self.sized.setting.entry.name

    @property
    def attainment_ratio(self) -> float:
        """What the objective asks for."""
        return self.sized.conditions.objective.attainment_ratio

    @property
    def averages(self) -> list[SeedAverage]:
        """One a policy and setting."""
        return seed_averages(self.finished.scores)

    @property
    def ours(self) -> SeedAverage:
        """Of our policy."""
        return next(average for average in self.averages if average.policy == OURS)

    def peers(self, *, tuned: bool) -> list[SeedAverage]:
        """Each baseline as shipped, or as well as hindsight can make it."""
        if not tuned:
            return peers_as_shipped(self.averages)
        return peers_in_hindsight(self.averages, attainment_ratio=self.attainment_ratio)

    def result(self, peer: SeedAverage) -> DuelResult:
        """Of our policy against a peer."""
        return duel_result(self.ours, peer, attainment_ratio=self.attainment_ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Duel:
    """Our policy against the best of the peers on one entry."""

    played: EntryScores
    ours: SeedAverage
    peer: SeedAverage
    result: DuelResult


def scoreboard_page(played: Sequence[EntryScores], *, objective: str, processors: int) -> str:
    """The whole page."""
    parts = [
        _introduction(played, objective),
        _summary(played),
        _against_each(played),
        _losses(played),
        *(_entry(one) for one in played),
        _footer(played, processors=processors),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _introduction(played: Sequence[EntryScores], objective: str) -> str:
    ratio = played[0].attainment_ratio
    return f"""# Scoreboard

Every policy on every entry of `scoreboard.toml`, made by `{COMMAND}`. Nothing on this page is written by hand but the
sentences that the entries bring along. Each policy is replayed as its project ships it, with its defaults, and each tunable
one also with the best of twelve settings, chosen in hindsight on the first seed: nobody has that before the traffic has
come. `{OURS}` runs with its defaults only. What the replay models, counts and leaves out is in [README.md](README.md).

- The objective is `{objective}` (x: the request's own prefill). A policy **attains** where {percent_text(ratio)} of all requests, lost
  and aborted ones included, are within it, as a mean over the seeds.
- Of two that attain the **cheaper wins**; one that attains beats one that does not; of two that do not, the one that serves
  more within the objective wins, or, within {100 * NEAR_ATTAINMENT:g} percentage points, the cheaper. A difference of at most {100 * TIE_RATIO:g} % in
  cost is a **tie**.
- **ratio** is cost over what a clairvoyant would have paid at the same attainment; **relaxed** the same where the clairvoyant
  may choose which requests to miss. Nothing may fall below 1 in the second: then the page is not written.
- `{LOOKAHEAD}` is no peer: it knows the trace as far ahead as a cold start takes, which is what a perfect forecast would get.
- `static-peak` and `static-mean` know the whole trace's load beforehand. All are told the same load-tested capacity of a replica."""


def _duels(played: Sequence[EntryScores], *, tuned: bool, informed: bool = True) -> list[_Duel]:
    """Our policy against the best peer of each entry, with or without the INFORMED ones."""
    duels = []
    for one in played:
        peers = [peer for peer in one.peers(tuned=tuned) if informed or peer.policy not in INFORMED]
        if peers:
            peer = best_peer(peers, attainment_ratio=one.attainment_ratio)
            duels.append(_Duel(played=one, ours=one.ours, peer=peer, result=one.result(peer)))
    return duels


def _summary(played: Sequence[EntryScores]) -> str:
    default, tuned = _duels(played, tuned=False), _duels(played, tuned=True)
    rows = [
        (
            f"[{one.name}](#{_anchor(one.name)})",
            str(one.sized.size.peak_replicas),
            usd_text(first.ours.cost_usd),
            percent_text(first.ours.attainment),
            number_text(first.ours.mean["ratio"]),
            _peer_text(first.peer),
            _result_text(first),
            _peer_text(second.peer),
            _result_text(second),
        )
        for one, first, second in zip(played, default, tuned, strict=True)
    ]
    ours = ("entry", "peak", "ours $", "attained", "ratio")
    heads = (*ours, "best peer as shipped", "we", "best peer in hindsight", "we")
    counts = "\n".join(
        f"- Against {whom}: {_count(duels)}"
        for whom, duels in (
            ("the best peer as shipped", default),
            ("the best peer in hindsight", tuned),
            (
                "the best peer as shipped that does not know the load beforehand",
                _duels(played, tuned=False, informed=False),
            ),
        )
        if duels
    )
    return f"## Summary\n\n{counts}\n\n{markdown_table(heads, rows, left=(0, 5, 6, 7, 8))}"


def _count(duels: Sequence[_Duel]) -> str:
    counts = Counter(duel.result for duel in duels)
    names = Counter(duel.peer.policy for duel in duels)
    by_count = sorted(names.items(), key=lambda item: (-item[1], item[0]))
    return (
        f"of {len(duels)} entries {counts[DuelResult.WON]} won, {counts[DuelResult.TIED]} tied, "
        f"{counts[DuelResult.LOST]} lost. The best peer is "
        + ", ".join(f"`{name}` on {count}" for name, count in by_count)
        + "; whoever takes one has to know beforehand which."
    )


def _peer_text(peer: SeedAverage) -> str:
    return (
        f"{peer.policy}{' (best)' if peer.setting == BEST else ''}: {usd_text(peer.cost_usd)}, "
        f"{percent_text(peer.attainment)}"
    )


def _result_text(duel: _Duel) -> str:
    cost = duel.peer.cost_usd / duel.ours.cost_usd - 1 if duel.ours.cost_usd > 0 else 0.0
    points = 100 * (duel.peer.attainment - duel.ours.attainment)
    return f"**{duel.result}**: it costs {100 * cost:+.1f} %, attains {points:+.2f} points"


def _against_each(played: Sequence[EntryScores]) -> str:
    counts = Counter(
        (peer.policy, tuned, one.result(peer))
        for one in played
        for tuned in (False, True)
        for peer in one.peers(tuned=tuned)
    )
    columns = [(tuned, result) for tuned in (False, True) for result in DuelResult]
    rows = [(name, *(str(counts[name, *column]) for column in columns)) for name in BASELINES]
    heads = ("peer", *(f"{kind}, {'hindsight' if tuned else 'shipped'}" for tuned, kind in columns))
    return "\n\n".join(
        ("## Against each peer", "Entries that we won, tied and lost.", markdown_table(heads, rows))
    )


def _losses(played: Sequence[EntryScores]) -> str:
    lines = [
        f"- {_loss(duel)}"
        for tuned in (False, True)
        for duel in _duels(played, tuned=tuned)
        if duel.result is DuelResult.LOST
    ]
    found = "\n".join(dict.fromkeys(lines)) or "To none of the best peers on these entries."
    return f"## Where we lose\n\n{found}"


def _loss(duel: _Duel) -> str:
    ours, peer = duel.ours, duel.peer
    tuned = parameters_text(peer) if peer.setting == BEST else ""
    setting = f" ({tuned})" if tuned else ""
    change = peer.cost_usd / ours.cost_usd - 1 if ours.cost_usd > 0 else 0.0
    difference = f"{100 * abs(change):.1f} % {'less' if change < 0 else 'more'}"
    (replicas, our_replicas), (starts, our_starts), (ttft_s, our_ttft_s) = (
        [number_text(side.mean[key], form) for side in (peer, ours)]
        for key, form in (
            ("replicas_mean", ".2f"),
            ("starts_per_day", ".0f"),
            ("ttft_p95_s", ".2f"),
        )
    )
    return (
        f"**{duel.played.name}**, to `{peer.policy}`{setting}: {usd_text(peer.cost_usd)} at "
        f"{percent_text(peer.attainment)} against our {usd_text(ours.cost_usd)} at "
        f"{percent_text(ours.attainment)} ({difference}). It keeps {replicas} replicas on average to our "
        f"{our_replicas}, with {starts} starts a day to our {our_starts}, and a TTFT p95 of {ttft_s} s to "
        f"our {our_ttft_s} s."
        + (" It was told the trace's load beforehand." if peer.policy in INFORMED else "")
    )


def _entry(one: EntryScores) -> str:
    entry, size, conditions = one.sized.setting.entry, one.sized.size, one.sized.conditions
    ratio = one.attainment_ratio
    unlimited = [
        row.attainment_unlimited for row in one.finished.scores if row.attainment_unlimited
    ]
    what = (
        f"`{entry.trace}` at scale {entry.scale:g} on `{entry.profile}`: {size.requests:,} requests in "
        f"{size.span_s / 3600:.1f} h; the busiest ten seconds need {size.peak_replicas} replicas, the mean "
        f"{size.mean_replicas:.2f}. Cold start `{entry.cold_start}` ({conditions.cold_start.mean_s:.0f} s), routing "
        f"`{entry.routing}`, at most {size.replicas_max} replicas, {size.in_flight_target:g} requests in flight to a replica, "
        f"{entry.seeds} seeds."
    )
    if entry.spot is not None:
        what += f" Spot as in `{entry.spot}`, notice `{entry.spot_lead}`."
    if entry.faults is not None:
        what += f" Faults as in `{entry.faults}`."
    if unlimited:
        what += f" A fleet without limit attains {percent_text(min(unlimited))}."
    parts = [f"## {one.name}", entry.why, what, entry_table(one.averages, attainment_ratio=ratio)]
    if entry.remark:
        parts.append(entry.remark)
    return "\n\n".join(parts)


def _anchor(name: str) -> str:
    """As Markdown renderers make it of a heading."""
    return "".join(c for c in name.lower().replace(" ", "-") if c.isalnum() or c in "-_")


def _footer(played: Sequence[EntryScores], *, processors: int) -> str:
    seconds = sum(one.finished.seconds for one in played)
    runs = sum(one.sized.runs for one in played)
    versions = ", ".join(
        f"{lib} {importlib.metadata.version(lib)}" for lib in ("numpy", "numba", "scipy")
    )
    return f"""## How this was made

`{COMMAND}`: inference-autoscaler {__version__}, Python {platform.python_version()}, {versions}; {platform.machine()}, {processors} processors;
{runs:,} runs, sweeps included.

Time in these runs: {seconds / 60:.0f} processor-minutes."""
