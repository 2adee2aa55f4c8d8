"""Requests drawn from ServeGen's windows: rate exactly, gaps and lengths as measured, holes as holes."""

import gzip
import math
from pathlib import Path

import numpy as np
import pytest

from autoscaler.errors import TraceError
from simulations.rng import stream
from simulations.traces.contents import TraceContents
from simulations.traces.files import open_lines
from simulations.traces.formats.servegen_windows import GAPS, Window, arrivals_s, draw, shape_of
from simulations.traces.spec import trace_spec
from simulations.traces.trace import read_trace
from tests.require import traces_folder

WINDOWS = (
    "t,tenant,rate_rps,cv,iat_dist,shape,scale_s\n"
    "0,1,2.0,1,Gamma,1,1\n0,2,0.5,2,Gamma,0.25,1\n0,3,1.0,2,Weibull,0.6,1\n"
    "600,1,1.0,1,Gamma,1,1\n600,3,3.00167,2,Weibull,0.6,1\n"
    "1800,1,4.0,1,Gamma,1,1\n1800,2,0.05,2,Gamma,0.25,1\n"
)
TOKENS = (
    "t,tenant,field,mean,p01,p05,p10,p25,p50,p75,p90,p95,p99,max\n"
    "0,1,input_tokens,500,100,140,190,340,500,660,810,860,900,1000\n"
    "0,1,output_tokens,30,10,11,12,20,30,40,48,49,50,51\n"
    "0,2,input_tokens,7000,7000,7000,7000,7000,7000,7000,7000,7000,7000,7000\n"
    "0,2,output_tokens,70,70,70,70,70,70,70,70,70,70,70\n"
)


def written(
    folder: Path, *, windows: str = WINDOWS, tokens: str | None = TOKENS, zipped: bool = True
) -> str:
    for name, text in (("windows", windows), ("tokens", tokens)):
        if text is None:
            continue
        path = folder / (f"x_{name}.csv.gz" if zipped else f"x_{name}.csv")
        path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    return str(folder / ("x_windows.csv.gz" if zipped else "x_windows.csv"))


def on_its_own_clock(spec: str) -> TraceContents:
    asked = trace_spec(spec)
    with open_lines(asked.path) as lines:
        return draw(lines, asked)


