"""What clients were given, against what the daemon tells of it; and a target that was told three times too high.

Both of one daemon at once, as two models: of one the objective is a bound of vLLM's histogram, of the other it
lies between two.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from tests.e2e.daemon import Daemon
from tests.e2e.kubectl import wait_until
from tests.e2e.load import Load, Request
from tests.e2e.prometheus import Prometheus
from tests.e2e.scene import MODEL, Scene, playing
from tests.e2e.story import TICK_S
from tests.e2e.watcher import filming
from tests.simulations.real_prometheus import fill
from tests.sources.history.past import PastPod, vllm_lines

SEATS = 8
TOLD = 3 * SEATS
"""In-flight requests of one replica, as the resource says: with more than its seats requests wait."""
TOKENS, SPEED = 50, 0.5
SERVICE_S = 2.8
"""What so many tokens take."""
RATE = 6.0
"""Requests per second, seventeen in flight: more than two replicas' seats, and less than one of what was told."""
BOUND_S, BETWEEN_S = 2.5, 2.0
"""Objectives for the first token. vLLM has bounds at 1 and 2.5 s."""
PACE_S = 0.1
"""For each further token; a bound."""
ATTAINMENT = 0.95
PAST_S = 3600
"""Rules decide once half an hour was played; a past that is read on start is played too."""
HELD_S = 45
REACHED_S = 360
FOUND_OUT = 0.5
"""Of what was told; a third is right, and hypotheses are steps of sqrt(2)."""
WAVES = [(10, 5.0), (20, 0.8)] * 20
"""Of the model that may not grow: queues of some seconds come and go, so first tokens take anything from none to eight."""
POINT = 0.01
LATE_S = 1.0
"""By so much later than its engine gave it may a client on a busy machine see a first token."""


def _scenes(image: str, logs: Path) -> tuple[Scene, Scene]:
    objective = {
        "timePerOutputTokenMilliseconds": round(1000 * PACE_S),
        "attainmentPercent": f"{100 * ATTAINMENT:g}",
    }
    told = Scene(
        namespace="e2e-told",
        image=image,
        logs=logs,
        cold_start_s=10,
        speed=SPEED,
        seats=SEATS,
        replicas={"on-demand": 1},
        spec={
            "warmFloor": {"replicas": 1, "capacityType": "OnDemand"},
            "targets": {"inFlightRequestsPerReplica": TOLD},
            "objective": {"timeToFirstTokenMilliseconds": round(1000 * BOUND_S), **objective},
        },
    )
    between = Scene(
        namespace="e2e-between",
        image=image,
        logs=logs,
        cold_start_s=2,
        speed=SPEED,
        seats=SEATS,
        pools=("on-demand",),
        replicas={"on-demand": 1},
        spec={
            "mode": "Observe",
            "objective": {"timeToFirstTokenMilliseconds": round(1000 * BETWEEN_S), **objective},
        },
    )
    return told, between


def _remember(folder: Path, scene: Scene) -> None:
    """Put an hour into a Prometheus in which one replica sufficed: the daemon was not there, the model was."""
    now, rate = time.time(), 0.5 * SEATS / SERVICE_S
    pod = PastPod(
        name=f"{MODEL}-on-demand-7d9c5b6f4-xk2lp",
        since=now - PAST_S,
        until=now,
        rate=lambda _: rate,
        running=lambda _: rate * SERVICE_S,
        kv_usage=0.02,
        labels={"namespace": scene.namespace},
    )
    folder.mkdir(parents=True, exist_ok=True)
    fill(folder, "\n".join(vllm_lines([pod], every_s=15.0)))


async def _debug_page(daemon: Daemon) -> dict[str, Any] | None:
    text = await daemon.get("/debug/models")
    return None if text.startswith("unreachable") else json.loads(text)


async def _decision(daemon: Daemon, scene: Scene) -> dict[str, Any] | None:
    page = await _debug_page(daemon)
    key = f"{scene.namespace}/{MODEL}"
    return next((each for each in (page or {}).get("models", ()) if each["model"] == key), None)


async def _past_was_read(daemon: Daemon, scene: Scene) -> None:
    async def taken() -> bool:
        key = f"{scene.namespace}/{MODEL}"
        histories = ((await _debug_page(daemon)) or {}).get("histories", ())
        return any(
            each["model"] == key and each["taken"] and each["taken"]["end"] == "Taken"
            for each in histories
        )

    await wait_until("the model's past is taken in", taken, timeout_s=60)


async def _pages_are_read(daemon: Daemon, scene: Scene) -> None:
    """What a replica counted before its first page is nobody's: the load waits for that page."""

    async def read() -> bool:
        decision = await _decision(daemon, scene)
        return decision is not None and decision["measures"]["running_requests"] is not None

    await wait_until(f"the pages of {scene.namespace} are read", read, timeout_s=60)


def _in_time(request: Request, limit_s: float) -> bool:
    return (
        request.first_token_at is not None and request.first_token_at - request.sent_at <= limit_s
    )


def _paced(request: Request, late_s: float) -> bool:
    assert request.first_token_at is not None
    assert request.last_token_at is not None
    return request.last_token_at - request.first_token_at <= PACE_S * (TOKENS - 1) + late_s


class Clients(NamedTuple):
    """Shares of the requests that clients sent, all of which ended whole."""

    first_token: float
    both: float


def _clients(requests: Iterable[Request], limit_s: float, *, late_s: float = 0.0) -> Clients:
    """Count them; `late_s` is granted to each latency."""
    in_time = [(_in_time(each, limit_s + late_s), _paced(each, late_s)) for each in requests]
    return Clients(mean(first for first, _ in in_time), mean(all(both) for both in in_time))


