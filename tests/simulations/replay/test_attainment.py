"""What the engine tells from histograms, against what became of the replay's requests.

The engine reads the pages as it would a real vLLM's: every five seconds, with vLLM's buckets, and
nothing of a replica after its last page. So it is held against what had become of requests by the
moment of the last page: what waits at the end of a recording is served after it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from autoscaler.core.contract.decision import AttainedShare, Attainment, Decision, Outcome
from autoscaler.core.contract.events import Event, Observed
from simulations.agenda import EPOCH_S, NS
from simulations.replay.conditions import Conditions, load_tested, with_maximum
from simulations.replay.replay import run
from simulations.results.scorecard import latencies
from simulations.serving.columns import RequestOutcome
from simulations.serving.objective import RequestObjective
from simulations.serving.profiles.profiles import PROFILES
from simulations.traces.generate import Recipe, generate
from simulations.traces.trace import Trace, read_trace
from simulations.world.market.spot import MachineLife, SpotHistory
from tests.require import traces_folder

pytestmark = pytest.mark.slow
PROFILE = PROFILES["llama-3.1-8b/1xL40S"]
POINTS = 0.003
"""The share may be off by so much."""


class Shares(NamedTuple):
    """Of first tokens, of requests that were completed, and of all."""

    ttft: float
    tpot: float
    both: float


def replayed(
    trace: Trace,
    *,
    ttft_s: float = 1.0,
    tpot_s: float = 0.1,
    conditions: Conditions | None = None,
) -> tuple[Shares, Attainment]:
    """Replay; return the truth, and what the engine's last decision says."""
    objective = RequestObjective(ttft_s=ttft_s, ttft_per_prefill=0.0, tpot_s=tpot_s)
    given = replace(conditions or Conditions(profile=PROFILE, replicas_max=0), objective=objective)
    told: list[Decision] = []
    observed: list[Observed] = []

    def listen(event: Event, outcome: Outcome) -> None:
        if isinstance(event, Observed):
            told[:] = outcome.decisions
            observed[:] = [event]

    made = run(
        trace,
        "reactive",  # a fleet that is large enough: who gives up has a first token that is late and nobody's
        seed=0,
        conditions=with_maximum(load_tested(given, trace), trace),
        listeners=[listen],
    )
    results = made.results
    ttft, tpot = latencies(made.requests, results)
    last_at = float(np.nanmax(observed[0].models[0].replicas.sampled_at))
    last_ns = (last_at - EPOCH_S) * NS
    had = (results.first_token_ns >= 0) & (results.first_token_ns <= last_ns)
    ended = results.finished_ns <= last_ns
    done = ended & (results.outcome == RequestOutcome.COMPLETED)
    in_time, paced = ttft <= ttft_s, tpot <= tpot_s
    truth = Shares(
        float(np.mean(in_time[had])),
        float(np.mean(paced[done])),
        float(np.mean((done & in_time & paced)[ended])),
    )
    (decision,) = told
    assert decision.attainment is not None
    return truth, decision.attainment


def known(share: AttainedShare | None) -> AttainedShare:
    assert share is not None
    return share


def made_up(shape: str, *, hours: float = 0.9, rate: float = 4.0) -> Trace:
    """Shorter than the window of the figures, an hour, so that they are of the whole."""
    recipe = Recipe(
        shape=shape, hours=hours, rate_per_s=rate, input_tokens=900, output_tokens=180, seed=3
    )
    return Trace(name=shape, requests=generate(recipe))


def assert_agrees(truth: Shares, told: Attainment) -> None:
    """Each within a third of a point; both between what is told, as misses are added up."""
    assert known(told.ttft).ratio == pytest.approx(truth.ttft, abs=POINTS)
    assert known(told.tpot).ratio == pytest.approx(truth.tpot, abs=POINTS)
    both = known(told.both)
    assert both.ratio - POINTS <= truth.both <= both.high_ratio + POINTS


@pytest.mark.parametrize("shape", ["diurnal", "bursty"])
def test_the_share_is_that_of_the_requests(shape: str):
    truth, told = replayed(made_up(shape))
    assert_agrees(truth, told)
    assert told.ttft_bounds_s is None
    assert told.tpot_bounds_s is None


def test_where_objectives_are_missed_the_share_is_still_that_of_the_requests():
    """A fleet that may not grow, and whose bursts wait."""
    conditions = Conditions(profile=PROFILE, replicas_max=3)
    truth, told = replayed(made_up("bursty", rate=3.0), tpot_s=0.05, conditions=conditions)
    assert truth.both < 0.95
    assert_agrees(truth, told)


def test_requests_whose_clients_give_up_are_missed_and_at_most_counted_twice():
    """Who waits for two minutes gives up: some just before a first token that nobody takes any more."""
    conditions = Conditions(profile=PROFILE, replicas_max=1)
    truth, told = replayed(made_up("bursty", rate=6.0), tpot_s=0.05, conditions=conditions)
    assert truth.both < 0.7
    both = known(told.both)
    assert both.ratio - POINTS <= truth.both <= both.high_ratio + POINTS


def test_between_bounds_the_truth_is_in_the_interval():
    """2 s lies between 1 and 2.5: how many of those were within it, nobody counts."""
    conditions = Conditions(profile=PROFILE, replicas_max=3)
    truth, told = replayed(
        made_up("bursty", rate=2.0), ttft_s=2.0, tpot_s=0.06, conditions=conditions
    )
    assert (told.ttft_bounds_s, told.tpot_bounds_s) == ((1.0, 2.5), (0.05, 0.075))
    for share, true in ((told.ttft, truth.ttft), (told.tpot, truth.tpot)):
        assert known(share).low_ratio - POINTS <= true <= known(share).high_ratio + POINTS
    assert known(told.ttft).high_ratio - known(told.ttft).low_ratio > POINTS


def test_pods_that_come_and_go_take_little_of_it_along():
    """Spot machines that last six minutes: what is in flight on one that is taken is lost."""
    lives = [
        MachineLife(up_ns=int(start * NS), down_ns=int((start + 400.0) * NS))
        for start in np.linspace(0.0, 3_000.0, 24)
    ]
    market = SpotHistory(name="short", span_ns=3_400 * NS, lives=tuple(lives))
    conditions = Conditions(profile=PROFILE, replicas_max=0, spot=market, spot_lead_s=0.0)
    truth, told = replayed(made_up("diurnal", hours=0.9), conditions=conditions)
    assert truth.both < 0.9995  # some were lost
    assert_agrees(truth, told)


@pytest.mark.parametrize(
    ("name", "ttft_s", "tpot_s"),
    [
        pytest.param("azure2023_code.csv.gz", 2.5, 0.1, id="azure-code"),
        pytest.param("mooncake_conversation.jsonl.gz", 5.0, 0.1, id="mooncake"),
    ],
)
def test_the_share_of_a_recorded_hour_is_that_of_its_requests(
    name: str, ttft_s: float, tpot_s: float
):
    path = traces_folder() / "requests" / name
    truth, told = replayed(read_trace(str(path)), ttft_s=ttft_s, tpot_s=tpot_s)
    assert_agrees(truth, told)
