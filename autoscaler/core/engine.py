"""The one door: events in, decisions and commands out.

`handle` is the only way in, at once, or as `handle_in_steps` with pauses in which others have their turn; the
daemon and the replay build the engine with `build_engine` and talk to it through nothing else. The same events
give the same bytes.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import assert_never

from autoscaler.core.contract.codec import Plain, from_builtins, to_builtins
from autoscaler.core.contract.decision import Outcome
from autoscaler.core.contract.events import (
    CommandFinished,
    Event,
    HistoryRead,
    KnowledgeRead,
    NoticeReceived,
    Observed,
    SpecChanged,
)
from autoscaler.core.contract.history import HistoryEnd
from autoscaler.core.contract.knowledge import KnowledgeEnd, KnowledgeTaken
from autoscaler.core.contract.spec import EngineSettings, ModelSpec
from autoscaler.core.history.take import nothing_taken, take_history
from autoscaler.core.hpa import remember_rescale
from autoscaler.core.knowledge.remember import remember
from autoscaler.core.knowledge.take import no_knowledge, take_knowledge
from autoscaler.core.memory import Memory, ModelMemory, Pending
from autoscaler.core.pools.order import PoolOrder, order_pools
from autoscaler.core.tick.parts import Parts
from autoscaler.core.tick.tick import decide
from autoscaler.core.tick.writes import forget_expired

__all__ = ["Engine", "EngineSettings", "build_engine"]

NOT_REFUSED = frozenset({"Superseded", "Skipped", "Standby", "Withheld", "Expired"})
"""Ends of a command that say nothing about whether its target takes writes."""


class Engine:
    """All the models that share a GPU budget."""

    __slots__ = ("_memory", "_orders", "_parts", "settings")

    def __init__(
        self, settings: EngineSettings, memory: Memory | None = None, *, parts: Parts | None = None
    ) -> None:
        """Build it; with no memory it begins as after a restart: holding, until windows are full."""
        self.settings = settings
        self._memory = Memory() if memory is None else memory
        self._parts = Parts() if parts is None else parts
        self._orders: dict[str, PoolOrder] = {}
        self._order_pools()

    def handle(self, event: Event) -> Outcome:
        """Take in one event; only `Observed` decides."""
        steps = self.handle_in_steps(event)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome

    def handle_in_steps(self, event: Event) -> Generator[None, None, Outcome]:
        """Do the same, and yield between models; nothing else may be asked of the engine until it ends."""
        memory = self._memory
        # A clock that ran backwards would be the shell's fault; time stands still meanwhile.
        memory.at = event.at if memory.at is None else max(memory.at, event.at)
        match event:
            case Observed():
                return (yield from self._observe(event, at=memory.at))
            case SpecChanged():
                self._take_spec(event)
            case CommandFinished():
                self._finish(event, at=memory.at)
            case NoticeReceived():
                # It decides nothing: the `Observed` that the daemon makes of it at once does. It passes
                # through here so that a recording holds when it came.
                pass
            case HistoryRead():
                return (yield from self._take_history(event, at=memory.at))
            case KnowledgeRead():
                return Outcome(knowledge=self._take_knowledge(event, at=memory.at))
            case _:
                assert_never(event)
        return Outcome()

    def checkpoint(self) -> dict[str, Plain]:
        """Write all that is remembered, as plain builtins."""
        written: dict[str, Plain] = to_builtins(self._memory, Memory)
        return written

    def remember(self, model: str) -> str | None:
        """Write what was learnt of one model, for a process after this one: at most 4 KiB; None: nothing yet."""
        spec, at = self._spec(model), self._memory.at
        if spec is None or at is None:
            return None
        return remember(self._memory.models[model], spec=spec, at=at)

    @classmethod
    def restore(
        cls,
        settings: EngineSettings,
        checkpoint: Mapping[str, Plain],
        *,
        parts: Parts | None = None,
    ) -> Engine:
        """Build the engine that wrote a checkpoint."""
        return cls(settings, from_builtins(checkpoint, Memory), parts=parts)

    def _observe(self, event: Observed, *, at: float) -> Generator[None, None, Outcome]:
        memory = self._memory
        if memory.fleet is None:
            return Outcome()
        forget_expired(memory, at=at)
        return (
            yield from decide(
                event,
                at=at,
                settings=self.settings,
                memory=memory,
                fleet=memory.fleet,
                orders=self._orders,
                parts=self._parts,
            )
        )

    def _take_history(self, event: HistoryRead, *, at: float) -> Generator[None, None, Outcome]:
        """Let a model learn what was before it was observed."""
        spec = self._spec(event.model)
        if spec is None:
            unknown = nothing_taken(
                event.model, HistoryEnd.UNKNOWN_MODEL, left_out=len(event.history)
            )
            return Outcome(history=unknown)
        taken = yield from take_history(
            event,
            at=at,
            settings=self.settings,
            spec=spec,
            order=self._orders[spec.key],
            memory=self._memory.models[spec.key],
        )
        return Outcome(history=taken)

    def _take_knowledge(self, event: KnowledgeRead, *, at: float) -> KnowledgeTaken:
        """Give a model back what an earlier process had learnt of it."""
        spec = self._spec(event.model)
        if spec is None:
            return no_knowledge(
                event.model, KnowledgeEnd.UNKNOWN_MODEL, message="the fleet has no such model"
            )
        return take_knowledge(
            event,
            at=at,
            spec=spec,
            order=self._orders[spec.key],
            memory=self._memory.models[spec.key],
        )

    def _spec(self, model: str) -> ModelSpec | None:
        """Return the specification of a model; None: the fleet has no such model."""
        fleet = self._memory.fleet
        models = () if fleet is None else fleet.models
        return next((spec for spec in models if spec.key == model), None)

    def _take_spec(self, event: SpecChanged) -> None:
        memory = self._memory
        asked = {} if memory.fleet is None else {spec.key: spec for spec in memory.fleet.models}
        memory.fleet = event.fleet
        before = memory.models
        memory.models = {
            model.key: before.get(model.key) or ModelMemory() for model in event.fleet.models
        }
        for model in event.fleet.models:
            last = asked.get(model.key, model)
            if (last.mode, last.pause) != (model.mode, model.pause):
                # Somebody said whether this one is to act: what others wrote before is settled by that.
                for writer in memory.models[model.key].writers.values():
                    writer.dismiss()
            pools = {pool.name for pool in model.pools}
            cold_starts = memory.models[model.key].cold_starts
            for pool in [name for name in cold_starts if name not in pools]:
                del cold_starts[pool]
        self._order_pools()

    def _order_pools(self) -> None:
        fleet = self._memory.fleet
        models = () if fleet is None else fleet.models
        self._orders = {model.key: order_pools(model) for model in models}

    def _finish(self, event: CommandFinished, *, at: float) -> None:
        """Take in the end of a command. One whose place a newer command has taken is ignored."""
        memory = self._memory
        pending = next((p for p in memory.pending.values() if p.id == event.command), None)
        if pending is None:
            return
        if event.accepted:
            pending.accepted = True
            self._accept(pending, at=at)
            return
        del memory.pending[pending.kind, pending.target]
        model = memory.models.get(pending.model)
        if pending.kind == "SetDeletionCost":
            # Nothing hangs on it: the scale goes on without.
            if model is not None and event.reason == "Forbidden":
                model.victims.forbidden_at, model.victims.forbidden = at, event.message
            return
        if model is not None and pending.target in model.writers:
            model.writers[pending.target].sent = None
        if model is not None and event.reason not in NOT_REFUSED:
            model.refusals[pending.target] = (event.reason, event.message)

    def _accept(self, pending: Pending, *, at: float) -> None:
        """Note what an accepted write changed: rate limits count it, and its target takes writes."""
        memory = self._memory
        model = memory.models.get(pending.model)
        fleet = memory.fleet
        if model is None or fleet is None:
            return
        if pending.kind == "SetDeletionCost":
            model.victims.accepted, model.victims.forbidden_at = True, None
            return
        model.refusals.pop(pending.target, None)
        if pending.target in model.writers and isinstance(pending.value, int):
            # Also where the next look comes after it is forgotten here: what overwrites it undoes it.
            model.writers[pending.target].sent = pending.value
        behavior = next(spec.behavior for spec in fleet.models if spec.key == pending.model)
        if behavior is not None and pending.serving_change:
            remember_rescale(
                model.hpa,
                at=at,
                before=0,
                after=pending.serving_change,
                up=behavior.scale_up,
                down=behavior.scale_down,
            )


def build_engine(
    settings: EngineSettings | None = None,
    memory: Memory | None = None,
    *,
    parts: Parts | None = None,
) -> Engine:
    """Build the engine, for the daemon as for the replay."""
    return Engine(EngineSettings() if settings is None else settings, memory, parts=parts)
