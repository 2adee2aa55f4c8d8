"""Holds the invariants against a run: gathers what is true and what the daemon did, and asks each."""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from autoscaler.core.contract.commands import (
    CORDON_ANNOTATION,
    DRAINED_ANNOTATION,
    Annotate,
    Command,
)
from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.reasons import Reason
from autoscaler.core.contract.spec import ModelSpec, Pause
from autoscaler.daemon.actuator import CommandEnding
from autoscaler.daemon.loop import Handled, Listener
from tests.seeded import invariants
from tests.seeded.api import ApiWrite
from tests.seeded.promises import PromiseJudge
from tests.seeded.reach import reachable_bytes
from tests.seeded.truth import NEWS_S, Truth
from tests.seeded.world import Notice

if TYPE_CHECKING:
    from tests.seeded.run import Run

BUGS = ("engine.broke", "observation.broke", "command.broke", "daemon.broke", "task.broke")
"""Log events that say that a bug was held over."""
_ERRORS = re.compile(r"^[ |]*(\w+(?:Error|Broken|Exception)\b.*)$", re.MULTILINE)
"""What a trace ends in; that of a group has several ends."""
GARBLED_S = 60.0
"""So long it may take at most until an object that was garbled on its way has been read again."""


class Ear(Listener):
    """What the daemon's loop tells."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def handled(self, handled: Handled) -> None:
        self._judge.handled(handled)

    def command_ended(self, command: Command, ending: CommandEnding) -> None:
        self._judge.command_ended(command, ending)

    def engine_broke(self) -> None:
        self._judge.bug("engine broke")


class Judge:
    """Of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._scales: dict[tuple[str, str], list[tuple[str, int, int]]] = {}
        self._refused: deque[tuple[float, str, str]] = deque(maxlen=5_000)
        """When, target, why."""
        self._unready: dict[int, str] = {}
        """By whole second."""
        self._unobserved: dict[str, tuple[float, float]] = {}
        """By model: from when to when its decisions last said that nothing certain is known of it, and why."""
        self._dead: set[int] = set()
        """Whole seconds in which no daemon lived and could see."""
        self._untold: dict[int, float] = {}
        """By notice: the last look at which a daemon that held itself for seeing had not been told of it."""
        self._truth = Truth(run)
        self._promises = PromiseJudge(run, self._truth)
        self._checked: set[int] = set()

    # -- what is told

    def handled(self, handled: Handled) -> None:
        run, event, outcome = self._run, handled.event, handled.outcome
        for command in outcome.commands:
            run.history.note("command", type(command).__name__, command.target, command.id)
        if not isinstance(event, Observed):
            return
        fleet = run.daemon.telemetry.status.fleet
        specs = {model.key: model for model in fleet.models} if fleet else {}
        self._promises.decided(outcome)
        for decision in outcome.decisions:
            spec = specs.get(decision.model)
            if spec is not None:
                self._decided(spec, decision)

    def _decided(self, spec: ModelSpec, decision: Decision) -> None:
        run = self._run
        pools = [(pool.current_replicas, pool.desired_replicas) for pool in decision.pools]
        run.history.note(
            "decision", decision.model, decision.desired_replicas, decision.reason, pools
        )
        words = [c.message for c in decision.conditions if c.reason == "InvariantBroken"]
        run.found("no bug", invariants.no_bug(words))
        if not words:  # a model that a bug has broken holds what it has, whatever that is
            run.found("bounds", invariants.bounds(spec, decision))
            run.found("floors", invariants.floors(spec, decision))
        if decision.reason is Reason.UNOBSERVED:
            since, last = self._unobserved.get(decision.model, (run.now(), -math.inf))
            if run.now() - last > invariants.LATE_S:
                since = run.now()
            self._unobserved[decision.model] = since, run.now()

    def command_ended(self, command: Command, ending: CommandEnding) -> None:
        run = self._run
        run.history.note("ended", type(command).__name__, command.target, ending.reason)
        if not ending.accepted:
            self._refused.append((run.now(), command.target, ending.reason))
            if isinstance(command, Annotate):
                self._promises.refused(command)
        if ending.reason == "Failed" and ending.message.partition(":")[0].endswith("Error"):
            self.bug(f"{type(command).__name__} broke: {ending.message[:200]}")

    def logged(self, event: str, line: dict[str, Any]) -> None:
        """A line of the daemon's log."""
        self._run.history.note("log", event)
        if event in BUGS:
            trace = str(line.get("exception") or line)
            said = _ERRORS.findall(trace) or [trace[-200:]]
            self.bug(f"{event}: {said[-1]}")

    def bug(self, what: str) -> None:
        self._run.found("no bug", invariants.no_bug([what]))

    # -- writes

    def theirs(self, namespace: str, name: str, *, before: int, after: int) -> None:
        """Somebody else scaled."""
        self._scales.setdefault((namespace, name), []).append(("theirs", before, after))

    def wrote(self, write: ApiWrite) -> None:
        """The daemon wrote."""
        run = self._run
        run.history.note("write", write)
        own = invariants.own_things_only(write.verb, write.resource, write.body)
        run.found("own things only", own)
        if write.error or write.before is None:
            return
        match write.resource:
            case "deployments/scale":
                self._scaled(write)
            case "deployments":
                self._promises.wrote(write)
            case "nodes" if write.body.get("spec", {}).get("unschedulable"):
                run.found("only the doomed are drained", self._drained(write.name))
            case "nodes" if write.body["metadata"].get("annotations", {}).get(DRAINED_ANNOTATION):
                run.found("only the doomed are drained", self._drained(write.name))
                run.found("only the empty are marked", self._emptied(write.name))
            case "pods/eviction" | "pods" if write.verb in {"create", "delete"}:
                node = write.before["spec"].get("nodeName", "")
                run.found("only the doomed are drained", self._drained(node))

    def _scaled(self, write: ApiWrite) -> None:
        run, before = self._run, int(write.before["spec"]["replicas"])
        after = int(write.body["spec"]["replicas"])
        key = (write.namespace, write.name)
        story = self._scales.setdefault(key, [])
        story.append(("ours", before, after))
        run.found("at most one answer", invariants.at_most_one_answer(story[-12:]))
        spec = run.spec_of(write.namespace, write.name)
        if spec is None or after >= before:
            return
        asked = before + sum(
            run.world.deployment(pool.target.namespace, pool.target.name)["spec"]["replicas"]
            for pool in spec.pools
            if pool.target.name != write.name
        )
        wrong = invariants.never_smaller_while_blind(
            self._truth.sight(spec),
            before=before,
            after=after,
            asked=asked,
            replicas_max=spec.max_replicas,
        )
        run.found("never smaller while blind", wrong)

    def _drained(self, node: str) -> str:
        noticed = [
            notice.node
            for notice in self._run.world.notices
            if notice.withdrawn_at is None or self._run.now() - notice.withdrawn_at < 60.0
        ]
        return invariants.only_the_doomed_are_drained(node, doomed=noticed)

    def _emptied(self, node: str) -> str:
        since = self._run.now() - invariants.CLUSTER_AGE_S_MAX - NEWS_S
        seen = self._truth.bound.get(node, {})
        known = {uid for uid, (_, first_at, _) in seen.items() if first_at <= since}
        there = [pod["metadata"] for pod in self._run.world.pods_on(node)]
        return invariants.only_the_empty_are_marked(
            node, there=[each["name"] for each in there if each["uid"] in known]
        )

    # -- every second

    def look(self) -> None:
        """The invariants of a step."""
        run, now = self._run, self._run.now()
        self._truth.follow_pods(now)
        process = run.process
        if process is None or not process.alive or process.daemon is None:
            self._dead.add(int(now))
            self._promises.blinded()
        else:
            daemon = process.daemon
            caches = daemon.cluster._caches
            tasks = {"daemon": process.task is not None and process.task.done()}
            tasks |= {
                f"cache of {cache.resource.plural} {cache.namespace}": task.done()
                for cache, task in caches._tasks.items()
            }
            run.found("no task dead", invariants.no_task_dead(tasks))
            wrong = invariants.memory_bounded(
                tasks=len(asyncio.all_tasks()),
                waiting=len(daemon.inbox),
                ends=len(daemon.actuator._ends),
            )
            run.found("memory bounded", wrong)
            unready = daemon.telemetry.status.unready()
            if unready:
                self._unready[int(now)] = unready[0]
                self._dead.add(int(now))
                self._promises.blinded()
            else:
                self._untold.update((id(notice), now) for notice in self._truth.untold())
                fleet = daemon.telemetry.status.fleet
                for spec in fleet.models if fleet else ():
                    self._promises.look(spec)
        for notice in run.world.notices:
            soon = notice.withdrawn_at is None and notice.deadline_at - 1.5 <= now
            if soon and id(notice) not in self._checked:
                self._checked.add(id(notice))
                left_s = max(0.0, notice.deadline_at - 0.05 - now)
                run.later(left_s, lambda n=notice: self.deadline(n))

    def deadline(self, notice: Notice) -> None:
        """The moment before a noticed machine goes."""
        run = self._run
        if notice.withdrawn_at is not None or notice.node not in run.world.kubelets.powered:
            return
        left = [
            invariants.Left(pod=pod["metadata"]["name"], excuses=tuple(self._excuses(notice, pod)))
            for pod in run.world.pods_on(notice.node)
        ]
        run.history.note("deadline", notice.node, len(left))
        wrong = invariants.emptied_or_said_why(notice.node, left)
        run.found("emptied or said why", wrong)

    def _excuses(self, notice: Notice, pod: Any) -> Iterator[str]:
        run, now = self._run, self._run.now()
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        spec = run.spec_of_model(pod["metadata"]["labels"]["model"])
        if spec is None or spec.pause is Pause.ALL or spec.mode.value != "Active":
            yield "paused"
            return
        targets = {f"Node/{notice.node}", f"Pod/{namespace}/{name}"}
        targets |= {str(pool.target) for pool in spec.pools}
        for at, target, reason in self._refused:
            if at >= notice.at and target in targets:
                yield f"{target}: {reason}"
        needed_s = invariants.needed_s(notice.at, notice.deadline_at)
        awake = [int(now) - n not in self._dead for n in range(int(needed_s) + 1)]
        if not all(awake):
            yield "no daemon that could see for long enough"
        heard_at = self._untold.get(id(notice), notice.at)
        if invariants.heard_too_late(
            said_at=notice.at, heard_at=heard_at, deadline_at=notice.deadline_at
        ):
            yield "a silent watch hid the notice"
        self._truth.follow_pods(now)
        seen = self._truth.bound.get(notice.node, {}).get(pod["metadata"]["uid"])
        bound_at = now if seen is None else seen[1]
        if invariants.came_too_late(bound_at=bound_at, deadline_at=notice.deadline_at):
            yield "it came in the last moment"
        since, last = self._unobserved.get(spec.key, (0.0, -math.inf))
        if now - last < needed_s and last - since < GARBLED_S:
            yield "it was said why nothing certain was known of the model"

    # -- the end

    def end(self) -> None:
        """A while after the last fault."""
        run, _now = self._run, self._run.now()
        daemon = run.daemon
        status = daemon.telemetry.status
        decided = [decision.at for decision in status.decisions.values()]
        noticed = set(self._truth.doomed_nodes())
        cordons = [
            node["metadata"]["name"]
            for node in run.world.store.all("nodes")
            if CORDON_ANNOTATION in (node["metadata"].get("annotations") or {})
            and node["metadata"]["name"] not in noticed
        ]
        wrong = invariants.healed(
            unready=status.unready(),
            decided_s=daemon.clock.now() - min(decided) if decided else float("inf"),
            cordons=cordons,
        )
        run.found("healed", wrong)
        reached = reachable_bytes(daemon)
        wrong = invariants.memory_bounded(
            tasks=len(asyncio.all_tasks()),
            waiting=len(daemon.inbox),
            ends=len(daemon.actuator._ends),
            reached_bytes=reached,
        )
        run.found("memory bounded", wrong)
        run.reached_bytes = reached
