"""Token counts drawn from published percentiles, by tenant and block of six hours.

Between two percentiles values are taken as uniform (the quantile function is interpolated); below the
first nothing is known and its value stands. Between the 99th and the maximum it rises as the power
that gives the published mean: a straight line to a lone huge request would make the mean of the
recorded output tokens up to half too high. Fields of one request are drawn independently, for the
file says nothing of how they go together.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from autoscaler.core.contract.state import FloatArray, IntArray
from simulations.traces.rows import MAX_TOKENS, TraceLines, csv_rows, integer, named_columns

BLOCK_S = 21_600
PERCENTILES = ("p01", "p05", "p10", "p25", "p50", "p75", "p90", "p95", "p99", "max")
COLUMNS = ("t", "tenant", "field", "mean", *PERCENTILES)
SHARES: FloatArray = np.array([0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0])
_WIDTHS: FloatArray = np.diff(SHARES)
TEXT_FIELDS = ("input_tokens", "output_tokens")
IMAGE_FIELDS = ("text_tokens", "image_tokens", "image_count", "output_tokens")
"""A request's input is its text and as many images, each of so many tokens."""
TAIL_MIN, TAIL_MAX = 0.002, 0.998
"""Mean height of the last percent between the 99th percentile (0) and the maximum (1): kept inside,
so that the maximum can be drawn and is not all that is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPercentiles:
    """Quantile functions: one row of `quantiles` a tenant, block and field."""

    fields: tuple[str, ...]
    rows: dict[tuple[str, int], int]
    """Of each (tenant, block): its row."""
    quantiles: dict[str, FloatArray]
    """By field: values at SHARES, one line a row."""
    tails: dict[str, FloatArray]
    """By field and row: the power with which the last percent rises."""

    def tenants(self) -> set[str]:
        """Those that have any."""
        return {tenant for tenant, _ in self.rows}

    def row(self, tenant: str, at_s: int) -> int | None:
        """The row of a tenant at a moment, of its nearest block; None: it has none."""
        block = at_s // BLOCK_S * BLOCK_S
        exact = self.rows.get((tenant, block))
        if exact is not None:
            return exact
        others = [known for name, known in self.rows if name == tenant]
        if not others:
            return None
        return self.rows[tenant, min(others, key=lambda known: (abs(known - block), known))]

    def draw(self, rows: IntArray, random: np.random.Generator) -> tuple[IntArray, IntArray]:
        """(input tokens, output tokens) of one request a row."""
        drawn = {field: self._draw_lengths(field, rows, random) for field in self.fields}
        if self.fields == TEXT_FIELDS:
            prompts = drawn["input_tokens"]
        else:
            prompts = drawn["text_tokens"] + drawn["image_tokens"] * drawn["image_count"]
        return np.maximum(prompts, 1), np.maximum(drawn["output_tokens"], 1)

    def _draw_lengths(self, field: str, rows: IntArray, random: np.random.Generator) -> IntArray:
        share = random.random(len(rows))
        table = self.quantiles[field]
        part = np.searchsorted(SHARES, share, side="right") - 1
        within = (share - SHARES[part]) / _WIDTHS[part]
        last = part == len(_WIDTHS) - 1
        within[last] **= self.tails[field][rows[last]]
        low = table[rows, part]
        value = low + (table[rows, part + 1] - low) * within
        whole: IntArray = np.rint(value).astype(np.int64)
        return whole


def read_percentiles(lines: TraceLines, *, tenants: Collection[str] | None) -> TokenPercentiles:
    """Read a `_tokens` file, as far as it is of these tenants; None: of all.

    Raises:
        TraceError: It is none, or a tenant's block has not all fields.
    """
    places = named_columns(lines, next(iter(lines), ""), COLUMNS)
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    for at, tenant, field, *values in csv_rows(lines, places, form=",".join(COLUMNS)):
        if tenants is not None and tenant not in tenants:
            continue
        if field not in (*TEXT_FIELDS, *IMAGE_FIELDS):
            known = ", ".join(dict.fromkeys((*TEXT_FIELDS, *IMAGE_FIELDS)))
            raise lines.failure(f"field is {field!r}", remedy=f"write one of {known}")
        at_s = integer(lines, at, column="t", remedy="write whole seconds")
        block = found.setdefault((tenant, at_s), {})
        block[field] = _numbers(lines, values)
    return _table(lines, found)


def _table(
    lines: TraceLines, found: dict[tuple[str, int], dict[str, list[float]]]
) -> TokenPercentiles:
    images = any("text_tokens" in block for block in found.values())
    fields = IMAGE_FIELDS if images else TEXT_FIELDS
    for (tenant, at), block in found.items():
        missing = [field for field in fields if field not in block]
        if missing:
            raise lines.failure(
                f"tenant {tenant} has no {', '.join(missing)} in the block at {at}",
                remedy="complete the file, or leave the tenant out of it",
            )
    keys = sorted(found)
    tables = {
        field: np.array([found[key][field] for key in keys], dtype=np.float64).reshape(
            len(keys), 1 + len(SHARES)
        )
        for field in fields
    }
    return TokenPercentiles(
        fields=fields,
        rows={key: row for row, key in enumerate(keys)},
        quantiles={field: table[:, 1:] for field, table in tables.items()},
        tails={
            field: _tail_powers(table[:, 1:], means=table[:, 0]) for field, table in tables.items()
        },
    )


def _tail_powers(quantiles: FloatArray, *, means: FloatArray) -> FloatArray:
    """The power of each row's last percent: `mean of x**a` over 0 to 1 is `1 / (1 + a)`."""
    middle = (quantiles[:, 1:] + quantiles[:, :-1]) / 2 * _WIDTHS
    left = (means - middle[:, :-1].sum(axis=1)) / _WIDTHS[-1]
    p99, most = quantiles[:, -2], quantiles[:, -1]
    height = np.clip((left - p99) / np.maximum(most - p99, 1.0), TAIL_MIN, TAIL_MAX)
    powers: FloatArray = 1.0 / height - 1.0
    return powers


def _numbers(lines: TraceLines, texts: Sequence[str]) -> list[float]:
    """The mean, and the quantiles at SHARES."""
    mean, *quantiles = (
        lines.number_within(
            text, 0, MAX_TOKENS, column=name, remedy="write a number of tokens >= 0"
        )
        for name, text in zip(("mean", *PERCENTILES), texts, strict=True)
    )
    for name, before, value in zip(PERCENTILES[1:], quantiles, quantiles[1:], strict=False):
        if value < before:
            raise lines.failure(
                f"{name} is {value:.10g}, below the percentile before it", remedy="correct the row"
            )
    return [mean, quantiles[0], *quantiles]
