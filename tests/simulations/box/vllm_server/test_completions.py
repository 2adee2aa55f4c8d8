"""Completions over HTTP: what clients get, and when."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from simulations.box.vllm_server.options import DEFAULT_PROFILE
from simulations.serving.profiles.profiles import PROFILES
from tests.simulations.box.vllm_server.servers import Served, Stream, ask, served, stream
from tests.simulations.box.vllm_server.test_page import value

pytestmark = pytest.mark.slow


async def metrics(server: Served) -> bytes:
    async with server.http.get(f"{server.url}/metrics") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=1.0.0; charset=utf-8"
        return await answer.read()


async def post(server: Served, body: object) -> tuple[int, dict[str, Any]]:
    async with server.http.post(f"{server.url}/v1/completions", data=json.dumps(body)) as answer:
        return answer.status, await answer.json()


async def test_a_stream_brings_every_token_a_reason_and_an_end() -> None:
    async with served() as server:
        got = await stream(server.http, server.url, 30)
    assert got.status == 200
    assert len(got.texts) == 30
    assert all(got.texts)
    assert got.finish_reason == "length"
    assert got.done
    assert got.usage is None


async def test_usage_comes_last_or_with_each_token_if_asked_for() -> None:
    async with served() as server:
        options = {"include_usage": True, "continuous_usage_stats": True}
        got = await stream(server.http, server.url, 5, stream_options=options)
    assert got.each_usage == [1, 2, 3, 4, 5]
    assert got.usage == {"prompt_tokens": 40, "completion_tokens": 5, "total_tokens": 45}


async def test_a_plain_request_gets_it_all_at_once() -> None:
    async with served() as server:
        status, answer = await post(server, ask(12))
    assert status == 200
    (choice,) = answer["choices"]
    assert len(choice["text"].split()) == 12
    assert choice["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 12
    assert answer["object"] == "text_completion"


async def test_text_is_about_a_token_for_four_bytes() -> None:
    async with served() as server:
        _, answer = await post(server, ask(1, prompt="sixteen letters."))
    assert answer["usage"]["prompt_tokens"] == 4


async def test_without_ignore_eos_an_answer_may_stop_before() -> None:
    async with served("--natural-tokens", "20") as server:
        answers = await asyncio.gather(
            *(post(server, ask(60, ignore_eos=False)) for _ in range(20))
        )
    reasons = [answer["choices"][0]["finish_reason"] for _, answer in answers]
    lengths = [answer["usage"]["completion_tokens"] for _, answer in answers]
    assert set(reasons) >= {"stop"}
    assert all(
        (length == 60) == (why == "length") for length, why in zip(lengths, reasons, strict=True)
    )


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (ask(5, model="other"), 404, "The model `other` does not exist."),
        (ask(5, prompt=[]), 400, "cannot be empty"),
        (ask(5, prompt={"a": 1}), 400, "prompt must be a text or a list of token ids"),
        (ask(0), 400, "max_tokens must be a whole number of at least 1"),
        (ask(5, n=2), 400, "n must be 1"),
        (ask(1000), 400, "This model's maximum context length is 1000 tokens"),
        (["no object"], 400, "no JSON object"),
    ],
)
async def test_what_vllm_refuses_is_refused(body: object, status: int, says: str) -> None:
    async with served("--max-model-len", "1000") as server:
        got, answer = await post(server, body)
    assert got == status
    assert says in answer["error"]["message"]
    assert answer["error"]["code"] == status


async def test_server_side_times_are_the_models() -> None:
    """One request alone: its histograms hold the model's nanoseconds, at the server's speed."""
    profile = PROFILES[DEFAULT_PROFILE]
    first = profile.step_ns + profile.attention_ps * (40 * 41 // 2) // 1000
    context = sum(range(41, 41 + 19))
    rest = 19 * (profile.step_ns + profile.pause_decode_ns) + profile.kv_token_ns * context
    rest -= profile.pause_decode_ns  # the last pause, and none after the prefill
    async with served() as server:
        await stream(server.http, server.url, 20)
        page = await metrics(server)
    ttft_s = (profile.before_ns + first + profile.after_ns) / 50e9
    assert value(page, "vllm:time_to_first_token_seconds_sum") == pytest.approx(ttft_s)
    assert value(page, "vllm:request_decode_time_seconds_sum") == pytest.approx(rest / 50e9)
    assert value(page, "vllm:e2e_request_latency_seconds_sum") == pytest.approx(
        ttft_s + rest / 50e9
    )
    assert value(page, "vllm:request_queue_time_seconds_sum") == 0.0
    assert value(page, "vllm:generation_tokens_total") == 20
    assert value(page, "vllm:request_success_total", finished_reason="length") == 1


@pytest.mark.alone
async def test_a_full_batch_makes_the_rest_wait_and_the_page_says_so() -> None:
    async with served("--max-num-seqs", "2", "--speed", "5") as server:
        streams = [asyncio.create_task(stream(server.http, server.url, 60)) for _ in range(5)]
        async with asyncio.timeout(60):
            while value(page := await metrics(server), "vllm:num_requests_running") != 2:
                pass
            while value(page := await metrics(server), "vllm:num_requests_waiting") != 3:
                pass
        assert value(page, "vllm:num_requests_waiting_by_reason", reason="capacity") == 3
        assert value(page, "vllm:kv_cache_usage_perc") > 0
        for got in await asyncio.gather(*streams):
            assert len(got.texts) == 60
        page = await metrics(server)
        assert value(page, "vllm:num_requests_running") == 0
        assert value(page, "vllm:kv_cache_usage_perc") == 0


async def test_scarce_blocks_preempt_and_prefixes_hit() -> None:
    async with served("--num-gpu-blocks", "12", "--block-size", "16") as server:
        got = await asyncio.gather(
            *(stream(server.http, server.url, 60, prompt=list(range(i, i + 40))) for i in range(4))
        )
        again = await stream(server.http, server.url, 2, prompt=list(range(3, 43)))
        page = await metrics(server)
    assert all(len(each.texts) == 60 for each in got)
    assert len(again.texts) == 2
    assert value(page, "vllm:num_preemptions_total") > 0
    assert value(page, "vllm:prefix_cache_hits_total") > 0


async def test_a_client_that_leaves_aborts_its_request() -> None:
    async with served("--speed", "1") as server:
        got = Stream()
        client = asyncio.create_task(stream(server.http, server.url, 5000, got))
        async with asyncio.timeout(60):
            while not got.texts:
                await asyncio.sleep(0.01)
            client.cancel()
            while value(page := await metrics(server), "vllm:num_requests_running"):
                await asyncio.sleep(0.01)
    assert value(page, "vllm:request_success_total", finished_reason="abort") == 1
    assert server.application.engine.in_flight == 0


async def test_the_small_endpoints() -> None:
    async with served("--served-model-name", "m", "lora", "--metrics-version", "0.19.0") as server:

        async def json_of(path: str) -> Any:
            async with server.http.get(server.url + path) as answer:
                assert answer.status == 200
                return await answer.json()

        assert await json_of("/version") == {"version": "0.19.0"}
        assert await json_of("/load") == {"server_load": 0}
        assert [card["id"] for card in (await json_of("/v1/models"))["data"]] == ["m", "lora"]
        for path in ("/health", "/ping"):
            async with server.http.get(server.url + path) as answer:
                assert answer.status == 200
                assert await answer.read() == b""
        assert (await stream(server.http, server.url, 3, model="lora")).done


async def test_load_counts_waiting_ones_too_if_told_to() -> None:
    async with served(
        "--enable-server-load-tracking", "--max-num-seqs", "1", "--speed", "1"
    ) as server:
        streams = [asyncio.create_task(stream(server.http, server.url, 2000)) for _ in range(3)]
        async with asyncio.timeout(60):
            while True:
                async with server.http.get(f"{server.url}/load") as answer:
                    if (await answer.json()) == {"server_load": 3}:
                        break
        for task in streams:
            task.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
