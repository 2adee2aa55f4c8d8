"""What the daemon shows of its state: health, readiness, and the page of the last decisions."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import msgspec

from autoscaler import __version__
from autoscaler.core.contract.codec import to_builtins
from autoscaler.core.contract.decision import Decision
from autoscaler.core.contract.events import Observed, SpecChanged
from autoscaler.core.contract.hindsight import WindowHindsight
from autoscaler.core.contract.history import HistoryTaken
from autoscaler.core.contract.spec import FleetSpec
from autoscaler.daemon.clock import Clock
from autoscaler.daemon.history_watch import HistoryWatch
from autoscaler.daemon.knowledge_keeper import KnowledgeKeeper
from autoscaler.daemon.loop import Handled, Listener
from autoscaler.daemon.observer import FleetObserver
from autoscaler.explain.asked import AskedModel, asked_of, write_asked
from autoscaler.explain.course import Course
from autoscaler.explain.page import PageModel, PageState
from autoscaler.explain.page import page_in_steps as people_page
from autoscaler.foreign_text import shown
from autoscaler.kube.lease.election import Election
from autoscaler.sources.pages.turns import at_once
from autoscaler.supervision import Supervisor

_STALLED_TICKS = 3
_STALLED_S_MIN = 30.0
"""Less than this is a busy machine, not a stalled loop."""


class Status(Listener):
    """The last decisions, and when they were made."""

    def __init__(
        self,
        *,
        clock: Clock,
        tick_s: float,
        observer: FleetObserver,
        supervisor: Supervisor | None = None,
        history_watch: HistoryWatch | None = None,
        status_writes: Mapping[str, int] | None = None,
        event_writes: Mapping[str, int] | None = None,
        election: Election | None = None,
        dry_run: bool = False,
    ) -> None:
        self.election = election
        """None: there is none, this process is alone."""
        self._dry_run = dry_run
        self.fleet: FleetSpec | None = None
        """None: none was given yet."""
        self.decisions: Mapping[str, Decision] = {}
        """The last one of each model of the fleet that has any, by its key."""
        self.hindsights: dict[str, tuple[WindowHindsight, ...]] = {}
        """By model, what was last told in hindsight: not every decision has it."""
        self.courses: dict[str, Course] = {}
        """By model, how its decisions went."""
        self.spec_problems: tuple[str, ...] = ()
        """Of the configuration on disk, a line each; empty: it is in use."""
        self._clock = clock
        self._tick_s = tick_s
        self._observer = observer
        self.supervisor = supervisor or Supervisor()
        """Of the daemon's tasks."""
        self.history_watch = history_watch or HistoryWatch(
            servers={}, put=lambda _model, _history: None, now=clock.now
        )
        """How the reading of histories fared."""
        self.status_writes: Mapping[str, int] = {} if status_writes is None else status_writes
        """How writes of the status of resources ended."""
        self.event_writes: Mapping[str, int] = {} if event_writes is None else event_writes
        """How writes of Events about them ended."""
        self.knowledge_reads: Mapping[str, int] = {}
        """How readings of what is kept of models ended."""
        self.knowledge_writes: Mapping[str, int] = {}
        """How writes of it ended."""
        self.histories: dict[str, HistoryTaken] = {}
        """By model, what of its history was taken in last."""
        self._asked: dict[str, AskedModel] = {}
        """By model of the fleet."""
        self._decided_at: float | None = None
        self._alive_at = clock.now()

    def follow_knowledge(self, keeper: KnowledgeKeeper) -> None:
        """Tell how the reading and writing of what is kept fares."""
        self.knowledge_reads, self.knowledge_writes = keeper.reads, keeper.written

    def alive(self) -> None:
        """Note that the loop came round."""
        self._alive_at = self._clock.now()

    def handled(self, handled: Handled) -> None:
        """Keep the fleet and the decisions."""
        event, decisions = handled.event, handled.outcome.decisions
        self._alive_at = event.at
        if isinstance(event, Observed):
            if decisions:
                self._decided_at = event.at
            decided = {decision.model: decision for decision in decisions}
            self.decisions = {**self.decisions, **decided}
            self.hindsights |= {
                key: each.hindsight for key, each in decided.items() if each.hindsight
            }
            self._remember(decisions)
        elif isinstance(event, SpecChanged):
            self.fleet = event.fleet
            keys = {model.key for model in event.fleet.models}
            self.decisions = {key: each for key, each in self.decisions.items() if key in keys}
            self.hindsights = {key: each for key, each in self.hindsights.items() if key in keys}
            self.histories = {key: each for key, each in self.histories.items() if key in keys}
            self.courses = {key: each for key, each in self.courses.items() if key in keys}
            self._asked = {model.key: asked_of(model) for model in event.fleet.models}
        elif handled.outcome.history is not None:
            self.histories[handled.outcome.history.model] = handled.outcome.history

    def _remember(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            asked = self._asked.get(decision.model)
            if asked is not None:
                self.courses.setdefault(decision.model, Course()).add(decision, asked)

    def people_page_in_steps(self, chosen: str = "") -> Generator[None, None, str]:
        """The page for people: each model, or the one that is chosen; yields between them."""
        models = {
            key: PageModel(
                decision._replace(hindsight=self.hindsights.get(key)),
                self._asked[key],
                self.courses[key],
            )
            for key, decision in self.decisions.items()
            if key in self.courses and key in self._asked
        }
        problems = tuple(dict.fromkeys((*self.unready(), *self.spec_problems)))
        state = PageState(self._clock.now(), __version__, problems, live=True)
        return (yield from people_page(models, state, chosen=chosen))

    def set_spec_problems(self, lines: tuple[str, ...]) -> None:
        """Replace the problems of the configuration on disk."""
        self.spec_problems = lines

    def unhealthy(self) -> str:
        """Why the process should be restarted; empty: it should not."""
        silent_s = self._clock.now() - self._alive_at
        if silent_s > max(_STALLED_S_MIN, 2 * _STALLED_TICKS * self._tick_s):
            return f"the loop has not come round for {silent_s:.0f} s"
        return ""

    @property
    def acts(self) -> bool:
        """Whether what is decided is done by this process."""
        if self._dry_run:
            return False
        return self.election is None or self.election.term() is not None

    def standing_by(self) -> str:
        """Why this process does not act though it could, for people; empty: it acts, or it is a dry run."""
        election = self.election
        if election is None or self.acts:
            return ""
        if election.stopped:
            return f"stands by: {election.stopped}"
        holder = shown(election.holder) or "nobody, yet"
        return f"stands by: the lease {election.lease} is held by {holder}"

    def unready(self) -> tuple[str, ...]:
        """Why its decisions are not to be counted on now; empty: they are."""
        reasons = []
        outage = self._observer.outage()
        if outage:
            reasons.append(outage)
        if self.fleet is not None and not self.fleet.models:
            reasons.append(self._no_models())
        elif self._decided_at is None:
            reasons.append("no decision was made yet")
        else:
            silent_s = self._clock.now() - self._decided_at
            if silent_s > max(_STALLED_S_MIN, _STALLED_TICKS * self._tick_s):
                reasons.append(f"the last decision was made {silent_s:.0f} s ago")
        silence = self.election.silence() if self.election is not None else ""
        if silence:
            reasons.append(silence)
        return (*reasons, *self.supervisor.problems())

    def _no_models(self) -> str:
        """Why there is nothing to decide on."""
        if not self.spec_problems:
            return "the configuration has no model; write one: it is read without a restart"
        first, others = self.spec_problems[0], len(self.spec_problems) - 1
        more = f" ({others} more problems at /debug/models)" if others else ""
        return (
            "no document of the configuration can be used, so there is no model; it is read without a restart: "
            f"{first}{more}"
        )

    def page_in_steps(self) -> Generator[None, None, dict[str, Any]]:
        """The last decision of each model, with its specification; and how the sources fare.

        What there is of a model, and of a feed, is JSON already. Yields between them.
        """
        problems = self.unready()
        at, decided_at = self._clock.now(), self._decided_at
        fleet, decisions, hindsights = self.fleet, self.decisions, dict(self.hindsights)
        missing = self._observer.cluster.missing_targets()
        models, sources = [], []
        for model in fleet.models if fleet else ():
            if model.key in decisions:
                decision = decisions[model.key]._replace(hindsight=hindsights.get(model.key))
                plain = to_builtins(decision, Decision)
                models.append(_json({**plain, "spec": write_asked(self._asked[model.key])}))
                yield
        for report in self._observer.collector.reports():
            sources.append(_json(msgspec.to_builtins(report)))
            yield
        return {
            "at": at,
            "decided_at": decided_at,
            "version": __version__,
            "ready": not problems,
            "problems": list(problems),
            "lease": self._lease(),
            "spec_problems": list(self.spec_problems),
            "refused_namespaces": self._observer.cluster.refusals(),
            "unread_hpas": self._observer.cluster.unread_hpas(),
            "notices": {
                "readable": {
                    resource: str(readability)
                    for resource, readability in self._observer.cluster.readable_notices().items()
                },
                "gaps": list(self._observer.notice_gaps() or ()),
            },
            "cluster_problems": [
                *self._observer.problems(),
                *(f"{model}: {text}" for model, text in missing.items()),
            ],
            "doubts": {doubt.model: doubt.message for doubt in self._observer.cluster.doubts},
            "models": models,
            "histories": self._histories(),
            "gpus": _gpus(self._observer),
            "framebuffers": _framebuffers(self._observer),
            "sources": sources,
        }

    def _lease(self) -> dict[str, Any] | None:
        """Who acts; None: there is no lease."""
        election = self.election
        if election is None:
            return None
        return {
            "lease": election.lease,
            "identity": election.identity,
            "holder": election.holder,
            "acts": self.acts,
            "stopped": election.stopped,
            "problem": election.problem,
        }

    def _histories(self) -> list[dict[str, Any]]:
        """What was read of each model's past, and what of that was taken in."""
        return [
            {
                **asdict(report),
                "taken": to_builtins(self.histories.get(model), HistoryTaken | None),
            }
            for model, report in sorted(self.history_watch.reports.items())
        ]

    def page(self) -> dict[str, Any]:
        """The same at once, as plain builtins."""
        page: dict[str, Any] = msgspec.json.decode(
            msgspec.json.encode(at_once(self.page_in_steps()))
        )
        return page


def _json(value: dict[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _gpus(observer: FleetObserver) -> list[dict[str, Any]]:
    """What is known of the GPUs of each node; None: unknown."""
    return [
        {
            "node": name,
            "read_at": node.sampled_at,
            "whole": node.whole,
            "free": node.free,
            "unhealthy": node.unhealthy,
            "faults": list(node.faults),
        }
        for name, node in sorted(observer.collector.last_values.nodes().items())
    ]


def _framebuffers(observer: FleetObserver) -> list[dict[str, Any]]:
    """GPU memory of each replica of which it is known."""
    return [
        {"pod": "/".join(key), "read_at": sample.sampled_at, "used_bytes": sample.used_bytes}
        for key, sample in sorted(observer.collector.last_values.framebuffers().items())
    ]
