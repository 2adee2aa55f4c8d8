"""A spot node is taken away and comes back, step by step: what every notice has in common.

Each step fails with what was not so. At the end, `explained` holds the daemon's recording against it.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from autoscaler.core.contract.commands import FALLBACK_ANNOTATION
from tests.e2e.dialects import Dialect
from tests.e2e.kubectl import get, wait_until
from tests.e2e.load import Load
from tests.e2e.nodes import give_back, gpus_of, node_object, on, take
from tests.e2e.scene import MODEL, Scene

TICK_S = 5
SLACK_S = 5
"""Between what a tick decides and what a poll of ours sees, on a machine with much to do."""
RETURN_AFTER_S = 10
TOKENS = 150
"""A stream of about four seconds."""
RATE = 4.0


def spot_scene(
    name: str,
    image: str,
    logs: Path,
    *,
    drain_budget_s: int = 20,
    spec: dict[str, Any] | None = None,
) -> Scene:
    """One replica on on-demand, two on spot; the hook's budget fits a notice of thirty seconds."""
    return Scene(
        namespace=name,
        image=image,
        logs=logs,
        cold_start_s=10,
        replicas={"on-demand": 1, "spot": 2},
        # a spot replica fills its node: while one is away, nothing comes back on the other
        gpus={"spot": 4},
        drain_budget_s=drain_budget_s,
        grace_s=drain_budget_s + 21,  # the hook, the engine's ten seconds, ten to spare
        spec={
            # neither more nor less, however slow the streams are on this machine
            "minReplicas": 3,
            "maxReplicas": 3,
            "warmFloor": {"replicas": 1, "capacityType": "OnDemand"},
            "spot": {
                "onDemandFallback": "Enabled",
                "returnAfterSeconds": RETURN_AFTER_S,
                "drainMarginSeconds": 5,
            },
            **(spec or {}),
        },
    )


@dataclass(slots=True, kw_only=True)
class Farewell:
    """What a pod's log says while it goes, with the moment of each line."""

    pod: str
    path: Path
    process: subprocess.Popen[bytes]

    async def sigterm(self) -> tuple[float, int]:
        """When the kubelet sent SIGTERM, and how many requests were in flight then."""
        pattern = re.compile(r"^(\S+) shutdown triggered .*in_flight=(\d+)", re.MULTILINE)

        async def told() -> tuple[float, int] | None:
            found = pattern.search(self.path.read_text(errors="replace"))
            return (moment(found[1]), int(found[2])) if found else None

        return await wait_until(f"{self.pod} was sent SIGTERM", told, timeout_s=10)


def moment(text: str) -> float:
    """Seconds since the epoch of a time with nanoseconds."""
    whole, _, rest = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{rest or 0}")


@asynccontextmanager
async def listening(scene: Scene, pods: Sequence[str]) -> AsyncIterator[list[Farewell]]:
    """Follow the logs of some pods for the whole block."""
    folder = scene.logs / scene.namespace
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Farewell] = []
    try:
        for pod in pods:
            path = folder / f"{pod}.farewell.log"
            argv = ["kubectl", "logs", "-f", "--timestamps", pod, "-n", scene.namespace]
            with path.open("wb") as file:
                process = subprocess.Popen(argv, stdout=file, stderr=file)
            found.append(Farewell(pod=pod, path=path, process=process))
        yield found
    finally:
        for farewell in found:
            farewell.process.kill()
            await asyncio.to_thread(farewell.process.wait)


@asynccontextmanager
async def loaded(scene: Scene, *, rate: float = RATE, tokens: int = TOKENS) -> AsyncIterator[Load]:
    """A steady load that runs for the whole block; all it sent has ended when the block has."""
    load = Load(url=await scene.serving_address(), model=MODEL, tokens=tokens)
    async with load.playing([(3600, rate)], seed=3):
        await asyncio.sleep(10)
        yield load


async def promised(scene: Scene) -> dict[str, int]:
    """By node, what stands on the on-demand Deployment."""
    found = await get("deployments", f"{MODEL}-on-demand", namespace=scene.namespace)
    value = found[0]["metadata"].get("annotations", {}).get(FALLBACK_ANNOTATION) if found else None
    return {each["node"]: each["replicas"] for each in json.loads(value)} if value else {}


async def endpoints(scene: Scene) -> set[str]:
    """Names of the pods that the Service routes to."""
    slices = await get(
        "endpointslices", namespace=scene.namespace, labels=f"kubernetes.io/service-name={MODEL}"
    )
    return {
        endpoint["targetRef"]["name"]
        for part in slices
        for endpoint in part.get("endpoints") or ()
        if endpoint["conditions"].get("ready")
    }


@dataclass(slots=True, kw_only=True)
class Doomed:
    """One node, from the notice on."""

    dialect: Dialect
    node: str
    gpus: str
    pods: list[str]
    said_at: float
    """Seconds since the epoch."""
    ends_at: float
    """When the machine is gone."""
    raised_at: float = field(default=0.0)
    released_at: float = field(default=0.0)

    def left_s(self) -> float:
        """Seconds until the machine is gone, never less than none."""
        return max(0.0, self.ends_at - time.time())


