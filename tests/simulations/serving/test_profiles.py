"""Profiles are data; what they say must be possible, and be what their sources say."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from simulations.rng import stream
from simulations.serving.columns import RequestColumns
from simulations.serving.profiles.hardware import GPUS, MODELS, roofline
from simulations.serving.profiles.profiles import PROFILES, Profile
from simulations.serving.replica_capacity import replica_capacity

ALL = [pytest.param(profile, id=profile.name) for profile in PROFILES.values()]
NANOSECONDS_A_LAYER = 32_000


def conversations(rows: int) -> RequestColumns:
    """Lengths like those of Azure's conversations of 2023: 1,155 in and 211 out on average."""
    random = stream(1, "conversations")
    prompt = random.lognormal(np.log(1155) - 0.245, 0.7, rows)
    output = random.lognormal(np.log(211) - 0.245, 0.7, rows)
    return RequestColumns(
        arrival_ns=np.zeros(rows, dtype=np.int64),
        prompt_tokens=np.maximum(1, prompt).astype(np.int64),
        output_tokens=np.maximum(1, output).astype(np.int64),
    )


@pytest.mark.parametrize("profile", ALL)
def test_no_profile_beats_its_roofline(profile: Profile) -> None:
    bound = roofline(
        model=profile.model,
        variant=profile.variant,
        gpu=profile.gpu,
        gpus=profile.gpus,
        block_tokens=profile.block_tokens,
    )
    assert profile.step_ns >= bound.step_ns
    assert profile.token_ns >= bound.token_ns
    assert profile.kv_token_ns >= bound.kv_token_ns
    assert profile.attention_ps >= bound.attention_ps
    assert profile.kv_blocks <= bound.kv_blocks


@pytest.mark.parametrize("profile", ALL)
def test_no_profile_is_four_times_its_roofline(profile: Profile) -> None:
    """A slip of a digit the other way would make a replica useless, not impossible."""
    bound = roofline(
        model=profile.model,
        variant=profile.variant,
        gpu=profile.gpu,
        gpus=profile.gpus,
        block_tokens=profile.block_tokens,
    )
    assert profile.step_ns <= 4 * bound.step_ns
    assert profile.token_ns <= 4 * bound.token_ns
    assert profile.kv_token_ns <= 4 * bound.kv_token_ns
    assert profile.attention_ps <= 4 * bound.attention_ps
    assert profile.kv_blocks >= bound.kv_blocks / 4


@pytest.mark.parametrize("profile", ALL)
def test_a_full_mixed_step_takes_at_most_80_ms(profile: Profile) -> None:
    """The target's decodes over 1,024 tokens each; the rest a prefill behind 2,048 tokens."""
    decodes = profile.in_flight_target
    chunk = profile.step_tokens_max - decodes
    pairs = chunk * 2048 + chunk * (chunk + 1) // 2
    step_ns = (
        profile.step_ns
        + profile.token_ns * (profile.step_tokens_max - profile.flat_tokens)
        + profile.kv_token_ns * decodes * 1024
        + profile.attention_ps * pairs // 1000
    )
    assert step_ns <= 80_000_000


@pytest.mark.parametrize("profile", ALL)
def test_the_flat_part_ends_where_arithmetic_reaches_the_reading(profile: Profile) -> None:
    reading = profile.step_ns - NANOSECONDS_A_LAYER * MODELS[profile.model].layers
    assert profile.flat_tokens == reading // profile.token_ns


@pytest.mark.parametrize("profile", ALL)
def test_limits_fit_together(profile: Profile) -> None:
    assert profile.in_flight_target <= profile.requests_max <= profile.step_tokens_max
    assert 0 < profile.spot_usd_per_hour < profile.usd_per_hour
    assert profile.usd_per_hour == profile.gpus * GPUS[profile.gpu].usd_per_hour
    assert profile.source


@pytest.mark.parametrize("profile", ALL)
def test_fields_have_their_types(profile: Profile) -> None:
    """The rows of the table are checked here, not by mypy."""
    for field in fields(profile):
        kinds = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}
        assert type(getattr(profile, field.name)) in kinds[str(field.type)], field.name


def test_every_asked_for_shape_is_there() -> None:
    shapes = ("llama-3.1-8b/1xL40S", "llama-3.1-8b/1xA100-80", "llama-3.1-8b/1xH100")
    for shape in (*shapes, "qwen3-14b/1xH100", "llama-3.3-70b/4xH100"):
        model, replica = shape.split("/")
        for suffix in ("", "-fp8", "-awq"):
            assert f"{model}{suffix}/{replica}" in PROFILES


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama-3.1-8b/1xL40S", "qwen3-14b/1xH100"])
def test_the_in_flight_target_is_what_a_replica_carries(name: str) -> None:
    profile = PROFILES[name]
    found = replica_capacity(
        profile, conversations(3000), ttft_s=2, tpot_s=0.1, attainment_ratio=0.995
    )
    assert 0.75 * found.in_flight_requests <= profile.in_flight_target
    assert profile.in_flight_target <= 1.25 * found.in_flight_requests


@pytest.mark.slow
def test_long_prompts_want_a_lower_target() -> None:
    profile = PROFILES["llama-3.1-8b/1xL40S"]
    talk = conversations(1500)
    documents = RequestColumns(
        arrival_ns=talk.arrival_ns,
        prompt_tokens=np.full(1500, 6000, dtype=np.int64),
        output_tokens=np.full(1500, 30, dtype=np.int64),
    )
    asked = {"ttft_s": 4.0, "tpot_s": 0.1, "attainment_ratio": 0.99}
    few = replica_capacity(profile, documents, **asked).in_flight_requests
    many = replica_capacity(profile, talk, **asked).in_flight_requests
    assert 0 < 4 * few < many
