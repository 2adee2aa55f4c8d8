"""What must hold after every step, each a function of what is true and what the daemon did.

Each takes plain values and returns what is wrong, as a sentence; empty: nothing. `judge` gathers the values
from a run. `test_invariants.py` plants a violation of each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from autoscaler.core.contract.commands import (
    CORDON_ANNOTATION,
    DRAINED_ANNOTATION,
    FALLBACK_ANNOTATION,
)
from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.deletion_cost import COST_ANNOTATION, OWN_COST_ANNOTATION
from autoscaler.core.contract.spec import ModelSpec, Pause

CLUSTER_AGE_S_MAX = 30.0
"""The engine's `cluster_age_s_max`."""
LATE_S = 16.0
"""From a decision to its write: a tick, and the ten seconds that a command may take."""
AWAKE_S = 25.0
"""A daemon that lives and sees for so long before a deadline has no excuse."""
CAME_S = 2.0
"""A tick, an eviction, and the least of a grace."""
UNTOLD_S = 2.0
"""What was written so long ago, and was not told, may be hidden by a watch that is silent."""
ANSWERS_MAX = 1
FLAP_S = 10.0
"""A promise that is taken back and made again within this time, and for no greater need, was never to be
taken back."""
TASKS_MAX = 400
WAITING_MAX = 200
"""Events in the inbox."""
ENDS_MAX = 5_000
"""Ends of commands that are remembered: the actuator's own limit, and a tick's commands."""
BYTES_MAX = 8 * 2**20
"""Of all that can be reached from the daemon, in a scenario of a dozen pods."""


# -- decisions


def bounds(spec: ModelSpec, decision: Decision) -> str:
    """Desired replicas lie between minimum and maximum, and above it by the fallback alone."""
    desired, current = decision.desired_replicas, decision.current_replicas
    if desired is None or current is None:
        return ""
    if spec.pause is Pause.ALL:
        return "" if desired == current else f"paused, and yet {current} -> {desired}"
    if _is_locked(decision):
        return ""
    fallback = sum(pool.fallback_replicas for pool in decision.pools)
    if desired < spec.min_replicas and (spec.pause is Pause.NO or desired < current):
        return f"{desired} desired, below the minimum of {spec.min_replicas}"
    if spec.pause is Pause.NO and desired > spec.max_replicas + fallback:
        held = any(step.reason == "PoolsHeld" for step in decision.trail)
        if not held:
            return f"{desired} desired, above {spec.max_replicas} and {fallback} of fallback"
    return ""


def _is_locked(decision: Decision) -> bool:
    """Tell whether nothing is written, for somebody else has undone what was; a person's number is within the bounds."""
    said = (each for each in decision.conditions if each.type == "Conflicted")
    return any(each.status == "True" and each.reason != "ManualScale" for each in said)


def floors(spec: ModelSpec, decision: Decision) -> str:
    """No pool of the floor's capacity type is cut below the warm floor."""
    floor = spec.warm_floor
    if spec.pause is not Pause.NO or decision.desired_replicas is None:
        return ""
    pools = [
        pool
        for pool, about in zip(decision.pools, spec.pools, strict=True)
        if floor.capacity_type in {None, about.capacity_type}
    ]
    if not pools or any(step.reason == "PoolsHeld" for step in decision.trail):
        return ""
    desired = sum(pool.desired_replicas or 0 for pool in pools)
    current = sum(pool.current_replicas or 0 for pool in pools)
    due = [each.replicas for each in floor.schedules if each.span(decision.at, ahead_s=0.0)]
    kept = max([floor.replicas, *due])
    if desired < min(kept, current):
        return f"{current} -> {desired} where {kept} are to be kept warm"
    return ""


def no_bug(words: Iterable[str]) -> str:
    """Nothing says that a bug of ours was held over: neither a log line nor a condition."""
    return "; ".join(sorted(set(words)))


# -- writes