async def give_notice(scene: Scene, dialect: Dialect, node: str, *, lead_s: float = 0.0) -> Doomed:
    """Say that a node goes, in one dialect; in its own time where no other is given."""
    pods = [pod["metadata"]["name"] for pod in on(node, await scene.ready_pods())]
    gpus = await gpus_of(node)
    await dialect.prepare(node)
    said_at = time.time()
    # clouds say whole seconds
    ends_at = float(round(said_at + (lead_s or dialect.lead_s)))
    await dialect.say(node, ends_at)
    return Doomed(
        dialect=dialect, node=node, gpus=gpus, pods=pods, said_at=said_at, ends_at=ends_at
    )


async def is_raised(scene: Scene, before: dict[str, int], doomed: Sequence[Doomed]) -> None:
    """On-demand is asked for within a tick, and promised once for each node."""
    wanted = before["on-demand"] + sum(len(each.pods) for each in doomed)

    async def raised() -> bool:
        return (await scene.wanted()).get("on-demand", 0) >= wanted

    await wait_until("on-demand is raised", raised, timeout_s=TICK_S + SLACK_S)
    for each in doomed:
        each.raised_at = time.time()
    assert await promised(scene) == {each.node: len(each.pods) for each in doomed}


async def is_left_in_time(scene: Scene, doomed: Doomed, farewells: Sequence[Farewell]) -> None:
    """Its pods leave the endpoints before SIGTERM, with nothing in flight, and the node before its end."""

    async def out_of_the_endpoints() -> bool:
        return not set(doomed.pods) & await endpoints(scene)

    async def gone() -> bool:
        names = {pod["metadata"]["name"] for pod in await scene.pods()}
        return not names & set(doomed.pods)

    said = f"the pods of {doomed.node}"
    await wait_until(f"{said} left the endpoints", out_of_the_endpoints, timeout_s=doomed.left_s())
    unrouted_at = time.time()
    await wait_until(f"{said} are gone before its end", gone, timeout_s=doomed.left_s())
    for farewell in farewells:
        if farewell.pod in doomed.pods:
            sigterm_at, in_flight = await farewell.sigterm()
            assert unrouted_at < sigterm_at, (
                f"{farewell.pod}: SIGTERM while requests were routed to it"
            )
            assert in_flight == 0, f"{farewell.pod}: {in_flight} requests in flight at SIGTERM"


async def ends(doomed: Doomed) -> None:
    """The machine loses its power at its deadline."""
    await asyncio.sleep(doomed.left_s())
    await take(doomed.node)
    await doomed.dialect.unsay(doomed.node)


async def returns(scene: Scene, before: dict[str, int], doomed: Sequence[Doomed]) -> None:
    """Spot is back; what was raised goes, and the fleet is what it was."""
    for each in doomed:
        await give_back(each.node, gpus=each.gpus)
    await is_released(scene, before)
    for each in doomed:
        each.released_at = time.time()


async def is_released(scene: Scene, before: dict[str, int], *, timeout_s: float = 150) -> None:
    """Nothing is promised any more, and the fleet is what it was."""

    async def released() -> bool:
        return not await promised(scene) and await scene.wanted() == before

    await wait_until("the fallback is released", released, timeout_s=timeout_s)
    await scene.wait_ready(sum(before.values()))


async def a_node_goes_and_returns(scene: Scene, dialect: Dialect, node: str) -> Doomed:
    """All of it."""
    before = await scene.wanted()
    names = [pod["metadata"]["name"] for pod in on(node, await scene.ready_pods())]
    assert names, f"nothing runs on {node}"
    async with listening(scene, names) as farewells:
        doomed = await give_notice(scene, dialect, node)
        drained = None
        if dialect.drain is not None:
            drained = asyncio.create_task(dialect.drain(node, scene.namespace))
        try:
            await is_raised(scene, before, [doomed])
            await is_left_in_time(scene, doomed, farewells)
            if drained is not None:
                await drained
        finally:
            if drained is not None:
                drained.cancel()
                with suppress(asyncio.CancelledError):
                    await drained
    await ends(doomed)
    wanted = await scene.wanted()
    assert wanted["spot"] == before["spot"], "the spot pool keeps its scale"
    await returns(scene, before, [doomed])
    return doomed


async def settled(scene: Scene) -> dict[str, int]:
    """Once the fleet is what the scene begins with, and ready; the daemon may have helped out at first."""

    async def calm() -> bool:
        return await scene.wanted() == scene.replicas and not await promised(scene)

    await wait_until("the fleet is as it began", calm, timeout_s=240)
    await scene.wait_ready(sum(scene.replicas.values()))
    return dict(scene.replicas)


@asynccontextmanager
async def whole_nodes(scene: Scene) -> AsyncIterator[None]:
    """If the block fails, the spot nodes are made anew, for the scenes that come after it."""
    gpus = {node: await gpus_of(node) for node in await spot_nodes(scene)}
    try:
        yield
    except BaseException:
        for node, count in gpus.items():
            with suppress(AssertionError):
                if await node_object(node) is not None:
                    await take(node)
                await give_back(node, gpus=count)
        raise


async def spot_nodes(scene: Scene) -> list[str]:
    """The nodes with spot replicas, in order of name."""
    return sorted({pod["spec"]["nodeName"] for pod in await scene.ready_pods("spot")})


def none_lost(load: Load) -> None:
    """Each request that has ended got all it asked for."""
    lost = load.lost()
    assert lost == [], f"{len(lost)} of {len(load.requests)} lost: {lost[:3]}"
