"""What goes wrong, drawn from the seed before the run begins: a plan that can be printed.

A fault is a row of `FAULTS`: it does something to the run now, and undoes it after its time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import yaml

from autoscaler.core.contract.commands import FALLBACK_ANNOTATION
from simulations.box.local_cluster.api.faults import ApiFault, ApiFaultKind
from simulations.box.local_cluster.objects import Object
from tests.seeded.pages import HOSTILE
from tests.seeded.world import LEADS_S

if TYPE_CHECKING:
    from tests.seeded.run import Run

Undo: TypeAlias = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One fault of a plan."""

    at: float
    name: str
    lasts_s: float
    lot: int
    """Seeds what the fault itself draws."""

    def __str__(self) -> str:
        return f"{self.at:7.2f} s  {self.name} for {self.lasts_s:.1f} s"


Fault: TypeAlias = Callable[["Run", random.Random], "Undo | None"]

_WATCHED = ("pods", "nodes", "deployments", "replicasets")
_WRITTEN = ("deployments/scale", "deployments", "nodes", "pods/eviction")


def _api(run: Run, fault: ApiFault) -> Undo:
    run.world.api.faults.inject(fault)
    return lambda: run.world.api.faults.lift(fault)


def _writes(run: Run, rng: random.Random, kind: ApiFaultKind, *, delay_s: float = 0.0) -> Undo:
    resource = rng.choice((*_WRITTEN, None))
    verbs = frozenset({"update", "patch", "create", "delete"})
    return _api(
        run,
        ApiFault(
            kind=kind,
            verbs=verbs,
            resource=resource,
            times=rng.choice((1, 2, None)),
            delay_s=delay_s,
        ),
    )


def _watch(run: Run, rng: random.Random, kind: ApiFaultKind) -> Undo:
    resource = rng.choice((*_WATCHED, None))
    return _api(run, ApiFault(kind=kind, verbs=frozenset({"watch"}), resource=resource))


def _all_verbs(run: Run, rng: random.Random, kind: ApiFaultKind) -> Undo:
    delay_s = rng.choice((0.5, 3.0, 12.0))
    return _api(run, ApiFault(kind=kind, delay_s=delay_s, resource=rng.choice((*_WATCHED, None))))


def _api_away(run: Run, rng: random.Random) -> Undo:
    host = run.world.api_host
    kind = rng.choice(("refuses", "mute"))
    setattr(host, kind, True)
    for end in host.ends:
        if kind == "refuses":
            end.abort()
        else:
            end.silent = True
    return lambda: setattr(host, kind, False)


def _malformed(run: Run, rng: random.Random) -> None:
    run.world.api.malformed_left = rng.choice((1, 2, 5))


def _pages(run: Run, rng: random.Random, *, names: tuple[str, ...] = tuple(HOSTILE)) -> Undo | None:
    pods = list(run.world.kubelets.pods.values())
    if not pods:
        return None
    struck = rng.sample(pods, rng.choice((1, 1, len(pods))))
    for pod in struck:
        pod.hostile = rng.choice(names)

    def undo() -> None:
        for pod in struck:
            pod.hostile = ""

    return undo


def _frozen(run: Run, rng: random.Random) -> Undo | None:
    pods = [pod for pod in run.world.kubelets.pods.values() if pod.loaded]
    if not pods:
        return None
    pod = rng.choice(pods)
    pod.frozen = run.world.kubelets.page(pod)
    return lambda: setattr(pod, "frozen", "")


def _crash(run: Run, rng: random.Random) -> None:
    pods = [pod for pod in run.world.kubelets.pods.values() if pod.loaded and not pod.ending]
    if pods:
        run.world.kubelets.restart(rng.choice(pods))


def _notice(run: Run, rng: random.Random) -> Undo | None:
    return _give(run, rng, 1)


def _notices(run: Run, rng: random.Random) -> Undo | None:
    return _give(run, rng, 3)


def _give(run: Run, rng: random.Random, count: int) -> None:
    nodes = run.world.spot_nodes()
    dialect = rng.choice(tuple(LEADS_S))
    for node in rng.sample(nodes, min(count, len(nodes))):
        run.give_notice(node, dialect, rng.choice(LEADS_S[dialect]))


def _withdrawn(run: Run, rng: random.Random) -> None:
    nodes = run.world.spot_nodes()
    if nodes:
        run.give_notice(
            rng.choice(nodes), "rehearsal", 60.0, withdrawn_after_s=rng.uniform(1.0, 50.0)
        )


