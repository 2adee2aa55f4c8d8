"""Three equal ramps, with the forecast and without: by the third it must have learnt them.

Both at once, as two models of one daemon: the machine's bad moments are the same for both.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import aiohttp

from tests.e2e.kubectl import wait_until
from tests.e2e.load import Load
from tests.e2e.scene import MODEL, Scene, playing
from tests.e2e.watcher import Film, filming
from tests.extent import NIGHT

COLD_START_S = 20
TICK_S = 5
RAMP = [(15, 2.0), (15, 5.0), (15, 8.0), (15, 11.0), (40, 13.0)]
"""Seconds and requests per second; a request of 100 tokens takes three."""
TOKENS = 100
SEATS = 24
"""The ramp ends at forty requests in flight, one and two thirds replicas, and Poisson's deviations
reach beyond two: the third one is worth having whether a queue is seen or foreseen."""


@dataclass(slots=True)
class Ramp:
    """What one ramp was answered with."""

    started_at: float
    asked_for: dict[int, float] = field(default_factory=dict)
    """Replicas -> seconds after the ramp's start at which they were first wanted."""
    waiting_request_s: float = 0.0


async def _waiting(scene: Scene, ramp: Ramp, session: aiohttp.ClientSession) -> None:
    """Integrate the engines' queues, once a second."""
    last = time.monotonic()
    while True:
        await asyncio.sleep(1.0)
        now = time.monotonic()
        for pod in await scene.ready_pods():
            url = f"http://{pod['status']['podIP']}:8000/metrics"
            try:
                async with session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as answer:
                    for line in (await answer.text()).splitlines():
                        if line.startswith("vllm:num_requests_waiting{"):
                            ramp.waiting_request_s += float(line.split()[-1]) * (now - last)
            except (aiohttp.ClientError, TimeoutError):
                continue
        last = now


def _scene(mode: str, image: str, logs) -> Scene:
    return Scene(
        namespace=f"e2e-ramps-{mode.lower()}",
        image=image,
        logs=logs,
        cold_start_s=COLD_START_S,
        seats=SEATS,
        replicas={"on-demand": 1},
        spec={
            "forecast": {"mode": mode},
            "warmFloor": {"replicas": 1, "capacityType": "OnDemand"},
            "maxReplicas": 4,
        },
    )


async def _three_ramps(scene: Scene) -> list[Ramp]:
    ramps: list[Ramp] = []
    async with aiohttp.ClientSession() as session:
        await scene.wait_ready(1)
        load = Load(url=await scene.serving_address(), model=MODEL, tokens=TOKENS)
        async with filming(scene, load) as film:
            for last in (False, False, True):
                ramp = Ramp(started_at=time.monotonic())
                ramps.append(ramp)
                integral = asyncio.create_task(_waiting(scene, ramp, session))
                await load.play(RAMP, seed=7)
                integral.cancel()
                await _given_back(scene, film, ramp, to_the_floor=NIGHT or not last)
                for replicas in (2, 3):
                    at = film.first(replicas, since=ramp.started_at)
                    if at is not None:
                        ramp.asked_for[replicas] = at - ramp.started_at
        _never_below_the_floor(film)
        assert load.lost() == [], f"{len(load.lost())} of {len(load.requests)} lost"
    return ramps


def _never_below_the_floor(film: Film) -> None:
    assert min(film.totals()) >= 1
    assert min(film.ready()) >= 1


async def _given_back(scene: Scene, film: Film, ramp: Ramp, *, to_the_floor: bool) -> None:
    """All that the ramp raised, so that the next one finds what this one found; or a part of it.

    The forecast may keep a second replica for five minutes, in case another ramp comes: behind the last
    one that is waited for by night alone.
    """

    async def fewer() -> bool:
        wanted, ready = sum((await scene.wanted()).values()), len(await scene.ready_pods())
        if to_the_floor:
            return wanted == ready == 1
        return 1 <= wanted < max(film.totals(since=ramp.started_at))

    await wait_until("what the ramp raised is given back", fewer, timeout_s=15 * 60)


async def test_the_third_of_three_equal_ramps_is_met_in_advance(image, logs):
    """`Auto` asks for the second replica a tick before `Off`, for the third no later, and halves the queue.

    The third is worth having at the ramp's top alone. `Off` asks for it because of the queue that it has by then, and that
    is in the same tick.
    """
    scenes = [_scene(mode, image, logs) for mode in ("Auto", "Off")]
    async with playing(*scenes):
        auto, off = await asyncio.gather(*(_three_ramps(scene) for scene in scenes))
    for number, (learnt, reactive) in enumerate(zip(auto, off, strict=True), start=1):
        print(
            f"\nramp {number}: Auto {learnt.asked_for}, {learnt.waiting_request_s:.0f} request-s;"
            f" Off {reactive.asked_for}, {reactive.waiting_request_s:.0f} request-s"
        )
    assert auto[2].asked_for[2] <= off[2].asked_for[2] - TICK_S + 1
    assert auto[2].asked_for[3] <= off[2].asked_for[3] + 1
    assert auto[2].waiting_request_s <= 0.5 * off[2].waiting_request_s
