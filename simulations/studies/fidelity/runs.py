"""Recorded runs of a real vLLM server: requests, engine steps and gauges, one folder a run."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoscaler.core.contract.state import BoolArray, FloatArray, IntArray
from autoscaler.errors import TraceError
from simulations.serving.columns import RequestColumns

STREAM_UNIT_S = 1e-4
"""Token arrivals are recorded in tenths of a millisecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLog:
    """The engine's own step log; one row a step."""

    ended_s: FloatArray
    elapsed_s: FloatArray
    prefill_requests: FloatArray
    prefill_tokens: FloatArray
    decode_requests: FloatArray
    decode_tokens: FloatArray
    """More than one a request where a preempted one is recomputed."""
    kv_tokens: FloatArray
    """Tokens in the KV blocks in use, whole blocks counted."""

    @property
    def tokens(self) -> FloatArray:
        """All tokens that the step computed."""
        return self.prefill_tokens + self.decode_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRun:
    """One run of one server."""

    name: str
    model: str
    calibration: bool
    """A closed loop over phases, made for fitting."""
    requests_max: int
    step_tokens_max: int
    kv_blocks: int
    block_tokens: int
    prefix_caching: bool
    kv_bytes_per_token: int
    weight_bytes: float
    columns: RequestColumns
    names: tuple[str, ...]
    """Of the requests; a plan that is run again has them again."""
    phase: tuple[str, ...]
    whole: BoolArray
    """Requests that brought all their tokens: those that are compared."""
    ttft_s: FloatArray
    e2e_s: FloatArray
    ttft_outside_s: float
    """Mean time to the first token as clients saw it, less the server's own."""
    sampled_s: FloatArray
    """When the gauges were read."""
    waiting: FloatArray
    preemptions: float
    """In the run."""
    prefix_hit_tokens: float
    steps: StepLog
    context_tokens: FloatArray
    """Of each step: tokens of context that its decodes read, from what clients had received."""
    pairs: float
    """Of the run: pairs of a prefill token and a token it attends to, without recomputation."""


def latency_figures(
    ttft_s: FloatArray, e2e_s: FloatArray, output_tokens: IntArray
) -> dict[str, float]:
    """Of these requests, in seconds: what predictions and runs are compared by."""
    several = output_tokens > 1
    tpot_s = (e2e_s - ttft_s)[several] / (output_tokens[several] - 1.0)
    return {
        "ttft_mean": float(ttft_s.mean()),
        "ttft_p95": float(np.percentile(ttft_s, 95)),
        "tpot_mean": float(tpot_s.mean()),
        "e2e_mean": float(e2e_s.mean()),
    }


def read_run(folder: Path) -> MeasuredRun:
    """Read one folder.

    Raises:
        TraceError: A file is missing or is not of this format; the message names it.
    """
    try:
        described = json.loads((folder / "run.json").read_text())
        block = described["block_size"]
        requests = _lines(folder / "requests.jsonl.gz")
        samples = [s for s in _lines(folder / "metrics.jsonl.gz") if "running" in s]
        steps = _steps(folder / "iterations.csv.gz", described)
        sent = [r for r in requests if _was_accepted(r)]
        sent.sort(key=lambda r: r["sent"])
        counters = {key: samples[-1][key] - samples[0][key] for key in ("preempt", "prefix_h")}
    except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError) as error:
        raise TraceError(
            f"reading the run {folder}: {type(error).__name__}: {error}; is it in the format of its README?"
        ) from error
    streams = [_stream(r) for r in sent]
    return MeasuredRun(
        name=described["name"],
        model=described["model"],
        calibration=described["kind"] == "closed",
        requests_max=described["max_num_seqs"],
        step_tokens_max=described["max_num_batched_tokens"],
        kv_blocks=described["kv_blocks"],
        block_tokens=block,
        prefix_caching=described["prefix_caching"],
        kv_bytes_per_token=described["kv_bytes_per_token"],
        weight_bytes=_weight_bytes(described["model_dims"]),
        columns=_columns(sent, block),
        names=tuple(str(r["id"]) for r in sent),
        phase=tuple(r["phase"] for r in sent),
        whole=np.array([r.get("fin") == "length" and r["got"] == r["o"] for r in sent]),
        ttft_s=np.array([first for first, _ in streams]),
        e2e_s=np.array([last for _, last in streams]),
        ttft_outside_s=_outside([first for first, _ in streams], samples),
        sampled_s=np.array([s["t"] for s in samples]),
        waiting=np.array([s["waiting"] for s in samples], dtype=np.float64),
        preemptions=float(counters["preempt"]),
        prefix_hit_tokens=float(counters["prefix_h"]),
        steps=steps,
        context_tokens=_context(sent, steps.ended_s),
        pairs=_pairs(sent, block if described["prefix_caching"] else 0),
    )


