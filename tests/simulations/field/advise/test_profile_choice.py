"""Which profile a model gets where nobody says one."""

from __future__ import annotations

import numpy as np
import pytest

from autoscaler.errors import SettingsError
from simulations.field.advise.profile_choice import (
    Clues,
    expected_tpot_s,
    guess_profile,
    requested_profile,
)
from simulations.serving.profiles.profiles import PROFILES
from tests.simulations.field.advise.captures import captured, constant

STEPS = 60
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


def recorded(model_name: str, *, tpot_s: float, running: float = 4.0):
    return captured(
        arrivals=np.full(STEPS, 30.0),
        running=np.full(STEPS, running),
        model_name=model_name,
        histograms={
            "tpot_s": constant(tpot_s, steps=STEPS),
            "prompt_tokens": constant(300.0, steps=STEPS),
            "output_tokens": constant(100.0, steps=STEPS),
        },
    )


@pytest.mark.parametrize(
    ("rule", "model_name", "tpot_s", "clues", "profile"),
    [
        ("by its pace", LLAMA, 0.028, Clues(), "llama-3.1-8b/1xL40S"),
        ("by its pace", LLAMA, 0.0135, Clues(), "llama-3.1-8b/1xA100-80"),
        ("by its pace", LLAMA, 0.0085, Clues(), "llama-3.1-8b/1xH100"),
        (
            "DCGM knows, whatever the pace",
            LLAMA,
            0.028,
            Clues(gpu_name="NVIDIA H100 80GB HBM3"),
            "llama-3.1-8b/1xH100",
        ),
        (
            "the cache tells where the pace is between two",
            LLAMA,
            0.0195,
            Clues(kv_tokens=27_800 * 16.0),
            "llama-3.1-8b/1xA100-80",
        ),
        ("by a quantization", LLAMA + "-FP8", 0.016, Clues(), "llama-3.1-8b-fp8/1xL40S"),
        ("by a quantization", "x/Qwen3-14B-AWQ", 0.006, Clues(), "qwen3-14b-awq/1xH100"),
        ("spelt otherwise", "meta/llama3.1-8b", 0.028, Clues(), "llama-3.1-8b/1xL40S"),
        ("of its size", "mistralai/Mistral-7B-v0.3", 0.028, Clues(), "llama-3.1-8b/1xL40S"),
        ("of its size", "Qwen/Qwen2.5-72B-Instruct", 0.02, Clues(), "llama-3.3-70b/4xH100"),
    ],
)
def test_a_guess(rule, model_name, tpot_s, clues, profile):
    found = guess_profile(recorded(model_name, tpot_s=tpot_s), clues)
    assert (found.profile.name, found.guessed) == (profile, True), rule
    assert ("guess" in found.explanation) == (clues.gpu_name is None)
    if rule == "of its size":
        assert "none of its own" in found.explanation


def test_a_recorded_cache_is_taken_as_it_is():
    found = guess_profile(recorded(LLAMA, tpot_s=0.028), Clues(kv_tokens=160_000.0))
    assert found.profile.kv_blocks == 10_000


@pytest.mark.parametrize(
    ("model_name", "clues", "message"),
    [
        ("gpt-4", Clues(), "has no profile, and none of its size.*--profile 'gpt-4=NAME'"),
        ("Qwen/Qwen3-30B-A3B", Clues(), "none of its size"),
        ("mistralai/Mixtral-8x7B", Clues(), "none of its size"),
        (LLAMA, Clues(gpu_name="NVIDIA A10G"), "on NVIDIA A10G; give the closest with --profile"),
    ],
)
def test_what_cannot_be_guessed_is_asked_for(model_name, clues, message):
    with pytest.raises(SettingsError, match=message):
        guess_profile(recorded(model_name, tpot_s=0.028), clues)


def test_what_is_said_is_taken_for_all_or_for_one():
    name = "qwen3-14b/1xH100"
    for given, model in ((name, "m"), (f"org/m={name}", "org/m")):
        choice = requested_profile([given], model)
        assert choice is not None
        assert choice.profile == PROFILES[name]
    assert requested_profile([f"other={name}"], "org/m") is None
    assert requested_profile([], "m") is None
    with pytest.raises(SettingsError, match="no such profile"):
        requested_profile(["m=nothing"], "m")


def test_prefill_beside_the_decodes_makes_steps_longer():
    profile = PROFILES["llama-3.1-8b/1xL40S"]
    quiet, busy = (recorded(LLAMA, tpot_s=0.03, running=n) for n in (1.0, 40.0))
    assert expected_tpot_s(profile, quiet) < expected_tpot_s(profile, busy)
    assert expected_tpot_s(profile, quiet) > profile.step_ns / 1e9
