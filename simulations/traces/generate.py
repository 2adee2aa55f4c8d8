"""Makes traces up: seeded, so that a name and a seed are a trace.

`generate:diurnal,hours=24,rate=2,input=1000,output=600,seed=1` stands where a path could. Arrivals
are a Poisson process whose rate is the shape below times a slow random wobble; token counts are
lognormal, input and output drawn apart. Real traffic is burstier than that inside a minute: what a
policy earns here is a demonstration, what it earns on a recording is evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoscaler.core.contract.state import FloatArray, IntArray
from autoscaler.errors import TraceError
from simulations.rng import stream
from simulations.serving.columns import RequestColumns

PREFIX = "generate:"
STEP_S = 10.0
"""The rate is constant over one step; arrivals inside it are uniform."""
REQUESTS_MAX = 50_000_000
SPREAD_INPUT = 0.8
SPREAD_OUTPUT = 0.7
"""Of the logarithm of a token count; ServeGen's tenants lie between 0.4 and 1.2."""
WOBBLE = 0.1
WOBBLE_S = 300.0
"""Size and memory of the slow wobble of the rate (a stationary AR(1) in the logarithm)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A made-up trace. The mean rate is `rate_per_s`, whatever the shape.

    The defaults are a day of long answers that keeps one to six small replicas busy.
    """

    shape: str = "diurnal"
    hours: float = 24.0
    rate_per_s: float = 2.0
    input_tokens: float = 1000.0
    """Mean."""
    output_tokens: float = 600.0
    """Mean."""
    seed: int = 0


KEYS: Mapping[str, str] = MappingProxyType(
    {
        "hours": "hours",
        "rate": "rate_per_s",
        "input": "input_tokens",
        "output": "output_tokens",
        "seed": "seed",
    }
)
"""What may stand behind the shape in a spec, and which field of the recipe it is."""


def recipe_of(spec: str) -> Recipe:
    """The recipe of `generate:SHAPE,key=value…`; raises TraceError where a part of it is none."""
    shape, *settings = spec.removeprefix(PREFIX).split(",")
    fields: dict[str, Any] = {}
    if shape not in SHAPES:
        raise TraceError(f"{spec}: no shape {shape!r}; write one of {', '.join(SHAPES)}")
    for setting in settings:
        key, _, text = setting.partition("=")
        if key not in KEYS:
            raise TraceError(f"{spec}: no setting {key!r}; write one of {', '.join(KEYS)}")
        try:
            value: float = int(text) if key == "seed" else float(text)
        except ValueError:
            value = float("nan")
        if not (0 <= value < float("inf")) or (value == 0 and key != "seed"):
            raise TraceError(f"{spec}: {key} is {text!r}; write a number above 0")
        fields[KEYS[key]] = value
    recipe = Recipe(shape=shape, **fields)
    if recipe.rate_per_s * recipe.hours * 3600 > REQUESTS_MAX:
        raise TraceError(f"{spec}: more than {REQUESTS_MAX} requests; lower rate or hours")
    return recipe


def generate(recipe: Recipe) -> RequestColumns:
    """Draw the requests of a recipe: the same for the same recipe and version of numpy."""
    rates = _rates(recipe)
    arrivals = stream(recipe.seed, f"generate/{recipe.shape}/arrivals")
    counts = arrivals.poisson(rates * STEP_S)
    starts = np.repeat(np.arange(len(rates)) * STEP_S, counts)
    seconds = np.sort(starts + arrivals.random(len(starts)) * STEP_S)
    arrival_ns = (seconds * 1e9).astype(np.int64)
    tokens = stream(recipe.seed, f"generate/{recipe.shape}/tokens")
    count = len(arrival_ns)
    return RequestColumns(
        arrival_ns=arrival_ns - (arrival_ns[0] if count else 0),
        prompt_tokens=lognormal_tokens(
            tokens, count, mean=recipe.input_tokens, spread=SPREAD_INPUT
        ),
        output_tokens=lognormal_tokens(
            tokens, count, mean=recipe.output_tokens, spread=SPREAD_OUTPUT
        ),
    )


def lognormal_tokens(
    random: np.random.Generator, count: int, *, mean: float, spread: float
) -> NDArray[np.int64]:
    """Token counts of this mean, at least 1; `spread` is that of their logarithm."""
    drawn = random.lognormal(np.log(mean) - spread**2 / 2, spread, count)
    # eight means: a context window ends somewhere, and one request should not fill a KV cache
    tokens: IntArray = np.clip(np.rint(drawn), 1, np.ceil(8 * mean)).astype(np.int64)
    return tokens


def _rates(recipe: Recipe) -> FloatArray:
    """Requests per second of each step: the shape, wobbled, with the mean asked for."""
    steps = max(1, round(recipe.hours * 3600 / STEP_S))
    random = stream(recipe.seed, f"generate/{recipe.shape}/rate")
    share = (np.arange(steps) + 0.5) / steps
    shape = SHAPES[recipe.shape](share, recipe, random) * np.exp(_wobble(steps, random))
    rates: FloatArray = shape * (recipe.rate_per_s / shape.mean())
    return rates


def _wobble(steps: int, random: np.random.Generator) -> FloatArray:
    keep = 1.0 - STEP_S / WOBBLE_S
    innovations = random.standard_normal(steps) * (WOBBLE * np.sqrt(1.0 - keep**2))
    wobble = np.empty(steps)
    deviation = WOBBLE * random.standard_normal()
    for step in range(steps):
        deviation = keep * deviation + innovations[step]
        wobble[step] = deviation
    return wobble


def _diurnal(share: FloatArray, recipe: Recipe, _random: np.random.Generator) -> FloatArray:
    """Nights at a sixth of the peak, a hump before noon and a higher one in the afternoon."""
    hour = share * recipe.hours % 24.0
    morning = np.exp(-(((hour - 10.5) / 2.4) ** 2))
    afternoon = np.exp(-(((hour - 15.5) / 3.0) ** 2))
    evening = 0.45 * np.exp(-(((hour - 20.5) / 2.2) ** 2))
    day: FloatArray = 0.2 + 0.85 * morning + afternoon + evening
    return day


def _bursty(share: FloatArray, recipe: Recipe, random: np.random.Generator) -> FloatArray:
    """A quiet base, and three to eight times of it in bursts of 1 to 10 minutes, twice an hour."""
    seconds = share * recipe.hours * 3600
    rate = np.ones(len(share))
    at = random.exponential(1800.0)
    while at < recipe.hours * 3600:
        length = random.uniform(60.0, 600.0)
        rate[(seconds >= at) & (seconds < at + length)] = random.uniform(3.0, 8.0)
        at += length + random.exponential(1800.0)
    return rate


def _ramp(share: FloatArray, _recipe: Recipe, _random: np.random.Generator) -> FloatArray:
    """Three equal ramps: up over a third of each, held for a third, then down to a tenth at once."""
    phase = share * 3 % 1.0
    ramp: FloatArray = np.where(phase < 2 / 3, np.minimum(1.0, 0.1 + 0.9 * phase * 3), 0.1)
    return ramp


def _flat(share: FloatArray, _recipe: Recipe, _random: np.random.Generator) -> FloatArray:
    """Always the same rate."""
    return np.ones(len(share))


SHAPES: Mapping[str, Callable[[FloatArray, Recipe, np.random.Generator], FloatArray]] = (
    MappingProxyType({"diurnal": _diurnal, "bursty": _bursty, "ramp": _ramp, "flat": _flat})
)
