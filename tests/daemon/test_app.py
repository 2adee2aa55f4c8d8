"""The whole daemon through its real clients, in real time: each test waits for what it asserts."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from autoscaler import cli
from autoscaler.app import LEASE_NAME
from autoscaler.core.contract.commands import (
    CORDON_ANNOTATION,
    FALLBACK_ANNOTATION,
    INTERRUPTION_ANNOTATION,
)
from autoscaler.daemon.recording.reproduce import replay
from autoscaler.daemon.recording.segments import segment_files
from autoscaler.daemon.telemetry.metrics import PREFIX
from autoscaler.kube.api.client import connect
from autoscaler.kube.knowledge import shelf_names, shelf_of
from autoscaler.notices.rehearse import cancel, rehearse
from autoscaler.settings import load_config, to_core
from simulations.box.local_cluster.api.faults import ApiFault, ApiFaultKind
from tests.core.knowledge.busy import learnt_at
from tests.daemon.live import Live, live, until
from tests.sources.history.fake import FakePrometheus, Query
from tests.sources.servers import never

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
async def scene(tmp_path):
    async with live(tmp_path) as made:
        yield made


def ready(daemon) -> bool:
    return daemon.telemetry.status.unready() == ()


def decision(daemon) -> dict:
    models = daemon.telemetry.status.page()["models"]
    return models[0] if models else {}


def sighted(daemon) -> bool:
    """The last decision rests on the pods' own signals."""
    found = decision(daemon)
    return bool(found) and found["measures"]["running_requests"] is not None


def cordoned(scene: Live) -> bool:
    return scene.node("spot-1").get("spec", {}).get("unschedulable", False)


def assert_replays(scene: Live) -> int:
    """Every decision of the recording is reproduced; returns their number."""
    reports = list(replay(scene.recording))
    assert [report.difference for report in reports] == [None] * len(reports)
    assert all(report.exact for report in reports)
    return sum(report.decisions for report in reports)


async def test_it_sees_decides_scales_and_records_what_replays_to_the_same(scene):
    async with scene.daemon() as daemon:
        await until(lambda: ready(daemon))
        assert sighted(daemon), "the first decision waited for the first samples"
        assert decision(daemon)["current_replicas"] == 2
        scene.pods.running, scene.pods.waiting = 60, 20
        await until(lambda: scene.replicas("llama-spot") == 3)
        assert scene.replicas("llama-on-demand") == 1
        await until(lambda: decision(daemon)["current_replicas"] == 4)
    assert assert_replays(scene) >= 3
    (report,) = replay(scene.recording)
    assert report.ending == "Stopped"
    assert report.commands >= 1


async def test_a_dry_run_decides_and_records_the_same_and_writes_nothing(scene):
    async with scene.daemon(dry_run=True) as daemon:
        await until(lambda: ready(daemon))
        scene.pods.running, scene.pods.waiting = 60, 20
        await until(lambda: decision(daemon)["desired_replicas"] == 4)
        labels = {"command": "SetReplicas", "reason": "Withheld"}
        count = daemon.telemetry.registry.get_sample_value
        await until(lambda: count(f"{PREFIX}commands_total", labels) > 1)
    assert scene.replicas("llama-spot") == 1
    writes = [r for r in scene.cluster.api.requests if r.verb not in ("get", "list", "watch")]
    assert writes == []
    assert assert_replays(scene) >= 3


async def test_a_notice_is_answered_at_once_step_by_step_and_taken_back(scene):
    """Ticks of a minute: whatever happens here, the notice has set it going."""
    async with (
        scene.daemon(tick_s=60.0) as daemon,
        await connect(str(scene.cluster.kubeconfig)) as client,
    ):
        await until(lambda: ready(daemon))
        await rehearse(client, "spot-1", in_s=60, at=time.time())
        await until(lambda: scene.replicas("llama-on-demand") == 2)
        (promise,) = json.loads(scene.annotations("llama-on-demand")[FALLBACK_ANNOTATION])
        assert (promise["node"], promise["replicas"]) == ("spot-1", 1)
        await until(lambda: cordoned(scene))
        assert CORDON_ANNOTATION in scene.node("spot-1")["metadata"]["annotations"]
        await until(lambda: "deletionTimestamp" in scene.pod("llama-spot-1-0")["metadata"])
        assert scene.replicas("llama-spot") == 1, "the eviction's replacement is the spot pool's"
        await cancel(client, "spot-1")
        await until(lambda: not cordoned(scene))
    order = [
        (request.verb, request.resource)
        for request in scene.cluster.api.requests
        if request.verb in ("patch", "update", "create")
    ]
    assert order.index(("patch", "deployments")) < order.index(("update", "deployments/scale"))
    assert_replays(scene)


