"""The command line of the stand-in."""

from __future__ import annotations

import pytest

from simulations.box.vllm_server.options import DEFAULT_PROFILE, parse
from simulations.serving.profiles.profiles import PROFILES


def test_flags_change_the_profile() -> None:
    arguments = "--max-num-seqs 4 --max-num-batched-tokens 256 --num-gpu-blocks 24 --block-size 128"
    profile = parse([*arguments.split(), "--no-enable-prefix-caching"]).profile
    assert profile.requests_max == 4
    assert profile.step_tokens_max == 256
    assert profile.kv_blocks == 24
    assert profile.block_tokens == 128
    assert not profile.prefix_caching
    assert profile.step_ns == PROFILES[DEFAULT_PROFILE].step_ns


def test_blocks_of_another_size_share_the_same_memory() -> None:
    default = PROFILES[DEFAULT_PROFILE]
    assert parse(["--block-size", "32"]).profile.kv_blocks == default.kv_blocks // 2


def test_flags_of_vllm_without_a_meaning_here_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    options = parse(["--model", "org/llama", "--tensor-parallel-size", "4", "--enforce-eager"])
    assert options.served_model_names == ("org/llama",)
    assert "--tensor-parallel-size 4 --enforce-eager" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("12.5", 12.5, 12.5), ("uniform:3:5", 3.0, 5.0), ("lognormal:20:0.3", 4.0, 100.0)],
)
def test_a_cold_start_is_a_number_or_drawn(text: str, low: float, high: float) -> None:
    drawn = {parse(["--cold-start", text, "--seed", str(seed)]).cold_start_s for seed in range(20)}
    assert all(low <= value <= high for value in drawn)
    assert (len(drawn) > 1) == (low < high)
    again = {parse(["--cold-start", text, "--seed", str(seed)]).cold_start_s for seed in range(20)}
    assert drawn == again


def test_pods_with_the_same_seed_draw_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = set()
    for pod in ("llama-a", "llama-b"):
        monkeypatch.setenv("HOSTNAME", pod)
        drawn.add(parse(["--cold-start", "lognormal:20:0.3", "--seed", "1"]).cold_start_s)
    assert len(drawn) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--profile nothing/1xT4", "no profile 'nothing/1xT4'; choose one of llama-3.1-8b/1xL40S"),
        ("--cold-start soon", "neither seconds nor lognormal:MEDIAN:SIGMA"),
        ("--cold-start lognormal:-1:2", "neither seconds nor lognormal:MEDIAN:SIGMA"),
        ("--cold-start -3", "neither seconds nor"),
        ("--max-num-seqs 0", "0 is not positive"),
        ("--max-num-seqs 4096", "must not be below --max-num-seqs"),
        ("--num-gpu-blocks 1", "at least 2: one block is reserved"),
        ("--metrics-version latest", "'latest' is no version like 0.32.0"),
        ("--speed 0", "0 is not positive"),
        ("--abort-hangs 2", "2 is no probability"),
    ],
)
def test_nonsense_is_refused(arguments: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments.split())
    assert caught.value.code == 2
    assert says in capsys.readouterr().err