def _held(load: Load, began_at: float) -> float | None:
    """Share in time of what was sent in the last while, as far as that is known; None: not for so long yet."""
    until = time.monotonic() - BOUND_S
    since = until - HELD_S
    if since < began_at:
        return None
    return mean(_in_time(each, BOUND_S) for each in load.requests if since <= each.sent_at <= until)


RULE = re.compile(
    r"^the highest load of .*; decides .*: it would have had [\d.]+ replicas and attained [\d.]+ %;"
    r".* a replica carries ([\d.]+) of its target"
)
"""The rule that decides, and its hindsight."""


def _found_out(message: str) -> bool:
    """Whether a rule decides, and knows that a replica carries less than was told."""
    said = RULE.search(message)
    return said is not None and float(said[1]) <= FOUND_OUT


async def _reached(daemon: Daemon, scene: Scene, load: Load) -> None:
    """Wait until clients have what they are owed, by a rule that knows what a replica carries."""
    began_at = time.monotonic()
    seen = "nothing yet"

    async def reached() -> bool:
        nonlocal seen
        held, decision = _held(load, began_at), await _decision(daemon, scene)
        if held is None or decision is None:
            return False
        message = decision["trail"][0]["message"]
        seen = f"{held:.0%} in time; {decision['desired_replicas']} replicas: {message}"
        return held >= ATTAINMENT and _found_out(message)

    what = f"{ATTAINMENT:.0%} have their first token in time, for {HELD_S} s"
    try:
        await wait_until(what, reached, timeout_s=REACHED_S)
    finally:
        print(f"\n{time.monotonic() - began_at:.0f} s after the load began: {seen}")


async def test_what_clients_were_given_is_told_and_a_target_three_times_too_high_is_found_out(
    image, logs
):
    """By the page one replica would do; what was missed says what one really carries, and the trail who found out."""
    told, between = _scenes(image, logs)
    prometheus = Prometheus(folder=logs / told.namespace / "prometheus")
    _remember(prometheus.folder, told)
    server = f"--prometheus-server=main=http://10.77.0.1:{prometheus.port},history,plain-http"
    try:
        await prometheus.start({})
        async with playing(told, between, options=[server]) as daemon:
            for scene in (told, between):
                await scene.wait_ready(1)
                await _pages_are_read(daemon, scene)
            await _past_was_read(daemon, told)
            load, waves = [
                Load(url=await scene.serving_address(), model=MODEL, tokens=TOKENS)
                for scene in (told, between)
            ]
            async with (
                filming(told, load) as film,
                waves.playing(WAVES, seed=2),
                load.playing([(3600, RATE)], seed=1),
            ):
                await _reached(daemon, told, load)
                now = time.monotonic()
            for each in (load, waves):
                assert each.lost() == [], f"{len(each.lost())} of {len(each.requests)} lost"
            held = [each for each in film.glimpses if now - HELD_S <= each.at <= now]
            by_the_page = math.ceil(mean(each.in_flight for each in held) / TOLD)
            assert min(film.totals(since=now - HELD_S)) > by_the_page, (
                "more than what is in flight asks for, by what was told"
            )
            print(f"{max(film.totals())} replicas at most")

            await asyncio.sleep(3 * TICK_S)  # the last pages, and what is decided on them
            await _is_told(daemon, told, load)
            await _is_told_as_an_interval(daemon, between, waves)
    finally:
        prometheus.kill()


async def _is_told(daemon: Daemon, scene: Scene, load: Load) -> None:
    """Where the objective is a bound: within one point of what clients measured, or of what a late client would have."""
    decision = await wait_until("a decision", lambda: _decision(daemon, scene), timeout_s=30)
    attainment = decision["attainment"]
    true, later = (_clients(load.requests, BOUND_S, late_s=late_s) for late_s in (0.0, LATE_S))
    for name, share, measured, at_most in (
        ("first token", attainment["ttft"], true.first_token, later.first_token),
        ("both", attainment["both"], true.both, later.both),
    ):
        said = (
            f"{name}: told {share['ratio']:.4f} of {share['requests']:.0f}, clients {measured:.4f} of"
            f" {len(load.requests)}; {at_most:.4f} within {LATE_S:g} s more"
        )
        print(said)
        assert share["requests"] == len(load.requests), said
        assert measured - POINT <= share["ratio"] <= at_most + POINT, said
    assert _known(decision)["status"] == "True"


async def _is_told_as_an_interval(daemon: Daemon, scene: Scene, load: Load) -> None:
    """Where it lies between two bounds: the condition says so, and what clients measured is in the interval."""
    decision = await wait_until("a decision", lambda: _decision(daemon, scene), timeout_s=30)
    share, measured = decision["attainment"]["ttft"], _clients(load.requests, BETWEEN_S).first_token
    said = (
        f"between bounds: told {share['ratio']:.4f} ({share['low_ratio']:.4f} to {share['high_ratio']:.4f}) of"
        f" {share['requests']:.0f}, clients {measured:.4f} of {len(load.requests)}"
    )
    print(said)
    assert share["requests"] == len(load.requests), said
    later = _clients(load.requests, BETWEEN_S, late_s=LATE_S).first_token
    assert share["low_ratio"] - POINT <= later, said
    assert measured <= share["high_ratio"] + POINT, said
    assert share["low_ratio"] < share["high_ratio"], said
    known = _known(decision)
    assert (known["status"], known["reason"]) == ("False", "NoBoundNear")
    assert "2 s is between the bounds 1 and 2.5 s" in known["message"]


def _known(decision: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in decision["conditions"] if each["type"] == "AttainmentKnown")
