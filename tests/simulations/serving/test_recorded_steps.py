"""The reference's scheduler against the step log of a real vLLM.

Given when requests came and when each step began, it must put the same requests into the same steps. It
cannot always: a request that came within a few milliseconds of a step's start may be in that step or in
the next, and where blocks are scarce one such slip is seen for a while. So most steps must be equal, and
the sums must agree.
"""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from simulations.serving.profiles import PROFILES, Profile
from simulations.serving.reference_engine import Engine, Sequence, Step
from tests.require import fixtures_folder

pytestmark = pytest.mark.slow
BEFORE_S = 0.016
"""From the client's send to the inbox being read, on that machine."""
LOGGED_S = 0.001
"""A step is logged about this much after its end."""
NEVER_NS = 1 << 62


@dataclass
class Told:
    """A run told again."""

    engine: Engine
    steps: int = 0
    equal: int = 0


def tell(name: str) -> Told:
    folder = fixtures_folder() / "vllm-runs" / name
    about = json.loads((folder / "run.json").read_text())
    profile = replace(
        PROFILES["llama-3.1-8b/1xL40S"],
        kv_blocks=about["kv_blocks"],
        block_tokens=about["block_size"],
        requests_max=about["max_num_seqs"],
        step_tokens_max=about["max_num_batched_tokens"],
        prefix_caching=about["prefix_caching"],
    )
    told = Told(Engine(profile, profile.block_tokens))
    told.engine.inbox = sequences(folder, profile)
    with gzip.open(folder / "iterations.csv.gz", "rt") as lines:
        for row in csv.DictReader(lines):
            start_s = float(row["t"]) - LOGGED_S - float(row["elapsed_ms"]) / 1e3
            step = told.engine.start(int(start_s * 1e9))
            told.steps += 1
            if step is not None:
                told.equal += composition(step) == tuple(
                    int(row[column])
                    for column in ("ctx_reqs", "ctx_tokens", "gen_reqs", "gen_tokens")
                )
                told.engine.end(step)
    return told


def sequences(folder: Path, profile: Profile) -> list[Sequence]:
    names: dict[tuple[str, int], int] = {}
    found = []
    with gzip.open(folder / "requests.jsonl.gz", "rt") as lines:
        for number, line in enumerate(lines):
            request = json.loads(line)
            whole = request.get("gl", 0) // profile.block_tokens if profile.prefix_caching else 0
            found.append(
                Sequence(
                    request=number,
                    prompt=request["p"],
                    output=request["o"],
                    prefix=tuple(
                        names.setdefault((request["g"], block), len(names))
                        for block in range(whole)
                    ),
                    inbox_ns=int((request["sent"] + BEFORE_S) * 1e9),
                    deadline_ns=NEVER_NS,
                )
            )
    return sorted(found, key=lambda sequence: sequence.inbox_ns)


def composition(step: Step) -> tuple[int, int, int, int]:
    """As vLLM logs it: what is computed again after a preemption counts as generation."""
    prompts = [tokens for sequence, _, tokens in step.prefills if sequence.produced == 0]
    again = [tokens for sequence, _, tokens in step.prefills if sequence.produced > 0]
    decodes = len(step.decodes)
    return len(prompts), sum(prompts), decodes + len(again), decodes + sum(again)


@pytest.mark.parametrize(
    ("run", "equal_ratio"),
    [
        ("open90-a", 0.95),
        ("onoff", 0.92),
        ("seqs4-open110", 0.95),
        ("prefix-1", 0.90),
        ("kvscarce-1", 0.68),
    ],
)
def test_the_same_requests_are_in_the_same_steps(run: str, equal_ratio: float) -> None:
    told = tell(run)
    assert told.equal / told.steps >= equal_ratio
    assert not told.engine.inbox


def test_the_same_tokens_are_hit() -> None:
    """104,602 prompt tokens, 30,618 computed: `prefix-1` in the folder's README."""
    engine = tell("prefix-1").engine
    assert engine.prefix_queried == 104_602
    assert engine.prefix_hit == 104_602 - 30_618


def test_about_as_many_are_preempted() -> None:
    assert tell("kvscarce-1").engine.preemptions == pytest.approx(200, rel=0.1)
