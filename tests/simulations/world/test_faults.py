"""Declared faults: read with all their mistakes at once, and felt where they are declared."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoscaler.core.contract.decision import Outcome
from autoscaler.core.contract.events import CommandFinished, Event, Observed
from autoscaler.errors import SettingsError
from simulations.agenda import EPOCH_S, NS
from simulations.replay.conditions import Conditions
from simulations.replay.replay import run
from simulations.traces.trace import Trace
from simulations.world.cold_start import COLD_STARTS
from simulations.world.faults import Fault, FaultKind, Faults, read_faults
from tests.simulations.world.world_builder import PROFILE, deployment, requests, world

CONDITIONS = Conditions(profile=replace(PROFILE, in_flight_target=4), cold_start=COLD_STARTS["hot"])


def fault(kind: FaultKind, from_s: float, until_s: float, **fields: float) -> Fault:
    return Fault(kind=kind, from_ns=int(from_s * NS), until_ns=int(until_s * NS), **fields)


def told(*faults: Fault, seconds: float = 400.0, burst: float = 0.0) -> list[tuple[Event, Outcome]]:
    """What the engine hears and says under these faults of a load that bursts at 310 s."""
    steady = np.linspace(0.5, seconds, int(seconds))
    more = np.linspace(310, seconds, int((seconds - 310) * burst))
    arrivals = np.sort(np.concatenate([steady, more])).tolist()
    story: list[tuple[Event, Outcome]] = []
    run(
        Trace(name="t", requests=requests(arrivals, output_tokens=300)),
        "inference-aware",
        seed=0,
        conditions=replace(CONDITIONS, faults=faults),
        listeners=[lambda event, outcome: story.append((event, outcome))],
    )
    return story


def observed(story: list[tuple[Event, Outcome]]) -> list[Observed]:
    return [event for event, _ in story if isinstance(event, Observed)]


def at(event: Observed) -> float:
    return event.at - EPOCH_S


def test_pages_that_do_not_answer_leave_the_last_sample_with_its_age():
    story = observed(told(fault(FaultKind.NO_METRICS, 100, 160)))
    ages = {
        at(event): np.nanmax(event.at - event.models[0].replicas.sampled_at) for event in story[3:]
    }
    assert ages[100] == 5.0  # what was read at 95
    assert ages[155] == 60.0
    assert ages[165] == 5.0


def test_stale_pages_are_new_readings_of_old_figures():
    story = observed(told(fault(FaultKind.STALE_PAGES, 100, 200)))
    window = [event.models[0].replicas for event in story if 110 <= at(event) <= 200]
    first = [row.finished_requests_total[0] for row in window]
    assert len(set(first)) == 1
    assert all(event.at - event.models[0].replicas.sampled_at[0] == 5.0 for event in story[5:])


def test_a_silent_watch_says_how_old_it_is():
    story = observed(told(fault(FaultKind.BLIND, 100, 150)))
    ages = {at(event): event.at - event.cluster_at for event in story}
    assert (ages[95], ages[100], ages[145], ages[150]) == (0.0, 5.0, 50.0, 0.0)


def ended(story: list[tuple[Event, Outcome]]) -> list[CommandFinished]:
    return [event for event, _ in story if isinstance(event, CommandFinished)]


def test_refused_writes_are_told_and_asked_again():
    story = told(fault(FaultKind.REFUSED_WRITES, 300, 360), burst=6.0)
    reasons = [event.reason for event in ended(story)]
    assert reasons[:2] == ["Unavailable", "Unavailable"]
    assert reasons[-1] == "Accepted"
    assert {e.reason for e in ended(story) if 300 <= e.at - EPOCH_S < 360} == {"Unavailable"}


def test_a_share_of_the_writes_is_refused():
    faults = Faults([fault(FaultKind.REFUSED_WRITES, 0, 10, share=0.3)], seed=1)
    refused = sum(faults.refuses(5 * NS) for _ in range(1000))
    assert 250 < refused < 350
    assert not faults.refuses(10 * NS)


def test_a_slow_api_delays_the_write_and_one_too_late_expires():
    slow = told(fault(FaultKind.SLOW_API, 300, 400, delay_ns=4 * NS), burst=6.0)
    asked = {command.id: event.at for event, outcome in slow for command in outcome.commands}
    delays = [e.at - asked[e.command] for e in ended(slow) if asked[e.command] - EPOCH_S >= 300]
    assert min(delays) == pytest.approx(4.1)
    late = told(fault(FaultKind.SLOW_API, 300, 400, delay_ns=40 * NS), burst=6.0)
    assert "Expired" in {event.reason for event in ended(late)}


def test_a_stuck_start_never_becomes_ready_and_another_does():
    made = world(deployment(replicas=1), faults=[fault(FaultKind.STUCK_STARTS, 0, 10)], seed=0)
    target = made.deployments[0]
    made.scale(target, 2, at_ns=0)
    made.agenda.run_until(20 * NS)
    made.scale(target, 3, at_ns=20 * NS)
    made.agenda.run_until(2000 * NS)
    assert sorted((pod.created_ns > 10 * NS, pod.ready) for pod in target.pods) == [
        (False, False),
        (False, True),
        (True, True),
    ]


def test_a_share_hits_the_same_pods_for_as_long_as_it_lasts():
    faults = Faults([fault(FaultKind.NO_METRICS, 0, 100, share=0.5)], seed=1)
    hit = [pod for pod in range(200) if not faults.answers(pod, at_ns=0)]
    assert 70 < len(hit) < 130
    assert hit == [pod for pod in range(200) if not faults.answers(pod, at_ns=99 * NS)]
    assert all(faults.answers(pod, at_ns=100 * NS) for pod in hit)


GOOD = '[[fault]]\nkind = "no-metrics"\nfrom_s = 600\nuntil_s = 660\nshare = 0.5\n'


def test_a_file_of_faults(tmp_path: Path):
    path = tmp_path / "faults.toml"
    path.write_text(GOOD + '[[fault]]\nkind="slow-api"\nfrom_s=1.5\nuntil_s=2\ndelay_s=3\n')
    assert read_faults(path) == (
        fault(FaultKind.NO_METRICS, 600, 660, share=0.5),
        fault(FaultKind.SLOW_API, 1.5, 2, delay_ns=3 * NS),
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["holds nothing; write"]),
        ("fault = 3\n", ["write [[fault]] tables"]),
        ('fault = ["x", 1]\n', ["fault 1: is 'x'; write a [[fault]] table", "fault 2: is 1"]),
        ("[[fault]\n", ["cannot be read"]),
        (GOOD.replace("no-metrics", "gremlins"), ["fault 1: kind is 'gremlins'"]),
        (GOOD.replace("from_s = 600\n", ""), ["fault 1: from_s is None"]),
        (GOOD.replace("0.5", "1.5"), ["share is 1.5; write a number from 0 to 1"]),
        (GOOD.replace("660", "nan"), ["until_s is nan"]),
        (GOOD.replace("660", "60"), ["ends at 60 s, before it begins"]),
        (GOOD.replace("share", "portion"), ["no key 'portion'"]),
        (GOOD.replace("share = 0.5", "delay_s = 5"), ["delay_s belongs to slow-api"]),
        (GOOD.replace("no-metrics", "slow-api"), ["delay_s belongs to slow-api"]),
        (
            GOOD.replace("600", "true") + GOOD.replace("no-metrics", "x"),
            ["fault 1: from_s is True", "fault 2: kind is 'x'"],
        ),
    ],
)
def test_what_is_wrong_is_said_all_at_once(tmp_path: Path, text: str, found: list[str]):
    path = tmp_path / "faults.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_faults(path)
    for part in found:
        assert part in str(caught.value)


def test_a_missing_file_is_said(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"none\.toml: cannot be read"):
        read_faults(tmp_path / "none.toml")


ABILITIES: list[Callable[[Faults], object]] = [
    lambda faults: faults.answers(1, at_ns=0),
    lambda faults: not faults.frozen(1, at_ns=0),
    lambda faults: not faults.blind(0),
    lambda faults: faults.write_delay_ns(0) == 0,
    lambda faults: not faults.refuses(0),
    lambda faults: not faults.stuck(1, at_ns=0),
]


def test_without_faults_nothing_goes_wrong():
    assert all(ability(Faults()) for ability in ABILITIES)
