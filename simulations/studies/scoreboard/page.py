"""`SCOREBOARD.md`: what a person reads. Sentences first, then one line an entry; tables are in a file beside it.

Made of the rows that are kept (`rows.py`) and of the entries' own words, and of nothing else: the same rows
give the same text on every machine.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import geometric_mean, median

from autoscaler.errors import SettingsError
from simulations.peers.rules.lookahead import NAME as LOOKAHEAD
from simulations.results.seeds import SeedAverage
from simulations.results.text import markdown_table, number_text, percent_text, usd_text
from simulations.runs.sweep import BEST
from simulations.studies.scoreboard.entries import Board, BoardEntry
from simulations.studies.scoreboard.rows import EntryRows
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

COMMAND = "make scoreboard"
TABLES = "SCOREBOARD-tables.md"
INFORMED = ("static-peak", "static-mean")
"""Fleets whose size is the trace's own figure."""
FOUND = "found_ratio"
MARKS = ("<!-- scoreboard -->", "<!-- /scoreboard -->")
"""Of the part of a README that is made."""
ERRORS_SHOWN = 3
"""Of one entry, on the page."""
WIDTH = 125


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedEntry:
    """An entry and its rows."""

    entry: BoardEntry
    rows: EntryRows

    @property
    def name(self) -> str:
        """Of the entry."""
        return self.entry.name

    @property
    def ours(self) -> SeedAverage:
        """Of our policy."""
        return next(average for average in self.rows.averages if average.policy == OURS)

    @property
    def attains(self) -> bool:
        """Whether our policy does."""
        return self.ours.attainment >= self.rows.attainment_ratio

    @property
    def told(self) -> bool:
        """Whether it is one of the wrong targets."""
        return self.entry.in_flight_target != "x1"

    def peers(self, *, tuned: bool, informed: bool = True) -> list[SeedAverage]:
        """Each baseline as shipped, or as well as hindsight can make it; with or without INFORMED ones."""
        averages = self.rows.averages
        peers = (
            peers_in_hindsight(averages, attainment_ratio=self.rows.attainment_ratio)
            if tuned
            else peers_as_shipped(averages)
        )
        return [peer for peer in peers if informed or peer.policy not in INFORMED]

    def best(self, *, tuned: bool, informed: bool = False) -> SeedAverage | None:
        """The best peer of these; None: there is none."""
        peers = self.peers(tuned=tuned, informed=informed)
        if not peers:
            return None
        return best_peer(peers, attainment_ratio=self.rows.attainment_ratio)

    def result(self, peer: SeedAverage) -> DuelResult:
        """Of our policy against a peer."""
        return duel_result(self.ours, peer, attainment_ratio=self.rows.attainment_ratio)


def played_entries(board: Board, rows: Sequence[EntryRows]) -> list[PlayedEntry]:
    """The board's entries of which there are rows, in its order."""
    of = {row.name: row for row in rows}
    return [
        PlayedEntry(entry=entry, rows=of[entry.name]) for entry in board.entry if entry.name in of
    ]


def board_errors(played: Sequence[PlayedEntry]) -> list[str]:
    """What is wrong with the board itself, a sentence each."""
    return [text for one in played for text in (*one.rows.edges, *one.rows.unsound)]


