"""The production engine in the loop: the daemon's events in, the daemon's commands out.

Built by the one function the daemon uses and spoken to through `handle` only. What lies between is
the shell's: an observation cut every tick from samples that are one scrape old, a notice that
overtakes the tick, and one API write after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from autoscaler.core.contract.commands import (
    Annotate,
    Command,
    CordonNode,
    DeletePod,
    EvictPod,
    MarkNodeDrained,
    SetDeletionCost,
    SetReplicas,
    UncordonNode,
)
from autoscaler.core.contract.decision import Outcome
from autoscaler.core.contract.events import CommandFinished, Event, NoticeReceived, SpecChanged
from autoscaler.core.contract.spec import (
    FleetSpec,
    ModelSpec,
    PoolSpec,
    ScaleTarget,
    Targets,
)
from autoscaler.core.contract.state import CapacityType
from autoscaler.core.engine import Engine, EngineSettings, build_engine
from simulations.agenda import NS, Agenda, Priority, seconds
from simulations.replay.conditions import Conditions
from simulations.replay.observation import Observer
from simulations.replay.stage import (
    ON_DEMAND,
    WRITE_NS,
    ReplayStage,
    initial_replicas,
    make_stage,
    new_deployment,
    spot_deployments,
    spot_zones,
)
from simulations.serving.columns import RequestColumns
from simulations.traces.trace import Trace
from simulations.world.objects import SimulatedDeployment, SimulatedNode, SimulatedPod
from simulations.world.world import SimulatedWorld

ENGINE_POLICIES = ("inference-aware", "economic", "reactive")
"""Policies that are the production engine; the first with its default configuration."""
NAMESPACE = "serving"
MODEL = "replayed"

Listener: TypeAlias = Callable[[Event, Outcome], None]


class EngineLoop:
    """One engine over one world."""

    def __init__(
        self,
        spec: ModelSpec,
        settings: EngineSettings,
        *,
        world: SimulatedWorld,
        agenda: Agenda,
        end_ns: int,
        gpus_per_replica: int = 1,
        listeners: Sequence[Listener] = (),
        engine: Engine | None = None,
    ) -> None:
        """Set the engine over a world whose Deployments are the pools of its model, by name.

        Args:
            spec: Of the model.
            settings: Of the engine.
            world: What it observes and acts on.
            agenda: The world's.
            end_ns: The last tick is not after it.
            gpus_per_replica: Of the model.
            listeners: Are told each event and its outcome.
            engine: With these settings; None: the one that the daemon's function builds.
        """
        self._fleet = FleetSpec(models=(spec,))
        self._end_ns = end_ns
        self._world = world
        self._observer = Observer(world, model=spec.key, gpus_per_replica=gpus_per_replica)
        self._agenda = agenda
        self._listeners = tuple(listeners)
        self._engine = build_engine(settings) if engine is None else engine
        self._tick_ns = int(settings.tick_s * NS)
        self._next_id = 0
        self._accepted: dict[str, bool] = {}
        self._deployments = {deployment.name: deployment for deployment in world.deployments}

    def start(self) -> None:
        """Tell the engine its fleet and begin to tick."""
        self._agenda.add(0, self._tell_spec, priority=Priority.SPEC_CHANGED)
        self._agenda.add(0, self._tick, priority=Priority.OBSERVED)
        self._world.notice_listeners.append(self._on_notice)

    def _id(self) -> int:
        self._next_id += 1
        return self._next_id

    def _tell_spec(self, at_ns: int) -> None:
        self._handle(SpecChanged(id=self._id(), at=seconds(at_ns), fleet=self._fleet), at_ns)

    def _tick(self, at_ns: int) -> None:
        self._observe(at_ns)
        # read after the observation: the next one sees these samples, a whole tick old
        self._world.scrape(at_ns)
        if at_ns + self._tick_ns <= self._end_ns:
            self._agenda.add(at_ns + self._tick_ns, self._tick, priority=Priority.OBSERVED)

    def _observe(self, at_ns: int) -> None:
        self._handle(self._observer.observation(at_ns, id_=self._id()), at_ns)

    def _on_notice(self, node: SimulatedNode, at_ns: int) -> None:
        self._agenda.add(at_ns, partial(self._mark, node), priority=Priority.NOTICE_RECEIVED)

    def _mark(self, node: SimulatedNode, at_ns: int) -> None:
        interruption = self._observer.interruption(node)
        if interruption is None or at_ns > self._end_ns:
            return
        if self._world.faults.blind(at_ns):
            return  # the watch is silent: the first tick that sees again finds the mark
        self._handle(
            NoticeReceived(id=self._id(), at=seconds(at_ns), interruption=interruption), at_ns
        )
        self._agenda.add(at_ns, self._observe, priority=Priority.OBSERVED)

    def _handle(self, event: Event, at_ns: int) -> None:
        outcome = self._engine.handle(event)
        for listener in self._listeners:
            listener(event, outcome)
        queued: dict[str, int] = {}
        write_ns = WRITE_NS + self._world.faults.write_delay_ns(at_ns)
        for command in outcome.commands:
            place = queued.get(command.target, 0) + 1
            if command.after is not None or (
                isinstance(command, SetReplicas) and command.once_ended
            ):
                # behind the one it names, whatever its target
                place = max(place, 1 + max(queued.values(), default=0))
            queued[command.target] = place
            self._agenda.add(at_ns + place * write_ns, partial(self._perform, command))

    def _perform(self, command: Command, at_ns: int) -> None:
        if command.after is not None and not self._accepted.get(command.after, False):
            reason = "Skipped"
        elif seconds(at_ns) > command.expires_at:
            reason = "Expired"
        elif self._world.faults.refuses(at_ns):
            reason = "Unavailable"
        else:
            reason = self._write(command, at_ns)
        self._accepted[command.id] = reason == "Accepted"
        self._agenda.add(
            at_ns, partial(self._finished, command, reason), priority=Priority.COMMAND_FINISHED
        )

    def _finished(self, command: Command, reason: str, at_ns: int) -> None:
        event = CommandFinished(
            id=self._id(),
            at=seconds(at_ns),
            command=command.id,
            accepted=reason == "Accepted",
            reason=reason,
        )
        self._handle(event, at_ns)

    def _write(self, command: Command, at_ns: int) -> str:
        """Do one command to the world; the word is that of `CommandFinished.reason`."""
        world = self._world
        match command:
            case SetReplicas():
                deployment = self._deployments.get(command.scale_target.name)
                if deployment is None:
                    return "NotFound"
                world.scale(deployment, command.replicas, at_ns=at_ns)
            case Annotate():
                deployment = self._deployments.get(command.scale_target.name)
                if deployment is None:
                    return "NotFound"
                _annotate(deployment, command)
                world.version += 1
            case CordonNode() | MarkNodeDrained() | UncordonNode():
                node = world.nodes.get(command.node)
                if node is None:
                    return "NotFound"
                if isinstance(command, CordonNode):
                    world.cordon(node, by_us=True)
                elif isinstance(command, MarkNodeDrained):
                    world.mark_drained(node)
                else:
                    world.uncordon(node, at_ns=at_ns)
            case EvictPod() | DeletePod():
                pod = self._pod(command.pod)
                if pod is None:
                    return "NotFound"
                world.evict(pod, grace_s=command.grace_s, at_ns=at_ns)
            case SetDeletionCost():
                pod = self._pod(command.pod)
                if pod is None:
                    return "NotFound"
                pod.deletion_cost = command.cost or 0
                pod.deletion_cost_ours = command.cost is not None
                world.version += 1
        return "Accepted"

    def _pod(self, name: str) -> SimulatedPod | None:
        pods = (pod for deployment in self._world.deployments for pod in deployment.pods)
        return next((pod for pod in pods if pod.name == name), None)


def _annotate(deployment: SimulatedDeployment, command: Annotate) -> None:
    if command.value is None:
        deployment.annotations.pop(command.key, None)
    else:
        deployment.annotations[command.key] = command.value


def start_engine(
    trace: Trace,
    policy: str,
    conditions: Conditions,
    *,
    seed: int,
    listeners: Sequence[Listener] = (),
) -> ReplayStage:
    """Set up a run under one of ENGINE_POLICIES; the engine's first tick is on the agenda."""
    first = initial_replicas(trace, conditions)
    if conditions.spot is None:
        deployments = [new_deployment(ON_DEMAND, CapacityType.ON_DEMAND, replicas=first)]
    else:
        # the spot pools first: a raise goes where it is cheapest; the warm replica is on demand
        deployments = [
            *spot_deployments(conditions.spot, replicas=first - 1),
            new_deployment(ON_DEMAND, CapacityType.ON_DEMAND, replicas=1),
        ]
    spec = model_spec(conditions, trace.requests)
    kept = spec.warm_floor.replicas
    stage = make_stage(trace, conditions, deployments, seed=seed, on_demand_kept=kept)
    settings = EngineSettings() if policy == ENGINE_POLICIES[0] else EngineSettings(policy=policy)
    EngineLoop(
        spec,
        settings,
        world=stage.world,
        agenda=stage.agenda,
        end_ns=stage.end_ns,
        gpus_per_replica=conditions.profile.gpus,
        listeners=listeners,
    ).start()
    return stage


def model_spec(conditions: Conditions, requests: RequestColumns) -> ModelSpec:
    """The resource a user would write for this fleet: all else is its default."""
    profile = conditions.profile
    pools = [_pool(ON_DEMAND, CapacityType.ON_DEMAND, profile.usd_per_hour)]
    if conditions.spot is not None:
        pools[:0] = [
            _pool(name, CapacityType.SPOT, profile.spot_usd_per_hour)
            for name in spot_zones(conditions.spot)
        ]
    return ModelSpec(
        namespace=NAMESPACE,
        name=MODEL,
        pools=tuple(pools),
        max_replicas=conditions.replicas_max,
        warm_floor=conditions.warm_floor,
        objective=conditions.objective.of_model(requests, profile),
        targets=Targets(in_flight_requests=float(profile.in_flight_target)),
    )


def _pool(name: str, capacity_type: CapacityType, price: float) -> PoolSpec:
    return PoolSpec(
        name=name,
        target=ScaleTarget(namespace=NAMESPACE, name=name),
        capacity_type=capacity_type,
        price_usd_per_hour=price,
    )
