"""Markdown tables and the figures in them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from simulations.studies.scoreboard.standings import Standing

_HEADS = (
    "policy",
    "setting",
    "attains",
    "cost $ mean",
    "worst",
    "attained mean",
    "worst",
    "of unlimited",
    "ratio",
    "relaxed",
    "GPU h",
    "goodput/s per GPU",
    "replicas",
    "max",
    "worst 5 min",
    "TTFT p50 s",
    "p95",
    "p99",
    "TPOT p50 s",
    "p95",
    "p99",
    "starts/day",
    "flaps",
    "aborted",
    "lost",
)
_SPOT_HEADS = ("interruptions", "lost in notice", "fallback h")


def entry_table(table: Sequence[Standing], *, attainment_ratio: float) -> str:
    """One row a policy and setting; those of spot only where there was spot."""
    spot = any(standing.interruptions is not None for standing in table)
    rows = [
        (
            standing.policy,
            _setting(standing),
            "yes" if standing.attainment >= attainment_ratio else "no",
            f"{standing.cost_usd:.2f}",
            f"{standing.cost_usd_worst:.2f}",
            share(standing.attainment),
            share(standing.attainment_worst),
            share(standing.attainment_relative),
            figure(standing.ratio),
            figure(standing.relaxed_ratio),
            f"{standing.gpu_hours:.1f}",
            figure(standing.goodput_per_gpu, digits=3),
            f"{standing.replicas_mean:.2f}",
            str(standing.replicas_max),
            "-" if standing.worst_5min is None else f"{100 * standing.worst_5min:.1f} %",
            figure(standing.ttft_p50_s),
            figure(standing.ttft_p95_s),
            figure(standing.ttft_p99_s),
            figure(standing.tpot_p50_s, digits=3),
            figure(standing.tpot_p95_s, digits=3),
            figure(standing.tpot_p99_s, digits=3),
            figure(standing.starts_per_day, digits=0),
            f"{standing.flaps:.0f}",
            f"{standing.aborted:.0f}",
            f"{standing.lost:.0f}",
            *(_spot(standing) if spot else ()),
        )
        for standing in table
    ]
    return markdown(_HEADS + (_SPOT_HEADS if spot else ()), rows, left=(0, 1))


def _setting(standing: Standing) -> str:
    if not standing.is_best:
        return standing.setting
    named = ", ".join(f"{name}={value:g}" for name, value in sorted(standing.parameters.items()))
    return f"{standing.setting}: {named}"


def _spot(standing: Standing) -> tuple[str, ...]:
    return tuple(
        "-" if value is None else f"{value:.1f}"
        for value in (
            standing.interruptions,
            standing.lost_within_notice,
            standing.fallback_hours,
        )
    )


def markdown(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,)
) -> str:
    """A table whose columns are right-aligned but for those in `left`."""
    rule = [":---" if column in left else "---:" for column in range(len(heads))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, rule, *rows))


def money(usd: float) -> str:
    """Dollars and cents."""
    return f"${usd:,.2f}"


def share(ratio: float) -> str:
    """Per cent, with the two digits that attainments differ in."""
    return f"{100 * ratio:.2f} %"


def figure(value: float | None, *, digits: int = 2) -> str:
    """A number, or a dash where it is unknown."""
    return "-" if value is None else f"{value:.{digits}f}"