def own_things_only(verb: str, resource: str, body: Any) -> str:
    """A write changes what is ours: a scale, our annotations, a cordon, a pod's end."""
    match verb, resource:
        case ("update", "deployments/scale") | ("create", "pods/eviction") | ("delete", "pods"):
            return ""
        case "patch", "deployments":
            left = {**body, "metadata": {**body.get("metadata", {}), "annotations": {}}}
            keys = set((body.get("metadata") or {}).get("annotations") or {})
            if keys <= {FALLBACK_ANNOTATION} and left == {"metadata": {"annotations": {}}}:
                return ""
        case "patch", "pods":
            keys = set((body.get("metadata") or {}).get("annotations") or {})
            if keys <= {COST_ANNOTATION, OWN_COST_ANNOTATION} and set(body) <= {"metadata"}:
                return ""
        case "patch", "nodes":
            metadata = body.get("metadata") or {}
            ours = set(metadata.get("annotations") or {}) <= {
                CORDON_ANNOTATION,
                DRAINED_ANNOTATION,
            }
            if (
                ours
                and set(body) <= {"metadata", "spec"}
                and set(body.get("spec") or {}) <= {"unschedulable"}
            ):
                return ""
    return f"{verb} {resource} writes what is not ours: {json.dumps(body)[:200]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What of one model could be seen at the moment of a write."""

    unseen_s: float
    """Age of the oldest change in the cluster that the caches had not been told; 0: none."""
    silent_s: float
    """The longest time for which a ready replica, not doomed, has not sent a page of its."""
    sample_age_s_max: float


def never_smaller_while_blind(
    sight: Sight, *, before: int, after: int, asked: int, replicas_max: int
) -> str:
    """A scale is not lowered on what is too old; only the user's maximum does that.

    Args:
        sight: what could be seen.
        before: replicas of the target before the write.
        after: what was written.
        asked: replicas of the model over all its targets before the write.
        replicas_max: the model's maximum.
    """
    if after >= before or asked > replicas_max:
        return ""
    if sight.unseen_s > CLUSTER_AGE_S_MAX + LATE_S:
        return f"{before} -> {after}, and a change of {sight.unseen_s:.0f} s ago was not seen"
    if sight.silent_s > sight.sample_age_s_max + LATE_S:
        return f"{before} -> {after}, and a ready replica was silent for {sight.silent_s:.0f} s"
    return ""


def at_most_one_answer(writes: Sequence[tuple[str, int, int]]) -> str:
    """A write that somebody undid is written again once at most.

    Args:
        writes: of one scale target in order: ("ours" or "theirs", replicas before, after).
    """
    answers = 0
    for (_, _, wanted), (who, _, undone), (again, _, repeated) in zip(
        writes, writes[1:], writes[2:], strict=False
    ):
        if (who, again) == ("theirs", "ours") and wanted == repeated != undone:
            answers += 1
            if answers > ANSWERS_MAX:
                return f"{wanted} replicas were written again {answers} times after others undid it"
        elif again == "ours":
            answers = 0
    return ""


def promises_of(value: str | None) -> dict[str, int] | None:
    """Promised replicas by node; None: that is no list of promises, or names a node twice."""
    try:
        entries = json.loads(value or "[]")
        found = {str(entry["node"]): int(entry["replicas"]) for entry in entries}
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if len(found) == len(entries) else None


def promises_not_doubled(
    after: Mapping[str, int] | None, *, before: Mapping[str, int], doomed: Mapping[str, int]
) -> str:
    """No more is promised for a node than it took replicas of the model with it.

    Args:
        after: what was written; None: it cannot be read.
        before: what stood there.
        doomed: replicas of the model that were on each node that was noticed or lost since.
    """
    if after is None:
        return "what was written cannot be read, or names a node twice"
    for node, replicas in after.items():
        if replicas > before.get(node, 0) and replicas > doomed.get(node, 0):
            return f"{replicas} are promised for {node}, which took {doomed.get(node, 0)} with it"
    return ""


def promises_not_lost(after: int, *, before: int, needed: int, left: int, in_force: int) -> str:
    """What is promised in sum falls only where what is left without it is enough, and covers what is there.

    Args:
        after: promised in sum, as written.
        before: as it stood there.
        needed: replicas that are to serve, by the decision, before any fallback.
        left: replicas desired by the decision, less those that are doomed.
        in_force: replicas of fallback that the decision asks for.
    """
    if after < in_force:
        return f"{in_force} replicas of fallback are asked for and only {after} are promised"
    if after < before and left < needed:
        return f"promises fell from {before} to {after}, and {left} are left of {needed}"
    return ""


def promises_stand(promised: int, *, in_force: int, missing_s: float) -> str:
    """What is decided to be in force stands on the scale target, once there was time to write it.

    A write that was under way as the need came back may take away what is needed again; it is not to stay so.

    Args:
        promised: in sum, as it stands there.
        in_force: replicas of fallback that the last decision counts on.
        missing_s: for so long that is more than stands there, though nothing kept the daemon from writing.
    """
    if promised >= in_force or missing_s <= LATE_S:
        return ""
    return f"{in_force} replicas of fallback are counted on and {promised} stand promised for {missing_s:.0f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promised:
    """What is promised for one node, from one write on."""

    at: float
    replicas: int
    needed: int
    """Replicas of the model that were to serve by the decision, before the GPU budget and any fallback."""
    granted: int
    """The same after the GPU budget."""


