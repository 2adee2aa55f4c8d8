"""Who else sets the replicas of a model's scale targets, and whether we leave them alone for it.

- An autoscaler on the target (an HPA, KEDA's among them) writes again whatever we write: as long as it is there
  nothing is written to that target.
- A number that somebody else wrote is left as it is for a while (`ModelSpec.manual_scale_hold_s`). Then it is answered,
  once: where that answer is undone within STOOD_S it was no person's whim, and nothing at all is written there for
  twice the time, then four times, up to HOLD_S_MAX. Who applies what stands in a repository does so until somebody
  tells him not to, and that may take days; but nobody has to tell us that it was done.

What somebody wrote is told from the number that changed and from whose the field is (managedFields), never from the
time of an entry: who applies a new image with the number that is there writes no number. After a restart only what is
surely somebody's wish counts: an entry that has the replicas and not the pod template, as `kubectl scale` leaves it.
Whoever made the object and never changed its replicas is nobody's rival.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from autoscaler.core.contract.reasons import Reason
from autoscaler.core.contract.spec import ModelSpec, ScaleTarget
from autoscaler.core.contract.state import (
    ModelObservation,
    PoolObservation,
    ReplicasWriter,
    Rival,
    RivalKind,
)

STOOD_S = 7200.0
"""What of ours stood for so long and was overwritten then was not undone: Flux and Argo CD look every few minutes, or
once an hour where they are told to."""
UNDONE_HOLD_S_MIN = 600.0
"""Where a write was undone, also with `manualScale.holdSeconds: 0`."""
HOLD_S_MAX = 86_400.0
HPA_CONTROLLER = "kube-controller-manager"
"""Field manager of the HPA controller: what it wrote is the HPA's matter, and nobody's once that is gone."""
_REASONS: Mapping[RivalKind, Reason] = {
    RivalKind.HPA: Reason.HPA_ON_TARGET,
    RivalKind.SCALED_OBJECT: Reason.SCALED_OBJECT_ON_TARGET,
}


@dataclass(slots=True, kw_only=True)
class WriterMemory:
    """Who wrote one scale target's replicas. Part of the engine's memory."""

    replicas: int
    """As last observed."""
    generation: int
    """Of the target, likewise."""
    sent: int | None = None
    """What we have sent and not seen yet."""
    ours_at: float | None = None
    """Since when a number of ours is seen there; None: it is somebody else's."""
    held_at: float | None = None
    """When somebody else last wrote it; None: nobody did, as far as is known."""
    manager: str = ""
    """Who that was."""
    scaled: bool = True
    """He set the replicas alone."""
    undone: int = 0
    """Writes of ours that were overwritten, each before it stood for STOOD_S."""

    def until(self, hold_s: float) -> float:
        """Tell when it is left alone no more, seconds; at most `hold_s` where nothing was undone twice."""
        if self.held_at is None:
            return -math.inf
        if self.is_undone:
            doubled = max(hold_s, UNDONE_HOLD_S_MIN) * (1 << min(self.undone - 1, 10))
            return self.held_at + min(doubled, HOLD_S_MAX)
        return self.held_at + hold_s

    @property
    def is_undone(self) -> bool:
        """Whether an answer of ours was undone, and not only a number that was there before."""
        return self.undone > 1

    def dismiss(self) -> None:
        """Let go of it: somebody has said so."""
        self.held_at, self.undone = None, 0


class Conflict(NamedTuple):
    """Somebody else scales what this model is to scale."""

    reason: Reason
    message: str
    locked: tuple[bool, ...]
    """By pool: nothing at all is written to its target."""

    @property
    def standing(self) -> bool:
        """Whether something is to be done about it: it does not pass like a person's number."""
        return any(self.locked)


def watch_writers(
    memory: dict[str, WriterMemory],
    *,
    at: float,
    spec: ModelSpec,
    observation: ModelObservation,
    sent: Mapping[str, int],
) -> Conflict | None:
    """Look who has written, once a tick, and tell whom to leave alone.

    Args:
        memory: by target, of this model; changed.
        at: now, seconds.
        spec: of the model.
        observation: of the model.
        sent: by target, the replicas of our write that is on its way, or was not seen yet.

    Returns:
        Who else scales the model; None: nobody.
    """
    found: list[tuple[Reason, str]] = []
    locked: list[bool] = []
    for about, pool in zip(spec.pools, observation.pools, strict=True):
        target = str(about.target)
        _note_writer(memory, target, pool, at=at, sent=sent.get(target))
        locked.append(bool(pool.rivals))
        if pool.rivals:
            found.append((_REASONS[pool.rivals[0].kind], _of_rivals(pool.rivals, about.target)))
            continue
        last = memory.get(target)
        if last is None or at >= last.until(spec.manual_scale_hold_s):
            continue
        locked[-1] = last.is_undone
        reason = Reason.MANUAL_SCALE if last.scaled and not last.is_undone else Reason.OTHER_WRITER
        found.append((reason, _of_writer(last, about.target, hold_s=spec.manual_scale_hold_s)))
    if len(memory) > len(spec.pools):
        kept = {str(pool.target) for pool in spec.pools}
        for gone in memory.keys() - kept:
            del memory[gone]
    if not found:
        return None
    found.sort(key=lambda each: _ORDER.index(each[0]))
    message = "; ".join([message for _, message in found])
    return Conflict(reason=found[0][0], message=message, locked=tuple(locked))


