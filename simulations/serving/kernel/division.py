"""Tokens to blocks without a division, since the size of a block is constant during a replay.

A division takes as long as a dozen other operations, and a request needs some thirty of them.
"""

# Fields of records have no static type.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from typing import Any

from simulations.serving.kernel.compiled import inlined_function

BITS = 31
"""Dividends (tokens of a request, steps within its life) are below two to this power."""


def reciprocal(divisor: int) -> tuple[int, int]:
    """Factor and shift such that `x * factor >> shift` is `x // divisor` for all x of BITS bits.

    Granlund & Montgomery, Division by Invariant Integers using Multiplication (1994), theorem 4.2: the
    factor exceeds 2**shift / divisor by too little to change the quotient, and the product fits int64.

    Args:
        divisor: From 1 to 2**BITS - 1.
    """
    shift = BITS + (divisor - 1).bit_length()
    return (1 << shift) // divisor + 1, shift


@inlined_function
def whole_blocks(p: Any, tokens: int) -> int:
    """KV blocks that so many tokens fill."""
    return tokens * p.block_factor >> p.block_shift


@inlined_function
def begun_blocks(p: Any, tokens: int) -> int:
    """KV blocks that so many tokens take, the last of them perhaps not full."""
    return whole_blocks(p, tokens + p.block_tokens - 1)


@inlined_function
def beyond_blocks(p: Any, tokens: int) -> int:
    """Tokens beyond the KV blocks that so many fill."""
    return tokens - whole_blocks(p, tokens) * p.block_tokens


@inlined_function
def whole_prefixes(p: Any, tokens: int) -> int:
    """Prefix blocks that so many tokens fill; only where prefixes are known."""
    return tokens * p.prefix_factor >> p.prefix_shift