def promises_made_once(story: Sequence[Promised]) -> str:
    """What is promised for a node that stays doomed is not taken back and, for no greater need, made again.

    A need that grows between the two is no flap: a window delays a fall, and the rise may follow it at once.
    Neither is a budget that takes a GPU from one model and gives it back: what models take from each other by
    turns is the budget's matter, and not judged here.

    Args:
        story: of one node, in order.
    """
    for place, (before, fallen) in enumerate(pairwise(story)):
        if before.replicas <= fallen.replicas:
            continue
        needed, granted = fallen.needed, fallen.granted
        for again in story[place + 2 :]:
            if again.replicas > fallen.replicas:
                if again.needed <= needed and again.granted <= granted:
                    counts = " ".join(str(each.replicas) for each in story)
                    return f"promised replicas went {counts} within {FLAP_S:.0f} s"
                break
            # what others of the model were promised meanwhile says how low the need was
            needed, granted = min(needed, again.needed), min(granted, again.granted)
    return ""


def only_the_doomed_are_drained(node: str, *, doomed: Iterable[str]) -> str:
    """What is cordoned, or loses a pod by an eviction, is a node that was noticed."""
    return "" if node in set(doomed) else f"{node} is drained, and nobody has noticed it"


def only_the_empty_are_marked(node: str, *, there: Iterable[str]) -> str:
    """A node that is marked as drained carries no pod of ours: whoever reads that lets it go.

    Args:
        node: that was marked.
        there: its pods, those left out that are so new that they need not be known.
    """
    names = ", ".join(there)
    return f"{node} is marked as drained, and carries {names}" if names else ""


# -- steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A pod that was still on its machine when that was taken."""

    pod: str
    excuses: tuple[str, ...]
    """What the daemon had said of it, or why it could not know."""


def emptied_or_said_why(node: str, left: Iterable[Left]) -> str:
    """At its deadline a noticed node holds no pod of the fleet, or it was said why."""
    silent = [each.pod for each in left if not each.excuses]
    return f"{node} still held {', '.join(silent)}, and nothing was said" if silent else ""


def heard_too_late(*, said_at: float, heard_at: float, deadline_at: float) -> bool:
    """Whether a notice came to be known so late that nobody can be blamed for what is left on the machine.

    A watch that falls silent may look healthy for `CLUSTER_AGE_S_MAX`; for longer the daemon has to say itself
    that it cannot see. It hides what is said in that time, and nothing that was heard before.

    Args:
        said_at: When it was written on the Node.
        heard_at: From when on the daemon had been told.
        deadline_at: When the machine goes.
    """
    hidden_s, left_s = heard_at - said_at, deadline_at - heard_at
    return UNTOLD_S < hidden_s <= CLUSTER_AGE_S_MAX and left_s < needed_s(said_at, deadline_at)


def came_too_late(*, bound_at: float, deadline_at: float) -> bool:
    """Whether a pod came to a machine so shortly before it goes that no tick and no eviction could have moved it."""
    return deadline_at - bound_at < CAME_S


def needed_s(said_at: float, deadline_at: float) -> float:
    """Seconds in which a daemon that lives and sees empties a node, or the notice's own where that is shorter."""
    return min(AWAKE_S, deadline_at - said_at - 1.0)


def no_task_dead(tasks: Mapping[str, bool]) -> str:
    """Every long-lived task runs.

    Args:
        tasks: by name, whether it has ended.
    """
    dead = [name for name, ended in tasks.items() if ended]
    return f"ended: {', '.join(dead)}" if dead else ""


def memory_bounded(*, tasks: int, waiting: int, ends: int, reached_bytes: int = 0) -> str:
    """What the daemon holds does not grow with time."""
    found = {
        f"{tasks} tasks": tasks > TASKS_MAX,
        f"{waiting} events wait": waiting > WAITING_MAX,
        f"{ends} ends of commands are remembered": ends > ENDS_MAX,
        f"{reached_bytes} bytes can be reached": reached_bytes > BYTES_MAX,
    }
    return ", ".join(text for text, wrong in found.items() if wrong)


def healed(*, unready: Sequence[str], decided_s: float, cordons: Sequence[str]) -> str:
    """A while after the last fault it is ready, decides, and has left nothing behind.

    Args:
        unready: why it says it is not ready.
        decided_s: since the last decision.
        cordons: nodes with our cordon that nobody has noticed.
    """
    found = [*unready]
    if decided_s > 30.0:
        found.append(f"nothing was decided for {decided_s:.0f} s")
    found += [f"our cordon was left on {node}" for node in cordons]
    return "; ".join(found)
