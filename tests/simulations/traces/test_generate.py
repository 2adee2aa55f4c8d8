"""Made-up traces: their shape, their mean, and one trace per name and seed."""

from dataclasses import replace

import numpy as np
import pytest

from autoscaler.errors import TraceError
from simulations.traces.generate import SHAPES, Recipe, generate, recipe_of
from simulations.traces.trace import read_trace


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_has_the_mean_rate_and_lengths_asked_for(shape: str):
    recipe = Recipe(shape=shape, hours=8, rate_per_s=1.0, input_tokens=800, output_tokens=100)
    requests = generate(recipe)
    assert len(requests) == pytest.approx(8 * 3600, rel=0.03)
    assert requests.prompt_tokens.mean() == pytest.approx(800, rel=0.03)
    assert requests.output_tokens.mean() == pytest.approx(100, rel=0.03)
    assert requests.prompt_tokens.min() >= 1
    assert requests.arrival_ns[0] == 0
    assert np.all(np.diff(requests.arrival_ns) >= 0)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_seed_is_a_trace(shape: str):
    recipe = Recipe(shape=shape, hours=1)
    first, again, other = generate(recipe), generate(recipe), generate(replace(recipe, seed=1))
    assert first.arrival_ns.tolist() == again.arrival_ns.tolist()
    assert first.output_tokens.tolist() == again.output_tokens.tolist()
    assert first.arrival_ns.tolist() != other.arrival_ns.tolist()


def per_minute(recipe: Recipe) -> np.ndarray:
    minutes = (generate(recipe).arrival_ns // 60_000_000_000).astype(int)
    return np.bincount(minutes, minlength=int(recipe.hours * 60))


def test_a_day_has_a_night_and_two_humps():
    hours = per_minute(Recipe(shape="diurnal", hours=24, rate_per_s=2)).reshape(24, 60).sum(axis=1)
    assert hours.max() > 4 * hours.min()
    assert hours[3] < hours[10] > hours[13] * 0.99
    assert hours[15] > hours[13]


def test_bursts_stand_out():
    minutes = per_minute(Recipe(shape="bursty", hours=12, rate_per_s=2))
    assert np.percentile(minutes, 99) > 2.5 * np.median(minutes)


def test_three_equal_ramps():
    thirds = per_minute(Recipe(shape="ramp", hours=3, rate_per_s=5)).reshape(3, 60)
    for third in thirds:
        assert third[25:38].mean() > 4 * third[:4].mean()
        assert third[42:58].mean() < third[25:38].mean() / 5


def test_a_spec_stands_where_a_path_could():
    trace = read_trace("generate:ramp,hours=2,rate=0.5,input=700,output=90,seed=4")
    recipe = Recipe(
        shape="ramp", hours=2, rate_per_s=0.5, input_tokens=700, output_tokens=90, seed=4
    )
    assert trace.requests.arrival_ns.tolist() == generate(recipe).arrival_ns.tolist()


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("generate:sinus", "no shape 'sinus'; write one of diurnal"),
        ("generate:flat,speed=2", "no setting 'speed'; write one of hours"),
        ("generate:flat,rate=fast", "rate is 'fast'"),
        ("generate:flat,rate=-1", "rate is '-1'"),
        ("generate:flat,rate=nan", "rate is 'nan'"),
        ("generate:flat,hours=0", "hours is '0'"),
        ("generate:flat,seed=1.5", "seed is '1.5'"),
        ("generate:flat,rate=1e9", "more than 50000000 requests"),
    ],
)
def test_a_wrong_spec_is_said(spec: str, found: str):
    with pytest.raises(TraceError, match=found):
        recipe_of(spec)
