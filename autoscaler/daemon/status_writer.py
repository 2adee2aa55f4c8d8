"""Writes the status of resources, when it has changed, and never while the loop waits.

It is told of decisions, keeps the last one of each model, and looks once a second at which resources have
another status than was written: at most one write a resource in some seconds, and where only the words that say why
have changed one in a minute. A write that fails is counted, logged once, and tried again later; nothing that decides
knows of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.events import SpecChanged
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.daemon.loop import Handled, Listener
from autoscaler.daemon.resource_events import Before, EventWriter, occurrences
from autoscaler.daemon.resource_status import (
    ResourceNow,
    Transition,
    calm_marks,
    describe_resource,
    transitions,
    urgent_marks,
)
from autoscaler.daemon.resource_watch import ResourceWatch
from autoscaler.errors import LeadershipLost
from autoscaler.foreign_text import shown
from autoscaler.kube.api.client import MERGE_PATCH, ApiError, Client
from autoscaler.kube.api.resources import INFERENCE_AUTOSCALERS
from autoscaler.kube.watch.slim_resources import SlimResource
from autoscaler.settings import to_core

LOOK_S = 1.0
URGENT_GAP_S = 5.0
"""Between two writes of one resource: as often as it is decided on."""
CALM_GAP_S = 60.0
"""Where only reasons have changed."""
FAILED_GAP_S = 30.0
"""After a write that failed."""
_NOT_FOUND = 404

_log = structlog.get_logger(__name__)


class StatusOutcome(StrEnum):
    """How a write ended."""

    WRITTEN = "Written"
    GONE = "Gone"
    """The resource is not there any more."""
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """The last decision on a model, and by what specification."""

    decision: Decision
    specification: ModelSpec
    generation: int


@dataclass(slots=True)
class _Written:
    """What was last written of one resource, and when it was tried."""

    uid: str
    urgent: tuple[object, ...] = ()
    calm: tuple[object, ...] = ()
    before: Mapping[str, Transition] = field(default_factory=dict)
    current_replicas: int | None = None
    next_at: float = 0.0
    calm_at: float = 0.0
    failed: str = ""
    """Why the last try failed; empty: it did not."""


class StatusWriter(Listener):
    """Of one daemon that watches resources."""

    def __init__(
        self,
        client: Client,
        *,
        watch: ResourceWatch,
        now: Callable[[], float],
        outcomes: Counter[str],
        missing: Callable[[], Mapping[str, str]] = dict,
        events: EventWriter | None = None,
        acts: Callable[[], bool] = lambda: True,
        look_s: float = LOOK_S,
    ) -> None:
        """Prepare; `run` writes.

        Args:
            client: The shared client, or one whose writes pass a fence.
            watch: Knows which resources there are, what is in use of them and what is refused.
            now: Seconds since the epoch, never decreasing.
            outcomes: Counts how writes ended.
            missing: By model, which scale targets do not exist.
            events: Tells what a status says anew; None: nobody does.
            acts: Whether this daemon is the one that writes; of one that stands by nothing is.
            look_s: Between two looks.
        """
        self._client = client
        self._watch = watch
        self._now = now
        self._outcomes = outcomes
        self._missing = missing
        self._events = events
        self._acts = acts
        self._look_s = look_s
        self._specifications: dict[str, tuple[ModelSpec, int]] = {}
        """By model what the engine goes by, and of which generation that is."""
        self._decided: dict[str, _Decided] = {}
        self._written: dict[str, _Written] = {}

    def handled(self, handled: Handled) -> None:
        """Follow what the engine goes by."""
        event = handled.event
        if not isinstance(event, SpecChanged):
            return
        read = {each.key: each for each in self._watch.config.resources}
        before, self._specifications = self._specifications, {}
        for model in event.fleet.models:
            resource = read.get(model.key)
            # Where it has been read anew since, the event that says so is on its way.
            if resource is not None and to_core(resource) == model:
                self._specifications[model.key] = model, resource.metadata.generation
            elif model.key in before:
                self._specifications[model.key] = before[model.key]
        known = self._specifications
        self._decided = {key: each for key, each in self._decided.items() if key in known}

    def decided(self, handled: Handled, decision: Decision) -> None:  # noqa: ARG002  Listener's
        """Keep it; it is written when its time comes."""
        known = self._specifications.get(decision.model)
        if known is not None:
            model, generation = known
            self._decided[decision.model] = _Decided(
                decision=decision, specification=model, generation=generation
            )

    async def run(self) -> None:
        """Write what has changed, until cancelled."""
        while True:
            await asyncio.sleep(self._look_s)
            await self.look()

    async def look(self) -> None:
        """Write each status that has changed and may be written now."""
        if not self._acts():
            self._written.clear()  # who acts writes meanwhile; what stands there then is read anew
            return
        resources, missing = self._watch.resources, self._missing()
        self._written = {key: each for key, each in self._written.items() if key in resources}
        for key, resource in resources.items():
            await asyncio.sleep(0)
            last = self._written.get(key)
            if last is None or last.uid != resource.uid:
                current = resource.status.get("currentReplicas")
                last = self._written[key] = _Written(
                    uid=resource.uid,
                    before=transitions(resource.status),
                    current_replicas=current if isinstance(current, int) else None,
                )
            told = self._told(key, resource, missing=missing.get(key, ""))
            if told is not None and self._is_due(told, last):
                await self._write(resource, told, last)

    def _told(self, key: str, resource: SlimResource, *, missing: str) -> ResourceNow | None:
        """What is known of a resource now; None: nothing, or nothing yet, that its status does not say."""
        generation = self._watch.generations.get(key)
        if generation is None:
            return None  # it is being read
        problems = self._watch.config.refused.get(key, ())
        decided = self._decided.get(key)
        if decided is None:
            # After a restart of ours what is there says more than that nothing was decided yet.
            return None if resource.status and not problems else ResourceNow(generation, problems)
        return ResourceNow(
            generation if problems else decided.generation,
            problems,
            decided.decision,
            decided.specification,
            decided.generation,
            missing,
        )

    def _is_due(self, told: ResourceNow, last: _Written) -> bool:
        now = self._now()
        if now < last.next_at:
            return False
        if urgent_marks(told) != last.urgent:
            return True
        return now >= last.calm_at and calm_marks(told) != last.calm

    async def _write(self, resource: SlimResource, told: ResourceNow, last: _Written) -> None:
        at = self._now()
        try:
            status = describe_resource(told, before=last.before, at=at)
        except Exception:  # noqa: BLE001  a bug of ours in one: logged, and the others are written
            self._outcomes[StatusOutcome.FAILED] += 1
            last.next_at = at + FAILED_GAP_S
            _log.exception("status.broke", model=f"{resource.namespace}/{resource.name}")
            return
        try:
            await self._client.call(
                "patch",
                INFERENCE_AUTOSCALERS,
                namespace=resource.namespace,
                name=resource.name,
                subresource="status",
                # With what is unknown now as null, which takes it away.
                body={"status": status.model_dump(mode="json", by_alias=True)},
                content_type=MERGE_PATCH,
            )
        except LeadershipLost:
            return  # the next look sees it too
        except ApiError as error:
            self._note_failure(resource, error, last)
            return
        self._outcomes[StatusOutcome.WRITTEN] += 1
        if last.failed:
            _log.info("status.written", model=f"{resource.namespace}/{resource.name}")
        last.failed = ""
        last.urgent, last.calm = urgent_marks(told), calm_marks(told)
        statuses = {kind: each.status for kind, each in last.before.items()}
        before = Before(statuses=statuses, current_replicas=last.current_replicas)
        last.before = {
            each.type: Transition(status=each.status, at=each.last_transition_time)
            for each in status.conditions
        }
        last.current_replicas = status.current_replicas
        last.next_at, last.calm_at = at + URGENT_GAP_S, at + CALM_GAP_S
        if self._events is not None:
            for each in occurrences(before, status):
                await self._events.tell(resource, each)

    def _note_failure(self, resource: SlimResource, error: ApiError, last: _Written) -> None:
        """Count it, log it once, and try again later."""
        gone = error.status == _NOT_FOUND
        self._outcomes[StatusOutcome.GONE if gone else StatusOutcome.FAILED] += 1
        last.next_at = self._now() + max(FAILED_GAP_S, error.retry_after_s or 0.0)
        said = shown(str(error), limit=400)
        if not gone and said != last.failed:
            model = f"{resource.namespace}/{resource.name}"
            _log.warning("status.failed", model=model, error=said)
            last.failed = said