def read_runs(folder: Path) -> list[MeasuredRun]:
    """All runs below a folder, in order of name.

    Raises:
        TraceError: There are none, or one cannot be read.
    """
    found = sorted(path.parent for path in folder.glob("*/run.json"))
    if (folder / "run.json").is_file():
        found.insert(0, folder)
    if not found:
        raise TraceError(
            f"{folder}: no runs there; give a folder that holds run folders (each with a run.json)"
        )
    return [read_run(path) for path in found]


def _was_accepted(request: dict[str, Any]) -> bool:
    """Whether the server accepted the request; one that is shutting down refuses."""
    return request.get("http") == 200 and (request["got"] > 0 or request.get("fin") is not None)


def _stream(request: dict[str, Any]) -> tuple[float, float]:
    """(TTFT, E2E) in seconds; NaN where no token came."""
    gaps = [gap if isinstance(gap, int) else gap[0] for gap in request["d"]]
    if not gaps:
        return float("nan"), float("nan")
    return gaps[0] * STREAM_UNIT_S, sum(gaps) * STREAM_UNIT_S


def _outside(client: list[float], samples: list[dict[str, Any]]) -> float:
    """Mean time to first token outside the server: the client's less the server's; 0 where unknown."""
    spans = [s["hist"]["ttft"] for s in samples if s.get("hist")]
    if not spans:
        return 0.0
    count, total = spans[-1]["c"] - spans[0]["c"], spans[-1]["s"] - spans[0]["s"]
    if count <= 0 or abs(count / len(client) - 1.0) > 0.02:
        return 0.0
    return float(np.nanmean(client) - total / count)


def _context(requests: list[dict[str, Any]], moments: FloatArray) -> FloatArray:
    """Tokens of context of the requests that decode at each moment: prompt and what has come.

    KV blocks in use would say it too coarsely, and shared ones once only.
    """
    context = np.zeros(len(moments))
    for request in requests:
        first, last = (request["sent"] + part for part in _stream(request))
        if not last > first:  # no token, or only one
            continue
        begin, end = np.searchsorted(moments, [first, last], side="right")
        share = (moments[begin:end] - first) / (last - first)
        context[begin:end] += request["p"] + share * (request["got"] - 1)
    return context


def _pairs(requests: list[dict[str, Any]], block: int) -> float:
    """Pairs of attention: a token attends to itself and all before it; hit blocks are not computed."""
    total = 0.0
    seen: set[str] = set()
    for request in requests:
        prompt, group = request["p"], request.get("g")
        hit = 0
        if block and group in seen:
            hit = min(request["gl"] // block * block, prompt - 1)
        if group is not None:
            seen.add(group)
        computed = prompt - hit
        total += computed * hit + computed * (computed + 1) / 2
    return total


def _columns(requests: list[dict[str, Any]], block: int) -> RequestColumns:
    """Requests as the serving model takes them; a shared prefix is its whole blocks."""
    groups: dict[str, int] = {}
    blocks: list[int] = []
    ends: list[int] = []
    for request in requests:
        group = request.get("g")
        if group is not None:
            number = groups.setdefault(group, len(groups))
            blocks += [number * 10_000 + i for i in range(request["gl"] // block)]
        ends.append(len(blocks))
    return RequestColumns(
        arrival_ns=np.array([round(r["sent"] * 1e9) for r in requests], dtype=np.int64),
        prompt_tokens=np.array([r["p"] for r in requests], dtype=np.int64),
        output_tokens=np.array([r["o"] for r in requests], dtype=np.int64),
        block_tokens=block if blocks else 0,
        blocks=np.array(blocks, dtype=np.int64) if blocks else None,
        block_ends=np.array(ends, dtype=np.int64) if blocks else None,
    )


def _steps(path: Path, described: dict[str, Any]) -> StepLog:
    with gzip.open(path, "rt") as text:
        table = np.loadtxt(text, delimiter=",", skiprows=1, ndmin=2)
    ended, _, prefills, prefill_tokens, decodes, decode_tokens, elapsed_ms, kv_percent = table.T
    room = (described["kv_blocks"] - 1) * described["block_size"]
    return StepLog(
        ended_s=ended,
        elapsed_s=elapsed_ms / 1e3,
        prefill_requests=prefills,
        prefill_tokens=prefill_tokens,
        decode_requests=decodes,
        decode_tokens=decode_tokens,
        kv_tokens=kv_percent / 100.0 * room,
    )


def _weight_bytes(dimensions: str) -> float:
    """From `llama 103.8 M params: …, bf16`: two bytes a parameter."""
    return float(dimensions.split()[1]) * 2e6


def _lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as text:
        return [json.loads(line) for line in text]
