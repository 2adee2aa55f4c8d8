"""`SCOREBOARD-tables.md`: every figure of every policy on every entry, beside the page that a person reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from simulations.peers.rules.registry import BASELINES
from simulations.results.text import markdown_table, number_text, percent_text, usd_text
from simulations.runs.sweep import BEST
from simulations.studies.scoreboard.entries import Board
from simulations.studies.scoreboard.page import (
    COMMAND,
    INFORMED,
    PlayedEntry,
    played_entries,
)
from simulations.studies.scoreboard.rows import EntryRows
from simulations.studies.scoreboard.standings import DuelResult
from simulations.studies.scoreboard.tables import entry_table, parameters_text


def scoreboard_tables(board: Board, rows: Sequence[EntryRows]) -> str:
    """The whole file."""
    played = played_entries(board, rows)
    right = [one for one in played if not one.told]
    parts = [
        "# The scoreboard's tables\n\nWhat [SCOREBOARD.md](SCOREBOARD.md) is told from; it says how to read them.",
        _against_each(right),
        _at_equal_attainment(right),
        _losses(right),
        *(_entry(one) for one in played),
        _footer(played),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _against_each(played: Sequence[PlayedEntry]) -> str:
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


def _at_equal_attainment(played: Sequence[PlayedEntry]) -> str:
    compared = [(one, one.rows.at_equal_attainment()) for one in played]
    known = [(one, ratios) for one, ratios in compared if ratios]
    if not known:
        return ""
    names = [name for name in BASELINES if any(name in ratios for _, ratios in known)]
    rows = [(one.name, *(_ratio_text(name, ratios) for name in names)) for one, ratios in known]
    return "\n\n".join(
        (
            "## Cost at equal attainment",
            (
                "Our cost over what a mixture of the peer's settings costs that attains what we attain, on the first "
                "seed; below 1 we are cheaper. `more`: we attain more than any setting of it, at whatever cost."
            ),
            markdown_table(("entry", *names), rows),
        )
    )


def _ratio_text(name: str, ratios: dict[str, float | None]) -> str:
    if name not in ratios:
        return "-"
    ratio = ratios[name]
    return "more" if ratio is None else number_text(ratio)


def _losses(played: Sequence[PlayedEntry]) -> str:
    lines = []
    for tuned in (False, True):
        for one in played:
            for informed in (True, False):
                peer = one.best(tuned=tuned, informed=informed)
                if peer is not None and one.result(peer) is DuelResult.LOST:
                    lines.append(f"- {_loss(one, tuned=tuned, informed=informed)}")
    found = "\n".join(dict.fromkeys(lines)) or "To none of the best peers on these entries."
    return f"## Where we lose\n\n{found}"


def _loss(one: PlayedEntry, *, tuned: bool, informed: bool) -> str:
    ours, peer = one.ours, one.best(tuned=tuned, informed=informed)
    assert peer is not None
    tuned_to = parameters_text(peer) if peer.setting == BEST else ""
    setting = f" ({tuned_to})" if tuned_to else ""
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
        f"**{one.name}**, to `{peer.policy}`{setting}: {usd_text(peer.cost_usd)} at "
        f"{percent_text(peer.attainment)} against our {usd_text(ours.cost_usd)} at "
        f"{percent_text(ours.attainment)} ({difference}). It keeps {replicas} replicas on average to our "
        f"{our_replicas}, with {starts} starts a day to our {our_starts}, and a TTFT p95 of {ttft_s} s to "
        f"our {our_ttft_s} s."
        + (" It was told the trace's load beforehand." if peer.policy in INFORMED else "")
    )


def _entry(one: PlayedEntry) -> str:
    entry, rows, size = one.entry, one.rows, one.rows.size
    what = (
        f"For {entry.use}. `{entry.trace}` at scale {entry.scale:g} on `{entry.profile}`: {size.requests:,} requests in "
        f"{size.span_s / 3600:.1f} h"
        + (f", scored from {size.score_from_s / 3600:.1f} h on" if size.score_from_s else "")
        + f"; the busiest ten seconds need {size.peak_replicas} replicas, the mean {size.mean_replicas:.2f}. Cold start "
        f"`{entry.cold_start}` ({rows.cold_start_s:.0f} s), routing `{entry.routing}`, at most {size.replicas_max} replicas, "
        f"{size.tested_target:g} requests in flight to a replica by the load test"
        + (f" and {rows.told_target:g} told" if one.told else "")
        + f", {entry.seeds} seeds. Made by `{rows.made.revision}`."
    )
    if entry.spot is not None:
        what += f" Spot as in `{entry.spot}`, notice `{entry.spot_lead}`."
    if entry.faults is not None:
        what += f" Faults as in `{entry.faults}`."
    if rows.unlimited_attainment is not None:
        what += f" A fleet without limit attains {percent_text(rows.unlimited_attainment)}."
    table = entry_table(rows.averages, attainment_ratio=rows.attainment_ratio)
    parts = [f"## {one.name}", entry.why, what, table]
    if entry.remark:
        parts.append(entry.remark)
    return "\n\n".join(parts)


def _footer(played: Sequence[PlayedEntry]) -> str:
    made = dict.fromkeys(
        f"`{one.rows.made.revision}`: {one.rows.made.versions}"
        for one in played
        if one.rows.made.versions
    )
    seconds = sum(one.rows.seconds for one in played)
    runs = sum(one.rows.runs for one in played)
    lines = "\n".join(f"- {line}" for line in made)
    return f"""## How this was made

`{COMMAND}`: {runs:,} runs, sweeps included, {seconds / 3600:.1f} processor-hours in them.

{lines}"""