def _lost(run: Run, rng: random.Random) -> None:
    nodes = [*run.world.spot_nodes(), "od-0"]
    run.world.take(rng.choice(nodes), node_object=rng.random() < 0.6)


def _cut_off(run: Run, rng: random.Random) -> Undo | None:
    nodes = run.world.spot_nodes()
    if not nodes:
        return None
    node = rng.choice(nodes)
    run.world.cut_off(node, off=True)
    if rng.random() < 0.7:
        run.later(40.0, lambda: run.say(node, ready=False))

    def undo() -> None:
        run.world.cut_off(node, off=False)
        run.later(41.0, lambda: run.say(node, ready=True))

    return undo


def _market(run: Run, _: random.Random) -> Undo:
    run.world.market_open = False
    return lambda: setattr(run.world, "market_open", True)


def _stuck_starts(run: Run, _: random.Random) -> Undo:
    run.world.kubelets.never_ready = True

    def undo() -> None:
        run.world.kubelets.never_ready = False
        for pod in list(run.world.kubelets.pods.values()):
            if not pod.loaded and not pod.ending:
                run.world.kubelets.restart(pod)

    return undo


def _kill(run: Run, rng: random.Random) -> None:
    run.kill_at_write = rng.choice((0, 1, 1, 2, 3))
    run.kill_after_it = rng.random() < 0.5
    if run.kill_at_write == 0:
        run.kill()


def _second_writer(run: Run, rng: random.Random) -> None:
    model = rng.choice(run.world.scenario.models)
    name = rng.choice(tuple(model.replicas))
    run.foreign_scale(model.namespace, name, rng.choice((0, 1, 2, 5, 9)))


def _insisting_writer(run: Run, rng: random.Random) -> Undo | None:
    """An HPA that may not be read, or GitOps."""
    model = rng.choice(run.world.scenario.models)
    return run.insist(model.namespace, rng.choice(tuple(model.replicas)))


def _wall_jumps(run: Run, rng: random.Random) -> None:
    """The machine's clock was wrong and is set right, or the other way round."""
    if run.process is not None:
        run.process.wall_skew_s += rng.choice((-3600.0, -20.0, 5.0))


def _both_jump(run: Run, rng: random.Random) -> None:
    """All machines' clocks are set ahead together."""
    ahead_s = rng.choice((1.5, 20.0))
    run.jump(ahead_s)


def _configuration(run: Run, rng: random.Random) -> Undo:
    """Somebody edits it: wrongly, or with another bound, or pauses a model."""
    models = list(run.world.scenario.models)
    documents = [model.document() for model in models]
    number = rng.randrange(len(models))
    match rng.randrange(5):
        case 0:
            run.write_config("spec: [1, 2\n")
        case 1:
            documents[number]["spec"]["maxReplicas"] = -3
            run.write_config(yaml.safe_dump_all(documents))
        case 2:
            run.write_config("x: !!bool maybe\n")
        case 3:
            run.configure(models[number].name, paused=rng.choice(("true", "scale-down")))
        case _:
            run.configure(models[number].name, maxReplicas=rng.choice((2, 5)))
    return run.configure


def _junk_promises(run: Run, rng: random.Random) -> Undo | None:
    """A tenant writes into our annotation."""
    model = rng.choice(run.world.scenario.models)
    name = rng.choice(tuple(model.replicas))
    junk = rng.choice(
        ("[" * 500, "{}", '[{"node": 1}]', '[{"node":"n","replicas":9,"since":1e300}]', "x" * 5_000)
    )
    run.broken_promises.add((model.namespace, name))

    def write(value: str | None) -> None:
        def change(obj: Object) -> None:
            annotations = obj["metadata"].setdefault("annotations", {})
            if value is None:
                annotations.pop(FALLBACK_ANNOTATION, None)
            else:
                annotations[FALLBACK_ANNOTATION] = value

        run.world.store.modify("deployments", model.namespace, name, change)

    write(junk)
    return lambda: write(None)