async def test_an_api_server_that_is_away_at_the_start_is_waited_for(scene):
    await scene.cluster.api.stop()
    async with scene.daemon() as daemon:
        await until(lambda: bool(daemon.cluster.problems()))
        reasons = daemon.telemetry.status.unready()
        assert "no decision was made yet" in reasons
        assert "check that the API server runs" in reasons[0]
        assert daemon.telemetry.status.unhealthy() == "", "a restart would not help"
        await scene.cluster.api.start()
        await until(lambda: ready(daemon))


async def test_an_api_server_that_goes_away_holds_everything_and_it_recovers(scene):
    async with scene.daemon() as daemon:
        await until(lambda: ready(daemon))
        await scene.cluster.api.stop()
        scene.pods.running = 0
        seen = decision(daemon)["event"]
        await until(lambda: decision(daemon)["event"] > seen + 5)
        assert decision(daemon)["desired_replicas"] == 2
        await scene.cluster.api.start()
        scene.pods.running, scene.pods.waiting = 60, 20
        await until(lambda: scene.replicas("llama-spot") == 3)
    assert_replays(scene)


async def test_a_write_that_is_refused_is_a_condition_and_is_tried_again(scene):
    fault = ApiFault(kind=ApiFaultKind.FORBIDDEN, resource="deployments/scale")
    async with scene.daemon() as daemon:
        await until(lambda: ready(daemon))
        with scene.cluster.faults.during(fault):
            scene.pods.running, scene.pods.waiting = 60, 20

            def refused() -> bool:
                conditions = {each["type"]: each for each in decision(daemon)["conditions"]}
                return conditions["AbleToScale"]["reason"] == "Forbidden"

            await until(refused)
        await until(lambda: scene.replicas("llama-spot") == 3)
    assert_replays(scene)


async def test_a_write_under_way_is_finished_at_shutdown(scene):
    fault = ApiFault(kind=ApiFaultKind.SLOW, resource="deployments/scale", verbs=frozenset({"update"}),
                  delay_s=1.0)  # fmt: skip
    async with scene.daemon() as daemon:
        await until(lambda: ready(daemon))
        scene.cluster.faults.inject(fault)
        scene.pods.running, scene.pods.waiting = 60, 20
        await scene.cluster.faults.hit(fault)
    assert scene.replicas("llama-spot") == 3
    assert_replays(scene)


async def test_a_changed_configuration_is_used_and_one_with_problems_is_not(scene):
    async with scene.daemon() as daemon:
        daemon.config_watch._poll_s = 0.05
        await until(lambda: ready(daemon))
        scene.pods.running, scene.pods.waiting = 60, 20
        await until(lambda: scene.replicas("llama-spot") == 3)
        scene.write_config(maxReplicas=0)
        await until(lambda: len(daemon.telemetry.status.spec_problems) == 1)
        scene.write_config(maxReplicas=6)
        await until(lambda: scene.replicas("llama-spot") == 5)
        assert daemon.telemetry.status.spec_problems == ()
        assert decision(daemon)["spec"]["max_replicas"] == 6
    assert_replays(scene)


async def test_it_starts_with_a_configuration_that_is_broken_and_takes_it_once_it_is_mended(scene):
    scene.config.write_text("kind: [InferenceAutoscaler\n")
    async with scene.daemon() as daemon:
        daemon.config_watch._poll_s = 0.05
        status = daemon.telemetry.status
        await until(lambda: daemon.observer.synced)
        (reason,) = status.unready()
        assert str(scene.config) in reason
        assert "no document of the configuration can be used" in reason
        assert status.unhealthy() == "", "a restart would not help"
        count = daemon.telemetry.registry.get_sample_value
        assert count(f"{PREFIX}spec_problems") == 1
        scene.write_config()
        await until(lambda: ready(daemon) and decision(daemon)["current_replicas"] == 2)
        assert count(f"{PREFIX}spec_problems") == 0
    assert_replays(scene)


async def test_a_restart_continues_from_what_stands_in_the_cluster(scene):
    async with (
        scene.daemon() as daemon,
        await connect(str(scene.cluster.kubeconfig)) as client,
    ):
        await until(lambda: ready(daemon))
        await rehearse(client, "spot-1", in_s=120, at=time.time())
        await until(lambda: scene.replicas("llama-on-demand") == 2)
        await until(lambda: "deletionTimestamp" in scene.pod("llama-spot-1-0")["metadata"])
    promises = scene.annotations("llama-on-demand")[FALLBACK_ANNOTATION]
    async with scene.daemon() as daemon:
        await until(lambda: ready(daemon))
        seen = decision(daemon)["event"]
        await until(lambda: decision(daemon)["event"] > seen + 5)
        assert scene.replicas("llama-on-demand") == 2
        assert scene.annotations("llama-on-demand")[FALLBACK_ANNOTATION] == promises
    assert_replays(scene)


