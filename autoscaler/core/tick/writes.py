"""Writes: from what is desired to commands, each sent once.

A command whose effect is not observed yet is pending and is not sent again, until it is refused or
its time is over. Nothing else is remembered of it: what is still desired then is found anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from autoscaler.core.contract.commands import (
    COMMAND_TIMEOUT_S,
    FALLBACK_ANNOTATION,
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
from autoscaler.core.contract.promise_text import from_text, to_text
from autoscaler.core.contract.spec import ScaleTarget
from autoscaler.core.contract.state import Promise
from autoscaler.core.memory import Memory, Pending

PODS_PER_TICK_MAX = 1000
"""Pods evicted or deleted by one tick. The API server takes some hundred a second; more would expire in
the queue, and a loop that stands still for them delays everything else. The next tick goes on."""


@dataclass(slots=True, kw_only=True)
class Writes:
    """The commands of one event, in the order in which they are to be enqueued."""

    memory: Memory
    event: int
    at: float
    commands: list[Command] = field(default_factory=list)
    pods_removed: int = 0
    expiries: dict[str, float] = field(default_factory=dict)
    """By id of this event's commands that others may wait for."""

    def set_replicas(
        self,
        *,
        model: str,
        target: ScaleTarget,
        current: int,
        replicas: int,
        serving_change: int,
        after: str | None = None,
        prepare: Callable[[], tuple[str, ...]] = tuple,
    ) -> str | None:
        """Set a scale target's replicas, unless that is so, or on its way.

        Args:
            model: its key.
            target: the scale target.
            current: as observed.
            replicas: as desired.
            serving_change: of `replicas - current`, what is no fallback: rate limits count it.
            after: the command that must be accepted first.
            prepare: asked only where it is sent, sends what belongs before it, and returns the commands
                that must have ended first.

        Returns:
            The id of the command that will have set it and is not known to be accepted; None: there
            is none to wait for.
        """
        if current == replicas and not self.memory.pending:
            return None  # almost every tick
        pending = self._pending("SetReplicas", str(target))
        same, arrived = pending is not None and pending.value == replicas, current == replicas
        if not self._is_due(pending, arrived=arrived, same=same):
            return _awaited(pending) if same and not arrived else None
        once_ended = prepare()
        command = SetReplicas(
            id=self._next_id(),
            model=model,
            expires_at=self._expires_at(after, *once_ended),
            after=after,
            scale_target=target,
            replicas=replicas,
            once_ended=once_ended,
        )
        self._send(command, value=replicas, serving_change=serving_change)
        return command.id

    def annotate(
        self,
        *,
        model: str,
        target: ScaleTarget,
        observed: tuple[Promise, ...],
        promises: tuple[Promise, ...],
    ) -> str | None:
        """Write the promises on a scale target, unless they stand there, or are on their way.

        Args:
            model: its key.
            target: the scale target.
            observed: what stands there, our own accepted promises in it (`own_promises`).
            promises: as planned.

        Returns:
            As `set_replicas`.
        """
        value, there = to_text(promises), to_text(observed)
        pending = self._pending("Annotate", str(target))
        same = pending is not None and _promise_alike(pending.value, value)
        if same and pending is not None and pending.accepted:
            return None  # `own_promises` forgets it once it is seen
        arrived = there == value or (same and _promise_alike(there, value))
        if not self._is_due(pending, arrived=arrived, same=same):
            return _awaited(pending) if same and not arrived else None
        command = Annotate(
            id=self._next_id(),
            model=model,
            expires_at=self._expires_at(None),
            scale_target=target,
            key=FALLBACK_ANNOTATION,
            value=value,
        )
        self._send(command, value=value)
        return command.id

    def set_deletion_cost(
        self, *, model: str, namespace: str, pod: str, cost: int | None
    ) -> str | None:
        """Set a pod's deletion cost, or take ours away (None), unless that is on its way.

        Returns:
            As `set_replicas`.
        """
        pending = self._pending("SetDeletionCost", f"Pod/{namespace}/{pod}")
        if pending is not None and pending.value == cost:
            return _awaited(pending)
        command = SetDeletionCost(
            id=self._next_id(),
            model=model,
            expires_at=self._expires_at(None),
            namespace=namespace,
            pod=pod,
            cost=cost,
        )
        self._send(command, value=cost)
        return command.id

    def _is_due(self, pending: Pending | None, *, arrived: bool, same: bool) -> bool:
        """Tell whether a write has to be sent, by what is observed and what is on its way.

        | arrived | last command to this target | |
        |---|---|---|
        | yes | none, or another that was accepted | nothing to send |
        | yes | the same | nothing to send: it has arrived, and is forgotten |
        | yes | another that is not accepted yet | send: it has to be called back |
        | no | the same | nothing to send: it is waited for |
        | no | none, or another | send |

        Args:
            pending: the last command to this target whose effect was not observed; None: there is none.
            arrived: what is desired is observed.
            same: that command asked for what is desired.
        """
        if pending is None:
            return not arrived
        if same:
            if arrived:
                del self.memory.pending[pending.kind, pending.target]
            return False
        return not arrived or not pending.accepted

    def cordon(self, *, model: str, node: str, after: str | None) -> str | None:
        """Cordon a node, once over all models that have replicas on it.

        Returns:
            The id of the command of this event that does; None: it is on its way since an earlier one.
        """
        pending = self._pending("CordonNode", f"Node/{node}")
        if pending is not None:
            return pending.id if pending.id in self.expiries else None
        command = CordonNode(
            id=self._next_id(),
            model=model,
            expires_at=self._expires_at(after),
            after=after,
            node=node,
        )
        self._send(command)
        return command.id

    def uncordon(self, *, model: str, node: str) -> None:
        """Undo our cordon."""
        if self._pending("UncordonNode", f"Node/{node}") is None:
            expires_at = self._expires_at(None)
            self._send(
                UncordonNode(id=self._next_id(), model=model, expires_at=expires_at, node=node)
            )

    def mark_drained(self, *, model: str, node: str) -> None:
        """Note on a node that we emptied it."""
        if self._pending("MarkNodeDrained", f"Node/{node}") is None:
            expires_at = self._expires_at(None)
            self._send(
                MarkNodeDrained(id=self._next_id(), model=model, expires_at=expires_at, node=node)
            )

    def remove_pod(
        self,
        *,
        model: str,
        namespace: str,
        pod: str,
        grace_s: int,
        ends_at: float | None,
        after: str | None,
        delete: bool,
    ) -> None:
        """Evict a pod, or delete it where its budget refused and the deadline is near."""
        target = f"Pod/{namespace}/{pod}"
        kind = DeletePod if delete else EvictPod
        if self._pending(kind.__name__, target) or self._pending("DeletePod", target):
            return
        if self.pods_removed >= PODS_PER_TICK_MAX:
            return
        self.pods_removed += 1
        self._send(
            kind(
                id=self._next_id(),
                model=model,
                expires_at=self._expires_at(after),
                after=after,
                namespace=namespace,
                pod=pod,
                grace_s=grace_s,
                ends_at=ends_at,
            )
        )

    def _pending(self, kind: str, target: str) -> Pending | None:
        return self.memory.pending.get((kind, target))

    def _send(
        self, command: Command, *, value: int | str | None = None, serving_change: int = 0
    ) -> None:
        self.commands.append(command)
        if isinstance(command, SetReplicas | Annotate | SetDeletionCost | CordonNode):
            self.expiries[command.id] = command.expires_at
        pending = Pending(
            id=command.id,
            kind=type(command).__name__,
            target=command.target,
            model=command.model,
            value=value,
            expires_at=command.expires_at,
            serving_change=serving_change,
        )
        self.memory.pending[pending.kind, pending.target] = pending

    def _next_id(self) -> str:
        return f"{self.event}.{len(self.commands) + 1}"

    def _expires_at(self, *awaited: str | None) -> float:
        """Give a command its time, and on top the time of what it waits for."""
        sent = [self.expiries.get(each, self.at) for each in awaited if each is not None]
        return max(sent, default=self.at) + COMMAND_TIMEOUT_S


def _awaited(pending: Pending | None) -> str | None:
    """Return the id of a command, while it is not known to be accepted."""
    return None if pending is None or pending.accepted else pending.id


def _promise_alike(one: int | str | None, other: str | None) -> bool:
    """Tell whether two annotations promise the same; one on its way is dated a tick earlier."""
    return _promised(one) == _promised(other)


def _promised(value: int | str | None) -> list[tuple[str, int]]:
    if not isinstance(value, str):
        return []
    return [(promise.node, promise.replicas) for promise in from_text(value) or ()]


def forget_expired(memory: Memory, *, at: float) -> None:
    """Forget commands of which nothing was heard in their time."""
    if memory.pending:
        for key in [key for key, item in memory.pending.items() if item.expires_at <= at]:
            del memory.pending[key]
