"""Resources of the cluster, through the real caches and client, from a scripted API server."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from autoscaler.core.contract.commands import PAUSED_ANNOTATION, PAUSED_REPLICAS_ANNOTATION
from autoscaler.daemon.resource_watch import ResourceWatch, no_resources
from autoscaler.kube.api.client import Client
from autoscaler.kube.watch.slim_resources import slim_resource
from autoscaler.settings import Config, to_core
from autoscaler.supervision import Supervisor
from tests.kube.api_server import Held, ScriptedServer, refuse
from tests.test_settings import document


def resource(
    name: str = "llama", *, target: str = "", created: str = "2026-11-01T00:00:00Z", **spec: Any
) -> dict[str, Any]:
    """As the API server has it."""
    pools = [{"name": "main", "scaleTargetRef": {"name": target or name}}]
    made = document(pools=pools, **spec)
    made["metadata"] |= {
        "name": name,
        "uid": f"uid-{name}",
        "generation": 1,
        "creationTimestamp": created,
        "managedFields": [{"manager": "kubectl"}],
    }
    return made


class Watching:
    """A watch that runs, and what it told."""

    def __init__(self, server: ScriptedServer, client: Client) -> None:
        self.server = server
        self.client = client
        self.held = Held(server)
        self.configs: list[Config] = []
        self.lines: tuple[str, ...] = ()
        self.watch: ResourceWatch

    def changed(self, config: Config) -> None:
        self.configs.append(config)

    def problems(self, lines: tuple[str, ...]) -> None:
        self.lines = lines

    @property
    def maxima(self) -> dict[str, int]:
        """What is in use: the largest number of replicas, by key."""
        found = self.configs[-1].resources if self.configs else ()
        return {each.key: each.spec.max_replicas for each in found}

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def watching(
    folder: Path, *items: dict[str, Any], namespaces: tuple[str, ...] = ("serving",), **more: Any
) -> AsyncIterator[Watching]:
    async with ScriptedServer() as server, await server.client(folder) as client:
        made = Watching(server, client)
        for place, step in more.pop("refused", {}).items():
            made.held.refuse(place, step)
        made.held.put(*items)
        made.watch = ResourceWatch(
            client,
            namespaces=namespaces,
            config=no_resources(),
            now=time.time,
            changed=made.changed,
            problems=made.problems,
            supervisor=Supervisor(),
            rng=random.Random(1),
            look_s=0.02,
            **more,
        )
        running = asyncio.create_task(made.watch.run())
        try:
            yield made
            assert not running.done()
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


async def test_what_is_there_is_used_and_a_change_of_it_without_a_restart(tmp_path):
    async with watching(tmp_path, resource(), resource("qwen")) as seen:
        await seen.until(lambda: seen.maxima == {"serving/llama": 10, "serving/qwen": 10})
        assert seen.configs[-1].complete
        changed = resource(maxReplicas=20)
        changed["metadata"]["generation"] = 2
        seen.held.put(changed)
        await seen.until(lambda: seen.maxima == {"serving/llama": 20, "serving/qwen": 10})
        assert [each.metadata.generation for each in seen.configs[-1].resources] == [2, 1]


async def test_one_that_is_deleted_ends_the_handling_of_its_model(tmp_path):
    last = resource("qwen")
    async with watching(tmp_path, resource(), last) as seen:
        await seen.until(lambda: len(seen.maxima) == 2)
        seen.held.drop(resource())
        await seen.until(lambda: list(seen.maxima) == ["serving/qwen"])
        # Where a finalizer of others holds it back it is there yet, and nobody asks for it any more.
        seen.held.put({**last, "metadata": {**last["metadata"], "deletionTimestamp": "x"}})
        await seen.until(lambda: seen.maxima == {})
        assert seen.configs[-1].complete, "no model is unknown: there is none"


async def test_one_that_is_refused_leaves_its_model_and_the_others_as_they_were(tmp_path):
    async with watching(tmp_path, resource(), resource("qwen")) as seen:
        await seen.until(lambda: len(seen.maxima) == 2)
        with structlog.testing.capture_logs() as logs:
            broken = resource(maxReplicas=20, metrics={"tls": {"ca": "x"}, "scheme": "HTTPS"})
            broken["metadata"]["annotations"] = {PAUSED_ANNOTATION: "yes"}
            seen.held.put(broken)
            await seen.until(lambda: len(seen.lines) == 2)
            seen.held.put(resource("qwen", maxReplicas=5))
            await seen.until(lambda: seen.maxima == {"serving/llama": 10, "serving/qwen": 5})
        (said,) = [each for each in logs if each["event"] == "spec.rejected"]
        assert said["problems"] == seen.lines
        assert seen.lines[0].startswith(
            f"InferenceAutoscaler serving/llama: metadata.annotations[{PAUSED_ANNOTATION}]: "
        )
        assert "no PEM certificate" in seen.lines[1]
        assert [str(each) for each in seen.watch.config.refused["serving/llama"]] == list(
            seen.lines
        )
        seen.held.put(resource(maxReplicas=20))
        await seen.until(lambda: seen.maxima["serving/llama"] == 20 and seen.lines == ())


async def test_one_that_is_refused_from_the_first_is_a_model_of_which_nothing_is_known(tmp_path):
    async with watching(tmp_path, resource(minReplicas=12), resource("qwen")) as seen:
        await seen.until(lambda: list(seen.maxima) == ["serving/qwen"])
        assert not seen.configs[-1].complete
        seen.held.drop(resource())
        await seen.until(lambda: seen.configs[-1].complete)


async def test_of_two_that_claim_one_target_the_older_is_used(tmp_path):
    younger = resource("a", target="llama", created="2026-11-02T00:00:00Z")
    async with watching(tmp_path, younger, resource("z", target="llama")) as seen:
        await seen.until(lambda: list(seen.maxima) == ["serving/z"])
        (line,) = seen.lines
        assert line.startswith("InferenceAutoscaler serving/a: spec.pools[0].scaleTargetRef: ")
        assert "which InferenceAutoscaler serving/z: spec.pools[0].scaleTargetRef has" in line
        assert [each.contested for each in seen.configs[-1].refused["serving/a"]] == [True]
        seen.held.drop(resource("z"))
        await seen.until(lambda: list(seen.maxima) == ["serving/a"] and seen.lines == ())


async def test_a_status_that_is_written_is_no_change(tmp_path):
    async with watching(tmp_path, resource()) as seen:
        await seen.until(lambda: len(seen.configs) == 1)
        seen.held.put({**resource(), "status": {"desiredReplicas": 3}})
        status = lambda: seen.watch.resources["serving/llama"].status  # noqa: E731
        await seen.until(lambda: status() == {"desiredReplicas": 3})
        paused = resource()
        paused["metadata"]["annotations"] = {PAUSED_ANNOTATION: "true"}
        seen.held.put(paused)
        await seen.until(lambda: len(seen.configs) == 2)
        assert to_core(seen.configs[-1].resources[0]).pause.name == "ALL"


async def test_namespaces_that_are_not_named_are_not_looked_at(tmp_path):
    other = resource("qwen")
    other["metadata"]["namespace"] = "staging"
    async with watching(tmp_path, resource(), other) as seen:
        await seen.until(lambda: bool(seen.configs))
        assert list(seen.maxima) == ["serving/llama"]


async def test_a_namespace_that_refuses_is_said_and_the_others_are_used(tmp_path):
    step = refuse(403, "Forbidden", "no")
    with structlog.testing.capture_logs() as logs:
        async with watching(
            tmp_path,
            resource(),
            namespaces=("serving", "staging"),
            refused={"staging/inferenceautoscalers": step},
        ) as seen:
            await seen.until(lambda: bool(seen.maxima) and bool(seen.lines))
            assert not seen.configs[-1].complete, "there may be models of which nothing is known"
            (line,) = seen.lines
            assert line.startswith("inferenceautoscalers of staging: list inferenceautoscalers")
            assert "lacks the verb `list` on `inferenceautoscalers`" in line
            assert "is deploy/components/crd applied?" in line
            seen.held.answer_again()
            await seen.until(lambda: seen.lines == () and seen.configs[-1].complete)
    said = [each["event"] for each in logs if each["event"].startswith("resources.")]
    assert said == ["resources.unread", "resources.read"]


async def test_one_that_cannot_be_read_is_said_and_its_model_stays(tmp_path):
    async with watching(tmp_path, resource()) as seen:
        await seen.until(lambda: bool(seen.maxima))
        garbled = resource(maxReplicas=20)
        garbled["metadata"]["generation"] = "two"
        seen.held.put(garbled)
        await seen.until(lambda: bool(seen.lines))
        assert seen.lines[0].startswith("InferenceAutoscaler serving/llama: found what cannot be")
        assert seen.maxima == {"serving/llama": 10}


@pytest.mark.parametrize("spec", [None, [], "x", {"pools": 3}])
async def test_any_specification_is_a_problem_of_its_own(tmp_path, spec):
    odd = {**resource("odd"), "spec": spec}
    async with watching(tmp_path, odd, resource()) as seen:
        await seen.until(lambda: list(seen.maxima) == ["serving/llama"] and bool(seen.lines))
        assert not [line for line in seen.lines if "bug" in line]


def test_what_the_server_adds_is_left_out():
    made = resource()
    made["metadata"] |= {"annotations": {"kubectl": "…", PAUSED_ANNOTATION: "true"}, "labels": {}}
    made["metadata"]["annotations"][PAUSED_REPLICAS_ANNOTATION] = "3"
    kept = slim_resource(made)
    assert kept.content["metadata"] == {
        "name": "llama",
        "namespace": "serving",
        "generation": 1,
        "annotations": {PAUSED_ANNOTATION: "true", PAUSED_REPLICAS_ANNOTATION: "3"},
    }
    assert kept.content["spec"] == made["spec"]
    assert kept == slim_resource({**made, "status": {"desiredReplicas": 1}})