async def test_a_pod_that_answers_html_is_a_condition_and_no_reason_to_scale_down(scene):
    async with scene.daemon() as daemon:
        await until(lambda: ready(daemon) and sighted(daemon))

        scene.pods.html = True

        def stale() -> bool:
            report = daemon.telemetry.status.page()["sources"][0]
            return report["outcome"] == "NotMetrics" and len(report["failing"]) == 2

        await until(stale)
        counts = daemon.telemetry.status.page()
        assert counts["models"][0]["desired_replicas"] == 2
        assert scene.replicas("llama-spot") + scene.replicas("llama-on-demand") == 2
        scene.pods.html = False
        await until(lambda: not daemon.telemetry.status.page()["sources"][0]["failing"])


# -- as a process, through the command line


class Process:
    """`autoscaler run`, and what it logs."""

    def __init__(self, scene: Live, *options: str) -> None:
        self.log = scene.folder / "daemon.log"
        self._arguments = (
            "run",
            f"--config={scene.config}",
            f"--record={scene.recording}",
            f"--kubeconfig={scene.cluster.kubeconfig}",
            "--listen=127.0.0.1:0",
            "--debug-listen=127.0.0.1:0",
            "--tick-seconds=0.2",
            "--dcgm-selector=",
            *options,
        )
        self.process: asyncio.subprocess.Process | None = None

    async def __aenter__(self):
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "autoscaler.cli",
                *self._arguments,
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def said(self, event: str) -> list[dict]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["event"] == event]

    async def get(self, path: str) -> tuple[int, str]:
        started = self.said("daemon.started")[0]
        address = started["debug_address" if path.startswith("/debug") else "address"]
        async with aiohttp.ClientSession() as session, session.get(address + path) as answer:
            return answer.status, await answer.text()

    async def ready(self) -> None:
        await until(lambda: bool(self.said("daemon.started")))
        async with asyncio.timeout(60):
            while (await self.get("/readyz"))[0] != 200:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_order(scene, number):
    async with Process(scene) as daemon:
        await daemon.ready()
        assert (await daemon.get("/healthz"))[0] == 200
        assert "inference_autoscaler_desired_replicas{" in (await daemon.get("/metrics"))[1]
        shown = json.loads((await daemon.get("/debug/models"))[1])
        assert [model["model"] for model in shown["models"]] == ["serving/llama"]
        daemon.process.send_signal(number)
        assert await daemon.process.wait() == 0
        assert daemon.said("daemon.stopped")
    (report,) = replay(scene.recording)
    assert (report.ending, report.difference) == ("Stopped", None)


async def test_a_process_whose_configuration_is_broken_lives_and_says_what_is_wrong(scene):
    scene.write_config(maxReplicas=-3)
    async with Process(scene) as daemon:
        await until(lambda: bool(daemon.said("daemon.started")))
        (rejected,) = daemon.said("spec.rejected")
        assert "spec.maxReplicas" in rejected["problems"][0]
        async with asyncio.timeout(60):
            while "maxReplicas" not in (await daemon.get("/readyz"))[1]:
                await asyncio.sleep(0.05)
        assert (await daemon.get("/readyz"))[0] == 503
        assert (await daemon.get("/healthz"))[0] == 200
        scene.write_config()
        await daemon.ready()


async def test_a_daemon_that_is_killed_leaves_a_recording_that_replays(scene):
    async with Process(scene) as daemon:
        await daemon.ready()
        scene.pods.running, scene.pods.waiting = 60, 20
        await until(lambda: scene.replicas("llama-spot") == 3)
        recorded = 0
        async with asyncio.timeout(60):
            while recorded < 20:
                page = (await daemon.get("/metrics"))[1]
                found = re.search(r"recording_events_total ([\d.]+)", page)
                recorded = int(float(found[1]))
                await asyncio.sleep(0.05)
        daemon.process.kill()
        await daemon.process.wait()
    (report,) = replay(scene.recording)
    assert (report.ending, report.difference) == ("Cut", None)
    assert report.events >= recorded
    assert report.commands >= 1


