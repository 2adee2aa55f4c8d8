"""Scale: copies moved by a minute at most, thinning; time is never stretched."""

import numpy as np
import pytest

from simulations.serving.columns import RequestColumns
from simulations.traces.overlay import scaled_requests


def requests(count: int = 2000, *, span_s: float = 3600.0) -> RequestColumns:
    ends = np.cumsum(np.arange(count) % 3)
    return RequestColumns(
        arrival_ns=(np.linspace(0, span_s, count) * 1e9).astype(np.int64),
        prompt_tokens=np.arange(count),
        output_tokens=np.arange(count) * 2,
        block_tokens=512,
        blocks=np.arange(ends[-1]) % 100,
        block_ends=ends,
    )


def blocks_of(columns: RequestColumns, row: int) -> list[int]:
    assert columns.blocks is not None
    assert columns.block_ends is not None
    start = columns.block_ends[row - 1] if row else 0
    return columns.blocks[start : columns.block_ends[row]].tolist()


def test_a_scale_of_one_is_the_trace_itself():
    columns = requests()
    assert scaled_requests(columns, scale=1.0, seed=3) is columns


@pytest.mark.parametrize("scale", [0.25, 0.9])
def test_a_fraction_thins_and_moves_nothing(scale: float):
    columns = requests()
    thin = scaled_requests(columns, scale=scale, seed=3)
    assert len(thin) == pytest.approx(scale * len(columns), rel=0.1)
    assert set(np.diff(thin.prompt_tokens)) <= set(range(1, 50))  # in order, rows of the original
    spacing = columns.arrival_ns[thin.prompt_tokens] - columns.arrival_ns[thin.prompt_tokens[0]]
    assert thin.arrival_ns.tolist() == spacing.tolist()


def test_whole_copies_are_laid_over_each_other_each_request_moved_by_its_own_draw():
    columns = requests()
    thick = scaled_requests(columns, scale=2.5, seed=3)
    assert len(thick) == pytest.approx(2.5 * len(columns), rel=0.05)
    counts = np.bincount(thick.prompt_tokens, minlength=len(columns))
    assert set(counts) == {2, 3}
    assert thick.output_tokens.tolist() == (thick.prompt_tokens * 2).tolist()
    moved = (thick.arrival_ns - columns.arrival_ns[thick.prompt_tokens]) / 1e9
    assert moved.max() - moved.min() <= 60.0
    assert moved.std() == pytest.approx(60 / 12**0.5, rel=0.05)  # uniform, not one shift a copy
    assert np.all(np.diff(thick.arrival_ns) >= 0)


def test_time_is_never_stretched():
    thick = scaled_requests(requests(), scale=4.0, seed=3)
    assert 3600 - 60 <= thick.arrival_ns[-1] / 1e9 <= 3600 + 60


def test_each_copy_has_prefix_blocks_of_its_own():
    columns = requests(30, span_s=3600.0)
    thick = scaled_requests(columns, scale=2.0, seed=3)
    seen: dict[int, list[list[int]]] = {}
    for row in range(len(thick)):
        seen.setdefault(int(thick.prompt_tokens[row]), []).append(blocks_of(thick, row))
    for row, copies in seen.items():
        original = blocks_of(columns, row)
        shift = 30  # one more than the largest id
        both = [original, [block + shift for block in original]]
        assert sorted(copies) == sorted(both)


def test_another_seed_moves_otherwise_and_the_same_seed_alike():
    columns = requests()
    first, again, other = (scaled_requests(columns, scale=2.0, seed=seed) for seed in (1, 1, 2))
    assert first.arrival_ns.tolist() == again.arrival_ns.tolist()
    assert first.arrival_ns.tolist() != other.arrival_ns.tolist()


def test_nothing_scaled_is_nothing():
    empty = RequestColumns(
        arrival_ns=np.zeros(0, np.int64),
        prompt_tokens=np.zeros(0, np.int64),
        output_tokens=np.zeros(0, np.int64),
    )
    assert len(scaled_requests(empty, scale=3.0, seed=1)) == 0


def test_the_last_answer_is_kept_and_only_for_the_same_question():
    columns = requests()
    first = scaled_requests(columns, scale=2.5, seed=1)
    assert scaled_requests(columns, scale=2.5, seed=1) is first
    other = scaled_requests(columns, scale=2.5, seed=2)
    assert not np.array_equal(other.arrival_ns, first.arrival_ns)
    again = scaled_requests(columns, scale=2.5, seed=1)
    assert again is not first
    np.testing.assert_array_equal(again.arrival_ns, first.arrival_ns)
    assert len(scaled_requests(requests(), scale=1.5, seed=1)) < len(first)