def _odd_objects(run: Run, rng: random.Random) -> Undo:
    """A tenant's objects that the API server takes: odd annotations, owners from elsewhere, no status."""
    store, namespace = run.world.store, rng.choice(("alpha", "beta"))
    owner = rng.choice(store.all("deployments") or store.all("nodes"))
    reference = {
        "apiVersion": "apps/v1", "kind": "Deployment", "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": True,
    }  # fmt: skip
    number = store.suffix()
    store.create(
        "pods",
        {
            "metadata": {
                "name": f"odd-{number}",
                "namespace": namespace,
                "labels": {"odd": "1"},
                "annotations": {"controller.kubernetes.io/pod-deletion-cost": "9" * 300},
                "ownerReferences": [rng.choice((reference, {"controller": True, "uid": "x"}))],
            },
            "spec": {"nodeName": "nowhere", "containers": []},
            "status": {"phase": "Running"},
        },
    )

    def undo() -> None:
        if store.find("pods", namespace, f"odd-{number}") is not None:
            store.remove("pods", namespace, f"odd-{number}")

    return undo


_K = ApiFaultKind
FAULTS: dict[str, tuple[int, float, Fault]] = {
    # name: weight, longest time in seconds, what it does
    "answers to writes lost": (4, 20.0, lambda r, g: _writes(r, g, _K.ANSWER_LOST)),
    "writes refused": (2, 30.0, lambda r, g: _writes(r, g, _K.FORBIDDEN)),
    "writes in conflict": (2, 20.0, lambda r, g: _writes(r, g, _K.CONFLICT)),
    "writes late": (
        3,
        30.0,
        lambda r, g: _writes(r, g, _K.SLOW, delay_s=g.choice((1.0, 8.0, 15.0))),
    ),
    "writes hang": (2, 30.0, lambda r, g: _writes(r, g, _K.HANG)),
    "writes unavailable": (2, 20.0, lambda r, g: _writes(r, g, _K.UNAVAILABLE)),
    "watches cut": (2, 15.0, lambda r, g: _watch(r, g, _K.RESET)),
    "watches silent": (4, 60.0, lambda r, g: _watch(r, g, _K.HANG)),
    "watches gone": (2, 10.0, lambda r, g: _watch(r, g, _K.GONE)),
    "watches forbidden": (1, 40.0, lambda r, g: _watch(r, g, _K.FORBIDDEN)),
    "everything slow": (2, 30.0, lambda r, g: _all_verbs(r, g, _K.SLOW)),
    "everything hangs": (2, 45.0, lambda r, g: _all_verbs(r, g, _K.HANG)),
    "bad gateway": (2, 20.0, lambda r, g: _all_verbs(r, g, _K.BAD_GATEWAY)),
    "API server away": (2, 60.0, _api_away),
    "answers malformed": (5, 0.0, _malformed),
    "pages hostile": (6, 45.0, _pages),
    "pages silent": (3, 60.0, lambda r, g: _pages(r, g, names=("never an answer", "reset"))),
    "page frozen": (2, 60.0, _frozen),
    "container crashes": (2, 0.0, _crash),
    "a notice": (7, 0.0, _notice),
    "a zone's notices": (2, 0.0, _notices),
    "a notice withdrawn": (2, 0.0, _withdrawn),
    "a machine lost": (3, 0.0, _lost),
    "a machine cut off": (2, 60.0, _cut_off),
    "no spot to be had": (2, 120.0, _market),
    "starts that never end": (1, 90.0, _stuck_starts),
    "the daemon killed": (5, 0.0, _kill),
    "a second writer": (3, 0.0, _second_writer),
    "a writer who insists": (3, 120.0, _insisting_writer),
    "the daemon's clock jumps": (2, 0.0, _wall_jumps),
    "all clocks jump": (1, 0.0, _both_jump),
    "the configuration edited": (2, 40.0, _configuration),
    "junk in our annotation": (1, 30.0, _junk_promises),
    "odd objects": (2, 60.0, _odd_objects),
}
"""By name."""


def draw_plan(rng: random.Random, *, until: float) -> tuple[Planned, ...]:
    """A fault every half minute or so, in order of time; several may stand at once."""
    names = tuple(FAULTS)
    weights = [FAULTS[name][0] for name in names]
    planned = []
    for _ in range(rng.randint(round(until / 50.0), round(until / 20.0))):
        (name,) = rng.choices(names, weights)
        longest_s = FAULTS[name][1]
        planned.append(
            Planned(
                at=round(rng.uniform(20.0, until), 3),
                name=name,
                lasts_s=round(rng.uniform(min(2.0, longest_s), longest_s), 3),
                lot=rng.getrandbits(32),
            )
        )
    return tuple(sorted(planned, key=lambda each: each.at))