@pytest.mark.parametrize("zipped", [False, True])
def test_each_window_has_exactly_what_its_rate_says(tmp_path: Path, *, zipped: bool):
    path = written(tmp_path, zipped=zipped)
    arrivals = on_its_own_clock(path + ",tenant=1").requests.arrival_ns
    assert np.bincount(arrivals // (600 * 10**9)).tolist() == [1200, 600, 0, 2400]
    assert np.all(np.diff(arrivals) >= 0)
    every = on_its_own_clock(path).requests.arrival_ns
    assert np.bincount(every // (600 * 10**9)).tolist() == [2100, 2401, 0, 2430]


def test_the_sum_is_its_tenants_and_says_whose_lengths_are_borrowed(tmp_path: Path):
    path = written(tmp_path)
    trace = read_trace(path)
    assert len(trace.requests) == 1200 + 300 + 600 + 600 + 1801 + 2400 + 30
    assert any("1 tenants (3; 34.6% of the requests) have no token" in n for n in trace.notes)
    omitted = read_trace(path + ",unmeasured=omit")
    assert len(omitted.requests) == len(trace.requests) - 600 - 1801
    assert any("left out" in note for note in omitted.notes)
    two = read_trace(path + ",tenant=1+2")
    assert two.requests.prompt_tokens.tolist() == omitted.requests.prompt_tokens.tolist()


def test_borrowed_lengths_are_those_of_who_is_there_in_the_window(tmp_path: Path):
    prompts = read_trace(written(tmp_path) + ",hours=0.16666").requests.prompt_tokens
    # tenant 2 has 300 of the 1500 measured requests, so a fifth of the 600 borrow from it
    assert np.count_nonzero(prompts == 7000) == pytest.approx(300 + 120, abs=40)


def test_a_hole_is_marked_and_not_filled(tmp_path: Path):
    trace = read_trace(written(tmp_path))
    assert len(trace.holes_s) == 1
    start, end = trace.holes_s[0]
    assert end - start == pytest.approx(600)
    assert 1199 - 60 < start <= 1200
    inside = (trace.requests.arrival_ns > start * 1e9) & (trace.requests.arrival_ns < end * 1e9)
    assert not inside.any()
    assert any("1 holes of together 10 min" in note for note in trace.notes)
    assert read_trace(written(tmp_path) + ",from=20m,hours=1").holes_s == ()


def test_a_part_and_a_tenant_alone_have_the_requests_of_the_whole(tmp_path: Path):
    path = written(tmp_path)
    whole = read_trace(path + ",tenant=1").requests
    part = read_trace(path + ",tenant=1,from=10m").requests
    assert len(part) == 3000
    assert part.prompt_tokens.tolist() == whole.prompt_tokens[1200:].tolist()
    moved = whole.arrival_ns[1200:] - part.arrival_ns
    assert set(moved) == {whole.arrival_ns[1200]}


def test_a_part_may_begin_and_end_inside_a_window(tmp_path: Path):
    path = written(tmp_path)
    whole = on_its_own_clock(path + ",tenant=1").requests
    within = (whole.arrival_ns >= 300 * 10**9) & (whole.arrival_ns < 900 * 10**9)
    part = read_trace(path + ",tenant=1,from=5m,hours=0.166666666667").requests
    assert part.prompt_tokens.tolist() == whole.prompt_tokens[within].tolist()


def test_alone_in_a_window_a_tenant_borrows_from_its_six_hours(tmp_path: Path):
    trace = read_trace(written(tmp_path, windows=WINDOWS + "2400,3,2,2,Weibull,0.6,1\n"))
    prompts = trace.requests.prompt_tokens[-1200:]
    # half from each of the two that have percentiles
    assert np.count_nonzero(prompts == 7000) == pytest.approx(600, abs=80)


def test_a_seed_is_a_trace(tmp_path: Path):
    path = written(tmp_path)
    first, again = (read_trace(path).requests for _ in range(2))
    other = read_trace(path + ",seed=1").requests
    assert first.arrival_ns.tolist() == again.arrival_ns.tolist()
    assert first.prompt_tokens.tolist() == again.prompt_tokens.tolist()
    assert first.arrival_ns.tolist() != other.arrival_ns.tolist()


def test_lengths_have_the_percentiles_and_the_mean_of_their_tenant(tmp_path: Path):
    requests = read_trace(written(tmp_path) + ",tenant=1").requests
    found = np.quantile(requests.prompt_tokens, [0.05, 0.25, 0.5, 0.75, 0.95])
    assert found == pytest.approx([140, 340, 500, 660, 860], rel=0.05)
    assert requests.prompt_tokens.mean() == pytest.approx(500, rel=0.02)
    assert requests.prompt_tokens.min() >= 100
    assert requests.output_tokens.max() <= 51


def test_one_huge_request_does_not_raise_the_mean(tmp_path: Path):
    tokens = TOKENS.replace("860,900,1000\n", "860,900,60000\n")
    requests = read_trace(written(tmp_path, tokens=tokens) + ",tenant=1").requests
    assert requests.prompt_tokens.mean() == pytest.approx(500, rel=0.03)


IMAGES = (
    "t,tenant,field,mean,p01,p05,p10,p25,p50,p75,p90,p95,p99,max\n"
    "0,1,text_tokens,7,7,7,7,7,7,7,7,7,7,7\n"
    "0,1,image_tokens,1000,1000,1000,1000,1000,1000,1000,1000,1000,1000,1000\n"
    "0,1,image_count,2,2,2,2,2,2,2,2,2,2,2\n"
    "0,1,output_tokens,5,5,5,5,5,5,5,5,5,5,5\n"
)


def test_input_of_an_image_model_is_text_and_every_image(tmp_path: Path):
    requests = read_trace(written(tmp_path, tokens=IMAGES) + ",tenant=1").requests
    assert set(requests.prompt_tokens) == {2007}
    assert set(requests.output_tokens) == {5}


@pytest.mark.parametrize(("family", "shape"), [("Gamma", 0.5), ("Gamma", 4.0), ("Weibull", 0.7)])
@pytest.mark.parametrize("thin", [1.0, 0.2])
def test_gaps_have_the_variation_of_their_fit_also_thinned(family: str, shape: float, thin: float):
    window = Window(at_s=0, tenant="x", count=20_000, gaps=family, shape=shape)
    at_s = arrivals_s(window, thin=thin, random=stream(3, "test"))
    assert len(at_s) == pytest.approx(20_000 * thin, rel=0.03)
    gaps = np.diff(at_s, append=at_s[0] + 600)
    square = (
        1 / shape
        if family == "Gamma"
        else math.gamma(1 + 2 / shape) / math.gamma(1 + 1 / shape) ** 2 - 1
    )
    # a gap of a thinned stream is a geometric number of gaps
    thinned = thin * square + 1 - thin
    assert gaps.std() / gaps.mean() == pytest.approx(thinned**0.5, rel=0.05)


@pytest.mark.parametrize("family", GAPS)
@pytest.mark.parametrize("cv", [0.1, 1.0, 6.0])
def test_a_variation_asked_for_is_drawn(family: str, cv: float):
    shape = shape_of(family, cv=cv)
    window = Window(at_s=0, tenant="x", count=200_000, gaps=family, shape=shape)
    gaps = np.diff(arrivals_s(window, thin=1.0, random=stream(3, "test")))
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.15)


@pytest.mark.parametrize("family", GAPS)
@pytest.mark.parametrize("shape", [0.001, 0.0069, 45_230.0])
@pytest.mark.parametrize("count", [1, 2, 500])
def test_no_fit_is_too_uneven(family: str, shape: float, count: int):
    for number in range(20):
        window = Window(at_s=0, tenant="x", count=count, gaps=family, shape=shape)
        at_s = arrivals_s(window, thin=1.0, random=stream(number, "test"))
        assert len(at_s) == count
        assert at_s.min() >= 0
        assert at_s.max() < 600


TOO_MANY = "".join(f"{600 * n},1,1000000,1,Gamma,1,1\n" for n in range(4, 8))


@pytest.mark.parametrize(
    ("settings", "windows", "tokens", "found"),
    [
        (",tenant=9", WINDOWS, TOKENS, "no tenant 9; there are 1, 2, 3; write tenant=NUMBER"),
        (",tenant=3", WINDOWS, TOKENS, "no token percentiles of tenant 3; name tenants that"),
        (",unmeasured=guess", WINDOWS, TOKENS, "unmeasured is 'guess'; write borrow or omit"),
        (",gaps=smooth", WINDOWS, TOKENS, "gaps is 'smooth'; write fit or cv"),
        (",tenants=1", WINDOWS, TOKENS, "no setting 'tenants' of servegen-windows"),
        (",from=9d", WINDOWS, TOKENS, "no request in the part"),
        ("", WINDOWS, None, "no token percentiles beside it"),
        ("", WINDOWS, "a,b\n", "x_tokens.csv.gz: line 1: header 'a,b'; name t, tenant, field"),
        ("", WINDOWS + TOO_MANY, TOKENS, "at most 50000000 are drawn at once; ask for a part"),
        ("", WINDOWS + "1800,4\n", TOKENS, "line 9: 2 fields"),
        ("", WINDOWS + "1801,4,1,1,Gamma,1,1\n", TOKENS, "line 9: t is '1801'; write the start"),
        ("", WINDOWS + "2400,4,1,1,Pareto,1,1\n", TOKENS, "line 9: iat_dist is 'Pareto'"),
        ("", WINDOWS + "2400,4,-1,1,Gamma,1,1\n", TOKENS, "line 9: rate_rps is '-1'"),
        ("", WINDOWS + "2400,4,1,1,Gamma,nan,1\n", TOKENS, "line 9: shape is 'nan'"),
        ("", WINDOWS, TOKENS.replace("0,1,input", "0,1,some"), "line 2: field is 'some_tokens'"),
        ("", WINDOWS, TOKENS.replace("340", "many"), "line 2: p25 is 'many'"),
        ("", WINDOWS, TOKENS.replace("340", "3"), "line 2: p25 is 3, below the percentile before"),
        ("", WINDOWS, TOKENS.replace(",900,1000", ""), "line 2: 12 fields where the header names"),
        ("", WINDOWS, TOKENS[: TOKENS.rindex("0,2,out")], "tenant 2 has no output_tokens"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, settings: str, windows: str, tokens: str | None, found: str
):
    path = written(tmp_path, windows=windows, tokens=tokens)
    with pytest.raises(TraceError) as caught:
        read_trace(path + settings)
    assert found in str(caught.value)


@pytest.mark.traces
@pytest.mark.slow
def test_the_recorded_tenant_has_as_many_requests_as_its_regenerated_file():
    folder = traces_folder()
    path = folder / "windows" / "servegen_m-large_d00-08_windows.csv.gz"
    drawn = read_trace(f"{path},tenant=12,from=6d,days=3").requests
    regenerated = read_trace(
        f"{folder / 'requests' / 'servegen_m-large_t12_d06-08.regen.csv.gz'}"
    ).requests
    assert len(drawn) == len(regenerated) == 110_619
    for of, other in (
        (drawn.prompt_tokens, regenerated.prompt_tokens),
        (drawn.output_tokens, regenerated.output_tokens),
    ):
        assert of.mean() == pytest.approx(other.mean(), rel=0.03)
        assert np.quantile(of, [0.1, 0.5, 0.9]) == pytest.approx(
            np.quantile(other, [0.1, 0.5, 0.9]), rel=0.05
        )


@pytest.mark.traces
@pytest.mark.slow
def test_the_recorded_holes_are_those_of_its_publisher():
    path = traces_folder() / "windows" / "servegen_m-mid_d00-08_windows.csv.gz"
    trace = read_trace(f"{path},tenant=5")
    assert sum(end - start for start, end in trace.holes_s) == pytest.approx(38 * 600)
    assert len(trace.holes_s) == 4
    found = on_its_own_clock(f"{path},tenant=5").holes_s
    assert list(found) == [
        (313_200, 319_800), (475_200, 478_200), (507_600, 510_600), (666_000, 676_200),
    ]  # fmt: skip
