"""Stand-in servers on a clock of their own, scraped into the history of a real Prometheus."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Iterable
from pathlib import Path

from simulations.box.vllm_server.live_engine import LiveEngine
from simulations.box.vllm_server.options import parse
from simulations.box.vllm_server.page import MetricsPage
from simulations.serving.profiles.profiles import Profile
from simulations.studies.benchmark.traffic import conversations

SCRAPE_S = 15
FAMILIES = (
    "vllm:num_requests_running",
    "vllm:kv_cache_usage_perc",
    "vllm:generation_tokens",
    "vllm:request_success",
    "vllm:iteration_tokens_total",
    "vllm:request_prompt_tokens",
    "vllm:request_queue_time_seconds",
    "vllm:request_prefill_time_seconds",
    "vllm:time_to_first_token_seconds",
)
"""Of the page, what a calibration asks for; the whole page would take promtool a minute."""


class JumpingSelector(selectors.SelectSelector):
    """Where a loop would wait for its next timer, the clock jumps to it."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now_s += timeout or 0.0
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """Runs what sleeps and sets timers in no time, in order."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


def recorded(profile: Profile, *, requests_per_s: float, span_s: int, seed: int) -> list[bytes]:
    """A server's pages, one each 15 s, while it is sent conversations."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(_recorded(profile, requests_per_s, span_s, seed))


async def _recorded(profile: Profile, requests_per_s: float, span_s: int, seed: int) -> list[bytes]:
    options = parse(["--served-model-name", "m"])
    page = MetricsPage(options)
    engine = LiveEngine(profile, speed=1.0, flush_interval_s=0.0, page=page)
    made = conversations(
        int(1.1 * requests_per_s * span_s), requests_per_s=requests_per_s, seed=seed
    )
    loop = asyncio.get_running_loop()
    rows = zip(made.arrival_ns, made.prompt_tokens, made.output_tokens, strict=True)
    for number, (arrival, prompt, output) in enumerate(rows):
        # a prompt of its own, so that nothing is hit by accident
        tokens = [number] * int(prompt)
        loop.call_at(int(arrival) / 1e9, _submit, engine, tokens, int(output))
    pages = []
    for scrape in range(span_s // SCRAPE_S + 1):
        await asyncio.sleep(scrape * SCRAPE_S - loop.time())
        pages.append(page.render(engine.gauges()))
    engine.kill()
    return pages


def _submit(engine: LiveEngine, tokens: list[int], output: int) -> None:
    engine.submit(tokens, output=output, tokens_max=output)


def write_history(path: Path, pods: Iterable[tuple[str, str, list[bytes]]], *, start: int) -> None:
    """The pages of several pods, with their models, as OpenMetrics with the moments of their scrapes."""
    lines: dict[str, list[str]] = {family: [] for family in FAMILIES}
    kinds: dict[str, str] = {}
    for model, pod, pages in pods:
        target = f'namespace="serving",pod="{pod}",instance="{pod}:8000"'
        for number, page in enumerate(pages):
            moment = start + number * SCRAPE_S
            for line in page.decode().splitlines():
                words = line.split()
                if line.startswith("# TYPE vllm:"):
                    kinds[words[2]] = words[3]
                elif line.startswith("vllm:"):
                    name, _, rest = line.partition("{")
                    family = next((f for f in FAMILIES if _is_of(name, f)), None)
                    if family is not None:
                        rest = rest.replace('model_name="m"', f'model_name="{model}"')
                        lines[family].append(f"{name}{{{target},{rest} {moment}\n")
    with path.open("w") as out:
        for family, samples in lines.items():
            kind = kinds.get(family) or kinds[f"{family}_total"]
            out.write(f"# TYPE {family} {kind}\n")
            out.writelines(sorted(samples, key=lambda line: line.partition("{")[0]))
        out.write("# EOF\n")


def _is_of(name: str, family: str) -> bool:
    return name.removeprefix(family) in ("", "_total", "_bucket", "_sum", "_count")
