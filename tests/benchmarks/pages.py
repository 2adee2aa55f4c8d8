"""How long the worst bodies hold the event loop, and what they cost: pages and answers at their limits.

    python -m tests.benchmarks.pages [-o json]

The longest of the steps that a body is parsed in, all of them together, and the memory at the peak beside
the body itself. CPU of this thread, so that the machine's other work does not count. No step may take
50 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from autoscaler.errors import SourceError
from autoscaler.sources.engines import SOURCES
from autoscaler.sources.pages.exposition import page_steps
from autoscaler.sources.pages.signals import EngineSource
from autoscaler.sources.pages.turns import Steps
from autoscaler.sources.prometheus.answer import answer_steps
from tests.sources import hostile
from tests.sources.bodies import page

STEP_S_MAX = 0.050


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRow:
    """One body."""

    body: str
    mebibytes: float
    steps: int
    longest_ms: float
    total_ms: float
    peak_mebibytes: float
    ended: str


def sampled(engine: EngineSource, body: bytes) -> Steps[object]:
    """Read a page to its sample, as a feed does."""
    rows = yield from page_steps(body, engine.names, engine.histograms)
    yield
    return engine.sample(rows, model_names=frozenset(), at=100.0)


def bodies() -> Iterator[tuple[str, bytes, Steps[object]]]:
    """(what it is, body, how it is read)."""
    loaded = page("vllm-0.32.0-loaded")
    yield "vLLM under load, as captured", loaded, sampled(SOURCES["VLLM"], loaded)
    for name, body in hostile.pages():
        yield f"page: {name}", body, sampled(SOURCES["VLLM"], body)
    for name, body in hostile.ray_pages():
        yield f"Ray page: {name}", body, sampled(SOURCES["RayServe"], body)
    for name, body in hostile.answers():
        yield f"answer: {name}", body, answer_steps(body)


def measure(name: str, body: bytes, steps: Steps[object]) -> PageRow:
    """Read one body."""
    took_s: list[float] = []
    ended = "Read"
    while True:
        begun = time.thread_time()
        try:
            next(steps)
        except StopIteration:
            break
        except SourceError as error:
            ended = error.outcome
            break
        finally:
            took_s.append(time.thread_time() - begun)
    return PageRow(
        body=name,
        mebibytes=round(len(body) / 2**20, 2),
        steps=len(took_s),
        longest_ms=round(1000 * max(took_s), 2),
        total_ms=round(1000 * sum(took_s), 2),
        peak_mebibytes=0.0,
        ended=ended,
    )


def peak_of(steps: Steps[object]) -> float:
    """Read one body once more, for its memory: tracing makes it slow."""
    tracemalloc.start()
    try:
        with contextlib.suppress(SourceError, StopIteration):
            while True:
                next(steps)
        return round(tracemalloc.get_traced_memory()[1] / 2**20, 1)
    finally:
        tracemalloc.stop()


def main(arguments: list[str] | None = None) -> None:
    """Print a row for each body."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", dest="output", choices=["table", "json"], default="table")
    parser.add_argument("--only", default="", help="bodies whose name has this in it")
    given = parser.parse_args(arguments)
    rows = [measure(name, body, steps) for name, body, steps in bodies() if given.only in name]
    peaks = [peak_of(steps) for name, _, steps in bodies() if given.only in name]
    whole = [{**asdict(row), "peak_mebibytes": peak} for row, peak in zip(rows, peaks, strict=True)]
    if given.output == "json":
        print(json.dumps({"rows": whole}, indent=2))
        return
    print(f"{'body':46} {'MiB':>5} {'steps':>6} {'longest':>9} {'total':>9} {'peak':>9}  ended")
    for row in whole:
        print(
            f"{row['body']:46} {row['mebibytes']:5.2f} {row['steps']:6d} {row['longest_ms']:6.1f} ms "
            f"{row['total_ms']:6.1f} ms {row['peak_mebibytes']:5.1f} MiB  {row['ended']}"
        )


if __name__ == "__main__":
    main()