async def test_a_rehearsal_through_the_command_line(scene, capsys):
    options = ("--kubeconfig", str(scene.cluster.kubeconfig))

    def call(*arguments: str) -> tuple[int, str, str]:
        code = cli._exit_code(["rehearse", *arguments, *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    code, out, _ = await asyncio.to_thread(call, "spot-1", "--in", "90")
    assert code == 0
    assert out.startswith("node spot-1: announced to be taken away at 2")
    written = scene.node("spot-1")["metadata"]["annotations"]
    assert written[INTERRUPTION_ANNOTATION] == out.split()[-1]

    code, out, _ = await asyncio.to_thread(call, "spot-1", "--cancel")
    assert (code, out) == (0, "node spot-1: the announcement is taken back\n")
    assert not scene.node("spot-1")["metadata"].get("annotations")

    code, _, err = await asyncio.to_thread(call, "spot-9")
    assert code == 1
    assert "there is no node spot-9" in err
    assert (await asyncio.to_thread(call, "spot-1", "--in", "-5"))[0] == 2


async def test_a_past_that_prometheus_has_is_read_and_decided_on_and_recorded(scene):
    server = FakePrometheus()
    async with (
        server.running(),
        scene.daemon(
            prometheus_servers=(f"main=http://127.0.0.1:{server.port},plain-http",)
        ) as daemon,
    ):
        await until(lambda: ready(daemon))
        page = daemon.telemetry.status.page
        await until(lambda: page()["histories"] and page()["histories"][0]["taken"])
        (history,) = page()["histories"]
        assert (history["model"], history["server"]) == ("serving/llama", "main")
        assert (history["outcome"], history["known_ratio"]) == ("Whole", 1.0)
        assert history["until_at"] - history["from_at"] == 7 * 86_400 - 60
        assert history["taken"]["end"] == "Taken"
        assert history["taken"]["rows"] >= 7 * 1440 - 2
        await until(lambda: decision(daemon)["measures"]["forecast_replicas"] is not None)
        count = daemon.telemetry.registry.get_sample_value
        assert count(f"{PREFIX}history_reads_total", {"outcome": "Whole"}) == 1
        assert count(f"{PREFIX}history_reads_total", {"outcome": "Failed"}) == 0
    (query, *_) = server.asked
    for name in (r"llama\\-on\\-demand-[", r"llama\\-spot-["):
        assert name in query.expression
    assert assert_replays(scene) >= 1


def with_knowledge(scene: Live) -> Callable[[], float]:
    """Keep what yet another daemon had learnt of the model; returns what tells when it was last written."""
    shelf = shelf_names(LEASE_NAME)[shelf_of("serving/llama")]
    (resource,) = load_config(scene.config).resources
    text = learnt_at(to_core(resource), time.time() - 60.0)
    metadata = {"name": shelf, "namespace": LEASE_NAME}
    scene.cluster.apply({"kind": "Namespace", "metadata": {"name": LEASE_NAME}})
    scene.cluster.apply(
        {"kind": "ConfigMap", "metadata": metadata, "data": {"serving.llama": text}}
    )

    def written_at() -> float:
        data = scene.cluster.store.get("configmaps", LEASE_NAME, shelf)["data"]
        at: float = json.loads(data["serving.llama"])["writtenAt"]
        return at

    return written_at


async def test_what_was_learnt_is_given_back_recorded_and_written_at_the_end(scene):
    written_at = with_knowledge(scene)
    before = written_at()
    async with scene.daemon(memory=True) as daemon:
        await until(lambda: ready(daemon) and sighted(daemon))
        count = daemon.telemetry.registry.get_sample_value
        assert count(f"{PREFIX}knowledge_reads_total", {"outcome": "Found"}) == 1
        assert decision(daemon)["measures"]["carried_ratio"] != 1.0
    assert written_at() > before
    lines = [
        json.loads(line)
        for path in segment_files(scene.recording)
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    kinds = [line["event"]["kind"] for line in lines if "event" in line]
    assert kinds[:3] == ["SpecChanged", "KnowledgeRead", "Observed"], "before anything is decided"
    assert_replays(scene)


async def test_a_dry_run_reads_what_is_kept_and_writes_nothing(scene):
    written_at = with_knowledge(scene)
    before = written_at()
    async with scene.daemon(memory=True, dry_run=True) as daemon:
        await until(lambda: ready(daemon) and sighted(daemon))
        assert decision(daemon)["measures"]["carried_ratio"] != 1.0
    assert written_at() == before


async def test_a_prometheus_that_says_nothing_holds_up_neither_a_decision_nor_readiness(scene):
    """It is never answered, and nobody waits for that: the queries are still open as it decides."""
    asked: list[Query] = []

    async def silent(query: Query) -> web.StreamResponse:
        asked.append(query)
        return await never(None)

    server = FakePrometheus(silent)
    async with (
        server.running(),
        scene.daemon(
            prometheus_servers=(f"main=http://127.0.0.1:{server.port},plain-http",)
        ) as daemon,
    ):
        await until(lambda: ready(daemon) and sighted(daemon))
        await until(lambda: bool(asked))
        assert daemon.telemetry.status.page()["histories"] == []
        scene.pods.running, scene.pods.waiting = 60, 20
        await until(lambda: scene.replicas("llama-spot") == 3)
    assert assert_replays(scene) >= 2