def scoreboard_page(board: Board, rows: Sequence[EntryRows]) -> str:
    """The whole page."""
    played = played_entries(board, rows)
    right = [one for one in played if not one.told]
    parts = [
        f"""# Scoreboard

What `{OURS}` pays and attains on recorded traffic, beside {_peers_count(played)} autoscalers that people use, each as its project
ships it and with the best of its settings, chosen in hindsight. Made by `{COMMAND}`; nothing here is written by hand but
the words of `scoreboard.toml`. All figures are in [{TABLES}]({TABLES}), what the replay models and leaves out in
[README.md](README.md).""",
        f"## In short\n\n{_summary(right)}",
        _errors(played),
        _freshness(board, played),
        f"## Entry by entry\n\n{_entries(right)}",
        _wrong_targets([one for one in played if one.told]),
        _how_to_read(board, played),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def readme_with(text: str, board: Board, rows: Sequence[EntryRows]) -> str:
    """A README with what is to be said of the board between its marks.

    Raises:
        SettingsError: It has no marks.
    """
    before, mark, rest = text.partition(MARKS[0])
    _, end, behind = rest.partition(MARKS[1])
    if not mark or not end:
        raise SettingsError(
            f"--readme: no {MARKS[0]} … {MARKS[1]} in it; write them where it shall be"
        )
    right = [one for one in played_entries(board, rows) if not one.told]
    lines = [
        textwrap.fill(
            f"- {sentence}",
            WIDTH,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for sentence in (*_sentences(right), *_stale_sentences(board, right))
    ]
    return before + mark + "\n" + "\n".join(lines) + "\n" + end + behind


def _stale_sentences(board: Board, played: Sequence[PlayedEntry]) -> list[str]:
    """How many entries an earlier revision made, and how many nobody ran yet."""
    newest = max((one.rows.made.commits for one in played), default=0)
    older = [one for one in played if one.rows.made.commits < newest]
    names = {one.name for one in played}
    missing = sum(e.in_flight_target == "x1" and e.name not in names for e in board.entry)
    said = []
    if older:
        said.append(f"{_entries_text(len(older))} of these were made by an earlier board")
    if missing:
        said.append(f"{_entries_text(missing)} of the board are not run yet")
    return (
        [f"Not all of it is of one night: {'; '.join(said)}. The page says which."] if said else []
    )


def _peers_count(played: Sequence[PlayedEntry]) -> int:
    return max((len(one.peers(tuned=False)) for one in played), default=0)


def _summary(played: Sequence[PlayedEntry]) -> str:
    if not played:
        return "No entry was run yet."
    blocks = []
    for use, said in (
        (
            "scoring",
            "**Entries for scoring**: nothing is tuned on them since the board was divided.",
        ),
        ("tuning", "**Entries for tuning**: a rule may be chosen by them."),
    ):
        of = [one for one in played if one.entry.use == use]
        if of:
            lines = "\n".join(f"- {line}" for line in _sentences(of))
            blocks.append(f"{said}\n\n{lines}")
    return "\n\n".join(blocks)


def _sentences(played: Sequence[PlayedEntry]) -> list[str]:
    """What there is to say of some entries."""
    lines = []
    for warm, begin in ((True, "begun warm"), (False, "begun cold")):
        of = [one for one in played if one.entry.warm is warm]
        if of:
            attained = sum(one.attains for one in of)
            lines.append(
                f"Of {_entries_text(len(of))} {begin}, `{OURS}` attains its objective on {attained}"
                f"{_found_text(of)}."
            )
    for tuned, what in (
        (False, "as shipped"),
        (True, "with the best of its settings in hindsight"),
    ):
        duels = [
            (one, peer)
            for one in played
            if (peer := one.best(tuned=tuned, informed=False)) is not None
        ]
        if duels:
            counts = Counter(one.result(peer) for one, peer in duels)
            lines.append(
                f"Against the best peer of each entry {what} (of those that do not know the load beforehand): "
                f"{counts[DuelResult.WON]} won, {counts[DuelResult.TIED]} tied, {counts[DuelResult.LOST]} lost."
            )
    lines += _equal_sentences(played)
    return lines


def _found_text(played: Sequence[PlayedEntry]) -> str:
    ratios = [ratio for one in played if (ratio := one.ours.mean.get(FOUND))]
    if not ratios:
        return ""
    return (
        f" and pays {geometric_mean(ratios):.2f} times what the cheapest schedule pays that was found in hindsight "
        f"for the same attainment ({_spread_text(ratios)})"
    )


def _spread_text(ratios: Sequence[float]) -> str:
    on = f"on {_entries_text(len(ratios))}"
    return on if len(ratios) == 1 else f"from {min(ratios):.2f} to {max(ratios):.2f}, {on}"


def _equal_sentences(played: Sequence[PlayedEntry]) -> list[str]:
    """Our cost at equal attainment over that of the cheapest peer, and of the usual ones."""
    ratios: list[float] = []
    unmatched = compared = 0
    for one in played:
        by_peer = {
            name: ratio
            for name, ratio in one.rows.at_equal_attainment().items()
            if name not in (*INFORMED, LOOKAHEAD)
        }
        if by_peer:
            compared += 1
            known = [ratio for ratio in by_peer.values() if ratio is not None]
            if known:
                ratios.append(max(known))
            else:
                unmatched += 1
    if not compared:
        return []
    said = "At equal attainment: "
    if ratios:
        said += (
            f"{median(ratios):.2f} times the cost of the cheapest peer's cheapest settings in the median "
            f"({_spread_text(ratios)})"
        )
    if unmatched:
        said += (
            f"{'; ' if ratios else ''}on {unmatched} it attains more than any setting of any peer"
        )
    return [said + "."]


def _entries_text(count: int) -> str:
    return f"{count} entry" if count == 1 else f"{count} entries"


def _errors(played: Sequence[PlayedEntry]) -> str:
    if not board_errors(played):
        return ""
    lines = "\n".join(f"- {text}" for one in played for text in _first_of(one))
    return (
        "## What is wrong with this board\n\nSo long as a line stands here, figures of those peers and entries are not "
        f"to be relied on.\n\n{lines}"
    )


def _first_of(one: PlayedEntry) -> list[str]:
    """Say the first few errors of an entry, and how many more there are: the command prints all."""
    found = [*one.rows.edges, *one.rows.unsound]
    more = len(found) - ERRORS_SHOWN
    return found if more <= 1 else [*found[:ERRORS_SHOWN], f"{one.name}: {more} more like these"]


def _freshness(board: Board, played: Sequence[PlayedEntry]) -> str:
    """Which revision made what, and what is missing."""
    revisions: dict[str, list[PlayedEntry]] = {}
    for one in sorted(played, key=lambda p: -p.rows.made.commits):
        revisions.setdefault(one.rows.made.revision, []).append(one)
    lines = []
    for number, (revision, of) in enumerate(revisions.items()):
        names = ", ".join(one.name for one in of)
        notes = " ".join(dict.fromkeys(one.rows.made.note for one in of if one.rows.made.note))
        when = "" if number == 0 else ", not run anew since"
        lines.append(f"- `{revision or 'unknown'}`{when}: {names}.{' ' + notes if notes else ''}")
    beside = {
        one.name: one.rows.peers_made.revision
        for one in played
        if one.rows.peers_made is not None
        and one.rows.peers_made.revision != one.rows.made.revision
    }
    if beside:
        peers = ", ".join(f"{name} (`{revision}`)" for name, revision in beside.items())
        lines.append(
            "- There only our own rows were made by that revision; peers, schedules and bounds by another, whose code of "
            f"them is the same: {peers}."
        )
    changed = [one.name for one in played if not one.rows.is_of(one.entry)]
    if changed:
        lines.append(
            f"- Made when the entry asked for something else than today: {', '.join(changed)}."
        )
    missing = [
        entry.name for entry in board.entry if entry.name not in {one.name for one in played}
    ]
    if missing:
        lines.append(f"- Not run yet: {', '.join(missing)}.")
    return "## What made these figures\n\n" + "\n".join(lines) if lines else ""


def _entries(played: Sequence[PlayedEntry]) -> str:
    rows = [
        (
            f"[{one.name}]({TABLES}#{anchor(one.name)})",
            one.entry.use,
            str(one.rows.size.peak_replicas),
            usd_text(one.ours.cost_usd),
            percent_text(one.ours.attainment),
            number_text(one.ours.mean.get(FOUND)),
            *_duel_text(one, tuned=False),
            *_duel_text(one, tuned=True),
            f"`{one.rows.made.revision}`",
        )
        for one in played
    ]
    ours = ("entry", "for", "peak", "ours $", "attained", "× found")
    heads = (*ours, "best peer as shipped", "we", "best in hindsight", "we", "made by")
    return markdown_table(heads, rows, left=(0, 1, 6, 7, 8, 9, 10))


def _duel_text(one: PlayedEntry, *, tuned: bool) -> tuple[str, str]:
    peer = one.best(tuned=tuned, informed=False)
    if peer is None:
        return "-", "-"
    setting = " (best)" if peer.setting == BEST else ""
    text = f"{peer.policy}{setting}: {usd_text(peer.cost_usd)}, {percent_text(peer.attainment)}"
    return text, f"**{one.result(peer)}**"


def _wrong_targets(played: Sequence[PlayedEntry]) -> str:
    if not played:
        return ""
    policies = list(dict.fromkeys(a.policy for one in played for a in one.rows.averages))
    rows = []
    for one in played:
        by_policy = {average.policy: average for average in one.rows.averages}
        base, _, told = one.name.partition(".told-")
        cells = [
            f"{percent_text(a.attainment, 1)}, {usd_text(a.cost_usd)}"
            if (a := by_policy.get(name))
            else "-"
            for name in policies
        ]
        rows.append((base, told, f"{one.rows.told_target:g}", *cells))
    table = markdown_table(("entry", "told", "in flight", *policies), rows, left=(0, 1))
    return (
        "## A target that no load test found\n\nEvery policy is told another figure for what a replica carries than the load "
        "test's: what ships, or so many times the right one. What each then attains, and pays; `keda` goes by waiting "
        f"requests and is told nothing.\n\n{table}"
    )


def _how_to_read(board: Board, played: Sequence[PlayedEntry]) -> str:
    ratio = played[0].rows.attainment_ratio if played else 0.99
    return f"""## How to read it

- The objective is `{board.objective}` (x: the request's own prefill). A policy **attains** where {percent_text(ratio)} of all requests, lost
  and aborted ones included, are within it, as a mean over the seeds. `{OURS}` runs with its defaults only.
- **warm** entries play a first part that is not scored, so that every policy has seen this traffic; what is paid counts from
  there. The cold ones beside them begin as the recording does.
- Of two that attain the **cheaper wins**; one that attains beats one that does not; of two that do not, the one that serves
  more within the objective wins, or, within {100 * NEAR_ATTAINMENT:g} percentage points, the cheaper. A difference of at most {100 * TIE_RATIO:g} % in
  cost is a **tie**.
- **× found**: our cost over that of the cheapest schedules that were found in hindsight and replayed, at our attainment.
- **At equal attainment**: all settings of a peer that were tried, on the first seed, make a lower hull of cost over attainment; our
  cost is held against the hull at our own attainment. Past its end nothing is said but that.
- A peer's best is searched past what anyone would write (`peers/rules/registry.py`); a best at the end of its ladder is an error
  of the board and stands on this page.
- `static-peak` and `static-mean` know the whole trace's load beforehand; they are in the tables and not among the best peers here. All
  are told the same capacity of a replica, load-tested on the trace's own requests with a fleet of the entry's size.
- `{LOOKAHEAD}` is no peer: it knows the trace as far ahead as a cold start takes.
- The half of the entries that is for tuning, and the other for scoring, are named in `scoreboard.toml`."""


def anchor(name: str) -> str:
    """As Markdown renderers make it of a heading."""
    return "".join(c for c in name.lower().replace(" ", "-") if c.isalnum() or c in "-_")
