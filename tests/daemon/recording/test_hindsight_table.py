"""What a recording's replay says in hindsight: a table for people, rows for programs, the same figures."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from autoscaler.cli.daemon import replay as replay_command
from autoscaler.core.contract.hindsight import (
    HindsightPolicy,
    PolicyHindsight,
    WindowHindsight,
)
from autoscaler.core.engine import EngineSettings, build_engine
from autoscaler.daemon.recording.hindsight_table import hindsight_text
from tests.benchmarks.tick import BEGIN_AT, Story
from tests.builders import specified
from tests.daemon.recording.recordings import recorder_in

MODEL = "serving/llama"


def window(span_s: int, *, covered_s: float, usd: float | None = 9.5) -> WindowHindsight:
    made = [
        PolicyHindsight(policy, replica_s=3600.0 * number, usd=usd, attained_ratio=0.99, replicas=3 if policy is HindsightPolicy.STATIC else None)
        for number, policy in enumerate(HindsightPolicy, start=1)
    ]  # fmt: skip
    return WindowHindsight(span_s, covered_s, 1000.0, foretold_ratio=0.985, policies=tuple(made))


def test_a_line_a_policy_and_window_and_none_of_a_window_of_which_nothing_is_known():
    told = {MODEL: (window(3600, covered_s=0.0), window(86_400, covered_s=7200.0, usd=None))}
    assert hindsight_text(told).splitlines() == [
        "hindsight of serving/llama, as of its last decisions",
        "  window  known of  policy           replicas  replica h  cost $  attained  foretold",
        "  24.0 h  2.0 h     inference-aware      0.50       1.00       -   99.00 %   98.50 %",
        "                    hpa                  1.00       2.00       -   99.00 %",
        "                    keda                 1.50       3.00       -   99.00 %",
        "                    static               2.00       4.00       -   99.00 %",
    ]


def test_of_what_nothing_was_told_there_is_no_table():
    assert hindsight_text({}) == ""
    assert hindsight_text({MODEL: (window(3600, covered_s=0.0),)}) == ""


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Four minutes of a load that waves, as the daemon would record them."""
    engine, recorder, story = build_engine(EngineSettings()), recorder_in(tmp_path), Story(replicas=3)  # fmt: skip
    events = [dataclasses.replace(specified(story.spec(), at=BEGIN_AT), id=1)]
    recorder.begin(engine.checkpoint(), at=BEGIN_AT, first_event=1)
    recorder.append(events[0], engine.handle(events[0]))
    for number in range(48):
        event = dataclasses.replace(story.look(), id=number + 2)
        outcome = engine.handle(event)
        story.follow(outcome.decisions[-1])
        recorder.append(event, outcome)
    recorder.close()
    return tmp_path


@pytest.mark.slow
def test_a_replay_shows_what_was_told_last(recording: Path):
    text = CliRunner().invoke(replay_command, [str(recording)])
    assert text.exit_code == 0, text.output
    assert "reproduced byte for byte" in text.output
    lines = text.output.splitlines()
    assert lines[1] == "hindsight of serving/llama, as of its last decisions"
    assert [line.split()[-1] for line in lines[2:3]] == ["foretold"]
    assert len(lines) == 3 + 3 * len(HindsightPolicy)
    plain = CliRunner().invoke(replay_command, [str(recording), "-o", "json"])
    (row,) = json.loads(plain.output)["rows"]
    hour, _, week = row["hindsight"][MODEL]
    assert hour["span_s"] == 3600
    assert hour["policies"][0]["policy"] == "inference-aware"
    assert 60.0 < week["covered_s"] <= 240.0
    assert f"{hour['policies'][1]['replica_s'] / 3600.0:.2f}" in lines[4]
