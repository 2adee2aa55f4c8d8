"""What a request is owed: seconds, or seconds plus a multiple of its own prefill."""

import numpy as np
import pytest

from autoscaler.errors import SettingsError
from simulations.agenda import NS
from simulations.serving.columns import RequestColumns
from simulations.serving.fleet import ServingFleet
from simulations.serving.objective import RequestObjective, parse_objective, prefill_s
from tests.simulations.world.world_builder import PROFILE, requests


@pytest.mark.parametrize(
    ("text", "ttft_s", "per_prefill", "tpot_s"),
    [
        ("ttft=1+2x,tpot=0.1", 1.0, 2.0, 0.1),
        ("ttft=2,tpot=0.05", 2.0, 0.0, 0.05),
        ("ttft=12x", 0.0, 12.0, 0.1),
        ("ttft=.5+1.5x", 0.5, 1.5, 0.1),
        ("tpot=0.2", 1.0, 2.0, 0.2),
        (" ttft = 3 , tpot = 1 ", 3.0, 0.0, 1.0),
    ],
)
def test_objectives(text: str, ttft_s: float, per_prefill: float, tpot_s: float):
    read = parse_objective(text)
    assert (read.ttft_s, read.ttft_per_prefill, read.tpot_s) == (ttft_s, per_prefill, tpot_s)


@pytest.mark.parametrize(
    "text",
    ["", "ttft", "ttft=0", "ttft=-1", "ttft=inf", "x=1", "ttft=1,ttft=2", "ttft=1+2", "ttft=x"],
)
def test_what_is_no_objective(text: str):
    with pytest.raises(SettingsError, match="write it as ttft=2,"):
        parse_objective(text)


@pytest.mark.parametrize(
    "text", ["ttft=1+", "ttft=1x2", "ttft=1+2x+3x", "tpot=1+2x", "ttft=1e3", "ttft=1..2"]
)
def test_what_is_no_objective_either(text: str):
    with pytest.raises(SettingsError, match="--objective"):
        parse_objective(text)


@pytest.mark.parametrize("prompt", [1, 100, 257, 512, 513, 2000, 5120, 30_000])
def test_the_prefill_of_an_idle_replica_is_the_serving_models_own(prompt: int):
    columns = requests([0.0], prompt_tokens=prompt, output_tokens=1)
    fleet = ServingFleet(PROFILE, columns)
    fleet.add_replica(0, 0)
    fleet.run_until(200 * NS)
    served_s = float(fleet.results.first_token_ns[0]) / NS
    # the serving model rounds a step's attention to whole nanoseconds: a few per chunk
    assert prefill_s(columns, PROFILE)[0] == pytest.approx(served_s, abs=1e-6)


def test_limits_are_of_each_request_and_a_models_is_that_of_the_median():
    columns = RequestColumns(
        arrival_ns=np.zeros(3, np.int64),
        prompt_tokens=np.array([100, 1000, 30_000]),
        output_tokens=np.ones(3, np.int64),
    )
    objective = RequestObjective(ttft_s=1.0, ttft_per_prefill=2.0)
    limits = objective.ttft_limits_s(columns, PROFILE)
    assert limits.tolist() == pytest.approx((1 + 2 * prefill_s(columns, PROFILE)).tolist())
    assert objective.of_model(columns, PROFILE).ttft_s == pytest.approx(float(limits[1]))
    fixed = RequestObjective(ttft_s=2.0, ttft_per_prefill=0.0)
    assert fixed.ttft_limits_s(columns, PROFILE).tolist() == [2.0] * 3


def test_columns_of_half_the_width_and_of_many_parts_give_the_same_seconds(
    monkeypatch: pytest.MonkeyPatch,
):
    """A prompt of 200,000 tokens takes more nanoseconds than an int32 holds."""
    tokens = np.array([1, 200_000, 2**31 - 1, 100, 7], dtype=np.int64)
    wide = RequestColumns(
        arrival_ns=np.arange(5), prompt_tokens=tokens, output_tokens=np.ones(5, dtype=np.int64)
    )
    narrow = RequestColumns(
        arrival_ns=np.arange(5),
        prompt_tokens=tokens.astype(np.int32),
        output_tokens=np.ones(5, dtype=np.int32),
    )
    whole = prefill_s(wide, PROFILE)
    assert whole[1] > 2.0
    monkeypatch.setattr("simulations.serving.objective.CHUNK", 2)
    assert prefill_s(narrow, PROFILE).tolist() == whole.tolist()
    assert RequestObjective().ttft_limits_s(narrow, PROFILE).tolist() == (1 + 2 * whole).tolist()