_ORDER = (
    Reason.HPA_ON_TARGET,
    Reason.SCALED_OBJECT_ON_TARGET,
    Reason.OTHER_WRITER,
    Reason.MANUAL_SCALE,
)
"""Of several the first is told."""


def _note_writer(
    memory: dict[str, WriterMemory],
    target: str,
    pool: PoolObservation,
    *,
    at: float,
    sent: int | None,
) -> None:
    """Note who wrote the number that is there. Changes the memory."""
    writer, current = pool.writer, pool.current_replicas
    if writer is None or current is None:
        return
    foreign = _is_foreign(writer, pool.rivals)
    last = memory.get(target)
    if last is None:
        last = memory[target] = WriterMemory(
            replicas=current,
            generation=writer.generation,
            ours_at=at if writer.ours else None,
        )
        if foreign and writer.scaled and not math.isnan(writer.at):
            last.held_at, last.manager = min(writer.at, at), writer.manager
        return
    if sent is not None:
        last.sent = sent
    if writer.ours:
        if last.ours_at is None or current != last.replicas:
            last.ours_at = at
        last.sent = None if last.sent == current else last.sent
    elif foreign and _wrote(last, current, writer):
        if last.sent is not None or last.ours_at is not None:
            stood_s = 0.0 if last.ours_at is None else at - last.ours_at
            last.undone = last.undone + 1 if stood_s < STOOD_S else 1
        last.held_at, last.manager, last.scaled = at, writer.manager, writer.scaled
        last.ours_at = last.sent = None
    elif current == last.sent or current != last.replicas:
        last.ours_at = last.sent = None
    last.replicas, last.generation = current, writer.generation


def _is_foreign(writer: ReplicasWriter, rivals: Sequence[Rival] | None) -> bool:
    """Tell whether a writer's number is anybody's wish: an HPA's is not, where HPAs themselves are seen."""
    return not writer.ours and not (rivals is not None and writer.manager == HPA_CONTROLLER)


def _wrote(last: WriterMemory, current: int, writer: ReplicasWriter) -> bool:
    """Tell whether somebody else, whose the field is, wrote a number since it was last looked.

    | number | sent by us meanwhile | |
    |---|---|---|
    | another than before | it is the same | no: he wrote what we did, or it was his all along; but yes, if it changed twice: he undid ours, and wrote it himself |
    | another than before | nothing, or another | yes |
    | as before | another | yes, if the specification changed twice: ours, and his; else ours is not seen yet |
    | as before, and ours | nothing | yes, if it changed twice and the field is his now: to another number and back. Who declares shares the field without a change |
    | as before, and his | nothing | no: what he wrote was no number |
    """
    changed_twice = writer.generation >= last.generation + 2
    if current != last.replicas:
        return current != last.sent or (changed_twice and not writer.declares)
    if not changed_twice:
        return False
    if last.sent is None:
        return last.ours_at is not None and not writer.declares
    return last.sent != current


def _of_rivals(rivals: Sequence[Rival], target: ScaleTarget) -> str:
    names = " and ".join(
        [f"{rival.kind}/{target.namespace}/{rival.name}{_since(rival.since)}" for rival in rivals]
    )
    first = rivals[0]
    plural = "hpa" if first.kind is RivalKind.HPA else "scaledobject"
    return (
        f"{names} scales {target}, so nothing is written there; to let this one scale it: "
        f"kubectl -n {target.namespace} delete {plural} {first.name}; else set mode: Observe"
    )


def _of_writer(last: WriterMemory, target: ScaleTarget, *, hold_s: float) -> str:
    assert last.held_at is not None
    said = f"{last.manager} set {target} to {last.replicas} replicas by {moment_text(last.held_at)}"
    until = moment_text(last.until(hold_s))
    if last.is_undone:
        return (
            f"{said} and undid what was written there, {last.undone} times; nothing is written there until {until}, "
            "or until it is told to: let it leave spec.replicas alone (docs/runbook.md, `Somebody else scales it`)"
        )
    return (
        f"{said}; that is left so until {until} (spec.manualScale.holdSeconds), within minReplicas and maxReplicas; "
        "what interruptions take is replaced"
    )


def _since(at: float) -> str:
    return "" if math.isnan(at) else f" (since {moment_text(at)})"


def moment_text(at: float) -> str:
    """Write a moment as Kubernetes does, for people."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
