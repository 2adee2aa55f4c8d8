"""One seed, from its draw to its end."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import tempfile
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import yaml

from autoscaler.app import Daemon
from autoscaler.core.contract.spec import ModelSpec
from autoscaler.core.tick.parts import Parts
from simulations.box.local_cluster.owners import with_replicas_owner
from tests.seeded.api import ApiWrite
from tests.seeded.faults import FAULTS, Planned, draw_plan
from tests.seeded.history import History
from tests.seeded.judge import Ear, Judge
from tests.seeded.loop import SpinningError, run_simulated
from tests.seeded.process import Process, StuckError
from tests.seeded.scenario import Scenario, draw_scenario
from tests.seeded.world import Notice, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How long a run is, in simulated seconds."""

    chaos_s: float
    """From the daemon's start; faults fall into all but its end."""
    calm_s: float
    """In which nothing begins to go wrong any more."""


LONG = Length(chaos_s=420.0, calm_s=150.0)
SHORT = Length(chaos_s=210.0, calm_s=100.0)
SETTLES_S = 45.0
"""Before the daemon begins, so that the first pods are there."""
INSISTS_S = 3.0
"""Between two looks of who writes his number again and again."""
RESTART_S = (0.5, 12.0)
"""From a kill to the next life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of one seed."""

    seed: int
    digest: str
    violations: tuple[str, ...]
    """`invariant: sentence at time`; empty: all held."""
    plan: tuple[Planned, ...]
    lines: tuple[str, ...]
    """The last of what happened."""
    counts: Mapping[str, int]
    reached_bytes: int


