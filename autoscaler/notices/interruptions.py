"""The interruptions that are in force: what all sources said about each node, as one; and nodes that are lost.

One interruption a node. Of several notices a termination beats a disruption, and that a risk; among equals
the soonest deadline counts; if any source says that somebody else drains, somebody else drains. A mark
keeps the date at which it was first seen while the object carries it: a deadline that moved with every tick
would never come. An object of which a notice was read and that is gone takes it along, but for an Event:
Kubernetes deletes those after an hour, which withdraws nothing (`Mark.holds_until` says how long they hold).

What a notice looks like is not known here: functions read it (`NOTICE_SOURCES`). The cluster is not
asked: changed objects, the nodes with replicas that are gone or not ready, and those with evicted ones are
handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, assert_never

from autoscaler.core.contract.state import NODE_STATUS, Interruption, InterruptionKind
from autoscaler.kube.watch.changes import ObjectChange
from autoscaler.kube.watch.frames import Key
from autoscaler.kube.watch.slim import SlimNode
from autoscaler.notices.mark import Mark, NoticeSource, Seen, UnreadableNotice, Watched, Withdrawal

DRAIN = "drain"
"""`Interruption.source` of a node that somebody has cordoned and evicts from, and says nothing else."""
PROBLEMS_MAX = 20
"""Shown at once; each is about another object."""
_RANKS = {
    InterruptionKind.RISK: 0,
    InterruptionKind.DISRUPTION: 1,
    InterruptionKind.TERMINATION: 2,
    InterruptionKind.LOST: 3,
}

_MarkKey: TypeAlias = tuple[str, InterruptionKind]
"""(source, kind): a risk that becomes a termination is dated anew."""


@dataclass(slots=True, kw_only=True)
class _Told:
    """What one object says."""

    watched: Watched
    marks: dict[_MarkKey, Mark] = field(default_factory=dict)
    withdrawals: list[Withdrawal] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    gone: bool = False
    """An Event that Kubernetes has deleted since."""

    def __bool__(self) -> bool:
        return bool(self.marks or self.withdrawals or self.problems)


class Interruptions:
    """Which nodes are being, or have been, taken away."""

    def __init__(self, sources: Mapping[str, NoticeSource]) -> None:
        self._readers = {
            watched: [source.read for source in sources.values() if source.watched is watched]
            for watched in Watched
        }
        self._told: dict[tuple[Watched, Key], _Told] = {}
        self._nodes: dict[str, SlimNode] = {}
        self._drains: dict[str, Mark] = {}
        """By node: seen to be cordoned and evicted from."""
        self._claimed: dict[str, str] = {}
        """The node of each NodeClaim, by its name."""
        self.events_readable = False
        """Whether an Event would say so if a node were interrupted; kept by whoever knows."""
        self.heard: set[str] = set()
        """Sources that have said anything about any node: something speaks in this cluster."""
        self._known: dict[str, Interruption] = {}
        """By node, what was last found to be in force: what is worse is news."""

    def nodes_changed(
        self,
        changes: Sequence[ObjectChange[SlimNode]],
        *,
        at: float,
        after: float = -math.inf,
        has_replicas_on: Callable[[str], bool],
    ) -> list[Interruption]:
        """Take in changed nodes; returns the interruptions that are new, worse or sooner than before.

        Args:
            changes: As the watch of nodes tells them.
            at: Now, in seconds.
            after: When the nodes were last known to be in step, in seconds.
            has_replicas_on: Whether a node carries replicas: else its loss is no interruption.
        """
        for change in changes:
            self._take_in_node(change)
            body = None if change.after is None else change.after.marks
            self._take_in(Watched.NODE, change.key, body, at=at, after=after)
        found = self._news({change.key[1] for change in changes}, at=at)
        told = {each.node for each in found}
        for change in changes:
            name, node = change.key[1], change.after
            known = self._known.get(name)
            # A kubelet that shuts down says so by turning NotReady.
            ends = known is not None and known.kind is InterruptionKind.TERMINATION
            if name not in told and _is_loss(change) and not ends and has_replicas_on(name):
                found.append(lost_node(name, at=at if node is None else node.not_ready_since))
        return found

    def objects_changed(
        self,
        watched: Watched,
        changes: Sequence[ObjectChange[dict[str, Any]]],
        *,
        at: float,
        after: float = -math.inf,
    ) -> list[Interruption]:
        """Take in changed Events or NodeClaims; returns as `nodes_changed`.

        Args:
            watched: What they are.
            changes: As their watch tells them; the objects as the API has them, or parts of them.
            at: Now, in seconds.
            after: When they were last known to be in step, in seconds; what is new was written since.
        """
        touched: set[str] = set()
        for change in changes:
            if watched is Watched.CLAIM:
                self._take_in_claim(change.key[1], change.after)
                # Events about it may have come before it was known whose they are.
                touched |= {self._claimed.get(change.key[1], "")} - {""}
            told = self._told.get((watched, change.key))
            touched |= self._nodes_of(told)
            self._take_in(watched, change.key, change.after, at=at, after=after)
            touched |= self._nodes_of(self._told.get((watched, change.key)))
        return self._news(touched, at=at) if touched else []

    def evictions_seen(self, evicting: Mapping[str, float], *, at: float) -> list[Interruption]:
        """Take in which nodes replicas are being evicted from; returns as `nodes_changed`.

        A node that somebody has cordoned and evicts from is being drained, whoever it is, and says so
        until it is schedulable again. Our own evictions are of nodes with a notice, which says more.

        Args:
            evicting: By node, when the first of the evictions that can still be seen began, in seconds.
            at: Now, in seconds.
        """
        new: set[str] = set()
        for name, since in evicting.items():
            node = self._nodes.get(name)
            if name in self._drains or node is None or not node.unschedulable:
                continue
            if node.cordoned_by_us:
                continue
            self._drains[name] = Mark(
                interruption=Interruption(
                    node=name,
                    kind=InterruptionKind.DISRUPTION,
                    source=DRAIN,
                    noticed_at=Seen(at=at).bounded(since),
                    deadline_at=None,
                    drained_elsewhere=True,
                )
            )
            new.add(name)
        return self._news(new, at=at) if new else []

    def current(
        self, *, at: float, gone_since: Mapping[str, float], not_ready_since: Mapping[str, float]
    ) -> tuple[Interruption, ...]:
        """All that are in force, one a node, ordered by node.

        A node that is gone is lost whatever its marks said; one that is there and not ready is lost
        unless its machine is said to end.

        Args:
            at: Now, in seconds.
            gone_since: Nodes with replicas whose Node object is gone, and since when, in seconds.
            not_ready_since: Nodes with replicas that are not Ready, and since when, in seconds.
        """
        self._forget(at=at)
        self._known = marked = self._in_force(at=at)
        found = dict(marked)
        for name, since in not_ready_since.items():
            if name not in marked or marked[name].kind is not InterruptionKind.TERMINATION:
                found[name] = lost_node(name, at=since)
        found |= {name: lost_node(name, at=since) for name, since in gone_since.items()}
        return tuple(found[name] for name in sorted(found))

    @property
    def problems(self) -> tuple[str, ...]:
        """Notices that could be read in part only, or not at all, for people."""
        found = [problem for _, told in sorted(self._told.items()) for problem in told.problems]
        more = len(found) - PROBLEMS_MAX
        rest = (f"and {more} more notices that cannot be read",) if more > 0 else ()
        return (*found[:PROBLEMS_MAX], *rest)

    # -- what objects say

    def _take_in(
        self,
        watched: Watched,
        key: Key,
        body: Mapping[str, Any] | None,
        *,
        at: float,
        after: float,
    ) -> None:
        """Read one object anew; what it said before keeps its date."""
        place = (watched, key)
        before = self._told.pop(place, None)
        if body is None and before is not None and watched is Watched.EVENT:
            before.gone = True
            self._told[place] = before
        if not body:
            return
        told = _Told(watched=watched)
        fresh = Seen(at=at, after=min(after, at))
        for read in self._readers[watched]:
            for reading in read(body, fresh):
                match reading:
                    case Mark():
                        said = reading.interruption
                        self.heard.add(said.source)
                        mark_key = (said.source, said.kind)
                        known = None if before is None else before.marks.get(mark_key)
                        told.marks[mark_key] = (
                            reading
                            if known is None or known.holds_until < at
                            else _with_first_date(read, body, mark_key, known) or reading
                        )
                    case Withdrawal():
                        told.withdrawals.append(reading)
                    case UnreadableNotice(problem=problem):
                        told.problems.append(problem)
                    case _:
                        assert_never(reading)
        told.problems += [mark.problem for mark in told.marks.values() if mark.problem]
        if told:
            self._told[place] = told

    def _take_in_node(self, change: ObjectChange[SlimNode]) -> None:
        name, node = change.key[1], change.after
        claim = change.before.claim if change.before is not None else ""
        if node is None:
            self._nodes.pop(name, None)
            self._drains.pop(name, None)
            if self._claimed.get(claim) == name:
                del self._claimed[claim]
            return
        self._nodes[name] = node
        if node.claim:
            self._claimed[node.claim] = name
        if not node.unschedulable:
            self._drains.pop(name, None)

    def _take_in_claim(self, name: str, body: Mapping[str, Any] | None) -> None:
        status = (body or {}).get("status")
        node = status.get("nodeName") if isinstance(status, Mapping) else None
        if isinstance(node, str) and node:
            self._claimed[name] = node
        elif body is None:
            self._claimed.pop(name, None)

    def _node_of(self, mark: Mark) -> str:
        """The node that a mark is about; empty: not known (yet), or it was of another of that name."""
        name = mark.interruption.node or self._claimed.get(mark.claim, "")
        node = self._nodes.get(name)
        if node is None or (mark.uid and node.uid and mark.uid != node.uid and not mark.claim):
            return ""
        return name

    def _nodes_of(self, told: _Told | None) -> set[str]:
        if told is None:
            return set()
        about = {self._node_of(mark) for mark in told.marks.values()}
        about |= {withdrawal.node for withdrawal in told.withdrawals}
        return about - {""}

    # -- what holds

    def _forget(self, *, at: float) -> None:
        """Drop what Events said that are gone, once nothing of it holds any more."""
        for place, told in list(self._told.items()):
            if told.gone and all(mark.holds_until < at for mark in told.marks.values()):
                del self._told[place]

    def _in_force(self, *, at: float) -> dict[str, Interruption]:
        """By node, all that was said about it, as one."""
        withdrawn = self._withdrawn()
        found: dict[str, list[Interruption]] = {}
        for told in self._told.values():
            for mark in told.marks.values():
                if mark.holds_until < at:
                    continue
                name = self._node_of(mark)
                said = mark.interruption
                if mark.presumed and self.events_readable:
                    # Somebody deleted the NodeClaim: Karpenter drains it, and no machine is taken.
                    said = replace(said, kind=InterruptionKind.DISRUPTION, deadline_at=None)
                if not name or said.noticed_at < self._born_at(told, name):
                    continue
                if told.watched is Watched.EVENT and said.noticed_at <= withdrawn.get(
                    (name, said.source), -math.inf
                ):
                    continue
                found.setdefault(name, []).append(replace(said, node=name))
        for name, drain in self._drains.items():
            said_of = found.setdefault(name, [])
            # Under a notice with a deadline it may be our own evictions that are seen.
            if all(each.kind is not InterruptionKind.TERMINATION for each in said_of):
                said_of.append(drain.interruption)
        return {name: _as_one(said) for name, said in found.items()}

    def _withdrawn(self) -> dict[tuple[str, str], float]:
        """By node and source, until when what its Events said is taken back."""
        found: dict[tuple[str, str], float] = {}
        for told in self._told.values():
            for each in told.withdrawals:
                key = (each.node, each.source)
                found[key] = max(each.at, found.get(key, -math.inf))
        return found

    def _born_at(self, told: _Told, name: str) -> float:
        """When the Node was made: an Event that is older is about another of that name."""
        if told.watched is not Watched.EVENT:
            return -math.inf
        created_at = self._nodes[name].created_at
        return -math.inf if math.isnan(created_at) else created_at

    def _news(self, names: Iterable[str], *, at: float) -> list[Interruption]:
        """What is in force on these nodes and was not, or is worse or sooner than it was."""
        before, self._known = self._known, self._in_force(at=at)
        found = []
        for name in sorted(names):
            now = self._known.get(name)
            if now is not None and _is_worse(now, before.get(name)):
                found.append(now)
        return found


def lost_node(node: str, *, at: float) -> Interruption:
    """The interruption of a node that is gone or not ready since `at`, in seconds."""
    return Interruption(
        node=node,
        kind=InterruptionKind.LOST,
        source=NODE_STATUS,
        noticed_at=at,
        deadline_at=None,
    )


def _with_first_date(
    read: Callable[[Mapping[str, Any], Seen], Sequence[object]],
    body: Mapping[str, Any],
    key: _MarkKey,
    known: Mark,
) -> Mark | None:
    """The mark of this source and kind, dated as the one that the object carried before."""
    first = known.interruption.noticed_at
    for again in read(body, Seen(at=first, after=first)):
        if isinstance(again, Mark):
            said = again.interruption
            if (said.source, said.kind) == key:
                return again
    return None


def _is_loss(change: ObjectChange[SlimNode]) -> bool:
    """Whether a node that was ready is not ready any more, or gone."""
    before, after = change.before, change.after
    if before is None or not before.ready:
        return False
    return after is None or not after.ready


def _as_one(said: Sequence[Interruption]) -> Interruption:
    """The worst kind, and of that the soonest deadline; ties by source, so that it does not change."""
    worst = min(said, key=lambda each: (-_RANKS[each.kind], _deadline(each), each.source))
    drained = any(each.drained_elsewhere for each in said)
    return replace(worst, drained_elsewhere=drained)


def _is_worse(now: Interruption, before: Interruption | None) -> bool:
    if before is None or _RANKS[now.kind] != _RANKS[before.kind]:
        return before is None or _RANKS[now.kind] > _RANKS[before.kind]
    return _deadline(now) < _deadline(before)


def _deadline(interruption: Interruption) -> float:
    return math.inf if interruption.deadline_at is None else interruption.deadline_at
