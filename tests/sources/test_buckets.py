"""From bucket lines to a histogram: what is one, what is none, and how several become one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.kube.samples import BOUNDS_MAX, HistogramSample, PodSample
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages.buckets import (
    Bucket,
    bucket_of,
    histograms_of,
    read_bucket,
    sum_of_histograms,
)
from autoscaler.sources.pages.exposition import read_page
from autoscaler.sources.pages.limits import BUCKETS_MAX
from autoscaler.sources.pages.rows import SeriesRow
from autoscaler.sources.pages.sample_line import parse_line
from autoscaler.sources.pages.signals import sum_of_pages

NAME = "vllm:time_to_first_token_seconds"
DEMAND = b'vllm:num_requests_running{engine="0",model_name="m"} 3.0\n'


def lines(*buckets: tuple[str, float | str], engine: int = 0) -> bytes:
    """Of one histogram."""
    each = [
        f'{NAME}_bucket{{engine="{engine}",le="{le}",model_name="m"}} {count}\n'
        for le, count in buckets
    ]
    return "".join(each).encode()


def page(*buckets: tuple[str, float | str]) -> bytes:
    """One histogram, and what says that there is demand."""
    return DEMAND + lines(*buckets)


def ttft(body: bytes, *model_names: str) -> HistogramSample | None:
    source = SOURCES["VLLM"]
    rows = read_page(body, source.names, source.histograms)
    sample = source.sample(rows, model_names=frozenset(model_names), at=100.0)
    assert sample.running_requests == 3.0
    return sample.ttft


SOUND = (("0.5", 1), ("1.0", 3), ("+Inf", 4))
READ = HistogramSample(bounds=(0.5, 1.0), counts=(1.0, 3.0, 4.0))


def test_a_histogram_as_it_is_written():
    assert ttft(page(*SOUND)) == READ


@pytest.mark.parametrize(
    "buckets",
    [
        pytest.param((("+Inf", 4), ("1.0", 3), ("0.5", 1)), id="in another order"),
        pytest.param((("5e-1", "1.0"), ("1", "3e0"), ("Inf", 4)), id="numbers written otherwise"),
    ],
)
def test_the_same_histogram_written_otherwise(buckets: tuple[tuple[str, float | str], ...]):
    assert ttft(page(*buckets)) == READ


@pytest.mark.parametrize(
    "buckets",
    [
        pytest.param((("0.5", 1), ("1.0", 3)), id="without all"),
        pytest.param((("+Inf", 4),), id="all alone"),
        pytest.param((("0.5", 3), ("1.0", 1), ("+Inf", 4)), id="counts that fall"),
        pytest.param((("0.5", 1), ("1.0", 5), ("+Inf", 4)), id="more than all"),
        pytest.param((("0.5", "NaN"), ("+Inf", 4)), id="no count"),
        pytest.param((("0.5", -1), ("+Inf", 4)), id="a count below zero"),
        pytest.param((("0.5", 1), ("+Inf", "Inf")), id="no end of them"),
        pytest.param((("0.5", 1), ("+Inf", 1e17)), id="more than a counter holds"),
        pytest.param((("0.5", 1), ("0.5", 1), ("+Inf", 4)), id="a bound twice"),
        pytest.param((("0.5", 1), ("0.50", 1), ("+Inf", 4)), id="a bound twice, written otherwise"),
        pytest.param((("half", 1), ("+Inf", 4)), id="a bound that is no number"),
        pytest.param((("NaN", 1), ("+Inf", 4)), id="a bound of NaN"),
        pytest.param((("-Inf", 0), ("0.5", 1), ("+Inf", 4)), id="a bound below all"),
        pytest.param(
            (*((str(bound), bound) for bound in range(1, BOUNDS_MAX + 2)), ("+Inf", 1e6)),
            id="more bounds than histograms have",
        ),
    ],
)
def test_what_is_no_histogram_is_unknown_and_the_page_holds(
    buckets: tuple[tuple[str, float | str], ...],
):
    assert ttft(page(*buckets)) is None


def test_as_many_bounds_as_are_kept():
    most = ttft(page(*((str(bound), bound) for bound in range(1, BOUNDS_MAX + 1)), ("+Inf", 1e6)))
    assert most is not None
    assert len(most.bounds) == BOUNDS_MAX


def test_thousands_of_bounds_take_the_histograms_and_not_the_page():
    assert ttft(page(*((str(bound), bound) for bound in range(BUCKETS_MAX + 1)))) is None


def test_engines_of_one_pod_add_up():
    other = lines(("0.5", 10), ("1.0", 10), ("+Inf", 20), engine=1)
    added = HistogramSample(bounds=(0.5, 1.0), counts=(11.0, 13.0, 24.0))
    assert ttft(page(*SOUND) + other) == added
    assert ttft(page(*SOUND) + other.replace(b'"m"', b'"n"'), "m") == READ


def test_engines_with_other_bounds_add_up_at_those_they_share():
    other = lines(("0.25", 5), ("1.0", 10), ("+Inf", 20), engine=1)
    shared = HistogramSample(bounds=(1.0,), counts=(13.0, 24.0))
    assert ttft(page(*SOUND) + other) == shared
    nothing = lines(("0.25", 5), ("+Inf", 20), engine=1)
    assert ttft(page(*SOUND) + nothing) is None


def test_one_engine_that_makes_no_sense_makes_the_sum_unknown():
    assert ttft(page(*SOUND) + lines(("0.5", 5), engine=1)) is None


def test_pages_of_one_pod_add_up():
    pages = [PodSample(running_requests=1.0, ttft=READ), PodSample(running_requests=1.0, ttft=READ)]
    assert sum_of_pages(pages).ttft == HistogramSample(bounds=(0.5, 1.0), counts=(2.0, 6.0, 8.0))
    assert sum_of_pages([*pages, PodSample(running_requests=1.0)]).ttft is None
    assert sum_of_histograms([]) is None


def test_names_of_old_and_new_releases_are_one_signal():
    old = "vllm:time_per_output_token_seconds"
    new = "vllm:inter_token_latency_seconds"
    request = "vllm:request_time_per_output_token_seconds"
    both = {
        name: lines(*SOUND).replace(NAME.encode(), name.encode()) for name in (old, new, request)
    }
    source = SOURCES["VLLM"]

    def sample(*names: str) -> PodSample:
        body = DEMAND + b"".join(both[name] for name in names)
        rows = read_page(body, source.names, source.histograms)
        return source.sample(rows, model_names=frozenset(), at=100.0)

    assert sample(old).token_gaps == sample(new).token_gaps == sample(old, new).token_gaps == READ
    assert sample(old).tpot is None
    whole = sample(old, new, request)  # what a request had on the whole is what it is owed
    assert (whole.tpot, whole.token_gaps) == (READ, None)


VALUES = st.text(st.sampled_from('ab,="{}\\\n le'), max_size=8)


@given(
    labels=st.dictionaries(
        st.sampled_from(["engine", "model_name", "profile", "a_le", "le_"]), VALUES, max_size=3
    ),
    at=st.integers(0, 3),
    le=st.sampled_from(["0.5", "1", "+Inf", "1e-3", "x", ""]),
    value=st.sampled_from(["1", "2.0", "3e5", "NaN", "1_0", "", "7 1000"]),
)
def test_a_line_cut_around_its_bound_is_the_line_parsed(
    labels: dict[str, str], at: int, le: str, value: str
):
    pairs = [
        (name, text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
        for name, text in labels.items()
    ]
    pairs.insert(min(at, len(pairs)), ("le", le))
    written = ",".join(f'{name}="{text}"' for name, text in pairs)
    line = f"{NAME}_bucket{{{written}}} {value}"
    quick = read_bucket(line.encode())
    if quick is None:
        return  # then it is parsed
    found, count, _ = parse_line(line)
    assert quick == bucket_of(SeriesRow(labels=found, value=count))


def test_a_bucket_without_a_bound_is_one_of_nothing():
    bucket = bucket_of(SeriesRow(labels={"engine": "0"}, value=1.0))
    assert math.isnan(bucket.bound)
    (one,) = histograms_of([bucket, Bucket(bucket.labels, math.inf, 2.0)])
    assert one.sample is None