class Run:
    """See the module. Made inside the simulated loop."""

    def __init__(
        self,
        seed: int,
        folder: Path,
        *,
        parts: Parts | None = None,
        break_it: Callable[[Daemon], None] | None = None,
        plan: tuple[Planned, ...] | None = None,
        length: Length = LONG,
        scenario: Scenario | None = None,
        restart_s: tuple[float, float] = RESTART_S,
        begin: Callable[[Run], None] | None = None,
    ) -> None:
        self.seed = seed
        self.length = length
        self.history = History()
        self.now = asyncio.get_running_loop().time
        self.scenario = scenario or draw_scenario(
            _stream(seed, "scenario"), lasts_s=SETTLES_S + length.chaos_s + length.calm_s
        )
        drawn = draw_plan(_stream(seed, "plan"), until=length.chaos_s - 30.0)
        self.plan = drawn if plan is None else plan
        self.world = World(
            self.scenario,
            self.history,
            rng=_stream(seed, "world"),
            before_write=self._before_write,
            after_write=self._after_write,
        )
        self.violations: list[str] = []
        self.broken_promises: set[tuple[str, str]] = set()
        """Deployments on which others wrote into our annotation."""
        self.scaled_by_others: set[tuple[str, str]] = set()
        """Deployments that somebody else has scaled."""
        self.kill_at_write = 0
        """The daemon is killed at the so-manieth write from now; 0: not."""
        self.kill_after_it = False
        self.process: Process | None = None
        self.reached_bytes = 0
        self.judge = Judge(self)
        self._config = folder / "config.yaml"
        self._parts, self._break_it, self._begin = parts, break_it, begin
        self._restart_s = restart_s
        self._lives = itertools.count(1)
        self._changes: list[tuple[int, str, str, float]] = []
        self._killed = asyncio.Event()
        self._over = asyncio.Event()
        self.configure()

    @property
    def daemon(self) -> Daemon:
        """Of the life that goes on, or the last one."""
        assert self.process is not None
        assert self.process.daemon is not None
        return self.process.daemon

    # -- the course of it

    async def whole(self) -> None:
        """Settle, chaos, calm; or until something is found."""
        tasks = [
            asyncio.create_task(work, name=name)
            for name, work in {
                "control": self.world.control(),
                "provide": self.world.provide(),
            }.items()
        ]
        await asyncio.sleep(SETTLES_S)
        tasks.append(asyncio.create_task(self._live(), name="lives"))
        tasks.append(asyncio.create_task(self._watch(), name="judge"))
        begun_at = self.now()
        for fault in self.plan:
            self.later(fault.at, lambda fault=fault: self._play(fault))
        if self._begin is not None:
            self._begin(self)
        over = asyncio.create_task(self._over.wait())
        lasts_s = self.length.chaos_s + self.length.calm_s
        await asyncio.wait({over, *tasks}, timeout=lasts_s, return_when="FIRST_COMPLETED")
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()
        if not self.violations and self.process is not None and self.process.daemon is not None:
            self.judge.end()
        self.history.note("end", round(self.now() - begun_at, 3))
        for task in [*tasks, over]:
            task.cancel()
        await asyncio.wait({over, *tasks})
        if self.process is not None and self.process.alive and self.process.task is not None:
            self.process.sever()
            await self.process.reap()

    async def _live(self) -> None:
        """Lives of the daemon, one after the other."""
        while True:
            number = next(self._lives)
            rng = _stream(self.seed, f"daemon {number}")
            self.kill_at_write = 0
            self._killed.clear()
            self.process = Process(
                self.world.network,
                self._config,
                rng=rng,
                gpu_budget=self.scenario.gpu_budget,
                listener=Ear(self.judge),
                parts=self._parts,
                break_it=self._break_it,
            )
            self.history.note("life", number)
            self.process.start()
            killed = asyncio.create_task(self._killed.wait())
            await asyncio.wait({killed, self.process.task}, return_when="FIRST_COMPLETED")
            if not killed.done():
                killed.cancel()
                task = self.process.task
                found = "was cancelled" if task.cancelled() else repr(task.exception())
                self.found("no task dead", f"the daemon ended: {found}")
                return
            try:
                await self.process.reap()
            except StuckError as stuck:
                self.found("no task dead", str(stuck))
                return
            await asyncio.sleep(_stream(self.seed, f"restart {number}").uniform(*self._restart_s))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self._remember_changes()
            self.judge.look()

    def _play(self, fault: Planned) -> None:
        self.history.note("fault", fault.name, fault.lasts_s)
        undo = FAULTS[fault.name][2](self, random.Random(fault.lot))
        if undo is not None:

            def lift() -> None:
                self.history.note("lifted", fault.name)
                undo()

            self.later(fault.lasts_s, lift)

    # -- what faults do

    def later(self, after_s: float, act: Callable[[], None]) -> None:
        """Do it so many seconds from now."""
        asyncio.get_running_loop().call_later(after_s, self._guarded, act)

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            logging.getLogger(__name__).exception("the scenario broke")
            self.found("the scenario", f"{type(error).__name__}: {error}")

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None and self.process.alive:
            self.history.note("kill", "")
            self.process.sever()
            self._killed.set()

    def give_notice(
        self, node: str, dialect: str, lead_s: float, *, withdrawn_after_s: float | None = None
    ) -> None:
        """The provider takes a machine back, or says so and does not."""
        notice = self.world.give_notice(node, dialect, lead_s)
        self.history.note("notice", node, dialect, lead_s)

        def take(notice: Notice = notice) -> None:
            if notice.withdrawn_at is None:
                self.history.note("taken", node)
                self.world.take(node)

        self.later(lead_s, take)
        if withdrawn_after_s is not None:
            self.later(withdrawn_after_s, lambda: self.world.withdraw(notice))

    def say(self, node: str, *, ready: bool) -> None:
        """The node's controller says so, if the Node is still there and its kubelet says nothing else."""
        noticed = any(n.node == node and n.withdrawn_at is None for n in self.world.notices)
        if self.world.store.find("nodes", "", node) is not None and not noticed:
            (self.world.say_ready if ready else self.world.say_unknown)(node)

    def foreign_scale(self, namespace: str, name: str, replicas: int) -> None:
        """`kubectl scale`, once on each Deployment."""
        if (namespace, name) not in self.scaled_by_others:
            self.scaled_by_others.add((namespace, name))
            self._scale_by(namespace, name, replicas, manager="kubectl")

    def insist(self, namespace: str, name: str) -> Callable[[], None] | None:
        """Write the number that is there again and again, as an HPA or GitOps does, until what is returned is called."""
        if (namespace, name) in self.scaled_by_others:
            return None
        self.scaled_by_others.add((namespace, name))
        replicas = int(self.world.deployment(namespace, name)["spec"]["replicas"])
        ended: list[bool] = []

        def again() -> None:
            if not ended:
                if self.world.deployment(namespace, name)["spec"]["replicas"] != replicas:
                    self._scale_by(namespace, name, replicas, manager="another-autoscaler")
                self.later(INSISTS_S, again)

        again()
        return lambda: ended.append(True)

    def _scale_by(self, namespace: str, name: str, replicas: int, *, manager: str) -> None:
        found = self.world.deployment(namespace, name)
        before = int(found["spec"]["replicas"])
        self.history.note(manager, namespace, name, before, replicas)
        scaled = with_replicas_owner(
            found,
            {**found, "spec": {**found["spec"], "replicas": replicas}},
            manager=manager,
            subresource="scale",
            at=self.world.store.clock(),
        )
        self.world.store.replace("deployments", scaled)
        self.judge.theirs(namespace, name, before=before, after=replicas)

    def jump(self, ahead_s: float) -> None:
        """Every clock is set ahead; machines that were noticed go when they were to, by no clock."""
        self.world.clock_skew_s += ahead_s
        if self.process is not None:
            self.process.wall_skew_s += ahead_s

    def write_config(self, text: str) -> None:
        """What stands on disk from now on."""
        self._config.write_text(text)

    def configure(self, model: str = "", **changes: Any) -> None:
        """Write the scenario's documents, with changes to one of them."""
        documents = [
            each.document(**changes) if each.name == model else each.document()
            for each in self.scenario.models
        ]
        self.write_config(yaml.safe_dump_all(documents))

    # -- what is seen

    def _before_write(self) -> bool:
        """Whether this write gets lost, for the daemon is killed before it."""
        if self.kill_at_write != 1 or self.kill_after_it:
            return self.process is None or not self.process.alive
        self.kill_at_write = 0
        self.kill()
        return True

    def _after_write(self, write: ApiWrite) -> None:
        self._remember_changes()
        self.judge.wrote(write)
        if self.kill_at_write:
            self.kill_at_write -= 1
            if self.kill_at_write == 0:
                self.kill()

    def found(self, invariant: str, wrong: str) -> None:
        """Something that must not be; the run is over."""
        if wrong:
            self.history.note("FOUND", invariant, wrong)
            self.violations.append(f"{invariant}: {wrong}, at {self.now():.3f} s")
            self._over.set()

    def spec_of_model(self, name: str) -> ModelSpec | None:
        """As the daemon has it."""
        fleet = self.daemon.telemetry.status.fleet
        return next((m for m in fleet.models if m.name == name), None) if fleet else None

    def spec_of(self, namespace: str, target: str) -> ModelSpec | None:
        """The model with this scale target, as the daemon has it."""
        fleet = self.daemon.telemetry.status.fleet
        for model in fleet.models if fleet else ():
            for pool in model.pools:
                if (pool.target.namespace, pool.target.name) == (namespace, target):
                    return model
        return None

    def _remember_changes(self) -> None:
        known = self._changes[-1][0] if self._changes else 0
        for change in self.world.store.changes_after(known):
            obj = change.after or change.before or {}
            namespace = obj["metadata"].get("namespace", "")
            self._changes.append((change.version, change.resource, namespace, self.now()))

    def oldest_change(self, resource: str, namespace: str, *, after: int) -> float:
        """When the first change was made that is newer than a version; now: there is none."""
        oldest = self.now()
        for version, of, where, at in reversed(self._changes):
            if version <= after:
                break
            if of == resource and namespace in {"", where}:
                oldest = at
        return oldest


