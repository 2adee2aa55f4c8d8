"""Holds promises against the decisions that made them: none lost, none doubled."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from autoscaler.core.contract.commands import FALLBACK_ANNOTATION, Annotate
from autoscaler.core.contract.decision import Decision, Outcome
from autoscaler.core.contract.spec import ModelSpec, Pause
from tests.seeded import invariants
from tests.seeded.api import ApiWrite
from tests.seeded.truth import NEWS_S, Truth

if TYPE_CHECKING:
    from tests.seeded.run import Run


class PromiseJudge:
    """Of one run."""

    def __init__(self, run: Run, truth: Truth) -> None:
        self._run, self._truth = run, truth
        self._last: dict[str, Decision] = {}
        """By model."""
        self._sent: dict[tuple[str, str], deque[tuple[str | None, Decision]]] = {}
        """By scale target: promises that were sent, and the decision that sent them."""
        self._missing_since: dict[str, float] = {}
        """By model: since when less stands promised than its decisions count on, and could have been written."""
        self._promises: dict[tuple[str, str], list[invariants.Promised]] = {}
        """By model and node, in order."""
        self._promised_blind_at: dict[str, float] = {}
        """By model: when more was last promised by a decision that could not see."""

    def decided(self, outcome: Outcome) -> None:
        """The daemon decided."""
        decisions = {decision.model: decision for decision in outcome.decisions}
        self._last |= decisions
        for command in outcome.commands:
            if isinstance(command, Annotate):
                target = command.scale_target
                sent = self._sent.setdefault((target.namespace, target.name), deque(maxlen=50))
                sent.append((command.value, decisions[command.model]))

    def refused(self, command: Annotate) -> None:
        """It could not be written."""
        self._missing_since.pop(command.model, None)

    def blinded(self) -> None:
        """No daemon is there that could write."""
        self._missing_since.clear()

    def wrote(self, write: ApiWrite) -> None:
        """The daemon wrote promises on a scale target."""
        run = self._run
        if (write.namespace, write.name) in run.broken_promises:
            return
        assert write.before is not None
        annotations = write.before["metadata"].get("annotations") or {}
        before = invariants.promises_of(annotations.get(FALLBACK_ANNOTATION)) or {}
        value = (write.body["metadata"]["annotations"]).get(FALLBACK_ANNOTATION)
        after = invariants.promises_of(value)
        spec = run.spec_of(write.namespace, write.name)
        if spec is None:
            return
        self._truth.follow_pods(run.now())
        doomed = {node: self._truth.doomed_count(node, spec) for node in after or {}}
        wrong = invariants.promises_not_doubled(after, before=before, doomed=doomed)
        run.found("no promise doubled", wrong)
        decision = self._decision_of(write, spec)
        if decision is None:
            return
        self._promises_fell(decision, sum((after or {}).values()), before=sum(before.values()))
        self._promised_again(spec, decision, before, after or {})

    def _decision_of(self, write: ApiWrite, spec: ModelSpec) -> Decision | None:
        """The decision that sent a promise, for others may have been made while the write was under way.

        What no decision has sent is held against the last one.
        """
        value = write.body["metadata"]["annotations"].get(FALLBACK_ANNOTATION)
        for sent, decision in reversed(self._sent.get((write.namespace, write.name), ())):
            if sent == value:
                return decision
        return self._last.get(spec.key)

    def _promised_again(
        self,
        spec: ModelSpec,
        decision: Decision,
        before: Mapping[str, int],
        after: Mapping[str, int],
    ) -> None:
        now = self._run.now()
        # Who cannot see takes what is there to be needed, and stands in for it: also what was not a moment
        # ago, and what is not once he sees again.
        blind = any(step.by == "freshness" for step in decision.trail)
        if blind and sum(after.values()) > sum(before.values()):
            self._promised_blind_at[str(spec.key)] = now
        held = now - self._promised_blind_at.get(str(spec.key), -math.inf) <= invariants.FLAP_S
        needed = needed_before(decision, "budget")
        granted = needed_before(decision, "interruption")
        doomed = set(self._truth.doomed_nodes())
        known = [node for name, node in self._promises if name == str(spec.key)]
        for node in dict.fromkeys((*before, *after, *known)):
            story = self._promises.setdefault((str(spec.key), node), [])
            promised = invariants.Promised(
                at=now, replicas=after.get(node, 0), needed=needed, granted=granted
            )
            story.append(promised)
            recent = [each for each in story if now - each.at <= invariants.FLAP_S]
            if node in doomed and not held:
                self._run.found("no promise doubled", invariants.promises_made_once(recent))

    def _promises_fell(self, decision: Decision, after: int, *, before: int) -> None:
        if decision.desired_replicas is None:
            return
        needed = needed_before(decision, "interruption")
        doomed = 0
        for pool in decision.pools:
            cut = (pool.current_replicas or 0) - (pool.desired_replicas or 0)
            doomed += max(0, pool.doomed_replicas - max(0, cut))  # the others go with the cut
        wrong = invariants.promises_not_lost(
            after,
            before=before,
            needed=needed,
            left=decision.desired_replicas - doomed,
            in_force=sum(pool.fallback_replicas for pool in decision.pools),
        )
        self._run.found("no promise lost", wrong)

    def look(self, spec: ModelSpec) -> None:
        """What the last decision counts on stands promised, or could not be written."""
        run, now = self._run, self._run.now()
        decision = self._last.get(spec.key)
        targets = [(pool.target.namespace, pool.target.name) for pool in spec.pools]
        if (
            decision is None
            or decision.desired_replicas is None
            or spec.pause is Pause.ALL
            or not run.broken_promises.isdisjoint(targets)
        ):
            self._missing_since.pop(spec.key, None)
            return
        promised = 0
        for target in targets:
            annotations = run.world.deployment(*target)["metadata"].get("annotations") or {}
            of_target = invariants.promises_of(annotations.get(FALLBACK_ANNOTATION)) or {}
            promised += sum(of_target.values())
        in_force = sum(pool.fallback_replicas for pool in decision.pools)
        if promised >= in_force or self._truth.sight(spec).unseen_s > NEWS_S:
            self._missing_since.pop(spec.key, None)
            return
        missing_s = now - self._missing_since.setdefault(spec.key, now)
        wrong = invariants.promises_stand(promised, in_force=in_force, missing_s=missing_s)
        run.found("no promise lost", wrong)


def needed_before(decision: Decision, before: str) -> int:
    """Replicas that were to serve by a decision before a step of its; the whole of it: it had no such step."""
    needed = decision.desired_replicas or 0
    stand_ins = 0  # asked for on top of those that are to serve
    for step in decision.trail:
        if step.by in {before, "interruption"}:
            needed = step.before
            break
        if step.by == "starting":
            stand_ins += step.after - step.before
        elif step.by == "bounds" and step.after < step.before:
            stand_ins = max(
                0, stand_ins - (step.before - step.after)
            )  # they are the first that it cuts
    return needed - stand_ins
