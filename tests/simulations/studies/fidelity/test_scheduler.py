"""The reference's scheduler against every step that a real vLLM logged, and with its rules turned off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from simulations.serving.profiles.profiles import Profile
from simulations.serving.reference.engine import Blocks, EngineSequence, ReferenceEngine
from simulations.studies.fidelity.runs import read_run
from simulations.studies.fidelity.scheduler import scheduler_equality
from tests.require import fixtures_folder

pytestmark = pytest.mark.slow
RUNS = (
    "cal-slow-16x512",
    "cal-slow-16x512-b",
    "cal-slow-4x256",
    "cal-small-16x256",
    "drain-timeout0",
    "drain-timeout60",
    "kvscarce-1",
    "onoff",
    "open40",
    "open90-a",
    "open90-b",
    "prefix-1",
    "seqs4-open110",
    "small-open70",
)


@pytest.fixture(scope="module")
def folder() -> Path:
    return fixtures_folder() / "vllm-runs"


@pytest.mark.parametrize("name", RUNS)
def test_every_step_is_the_recorded_one(folder: Path, name: str) -> None:
    """The same requests and tokens, the same blocks in use, the same preemptions and hits."""
    told = scheduler_equality(read_run(folder / name))
    assert told.steps > 300
    assert told.equal_steps == told.steps
    assert told.equal_kv_steps == told.steps
    assert told.preemptions == told.preemptions_measured
    assert told.prefix_hit_tokens == told.prefix_hit_tokens_measured
    # with the steps' own times, what is left of the clients' is the way out of the server
    assert -0.05 <= told.ttft_mean_error <= 0
    assert -0.01 <= told.e2e_mean_error <= 0


def with_profile(
    **changes: Callable[[Profile], object],
) -> Callable[[Profile, int], ReferenceEngine]:
    def engine(profile: Profile, prefix_tokens: int) -> ReferenceEngine:
        changed = {name: change(profile) for name, change in changes.items()}
        return ReferenceEngine(replace(profile, **changed), prefix_tokens)

    return engine


class PreemptedToTheTail(ReferenceEngine):
    def _preempt_newest(self) -> EngineSequence:
        newest = super()._preempt_newest()
        self.waiting.append(self.waiting.pop(0))
        return newest


class FreeBlockKept(Blocks):
    def admit(self, sequence: EngineSequence) -> bool:
        return self.free > self.blocks_of(sequence.known) and super().admit(sequence)


class Watermark(ReferenceEngine):
    def __init__(self, profile: Profile, prefix_tokens: int) -> None:
        super().__init__(profile, prefix_tokens)
        self.blocks = FreeBlockKept(profile, prefix_tokens)


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("kvscarce-1", with_profile(kv_blocks=lambda p: p.kv_blocks + 1)),
        ("kvscarce-1", PreemptedToTheTail),
        ("kvscarce-1", Watermark),
        ("drain-timeout60", with_profile(kv_blocks=lambda p: 10 * p.kv_blocks)),
        ("open90-a", with_profile(step_tokens_max=lambda p: p.step_tokens_max - 1)),
        ("open90-a", with_profile(requests_max=lambda p: p.requests_max + 1)),
        ("prefix-1", with_profile(prefix_caching=lambda _: False)),
    ],
    ids=[
        "one block is reserved",
        "the preempted go to the head",
        "no watermark",
        "recompute",
        "token budget",
        "requests at a time",
        "prefix hits",
    ],
)
def test_each_rule_is_needed(
    folder: Path, name: str, without: Callable[[Profile, int], ReferenceEngine]
) -> None:
    told = scheduler_equality(read_run(folder / name), without)
    assert told.equal_steps < 0.98 * told.steps
