"""Requests as an engine of a given profile can serve them: the common input of every model.

A client cuts what the engine's KV cache could never hold, prefix blocks are brought to the engine's
block size, and their identities are numbered densely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoscaler.errors import SettingsError
from simulations.serving.columns import Int64Array, RequestColumns, WholeNumbers
from simulations.serving.profiles.profiles import Profile

CHUNK = 1 << 18
"""Requests processed at a time, so that intermediate arrays stay small."""
SPARSE = 4
"""Identities are used unchanged while the largest is at most this many times their count; else they
are numbered anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Requests ready to be served; rows as in `RequestColumns`."""

    arrival_ns: Int64Array
    prompt: NDArray[np.int32]
    """Tokens, >= 1."""
    output: NDArray[np.int32]
    """Tokens, >= 1; prompt + output - 1 tokens fit the KV cache."""
    prefix_tokens: int
    """Tokens of one prefix block, a multiple of the engine's block; 0: no prefixes are known."""
    prefix_start: Int64Array
    """rows + 1 offsets into `prefix`."""
    prefix: NDArray[np.int32]
    """Identities (small numbers) of the prefix blocks that each prompt fills. One always follows the same
    other, so each has one place in a tree of prefixes, and no request has one twice."""
    prefixes: int
    """All identities are below this."""
    cut_requests: int
    """Requests whose tokens were cut to fit the KV cache."""

    def __len__(self) -> int:
        return len(self.arrival_ns)


def workload(requests: RequestColumns, profile: Profile) -> Workload:
    """What these requests ask of an engine with this profile.

    Raises:
        SettingsError: Neither the prefix blocks nor the engine's blocks divide the other.
    """
    prompt, output, cut = _fitted(requests, profile)
    start, prefix, prefixes, tokens = _prefixes(requests, prompt, profile)
    return Workload(
        arrival_ns=np.ascontiguousarray(requests.arrival_ns, dtype=np.int64),
        prompt=prompt,
        output=output,
        prefix_tokens=tokens,
        prefix_start=start,
        prefix=prefix,
        prefixes=prefixes,
        cut_requests=cut,
    )


def _fitted(
    requests: RequestColumns, profile: Profile
) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
    """Prompts and outputs that fit the KV cache, and how many had to be cut; no copy of what fits."""
    room = (profile.kv_blocks - 1) * profile.block_tokens
    prompt, output = requests.prompt_tokens, requests.output_tokens
    if not len(prompt) or (
        min(prompt.min(), output.min()) >= 1 and int(prompt.max()) + int(output.max()) - 1 <= room
    ):
        return _narrow(prompt), _narrow(output), 0
    fitting = np.clip(np.asarray(prompt, dtype=np.int64), 1, room)
    ending = np.clip(np.asarray(output, dtype=np.int64), 1, room - fitting + 1)
    cut = int(np.count_nonzero((prompt > fitting) | (output > ending)))
    return _narrow(fitting), _narrow(ending), cut


def _narrow(values: WholeNumbers) -> NDArray[np.int32]:
    return np.ascontiguousarray(values, dtype=np.int32)


def _prefixes(
    requests: RequestColumns, prompt: NDArray[np.int32], profile: Profile
) -> tuple[Int64Array, NDArray[np.int32], int, int]:
    """Offsets, identities, their number, and the tokens of one."""
    rows = len(requests)
    if requests.blocks is None or requests.block_ends is None or not profile.prefix_caching:
        return np.zeros(rows + 1, dtype=np.int64), np.zeros(0, dtype=np.int32), 0, 0
    stride = _stride(requests.block_tokens, profile.block_tokens)
    tokens = requests.block_tokens * stride
    ends = np.asarray(requests.block_ends, dtype=np.int64)
    starts = np.concatenate((np.zeros(1, dtype=np.int64), ends[:-1]))[:rows]
    whole = np.minimum((ends - starts) // stride, prompt // tokens)
    first = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(whole)))
    found: WholeNumbers = np.asarray(requests.blocks)
    if stride > 1 or first[-1] < len(found):
        # Of each engine block the last id stands for all of it: ids are chained.
        position = np.arange(first[-1]) - np.repeat(first[:-1], whole)
        found = found[np.repeat(starts + stride - 1, whole) + position * stride]
        del position
    dense, prefixes = _dense(found)
    limit = _first_broken(dense, first, whole, prefixes)
    if np.array_equal(limit, whole):
        return first, dense, prefixes, tokens
    position = np.arange(first[-1]) - np.repeat(first[:-1], whole)
    offsets = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(limit)))
    return offsets, dense[position < np.repeat(limit, whole)], prefixes, tokens


def _dense(found: WholeNumbers) -> tuple[NDArray[np.int32], int]:
    """Identities as small numbers, and a bound on them; most traces number theirs already."""
    if not len(found):
        return np.zeros(0, dtype=np.int32), 0
    if found.min() >= 0 and found.max() < min(np.iinfo(np.int32).max, SPARSE * len(found)):
        return _narrow(found), int(found.max()) + 1
    names, dense = np.unique(found, return_inverse=True)
    return dense.astype(np.int32), len(names)


def _stride(prefix_block: int, engine_block: int) -> int:
    """How many blocks of the trace make one that the engine can hit."""
    if prefix_block % engine_block == 0:
        return 1
    if engine_block % prefix_block == 0:
        return engine_block // prefix_block
    raise SettingsError(
        f"the trace's prefix blocks have {prefix_block} tokens, the profile's KV blocks "
        f"{engine_block}: one must divide the other; choose another profile"
    )


def _first_broken(
    dense: NDArray[np.int32], first: Int64Array, whole: Int64Array, prefixes: int
) -> Int64Array:
    """Per request, the position of the first identity that does not follow the one before; else its length.

    An id stands for its block and all before it, so it always follows the same id, and never itself.
    Where it first stood behind another one it is a fault of the trace: from there on nothing is known.
    """
    parts = range(0, len(whole), CHUNK)
    behind = np.full(prefixes, -1, dtype=np.int32)
    for part in reversed(parts):
        # Written from last to first, so that the first one stays.
        there, before = _followed(dense, first, whole, part)
        behind[there[::-1]] = before[::-1]
    limit = whole.copy()
    for part in parts:
        there, before = _followed(dense, first, whole, part)
        at = np.flatnonzero(before != behind[there]) + first[part]
        row = np.searchsorted(first, at, side="right") - 1
        np.minimum.at(limit, row, at - first[row])
    return limit


def _followed(
    dense: NDArray[np.int32], first: Int64Array, whole: Int64Array, part: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The identities of some requests, and the identity before each of them; -1: it is the first."""
    rows = slice(part, min(part + CHUNK, len(whole)))
    begins = first[rows][whole[rows] > 0] - first[part]
    there = dense[first[part] : first[rows.stop]]
    before = np.empty_like(there)
    before[1:] = there[:-1]
    before[begins] = -1
    return there, before
