"""Scenarios of the engine, and what is expected of a decision.

A scenario is a script: at a time something is seen, and a decision is expected.

    story = Scenario(spec)
    story.look(0.0, group(ready=2), wants=5)            # the policy's proposal is put in its mouth
    expect(story, desired=5, reason="WorthItsCost", commands=["SetReplicas on-demand 5"])

Without `wants` the production policy proposes. Nothing is patched: the engine is built of `Parts`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

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
from autoscaler.core.contract.decision import Decision, Outcome, PoolDecision
from autoscaler.core.contract.events import CommandFinished
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.contract.state import Interruption
from autoscaler.core.engine import Engine, EngineSettings, build_engine
from autoscaler.core.policy import Policy, PolicyInput, Proposal
from autoscaler.core.tick.parts import Parts
from tests.builders import NodeRow, PoolNow, Row, observed, seen, specified

POLICY_UNKNOWN = -1
"""As `wants`: the policy cannot tell."""


class Mouthpiece:
    """A policy that says what the script puts in its mouth, else what the production policy says."""

    def __init__(self, production: Policy) -> None:
        self.wants: int | None = None
        self.why = "Scripted"
        self.given: PolicyInput | None = None
        """What it was last given."""
        self._production = production

    def __call__(self, given: PolicyInput, /) -> Proposal:
        self.given = given
        if self.wants is None:
            return self._production(given)
        return Proposal(
            replicas=None if self.wants == POLICY_UNKNOWN else self.wants,
            policy="scripted",
            reason=self.why,
            message=f"the script wants {self.wants}",
        )


class Scenario:
    """One model, one engine, one script."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        parts: Parts | None = None,
        gpu_budget: int | None = None,
        settled: bool = True,
        policy: str = "economic",
    ) -> None:
        """`settled`: windows are full from the start; the tests of windows begin with False."""
        self.spec = spec
        parts = parts or Parts()
        self.mouth = Mouthpiece(parts.policies[policy])
        self.parts = replace(parts, policies={**parts.policies, policy: self.mouth})
        self.settings = EngineSettings(start_without_windows=settled, policy=policy)
        self.engine: Engine = build_engine(self.settings, parts=self.parts)
        self.engine.handle(specified(spec, gpu_budget=gpu_budget))
        self.outcome = Outcome()
        self._id = 0

    def look(
        self,
        at: float,
        *groups: Sequence[Row],
        wants: int | None = None,
        current: Mapping[str, int | None] | None = None,
        pools: Mapping[str, PoolNow] | None = None,
        nodes: Sequence[NodeRow] = (),
        interruptions: Sequence[Interruption] = (),
        cluster_age_s: float = 0.0,
    ) -> Decision:
        """Show the engine an observation."""
        self.mouth.wants = wants
        event = observed(
            seen(self.spec, *groups, current=current, pools=pools),
            at=at,
            id=self._next(),
            nodes=nodes,
            interruptions=interruptions,
            cluster_age_s=cluster_age_s,
        )
        self.outcome = self.engine.handle(event)
        return self.decision

    def finish(
        self, at: float, command: Command, *, reason: str = "Accepted", message: str = ""
    ) -> None:
        """Tell the engine how a command ended."""
        self.engine.handle(
            CommandFinished(
                id=self._next(),
                at=at,
                command=command.id,
                accepted=reason == "Accepted",
                reason=reason,
                message=message,
            )
        )

    def finish_all(self, at: float, *, reason: str = "Accepted") -> None:
        """End all commands of the last outcome alike."""
        for command in self.outcome.commands:
            self.finish(at, command, reason=reason)

    def respecify(self, at: float, spec: ModelSpec) -> None:
        """Change the specification."""
        self.spec = spec
        self.engine.handle(specified(spec, at=at))

    def restart(self, *, remembered: bool) -> None:
        """Begin anew, from the checkpoint or from nothing."""
        if remembered:
            self.engine = Engine.restore(self.settings, self.engine.checkpoint(), parts=self.parts)
        else:
            self.engine = build_engine(self.settings, parts=self.parts)
            self.engine.handle(specified(self.spec))

    @property
    def decision(self) -> Decision:
        """The last one."""
        return self.outcome.decisions[0]

    @property
    def commands(self) -> list[str]:
        """The last ones, in words."""
        return [in_words(command) for command in self.outcome.commands]

    def pool(self, name: str) -> PoolDecision:
        """One pool of the last decision."""
        return next(pool for pool in self.decision.pools if pool.pool == name)

    def _next(self) -> int:
        self._id += 1
        return self._id


def in_words(command: Command) -> str:
    """A command as one line."""
    match command:
        case SetReplicas():
            return f"SetReplicas {command.scale_target.name} {command.replicas}"
        case Annotate():
            return f"Annotate {command.scale_target.name} {command.value}"
        case CordonNode() | MarkNodeDrained() | UncordonNode():
            return f"{type(command).__name__} {command.node}"
        case EvictPod() | DeletePod():
            return f"{type(command).__name__} {command.pod} {command.grace_s}"
        case SetDeletionCost():
            return f"SetDeletionCost {command.pod} {command.cost}"


def condition(decision: Decision, kind: str) -> str:
    """A condition as `status/reason`."""
    found = next(each for each in decision.conditions if each.type == kind)
    return f"{found.status}/{found.reason}"


def expect(
    story: Scenario,
    *,
    desired: int | None = None,
    pools: Mapping[str, int] | None = None,
    reason: str | None = None,
    steps: Sequence[str] | None = None,
    commands: Sequence[str] | None = None,
    conditions: Mapping[str, str] | None = None,
) -> None:
    """Compare what was said of the last decision; what is not given is not looked at.

    Args:
        story: the scenario.
        desired: replicas over all pools.
        pools: desired by pool.
        reason: of the decision.
        steps: who changed the number after the policy, in order.
        commands: in words (see `in_words`), in order.
        conditions: by type, as `status/reason`.
    """
    decision = story.decision
    story_so_far = "\n".join(
        f"  {step.by}: {step.before} -> {step.after} {step.reason} ({step.message})"
        for step in decision.trail
    )
    check_trail(decision)
    if desired is not None:
        assert decision.desired_replicas == desired, story_so_far
    if pools is not None:
        assert {name: story.pool(name).desired_replicas for name in pools} == pools, story_so_far
    if reason is not None:
        assert decision.reason == reason, story_so_far
    if steps is not None:
        assert [step.by for step in decision.trail[1:]] == list(steps), story_so_far
    if commands is not None:
        assert story.commands == list(commands), story_so_far
    if conditions is not None:
        assert {kind: condition(decision, kind) for kind in conditions} == dict(conditions)


def check_trail(decision: Decision) -> None:
    """The trail begins at the proposal, has no gap, and ends at the decision."""
    trail = decision.trail
    assert trail[0].by == "policy"
    if decision.proposal_replicas is not None:
        assert trail[0].after == decision.proposal_replicas
    for earlier, later in pairwise(trail):
        assert earlier.after == later.before
        assert later.before != later.after or later.reason == "FallbackReleased"
    if decision.desired_replicas is not None:
        assert trail[-1].after == decision.desired_replicas
        assert (
            sum(pool.desired_replicas or 0 for pool in decision.pools) == decision.desired_replicas
        )
