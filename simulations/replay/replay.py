"""One run: a trace, a policy and a seed through a world, from the first arrival to the last answer.

The trace ends with its last arrival: there the policies stop and the meter too; what is in flight is
then served out, uncharged. A first part may be played and not scored (`Conditions.score_from_s`), so
that every policy's memory is filled with this very traffic when the score begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import MappingProxyType

from autoscaler.errors import InvariantBroken, SettingsError
from simulations.agenda import NS
from simulations.peers.baseline import MakeBaseline, Parameters
from simulations.peers.rules.registry import KINDS
from simulations.replay.baseline_loop import start_baseline
from simulations.replay.conditions import Conditions
from simulations.replay.engine_loop import ENGINE_POLICIES, Listener, start_engine
from simulations.replay.run import EngineView, Run
from simulations.replay.schedule import ReplicaSchedule, start_schedule
from simulations.replay.stage import ReplayStage
from simulations.serving.fleet import TIMEOUT_NS
from simulations.traces.overlay import scaled_requests
from simulations.traces.trace import Trace

PROGRESS_NS = 60 * NS
NO_PARAMETERS: Parameters = MappingProxyType({})


def run(
    trace: Trace,
    policy: str,
    *,
    seed: int,
    conditions: Conditions,
    parameters: Parameters = NO_PARAMETERS,
    make: MakeBaseline | None = None,
    schedule: ReplicaSchedule | None = None,
    listeners: Sequence[Listener] = (),
    progress: Callable[[float], None] = lambda _: None,
) -> Run:
    """Replay `trace` under `policy`.

    Args:
        trace: Before it is scaled.
        policy: A name in ENGINE_POLICIES or KINDS.
        seed: Names the random streams.
        conditions: The same for all policies.
        parameters: Of a baseline, where they are not its defaults.
        make: A baseline that is in no registry; `policy` is only its name then.
        schedule: Is followed, and nobody decides; `policy` is only its name then.
        listeners: Are told each event of an engine and its outcome.
        progress: Is told the share done, 0 to 1.
    """
    started = time.perf_counter()
    requests = scaled_requests(trace.requests, scale=conditions.scale, seed=seed)
    trace = replace(trace, requests=requests)
    if make is None and policy in KINDS:
        make = KINDS[policy].make
    engine = EngineView(score_from_ns=conditions.score_from_ns)
    listeners = (*listeners, engine.hear)
    if schedule is not None:
        stage = start_schedule(trace, schedule, conditions, seed=seed)
    elif make is not None:
        stage = start_baseline(trace, make, conditions, seed=seed, parameters=parameters)
    elif policy in ENGINE_POLICIES:
        stage = start_engine(trace, policy, conditions, seed=seed, listeners=listeners)
    else:
        known = ", ".join((*ENGINE_POLICIES, *KINDS))
        raise SettingsError(f"--policy {policy!r}: no such policy; write one of {known}, or all")
    _play(stage, progress)
    return Run(
        trace=trace.name,
        policy=policy,
        seed=seed,
        requests=requests,
        results=stage.world.fleet.results,
        ledger=stage.world.ledger,
        profile=conditions.profile,
        objective=conditions.objective,
        end_ns=stage.end_ns,
        score_from_ns=conditions.score_from_ns,
        cold_start_s=conditions.cold_start.mean_s,
        judged_target=conditions.tested_target,
        engine=engine,
        on_demand_kept=None if conditions.spot is None else stage.on_demand_kept,
        wall_s=time.perf_counter() - started,
    )


def _play(stage: ReplayStage, progress: Callable[[float], None]) -> None:
    agenda, fleet, end_ns = stage.agenda, stage.world.fleet, stage.end_ns
    at_ns = 0
    while at_ns < end_ns:
        at_ns = min(at_ns + PROGRESS_NS, end_ns)
        agenda.run_until(at_ns)
        progress(at_ns / end_ns)
    # no request outlives its client's patience
    last_ns = end_ns + TIMEOUT_NS
    while fleet.arrived() < len(fleet.requests) or fleet.outstanding():
        if at_ns > last_ns:
            raise InvariantBroken(f"requests undecided {(at_ns - end_ns) // NS} s behind the end")
        at_ns += 10 * NS
        agenda.run_until(at_ns)
        fleet.run_until(at_ns)
