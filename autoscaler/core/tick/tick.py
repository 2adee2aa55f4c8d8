"""One pass over all models: observe, demand, forecast, policy, guards, placement, commands.

Models are drafted one by one up to the GPU budget, which looks at all of
them, and then concluded one by one. A bug in one model's part holds that model; the others go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from autoscaler.core.contract.decision import Decision, Outcome, Step
from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.spec import EngineSettings, FleetSpec, Mode, ModelSpec, Pause
from autoscaler.core.contract.state import ModelObservation
from autoscaler.core.guards import Guard
from autoscaler.core.memory import Memory
from autoscaler.core.pools import budget as gpu_budget
from autoscaler.core.pools.layout import Layout
from autoscaler.core.supply.doomed import Doom
from autoscaler.core.supply.free_gpus import FreeGpus
from autoscaler.core.tick.assess import Assessment, Draft
from autoscaler.core.tick.conclude import conclude, hold
from autoscaler.core.tick.drain import uncordon_withdrawn
from autoscaler.core.tick.parts import Parts
from autoscaler.core.tick.writes import Writes
from autoscaler.errors import InvariantBroken

BUGS = (
    InvariantBroken,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What a bug of ours raises. One model's must not stop the others."""


@dataclass(slots=True, kw_only=True)
class Tick:
    """The answer to one `Observed`; used once."""

    event: Observed
    at: float
    settings: EngineSettings
    memory: Memory
    fleet: FleetSpec
    layouts: Mapping[str, Layout]
    parts: Parts
    doom: Doom | None = field(init=False)
    gpus: FreeGpus = field(init=False)
    writes: Writes = field(init=False)

    def __post_init__(self) -> None:
        event, at = self.event, self.at
        self.doom = self.parts.find_doomed(event.nodes, event.interruptions, at=at)
        self.gpus = self.parts.free_gpus(event.nodes, self.doom)
        self.writes = Writes(memory=self.memory, event=event.id, at=at)

    def decide(self) -> Outcome:
        """Decide about every model."""
        observations = {model.model: model for model in self.event.models}
        before_budget, from_budget = self._split_guards()
        drafts: list[Draft] = []
        decisions: dict[str, Decision] = {}
        for spec in self.fleet.models:
            key = spec.key
            observation = observations.get(key)
            if observation is None or not _fits(spec, observation):
                decisions[key] = self._hold(
                    spec,
                    observation=None,
                    reason="Unobserved",
                    message="the observation has nothing on it, or not its pools",
                )
                continue
            try:
                draft = self._assess(key, spec, observation)
                _pass_through(draft, before_budget)
            except BUGS as bug:
                decisions[key] = self._hold_broken(spec, observation, bug)
            else:
                drafts.append(draft)
        if self.fleet.gpu_budget is not None and "budget" in from_budget:
            claims = [(draft.situation, draft.wanted) for draft in drafts]
            # those that are held already have no draft
            gpu_budget.allot(claims, gpu_budget=self.fleet.gpu_budget, unseen=tuple(decisions))
        for draft in drafts:
            spec = draft.situation.spec
            try:
                _pass_through(draft, from_budget)
                decisions[spec.key] = conclude(
                    draft,
                    event=self.event.id,
                    memory=self.memory.models[spec.key],
                    writes=self.writes,
                    drain=self.parts.drain,
                )
            except BUGS as bug:
                decisions[spec.key] = self._hold_broken(spec, draft.situation.observation, bug)
        self._uncordon()
        decided = tuple([decisions[spec.key] for spec in self.fleet.models])
        return Outcome(decisions=decided, commands=tuple(self.writes.commands))

    def _split_guards(self) -> tuple[Mapping[str, Guard], Mapping[str, Guard]]:
        """Split the guards where the budget must have seen every model."""
        guards = self.parts.guards
        if self.fleet.gpu_budget is None or "budget" not in guards:
            return guards, {}
        names = list(guards)
        cut = names.index("budget")
        return {n: guards[n] for n in names[:cut]}, {n: guards[n] for n in names[cut:]}

    def _assess(self, key: str, spec: ModelSpec, observation: ModelObservation) -> Draft:
        return Assessment(
            spec=spec,
            observation=observation,
            at=self.at,
            event=self.event,
            settings=self.settings,
            layout=self.layouts[key],
            memory=self.memory.models[key],
            doom=self.doom,
            gpus=self.gpus,
            parts=self.parts,
        ).draft()

    def _hold(
        self, spec: ModelSpec, *, observation: ModelObservation | None, reason: str, message: str
    ) -> Decision:
        return hold(
            spec,
            observation=observation,
            event=self.event.id,
            at=self.at,
            reason=reason,
            message=message,
        )

    def _hold_broken(
        self, spec: ModelSpec, observation: ModelObservation, bug: BaseException
    ) -> Decision:
        message = f"a bug of ours, please report it: {type(bug).__name__}: {bug}"
        return self._hold(spec, observation=observation, reason="InvariantBroken", message=message)

    def _uncordon(self) -> None:
        """Take back our cordons of nodes that are no longer doomed; blind, nothing is withdrawn."""
        if not np.count_nonzero(self.event.nodes.cordoned_by_us):
            return  # almost every tick
        if self.at - self.event.cluster_at > self.settings.cluster_age_s_max:
            return
        active = (
            spec.key
            for spec in self.fleet.models
            if spec.mode is Mode.ACTIVE and spec.pause is not Pause.ALL
        )
        uncordon_withdrawn(
            self.event.nodes, doom=self.doom, model=next(active, None), writes=self.writes
        )


def _fits(spec: ModelSpec, observation: ModelObservation) -> bool:
    """Tell whether an observation has the pools of the spec; it may be older than its last change."""
    return [pool.name for pool in spec.pools] == [pool.name for pool in observation.pools]


def _pass_through(draft: Draft, guards: Mapping[str, Guard]) -> None:
    """Let the guards adjust a draft, and keep the steps that change its number."""
    wanted = draft.wanted
    for name, guard in guards.items():
        verdict = guard(draft.situation, wanted)
        if verdict is None:
            continue
        before, after = wanted.replicas, verdict.wanted.replicas
        wanted = verdict.wanted
        # A release is told although the fallback was in no number before it.
        if before != after or (wanted.plan is not None and wanted.plan.released):
            draft.trail.append(
                Step(
                    by=name,
                    before=before,
                    after=after,
                    reason=verdict.reason,
                    message=verdict.message,
                )
            )
    draft.wanted = wanted
