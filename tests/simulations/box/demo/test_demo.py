"""The demo's parts: what it sends, counts, charges and shows. The whole is in test_demo_whole.py."""

from __future__ import annotations

import json
import math
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import yaml
from aiohttp import web
from rich.console import Console

from autoscaler.settings import load_config
from simulations.box.demo import scenario as stage
from simulations.box.demo.bill import Bill
from simulations.box.demo.exporters import APP, LABEL
from simulations.box.demo.load import Arrival, Load, SentRequest, columns, schedule
from simulations.box.demo.picture import Picture
from simulations.box.demo.scenario import Scenario
from simulations.box.demo.static_fleet import served_by, smallest
from simulations.box.demo.summary import comparison, served_to
from simulations.box.demo.view import View, curve, plain_line, render
from simulations.box.local_cluster.store import Store

# -- the load


def test_the_load_is_the_seeds_alone():
    scenario = Scenario()
    first, again, other = (
        schedule(
            scenario.rate_per_s,
            seconds=scenario.seconds,
            rate_max=scenario.rate_high_per_s,
            seed=seed,
        )
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert all(0 <= arrival.at_s < scenario.seconds for arrival in first)


def test_the_load_ramps_three_times():
    """Each third of the load has its top in the middle and its rest at the end."""
    scenario = Scenario()
    third = scenario.seconds / 3
    for ramp in range(3):
        rates = [scenario.rate_per_s((ramp + share / 20) * third) for share in range(20)]
        assert rates[0] == rates[-1] == scenario.rate_low_per_s
        assert max(rates) == scenario.rate_high_per_s
        assert rates[10] == max(rates)
    arrivals = schedule(
        scenario.rate_per_s, seconds=scenario.seconds, rate_max=scenario.rate_high_per_s, seed=0
    )
    expected = sum(scenario.rate_per_s(step / 100) / 100 for step in range(int(third * 300)))
    assert abs(len(arrivals) - expected) < 4 * math.sqrt(expected)


Stream = Callable[[int], list[Any]]


def chunk(text: str = "x", finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": text, "finish_reason": finish}]}


def whole(tokens: int) -> list[Any]:
    return [*(chunk() for _ in range(tokens - 1)), chunk(finish="length"), "[DONE]"]


@asynccontextmanager
async def engine(stream: Stream, *, status: int = 200) -> AsyncIterator[str]:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        asked = json.loads(await request.text())
        assert asked["stream"] is True
        assert asked["ignore_eos"] is True
        if status != 200:
            return web.Response(status=status, text="no")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in stream(asked["max_tokens"]):
            if part == "cut" and request.transport is not None:
                request.transport.abort()
                return response
            text = part if isinstance(part, str) else json.dumps(part)
            await response.write(f"data: {text}\n\n".encode())
        return response

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


ARRIVALS = [Arrival(at_s=0.01 * n, prompt_tokens=16, output_tokens=n + 1) for n in range(3)]


async def played(stream: Stream, *, status: int = 200) -> Load:
    async with engine(stream, status=status) as url:
        load = Load(url=url, model="llama", arrivals=ARRIVALS)
        await load.play()
    assert load.in_flight == 0
    assert load.completed + len(load.lost) == len(ARRIVALS)
    return load


async def test_whole_streams_are_completed():
    load = await played(whole)
    assert load.completed == 3
    assert all(r.ttft_s is not None and r.ttft_s >= 0 for r in load.requests)
    assert load.requests[0].tpot_s is None  # one token has no gap
    assert load.requests[2].tpot_s is not None


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        (lambda _n: ["[DONE]"], ""),  # a draining vLLM: 200, and nothing
        (lambda n: whole(n)[1:], ""),  # a token is missing
        (lambda n: whole(n)[:-1], ""),  # it did not end
        (lambda n: [*(chunk() for _ in range(n)), "[DONE]"], ""),  # no finish_reason
        (lambda n: [*(chunk() for _ in range(n - 1)), chunk(finish="abort"), "[DONE]"], ""),
        (lambda _n: [{"error": {"message": "EngineCore"}}, "[DONE]"], "EngineCore"),
        (lambda _n: [chunk(), "cut"], "Error"),
    ],
)
async def test_anything_less_is_lost(stream: Stream, told: str):
    load = await played(stream)
    assert load.completed == 0
    assert all(told in request.problem for request in load.lost)


