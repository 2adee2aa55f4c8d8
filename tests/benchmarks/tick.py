"""CPU per `Engine.handle` of one observation, the economic policy included on every tick.

    python -m tests.benchmarks.tick [-o table|json] [--replicas N]...

One model with an on-demand and a spot pool under demand that moves; every replica answers on every
tick, and the scale follows the decisions as far as the pods of the story allow. What is measured
begins when the forecast has history. `cpu_s` is the mean CPU time of a tick, `cpu_s_max` that of the
slowest one (the loop stands still for so long).
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import time

import numpy as np

from autoscaler.core.engine import EngineSettings, build_engine
from autoscaler.core.events import Event, Observed, SpecChanged
from autoscaler.core.state import ModelObservation, NodeColumns, PoolObservation, ReplicaColumns
from tests.builders import ON_DEMAND, SPOT, model, on_demand, specified, spot

REPLICAS = (1, 8, 32, 128, 5000)
TICK_S = 5.0
PER_NODE = 8
BEGIN_AT = 1_700_000_000.0
WARM_UP_TICKS = 500
TICKS = 1000
FEW_TICKS = 200
"""For a fleet so large that its observations are many megabytes."""


def fleet_spec(replicas: int) -> SpecChanged:
    """One model over two pools; the maximum leaves room."""
    spec = model(
        pools=[on_demand(price=4.0), spot(price=1.5)],
        warm=1,
        warm_on=ON_DEMAND,
        maximum=2 * replicas + 2,
        cold_start_s=60.0,
    )
    return specified(spec, at=BEGIN_AT)


def observations(replicas: int, *, ticks: int, seed: int = 7) -> list[Event]:
    """Observations of a fleet that serves: Poisson numbers around a load that waves."""
    rng = np.random.default_rng(seed)
    pool = np.array([0] * ((replicas + 3) // 4) + [1] * (replicas - (replicas + 3) // 4))
    nodes = _nodes(pool)
    names = tuple(f"llama-{'on-demand' if p == 0 else 'spot'}-{i:05d}" for i, p in enumerate(pool))
    long_ago = np.full(replicas, BEGIN_AT - 10_000.0)
    unknown = np.full(replicas, math.nan)
    counted = int(np.count_nonzero(pool == 0)), int(np.count_nonzero(pool == 1))
    pools = tuple(
        PoolObservation(
            name=name,
            current_replicas=count,
            rolling_out=False,
            gpus_per_replica=1,
            promises=(),
        )
        for name, count in zip(("on-demand", "spot"), counted, strict=True)
    )
    finished = np.zeros(replicas)
    events: list[Event] = []
    for tick in range(ticks):
        at = BEGIN_AT + TICK_S * (tick + 1)
        level = 22.0 + 4.0 * math.sin(tick / 60.0)
        finished = finished + rng.poisson(level / 2.0, replicas)
        running = np.minimum(rng.poisson(level, replicas), 32).astype(np.float64)
        columns = ReplicaColumns(
            name=names,
            pool=pool,
            node=np.arange(replicas, dtype=np.int64) // PER_NODE,
            created_at=long_ago,
            scheduled_at=long_ago,
            unschedulable_since=unknown,
            ready=np.ones(replicas, dtype=np.bool_),
            ready_at=long_ago + 50.0,
            deleting=np.zeros(replicas, dtype=np.bool_),
            grace_s=np.full(replicas, 120.0),
            sampled_at=at - rng.uniform(0.1, 1.0, replicas),
            waiting_requests=np.maximum(rng.poisson(0.1, replicas) - 1.0, 0.0),
            running_requests=running,
            kv_usage_ratio=running / 64.0,
            finished_requests_total=finished,
            prompt_tokens_total=finished * 300.0,
            generation_tokens_total=finished * 100.0,
            preemptions_total=np.zeros(replicas),
            framebuffer_used_bytes=np.full(replicas, 40e9),
            framebuffer_at=np.full(replicas, at - 2.0),
        )
        observation = ModelObservation(model="serving/llama", pools=pools, replicas=columns)
        events.append(
            Observed(
                id=tick + 1,
                at=at,
                nodes=nodes,
                interruptions=(),
                models=(observation,),
                cluster_at=at - 0.5,
            )
        )
    return events


def _nodes(pool: np.ndarray) -> NodeColumns:
    """As many nodes as hold the replicas, each with the kind of its first one."""
    count = (len(pool) + PER_NODE - 1) // PER_NODE
    kinds = tuple(ON_DEMAND if pool[i * PER_NODE] == 0 else SPOT for i in range(count))
    return NodeColumns(
        name=tuple(f"node-{i:05d}" for i in range(count)),
        capacity_type=kinds,
        exists=np.ones(count, dtype=np.bool_),
        ready=np.ones(count, dtype=np.bool_),
        unschedulable=np.zeros(count, dtype=np.bool_),
        cordoned_by_us=np.zeros(count, dtype=np.bool_),
        gpus_free=np.full(count, 2.0),
    )


def measure(replicas: int) -> dict[str, float | int]:
    """Measure one size of fleet."""
    large = replicas > 1000
    warm_up, ticks = (FEW_TICKS, FEW_TICKS) if large else (WARM_UP_TICKS, TICKS)
    engine = build_engine(EngineSettings(tick_s=TICK_S))
    engine.handle(fleet_spec(replicas))
    events = observations(replicas, ticks=warm_up + ticks)
    gc.collect()
    gc.freeze()  # the story's own objects are no garbage of a daemon's
    outcome = None
    for event in events[:warm_up]:
        outcome = engine.handle(event)
    spent = []
    for event in events[warm_up:]:
        begun = time.process_time()
        outcome = engine.handle(event)
        spent.append(time.process_time() - begun)
    gc.unfreeze()
    assert outcome is not None
    decision = outcome.decisions[0]
    assert decision.measures.forecast_replicas is not None, "the policy was to decide on every tick"
    assert decision.policy == "economic"
    return {"replicas": replicas, "cpu_s": sum(spent) / ticks, "cpu_s_max": max(spent)}


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.tick", description=__doc__)
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.add_argument("--replicas", type=int, action="append", help="default: 1 8 32 128 5000")
    arguments = parser.parse_args()
    rows = [measure(replicas) for replicas in arguments.replicas or REPLICAS]
    if arguments.output == "json":
        print(json.dumps({"rows": rows}))
        return
    print(f"{'replicas':>8}  {'CPU per handle':>14}  {'slowest':>10}")
    for row in rows:
        print(
            f"{row['replicas']:>8}  {row['cpu_s'] * 1e6:>11.0f} us  {row['cpu_s_max'] * 1e3:>7.2f} ms"
        )


if __name__ == "__main__":
    main()
