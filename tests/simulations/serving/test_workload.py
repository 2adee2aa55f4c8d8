"""Requests as an engine can serve them: cut to its cache, with prefixes of its own block size."""

from __future__ import annotations

import numpy as np
import pytest

from autoscaler.errors import SettingsError
from simulations.serving.columns import RequestColumns
from simulations.serving.workload import Workload, workload
from tests.simulations.serving.hand import columns, profile


def prefixes(work: Workload) -> list[list[int]]:
    """Each request's identities, numbered in order of appearance."""
    names: dict[int, int] = {}
    return [
        [names.setdefault(name, len(names)) for name in work.prefix[start:end].tolist()]
        for start, end in zip(work.prefix_start[:-1], work.prefix_start[1:], strict=True)
    ]


def test_identities_are_small_numbers_whatever_they_were() -> None:
    large = 10**15
    requests = columns((0, 9, 1), (0, 9, 1), blocks=((large, -5), (large, 3)))
    work = workload(requests, profile(prefix_caching=True))
    assert prefixes(work) == [[0, 1], [0, 2]]
    assert work.prefixes == 3
    assert 0 <= work.prefix.min() <= work.prefix.max() < work.prefixes


def test_tokens_are_cut_to_what_the_cache_can_hold_and_counted() -> None:
    """4 usable blocks of 4: prompt + output - 1 tokens are computed at most."""
    work = workload(columns((0, 20, 5), (0, 10, 7), (0, 10, 8), (0, 0, 0)), profile(kv_blocks=5))
    assert work.prompt.tolist() == [16, 10, 10, 1]
    assert work.output.tolist() == [1, 7, 7, 1]
    assert work.cut_requests == 2


def test_blocks_that_the_prompt_does_not_fill_are_ignored() -> None:
    work = workload(
        columns((0, 9, 1), (0, 8, 1), (0, 3, 1), blocks=((7, 8, 9), (7, 8), (5,))),
        profile(prefix_caching=True),
    )
    assert prefixes(work) == [[0, 1], [0, 1], []]


def test_finer_blocks_of_a_trace_are_joined_to_the_engines() -> None:
    """Ids are chained, so the last one of each engine block stands for all of it."""
    requests = columns((0, 13, 1), blocks=((1, 2, 3, 4, 5, 6),), block_tokens=2)
    work = workload(requests, profile(prefix_caching=True))
    assert work.prefix_tokens == 4
    assert prefixes(work) == [[0, 1, 2]]


def test_coarser_blocks_of_a_trace_stay_as_they_are() -> None:
    requests = columns((0, 40, 1), blocks=((1, 2),), block_tokens=16)
    work = workload(requests, profile(prefix_caching=True))
    assert work.prefix_tokens == 16
    assert prefixes(work) == [[0, 1]]


def test_blocks_that_do_not_fit_each_other_are_refused() -> None:
    requests = columns((0, 40, 1), blocks=((1, 2),), block_tokens=6)
    with pytest.raises(SettingsError, match="blocks have 6 tokens, the profile's KV blocks 4"):
        workload(requests, profile(prefix_caching=True))


def test_an_id_that_a_request_has_twice_ends_its_prefix() -> None:
    requests = columns((0, 20, 1), (0, 20, 1), blocks=((1, 2, 3, 2, 4), (1, 2, 3, 5, 4)))
    work = workload(requests, profile(prefix_caching=True))
    assert prefixes(work) == [[0, 1, 2], [0, 1, 2, 3]]


def test_an_id_behind_another_one_than_before_ends_the_prefix() -> None:
    requests = columns((0, 20, 1), (0, 20, 1), (0, 20, 1), blocks=((1, 2), (3, 2), (3, 4)))
    work = workload(requests, profile(prefix_caching=True))
    assert prefixes(work) == [[0, 1], [2], [2, 3]]


def test_no_prefixes_with_the_cache_off() -> None:
    work = workload(columns((0, 20, 1), blocks=((1, 2, 3),)), profile())
    assert work.prefix_tokens == 0
    assert prefixes(work) == [[]]


def test_no_requests() -> None:
    work = workload(columns(), profile())
    assert len(work) == 0
    assert work.prefix_start.tolist() == [0]
    assert work.arrival_ns.dtype == np.int64


def test_what_fits_is_not_copied_and_what_does_not_is_cut_alike_in_any_width() -> None:
    narrow = RequestColumns(
        arrival_ns=np.array([0, 1]),
        prompt_tokens=np.array([9, 4], dtype=np.int32),
        output_tokens=np.array([2, 3], dtype=np.int32),
    )
    work = workload(narrow, profile(kv_blocks=40))
    assert np.shares_memory(work.prompt, narrow.prompt_tokens)
    assert np.shares_memory(work.output, narrow.output_tokens)
    room = 2 * profile().block_tokens
    for width in (np.int32, np.int64):
        large = RequestColumns(
            arrival_ns=np.array([0, 1, 2]),
            prompt_tokens=np.array([0, 2**31 - 1, 1], dtype=width),
            output_tokens=np.array([0, 2**31 - 1, 2**31 - 1], dtype=width),
        )
        cut = workload(large, profile(kv_blocks=3))
        assert cut.prompt.tolist() == [1, room, 1]
        assert cut.output.tolist() == [1, 1, room]
        assert cut.cut_requests == 2


def test_the_size_of_the_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Identities that break off are found across parts, wherever their first mention is."""
    blocks = ((1, 2, 3), (), (4, 2, 5), (1, 2, 6), (7, 3), (1, 8, 3), (9,), (4, 2, 3))
    rows = tuple((at, 3 * 4, 1) for at in range(len(blocks)))
    requests = columns(*rows, blocks=blocks)
    told = []
    for size in (1, 2, 3, 100):
        monkeypatch.setattr("simulations.serving.workload.CHUNK", size)
        told.append(prefixes(workload(requests, profile(prefix_caching=True))))
    assert told[0] == told[1] == told[2] == told[3]
    kept = [len(names) for names in told[0]]
    assert kept == [3, 0, 1, 3, 1, 2, 1, 1]