async def test_a_refusal_is_lost_and_says_why():
    load = await played(whole, status=503)
    assert [r.problem for r in load.lost] == ["HTTP 503: no"] * 3
    async with engine(whole) as url:
        gone = Load(url=url, model="llama", arrivals=ARRIVALS)
    await gone.play()
    assert len(gone.lost) == 3


# -- the bill


class Loop:
    """A clock for a bill that is noted by hand."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at


def test_a_replica_is_paid_from_its_binding_until_it_is_gone():
    store, loop = Store(rng=random.Random(0)), Loop()
    bill = Bill(store, now=loop.now)
    for name, kind in (("n1", "spot"), ("n2", "on-demand")):
        labels = {"karpenter.sh/capacity-type": kind}
        store.create("nodes", {"metadata": {"name": name, "labels": labels}, "spec": {}})
    pod = {"metadata": {"name": "a", "namespace": "s"}, "spec": {}, "status": {}}
    store.create("pods", pod)
    store.create("pods", {**pod, "metadata": {"name": "b", "namespace": "s"}})
    bill.note()
    loop.at = 10.0  # unbound until now: free
    store.modify("pods", "s", "a", lambda obj: obj["spec"].update(nodeName="n1"))
    bill.note()
    loop.at = 20.0
    store.modify("pods", "s", "b", lambda obj: obj["spec"].update(nodeName="n2"))
    bill.note()
    loop.at = 30.0
    store.remove("nodes", "", "n1")  # the machine is gone, its pod's object is not yet
    bill.note()
    loop.at = 40.0
    store.remove("pods", "s", "a")
    bill.note()
    loop.at = 50.0
    bill.note()
    assert bill.paid_s == {"spot": 30.0, "on-demand": 30.0}
    assert bill.seconds == 50.0
    prices = stage.PRICES_USD_PER_HOUR
    assert stage.cost_usd(bill.paid_s) == pytest.approx(sum(prices.values()) * 30 / 3600)


# -- the static fleet


@pytest.mark.slow
def test_the_static_fleet_is_the_smallest_that_keeps_the_objective():
    scenario = Scenario()
    arrivals = schedule(
        scenario.rate_per_s, seconds=scenario.seconds, rate_max=scenario.rate_high_per_s, seed=3
    )
    requests = columns(arrivals)
    replicas, fleet = smallest(requests, ramp_s=scenario.ramp_s)
    assert fleet.attainment >= 0.99
    assert fleet.completed == len(arrivals)
    assert 2 <= replicas <= 6
    assert served_by(replicas - 1, requests, ramp_s=scenario.ramp_s).attainment < 0.99


# -- the stage


def test_the_resource_is_one_that_the_daemon_takes():
    (resource,) = load_config(stage.RESOURCE_FILE).resources
    deployments = {
        manifest["metadata"]["name"]: manifest
        for manifest in stage.manifests()
        if manifest["kind"] == "Deployment"
    }
    assert {pool.scale_target_ref.name for pool in resource.spec.pools} == set(deployments)
    gpus = sum(machine.gpus for machine in stage.MACHINES)
    assert resource.spec.max_replicas <= gpus
    profile = stage.profile()
    prices = {"on-demand": profile.usd_per_hour, "spot": profile.spot_usd_per_hour}
    assert prices == stage.PRICES_USD_PER_HOUR


def test_the_times_of_an_end_add_up():
    """Grace covers hook, shutdown and teardown; the notice covers the hook and the longest request."""
    scenario = Scenario()
    for manifest in stage.manifests():
        if manifest["kind"] != "Deployment":
            continue
        spec = manifest["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        hook = container["lifecycle"]["preStop"]["exec"]["command"]
        budget = float(next(part for part in hook if part.startswith("--budget")).split("=")[1])
        delay = float(next(p for p in hook if p.startswith("--endpoint-delay")).split("=")[1])
        shutdown = float(container["args"][-1].split("=")[1])
        assert spec["terminationGracePeriodSeconds"] > budget + shutdown
        assert delay > stage.DELAYS.endpoints_after_s
        margin = yaml.safe_load(stage.RESOURCE_FILE.read_text())["spec"]["spot"][
            "drainMarginSeconds"
        ]
        assert scenario.notice_s - margin > budget


# -- the view


def decision(**changes: Any) -> dict[str, Any]:
    made = {
        "event": 7,
        "at": 1.0,
        "model": "serving/llama",
        "direction": "Up",
        "reason": "WorthItsCost",
        "desired_replicas": 3,
        "pools": [
            {"pool": "spot", "current_replicas": 1, "desired_replicas": 2},
            {"pool": "on-demand", "current_replicas": 1, "desired_replicas": 1},
        ],
        "trail": [
            {"by": "policy", "reason": "WorthItsCost", "message": "replica 3 is worth it"},
            {"by": "placement", "reason": "Placed", "message": "2 on spot"},
        ],
        "measures": {
            "waiting_requests": 3.0,
            "running_requests": 9.0,
            "demand_replicas": 2.4,
            "forecast_replicas": 2.5,
            "forecast_low_replicas": 1.5,
            "forecast_high_replicas": 3.5,
            "warm_floor_replicas": 1,
            "cold_start_s": 4.0,
        },
    }
    return {**made, **changes}


def test_decisions_that_change_something_are_news():
    picture = Picture(seconds=60.0, at_s=12.0)
    picture.decide(decision())
    assert picture.news[-1] == " 12.0 s  [WorthItsCost] spot 1 → 2: replica 3 is worth it"
    picture.decide(decision())  # the same one, asked for twice
    assert len(picture.news) == 1
    held = [{"pool": "spot", "current_replicas": 2, "desired_replicas": 2}]
    picture.decide(decision(event=8, direction="Hold", reason="Stabilized", pools=held, trail=[]))
    assert "[Stabilized] hold" in picture.news[-1]
    picture.decide(decision(event=9, direction="Hold", reason="Stabilized", pools=held, trail=[]))
    assert len(picture.news) == 2
    unreadable = [{"pool": "spot", "current_replicas": None, "desired_replicas": None}]
    picture.decide(decision(event=10, direction="Hold", reason="Stabilized", pools=unreadable))
    assert len(picture.news) == 2


def test_unknown_is_shown_as_unknown():
    picture = Picture(seconds=60.0)
    assert "(? waiting)" in plain_line(picture)
    assert "forecast none yet" in plain_line(picture)
    picture.decide(decision())
    line = plain_line(picture)
    assert "(3 waiting)" in line
    assert "forecast 2.5 (1.5 to 3.5)" in line
    assert "floor 1" in line


def test_the_screen_has_everything_asked_for():
    console = Console(width=100, record=True, file=open("/dev/null", "w"), force_terminal=True)  # noqa: SIM115, PTH123
    picture = Picture(seconds=60.0, at_s=30.0, phase="ramp 2 of 3", in_flight=12)
    picture.decide(decision())
    picture.replicas["spot"].ready, picture.replicas["spot"].doomed = 2, 1
    picture.remember()
    console.print(render(picture, width=100, height=40))
    console.file.close()
    screen = console.export_text()
    for words in ("ramp 2 of 3", "30 s of 60 s", "in flight 12", "3 waiting", "on-demand", "spot"):
        assert words in screen
    assert all(len(line) <= 100 for line in screen.splitlines())
    for words in ("warm floor 1", "2.5 (1.5 to 3.5)", "[WorthItsCost] spot 1 → 2"):
        assert words in screen


def test_without_a_terminal_there_are_plain_lines(capsys: pytest.CaptureFixture[str]):
    picture = Picture(seconds=60.0, at_s=-1.0, phase="starting")
    with View(Console(), plain=False) as view:
        view.show(picture)
        picture.phase, picture.at_s = "ramp 1 of 3", 0.0
        for at_s in (0.0, 0.5, 1.0, 2.5):
            picture.at_s = at_s
            view.show(picture)
        picture.tell("NOTICE: spot-1")
        view.show(picture)
        view.show(picture)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "--- starting"
    assert lines[1] == "--- ramp 1 of 3"
    assert [line.split(" s ")[0].strip() for line in lines[2:]] == ["0.0", "2.5", "2.5"]
    assert "NOTICE: spot-1" in lines[-1]


def test_a_curve_leaves_gaps_where_nothing_is_known():
    assert curve([], cells=3, peak=1.0) == "   "
    assert curve([0.0, None, 1.0], cells=3, peak=1.0) == "  █"
    assert curve([1.0, 1.0, 0.5, 0.5], cells=2, peak=1.0) == "█▄"
    assert curve([0.0], cells=2, peak=0.0) == "  "


# -- the end


def request(
    *, ttft_s: float, tokens: int = 3, complete: bool = True, at_s: float = 0.0
) -> SentRequest:
    arrival = Arrival(at_s=at_s, prompt_tokens=1, output_tokens=3)
    made = SentRequest(arrival=arrival, sent_at=0.0, first_token_at=ttft_s, ended_at=ttft_s + 0.1)
    made.tokens, made.finish_reason, made.is_done = tokens, "length", complete
    return made


def test_lost_requests_count_against_the_attainment():
    made = [
        request(ttft_s=0.5, at_s=1.0),
        request(ttft_s=3.0, at_s=11.0),
        request(ttft_s=0.5, at_s=12.0, complete=False),
    ]
    result = served_to(made, ramp_s=10.0)
    assert (result.sent, result.completed, result.lost) == (3, 2, 1)
    assert result.attainment == pytest.approx(1 / 3)
    assert result.attainment_by_ramp == (1.0, 0.0)
    nothing = served_to(made[2:], ramp_s=10.0)
    assert nothing.attainment == 0.0
    assert math.isnan(nothing.ttft_s_p95)


def test_the_comparison_says_what_it_compares_with():
    console = Console(width=100)
    with console.capture() as captured:
        console.print(
            comparison(
                ours=served_to([request(ttft_s=0.5)], ramp_s=10.0),
                paid_s={"on-demand": 60.0},
                replicas=2,
                static=served_to([request(ttft_s=1.5)], ramp_s=10.0),
                seconds=60.0,
            )
        )
    text = captured.get()
    assert "static fleet of 2" in text
    assert "-50%" in text
    assert "computed" in text


# -- GPUs


def test_gpus_are_shown_as_the_daemon_knows_them():
    picture = Picture(seconds=10.0)
    assert "GPU memory ?, free GPUs ?" in plain_line(picture)
    gib = 2.0**30
    page = {
        "framebuffers": [
            {"used_bytes": 73 * gib},
            {"used_bytes": 73 * gib},
            {"used_bytes": 20 * gib},
        ],
        "gpus": [{"free": 1}, {"free": 0}],
    }
    picture.see_gpus(page)
    assert "GPU memory 166 GiB in 3 replicas (loading: 20), free GPUs 1" in plain_line(picture)
    picture.see_gpus({**page, "gpus": [{"free": 1}, {"free": None}]})
    assert "free GPUs ?" in plain_line(picture)


def test_exporters_are_no_replicas():
    store = Store(rng=random.Random(0))
    store.create("nodes", {"metadata": {"name": "n", "labels": {}}, "spec": {}})
    exporter = {
        "metadata": {"name": "x", "namespace": "gpu-operator", "labels": {LABEL: APP}},
        "spec": {"nodeName": "n"},
        "status": {},
    }
    store.create("pods", exporter)
    picture = Picture(seconds=10.0)
    picture.count(store, frozenset())
    assert all(counts.starting == 0 for counts in picture.replicas.values())
    at = [0.0]
    bill = Bill(store, now=lambda: at[0])
    bill.note()
    at[0] = 60.0
    bill.note()
    assert sum(bill.paid_s.values()) == 0.0
