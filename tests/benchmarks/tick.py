"""CPU per `Engine.handle` of one observation, the policy included on every tick.

    python -m tests.benchmarks.tick [-o table|json] [--replicas N]...

One model with an on-demand and a spot pool, under a load that waves around what N replicas carry.
Every replica answers on every tick, and the scale follows the decisions: replicas start, serve after
a minute, and go. What is measured begins when the forecast has history. `cpu_s` is the mean CPU time
of a tick, `cpu_s_max` that of the slowest one (the loop stands still for so long).

`without` is the same of engines that leave out the hindsight, the candidates (the economic policy decides, as it
did before there were any) or both. They are shown the same, in turn, in the same run: on a machine with others at work
their ratios say more than the times. Each stretch of ticks counts by the best of its repetitions.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.contract.state import (
    HistogramColumns,
    ModelObservation,
    NodeColumns,
    PoolObservation,
    ReplicaColumns,
)
from autoscaler.core.engine import Engine, EngineSettings, build_engine
from autoscaler.core.tick.parts import Parts
from simulations.serving.histograms import TPOT_BOUNDS_S, TTFT_BOUNDS_S
from tests.builders import ON_DEMAND, SPOT, model, on_demand, specified, spot

REPLICAS = (1, 8, 32, 128, 5000)
TICK_S = 5.0
COLD_START_S = 60.0
SERVICE_S = 10.0
IN_FLIGHT = 32.0
"""Of one replica: the target."""
PER_NODE = 8
BEGIN_AT = 1_700_000_000.0
WARM_UP_TICKS = 500
TICKS = 1000
FEW_TICKS = 100
"""Each, for thousands of replicas."""
CHUNK = 25
"""Ticks handled in a row; the warm-up and what is measured are multiples of it."""
REPETITIONS = 3


@dataclass(frozen=True, kw_only=True)
class Variant:
    """An engine that leaves something out."""

    name: str
    policy: str = EngineSettings().policy
    parts: Parts = field(default_factory=Parts)

    def begin(self, spec: ModelSpec) -> Engine:
        """Build the engine, and tell it its fleet."""
        engine = build_engine(EngineSettings(tick_s=TICK_S, policy=self.policy), parts=self.parts)
        engine.handle(specified(spec, at=BEGIN_AT))
        return engine


_UNSEEING = Parts(look_back=lambda *_, **__: None)
WHOLE = Variant(name="whole")
VARIANTS = (
    WHOLE,
    Variant(name="hindsight", parts=_UNSEEING),
    Variant(name="candidates", policy="economic"),
    Variant(name="both", policy="economic", parts=_UNSEEING),
)
"""By what they leave out."""


@dataclass(kw_only=True)
class Story:
    """A fleet that serves, row by row: on-demand first, each pool in order of creation."""

    replicas: int
    """About what the load needs."""
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    tick: int = 0
    created_at: dict[str, np.ndarray] = field(default_factory=dict)
    finished: dict[str, np.ndarray] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    born: int = 0

    def __post_init__(self) -> None:
        on_demand_count = (self.replicas + 3) // 4
        counts = {"on-demand": on_demand_count, "spot": self.replicas - on_demand_count}
        for pool, count in counts.items():
            self.created_at[pool] = np.empty(0)
            self.finished[pool] = np.empty(0)
            self.names[pool] = []
            self._resize(pool, count, created_at=BEGIN_AT - 10_000.0)

    def spec(self) -> ModelSpec:
        """The model; its maximum leaves room."""
        return model(
            pools=[on_demand(price=4.0), spot(price=1.5)],
            warm=1,
            warm_on=ON_DEMAND,
            maximum=2 * self.replicas + 2,
            cold_start_s=COLD_START_S,
        )

    def follow(self, decision: Decision) -> None:
        """Let the pools have what was decided; the newest replicas go first, at once."""
        at = BEGIN_AT + TICK_S * self.tick + 0.5
        for pool in decision.pools:
            if pool.desired_replicas is not None:
                self._resize(pool.pool, pool.desired_replicas, created_at=at)

    def _resize(self, pool: str, count: int, *, created_at: float) -> None:
        there = len(self.names[pool])
        more = max(0, count - there)
        self.names[pool] = self.names[pool][:count]
        self.names[pool] += [f"llama-{pool}-{self.born + i:06d}" for i in range(more)]
        self.born += more
        self.created_at[pool] = np.append(self.created_at[pool][:count], np.full(more, created_at))
        self.finished[pool] = np.append(self.finished[pool][:count], np.zeros(more))

    def look(self) -> Observed:
        """One more tick of load, and what is then seen."""
        self.tick += 1
        at = BEGIN_AT + TICK_S * self.tick
        created_at = np.concatenate([self.created_at["on-demand"], self.created_at["spot"]])
        ready = at - created_at >= COLD_START_S
        serving = max(1, int(np.count_nonzero(ready)))
        wave = 0.85 + 0.1 * math.sin(self.tick / 60.0)
        running = self.rng.poisson(IN_FLIGHT * self.replicas * wave / serving, len(ready))
        running = np.where(ready, running, 0).astype(np.float64)
        completions = self.rng.poisson(running * TICK_S / SERVICE_S)
        pools = []
        row = 0
        for name, there in self.names.items():
            self.finished[name] = self.finished[name] + completions[row : row + len(there)]
            row += len(there)
            pools.append(
                PoolObservation(
                    name=name,
                    current_replicas=len(there),
                    rolling_out=False,
                    gpus_per_replica=1,
                    promises=(),
                )
            )
        columns = self._columns(at=at, created_at=created_at, ready=ready, running=running)
        return Observed(
            id=self.tick,
            at=at,
            nodes=_nodes(columns.pool),
            interruptions=(),
            models=(ModelObservation(model="serving/llama", pools=tuple(pools), replicas=columns),),
            cluster_at=at - 0.5,
        )

    def _columns(
        self, *, at: float, created_at: np.ndarray, ready: np.ndarray, running: np.ndarray
    ) -> ReplicaColumns:
        count = len(ready)
        unknown = np.full(count, math.nan)
        finished = np.concatenate([self.finished["on-demand"], self.finished["spot"]])

        def sampled(values: np.ndarray) -> np.ndarray:
            return np.where(ready, values, math.nan)

        return ReplicaColumns(
            name=(*self.names["on-demand"], *self.names["spot"]),
            pool=np.repeat([0, 1], [len(self.names["on-demand"]), len(self.names["spot"])]),
            node=np.arange(count, dtype=np.int64) // PER_NODE,
            created_at=created_at,
            scheduled_at=created_at,
            unschedulable_since=unknown,
            ready=ready,
            ready_at=sampled(created_at + COLD_START_S),
            not_ready_since=unknown,
            deleting=np.zeros(count, dtype=np.bool_),
            deleting_since=unknown,
            deletion_cost=np.zeros(count, dtype=np.int64),
            deletion_cost_ours=np.zeros(count, dtype=np.bool_),
            grace_s=np.full(count, 120.0),
            sampled_at=sampled(at - self.rng.uniform(0.1, 1.0, count)),
            sample_interval_s=unknown,
            waiting_requests=sampled(np.maximum(self.rng.poisson(0.1, count) - 1.0, 0.0)),
            running_requests=sampled(running),
            kv_usage_ratio=sampled(running / 64.0),
            finished_requests_total=sampled(finished),
            aborted_requests_total=np.full(count, np.nan),
            prompt_tokens_total=sampled(finished * 300.0),
            generation_tokens_total=sampled(finished * 100.0),
            preemptions_total=sampled(np.zeros(count)),
            queue_time_s_total=unknown,
            queued_requests_total=unknown,
            steps_total=unknown,
            step_tokens_total=unknown,
            framebuffer_used_bytes=np.full(count, 40e9),
            framebuffer_at=np.full(count, at - 2.0),
            gpus_unhealthy=np.zeros(count),
            ttft=_histogram(TTFT_BOUNDS_S, finished, ready=ready),
            tpot=_histogram(TPOT_BOUNDS_S, finished, ready=ready),
        )


def _histogram(
    bounds: tuple[float, ...], finished: np.ndarray, *, ready: np.ndarray
) -> tuple[HistogramColumns, ...]:
    """As many requests as were finished, spread evenly over the buckets, of the ready replicas."""
    rows = np.flatnonzero(ready)
    shares = np.linspace(0.0, 1.0, len(bounds) + 1)
    counts = np.floor(shares[:, None] * finished[rows])
    return (HistogramColumns(bounds=bounds, rows=rows, counts=counts),)


def _nodes(pool: np.ndarray) -> NodeColumns:
    """As many nodes as hold the replicas, each with the kind of its first one."""
    count = (len(pool) + PER_NODE - 1) // PER_NODE
    kinds = tuple(ON_DEMAND if pool[i * PER_NODE] == 0 else SPOT for i in range(count))
    return NodeColumns(
        name=tuple(f"node-{i:05d}" for i in range(count)),
        capacity_type=kinds,
        zone=("",) * count,
        instance_type=("",) * count,
        exists=np.ones(count, dtype=np.bool_),
        ready=np.ones(count, dtype=np.bool_),
        unheard=np.zeros(count, dtype=np.bool_),
        unschedulable=np.zeros(count, dtype=np.bool_),
        cordoned_by_us=np.zeros(count, dtype=np.bool_),
        marked_drained=np.zeros(count, dtype=np.bool_),
        gpus_free=np.full(count, 2.0),
        gpus_unhealthy=np.zeros(count),
    )


Row: TypeAlias = dict[str, Any]


def measure(replicas: int, *, warm_up: int, ticks: int, repetitions: int = REPETITIONS) -> Row:
    """Measure one size of fleet.

    The story is played once, for its decisions. Then it is told again in chunks, each handled in a
    row: so an event is as fresh in the caches as the daemon's, which has just cut it, and telling
    the story is not measured. Once for the means, and once more tick by tick for the slowest.
    """
    decisions: list[Decision] = []
    story = Story(replicas=replicas)
    engine = WHOLE.begin(story.spec())
    for _ in range(warm_up + ticks):
        outcome = engine.handle(story.look())
        decisions += outcome.decisions
        story.follow(decisions[-1])
    last = decisions[-1]
    assert last.measures.forecast_replicas is not None, "the policy was to decide on every tick"
    assert last.policy in {"economic", "candidates"}
    told = partial(_measure_again, replicas, decisions, warm_up=warm_up, repetitions=repetitions)
    spent = {
        name: sum(chunks) / ticks for name, chunks in told(variants=VARIANTS, chunk=CHUNK).items()
    }
    slowest = told(variants=[WHOLE], chunk=1)[WHOLE.name]
    whole_s = spent.pop(WHOLE.name)
    return {"replicas": replicas, "cpu_s": whole_s, "cpu_s_max": max(slowest), "without": spent}


def _measure_again(
    replicas: int,
    decisions: Sequence[Decision],
    *,
    variants: Sequence[Variant],
    warm_up: int,
    chunk: int,
    repetitions: int,
) -> Mapping[str, list[float]]:
    """Return by variant the CPU time of each chunk after the warm-up, each at its best, seconds."""
    best: dict[str, list[float]] = {}
    for _ in range(repetitions):
        story = Story(replicas=replicas)
        engines = {each.name: each.begin(story.spec()) for each in variants}
        spent: dict[str, list[float]] = {name: [] for name in engines}
        for first in range(0, len(decisions), chunk):
            events = []
            for decision in decisions[first : first + chunk]:
                events.append(story.look())
                story.follow(decision)
            for name, engine in engines.items():
                begun = time.process_time()
                for event in events:
                    engine.handle(event)
                if first >= warm_up:
                    spent[name].append(time.process_time() - begun)
        for name, chunks in spent.items():
            best[name] = [*map(min, best.get(name, chunks), chunks)]
    return best


def _whole(ticks: int) -> int:
    """Return so many ticks as whole chunks."""
    return CHUNK * max(1, round(ticks / CHUNK))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.tick", description=__doc__)
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.add_argument("--replicas", type=int, action="append", help="default: 1 8 32 128 5000")
    parser.add_argument("--warm-up", type=int, help="ticks before measuring")
    parser.add_argument("--ticks", type=int, help="ticks measured")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="the best one counts")
    arguments = parser.parse_args(argv)
    rows = []
    for replicas in arguments.replicas or REPLICAS:
        few = replicas > 1000
        warm_up = arguments.warm_up or (FEW_TICKS if few else WARM_UP_TICKS)
        ticks = arguments.ticks or (FEW_TICKS if few else TICKS)
        rows.append(
            measure(
                replicas,
                warm_up=_whole(warm_up),
                ticks=_whole(ticks),
                repetitions=arguments.repetitions,
            )
        )
    if arguments.output == "json":
        print(json.dumps({"rows": rows}))
        return
    print(
        _line("replicas", "a tick", "slowest", [f"without {name}" for name in rows[0]["without"]])
    )
    for row in rows:
        without = [f"{cpu_s * 1e6:.0f} us" for cpu_s in row["without"].values()]
        tick, slowest = f"{row['cpu_s'] * 1e6:.0f} us", f"{row['cpu_s_max'] * 1e3:.2f} ms"
        print(_line(row["replicas"], tick, slowest, without))


def _line(replicas: object, tick: str, slowest: str, without: Sequence[str]) -> str:
    return f"{replicas:>8}  {tick:>8}  {slowest:>8}" + "".join(
        [f"  {each:>18}" for each in without]
    )


if __name__ == "__main__":
    main()