def _stream(seed: int, name: str) -> random.Random:
    """One seed, many streams: a fault more does not change the load."""
    return random.Random(f"{seed} {name}")


class _Complaints(logging.Handler):
    """What libraries log as an error is a bug of the simulated cluster, or one that nobody held."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else ""
        self.found.append(f"{record.name}: {record.getMessage()} {error!r}"[:600])


def run_seed(seed: int, **given: Any) -> Report:
    """Run one seed in simulated time.

    Args:
        seed: Decides everything.
        given: For `Run`: parts, break_it, plan, length, scenario, restart_s, begin.
    """
    runs: list[Run] = []

    def log(_: Any, __: str, line: MutableMapping[str, Any]) -> Any:
        if runs:
            runs[0].judge.logged(str(line.pop("event")), dict(line))
        raise structlog.DropEvent

    async def main(folder: Path) -> None:
        runs.append(Run(seed, folder, **given))
        await runs[0].whole()

    complaints, root = _Complaints(), logging.getLogger()
    structlog.configure(processors=[structlog.processors.format_exc_info, log])
    root.addHandler(complaints)
    try:
        with tempfile.TemporaryDirectory() as folder:
            run_simulated(main(Path(folder)))
    except SpinningError as spinning:
        runs[0].violations.append(f"time goes on: {spinning}")
    finally:
        root.removeHandler(complaints)
        structlog.reset_defaults()
    run = runs[0]
    return Report(
        seed=seed,
        digest=run.history.digest,
        violations=(*run.violations, *(f"no bug: {text}" for text in complaints.found)),
        plan=run.plan,
        lines=tuple(run.history.lines),
        counts=dict(run.history.counts),
        reached_bytes=run.reached_bytes,
    )
