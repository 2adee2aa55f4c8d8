"""Each command is one guarded write; each refusal a reason of the closed list and a clear message."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from autoscaler.core.contract.commands import (
    CORDON_ANNOTATION,
    DRAINED_ANNOTATION,
    FALLBACK_ANNOTATION,
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
from autoscaler.core.contract.deletion_cost import COST_ANNOTATION, OWN_COST_ANNOTATION
from autoscaler.core.contract.spec import ScaleTarget
from autoscaler.errors import ActuationError
from autoscaler.kube.api.client import Client, connect
from autoscaler.kube.perform.perform import perform
from simulations.box.local_cluster import ApiFault, ApiFaultKind, LocalCluster
from tests.kube.api_server import ScriptedServer, answer, hang, page, refuse
from tests.kube.scene import CREATED_AT, deployment, node, pod

AT = CREATED_AT + 600
TARGET = ScaleTarget(namespace="serving", name="llama")
COMMON: dict[str, Any] = {"id": "1.1", "model": "serving/llama", "expires_at": AT + 30}


def set_replicas(replicas: int = 5, **more: Any) -> SetReplicas:
    return SetReplicas(**{**COMMON, **more}, scale_target=TARGET, replicas=replicas)


def annotate(value: str | None) -> Annotate:
    return Annotate(**COMMON, scale_target=TARGET, key=FALLBACK_ANNOTATION, value=value)


def cordon() -> CordonNode:
    return CordonNode(**COMMON, node="n")


def mark_drained() -> MarkNodeDrained:
    return MarkNodeDrained(**COMMON, node="n")


def uncordon() -> UncordonNode:
    return UncordonNode(**COMMON, node="n")


def evict(grace_s: int = 45, *, ends_at: float | None = None) -> EvictPod:
    return EvictPod(**COMMON, namespace="serving", pod="p", grace_s=grace_s, ends_at=ends_at)


def delete(grace_s: int = 45, *, ends_at: float | None = None) -> DeletePod:
    return DeletePod(**COMMON, namespace="serving", pod="p", grace_s=grace_s, ends_at=ends_at)


def set_cost(cost: int | None = -3) -> SetDeletionCost:
    return SetDeletionCost(**COMMON, namespace="serving", pod="p", cost=cost)


COMMANDS: tuple[Command, ...] = (
    set_replicas(),
    annotate("[]"),
    cordon(),
    mark_drained(),
    uncordon(),
    set_cost(),
    evict(),
    delete(),
)


class Pauses:
    """A sleep that takes no time."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, pause_s: float) -> None:
        self.taken.append(pause_s)
        await asyncio.sleep(0)


async def run(client: Client, command: Command, **more: Any) -> None:
    options: dict[str, Any] = {"now": lambda: AT, "rng": random.Random(1), "sleep": Pauses()}
    await perform(client, command, **{**options, **more})


async def refused(client: Client, command: Command, **more: Any) -> ActuationError:
    with pytest.raises(ActuationError) as caught:
        await run(client, command, **more)
    return caught.value


# -- on a cluster that behaves


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with LocalCluster(controllers=False, folder=tmp_path) as made:
        made.apply(deployment("llama", replicas=2, annotations={"theirs": "kept"}))
        made.apply(node("n", annotations={"theirs": "kept"}))
        made.apply(pod("p", owner="rs", node="n", ready_since="2026-03-01T12:02:00Z"))
        yield made


@pytest.fixture
async def kube(cluster: LocalCluster) -> AsyncIterator[Client]:
    async with await connect(str(cluster.kubeconfig)) as made:
        yield made


def writes(cluster: LocalCluster) -> list[tuple[str, str]]:
    reading = {"get", "list", "watch"}
    return [(r.verb, r.resource) for r in cluster.api.requests if r.verb not in reading]


async def test_scale_is_read_then_written_with_the_version_read(
    cluster: LocalCluster, kube: Client
):
    version = cluster.store.get("deployments", "serving", "llama")["metadata"]["resourceVersion"]
    await run(kube, set_replicas(5))
    assert cluster.store.get("deployments", "serving", "llama")["spec"]["replicas"] == 5
    assert writes(cluster) == [("update", "deployments/scale")]
    assert cluster.api.requests[-1].body["metadata"]["resourceVersion"] == version


async def test_a_scale_that_is_right_is_not_written(cluster: LocalCluster, kube: Client):
    await run(kube, set_replicas(2))
    assert writes(cluster) == []


async def test_somebody_quicker_is_a_conflict_and_is_not_written_over(
    server: ScriptedServer, client: Client
):
    server.calls += [
        answer({"metadata": {"resourceVersion": "7"}, "spec": {"replicas": 2}}),
        refuse(409, "Conflict", "the object has been modified; please apply your changes"),
    ]
    error = await refused(client, set_replicas(5))
    assert error.reason == "Conflict"
    assert "the next tick reads again" in str(error)
    assert len(server.requests) == 2
    assert server.requests[1].body["metadata"]["resourceVersion"] == "7"


async def test_scaling_to_zero_and_from_zero(cluster: LocalCluster, kube: Client):
    await run(kube, set_replicas(0))
    assert cluster.store.get("deployments", "serving", "llama")["spec"]["replicas"] == 0
    await run(kube, set_replicas(0))
    assert len(writes(cluster)) == 1
    await run(kube, set_replicas(3))
    assert cluster.store.get("deployments", "serving", "llama")["spec"]["replicas"] == 3


async def test_an_annotation_is_set_and_removed_and_others_are_left(
    cluster: LocalCluster, kube: Client
):
    def annotations() -> Any:
        return cluster.store.get("deployments", "serving", "llama")["metadata"]["annotations"]

    await run(kube, annotate("[1]"))
    assert annotations() == {"theirs": "kept", FALLBACK_ANNOTATION: "[1]"}
    await run(kube, annotate(None))
    assert annotations() == {"theirs": "kept"}


async def test_cordon_and_uncordon(cluster: LocalCluster, kube: Client):
    await run(kube, cordon())
    it = cluster.store.get("nodes", "", "n")
    assert it["spec"]["unschedulable"] is True
    assert it["metadata"]["annotations"] == {
        "theirs": "kept",
        CORDON_ANNOTATION: "2026-03-01T12:10:00Z",
    }
    await run(kube, uncordon())
    it = cluster.store.get("nodes", "", "n")
    assert not it["spec"].get("unschedulable")
    assert it["metadata"]["annotations"] == {"theirs": "kept"}


async def test_the_cordon_of_somebody_else_is_neither_taken_over_nor_undone(
    cluster: LocalCluster, kube: Client
):
    cluster.apply(node("n", unschedulable=True))
    before = cluster.store.get("nodes", "", "n")
    await run(kube, cordon())
    await run(kube, uncordon())
    assert cluster.store.get("nodes", "", "n") == before
    assert writes(cluster) == []


async def test_a_node_that_we_emptied_is_marked_once_and_the_mark_goes_with_the_cordon(
    cluster: LocalCluster, kube: Client
):
    def annotations() -> Any:
        return cluster.store.get("nodes", "", "n")["metadata"]["annotations"]

    await run(kube, cordon())
    await run(kube, mark_drained(), now=lambda: AT + 20)
    marked = {
        "theirs": "kept",
        CORDON_ANNOTATION: "2026-03-01T12:10:00Z",
        DRAINED_ANNOTATION: "2026-03-01T12:10:20Z",
    }
    assert annotations() == marked
    # The next process does not know that it was: it stays as it is.
    await run(kube, mark_drained(), now=lambda: AT + 25)
    assert annotations() == marked
    assert writes(cluster) == [("patch", "nodes")] * 2
    await run(kube, uncordon())
    assert annotations() == {"theirs": "kept"}


async def test_a_cordon_takes_away_what_an_earlier_notice_left_as_drained(
    cluster: LocalCluster, kube: Client
):
    """The replicas that are to be drained now are not gone."""
    cluster.apply(node("n", annotations={CORDON_ANNOTATION: "x", DRAINED_ANNOTATION: "y"}))
    await run(kube, cordon())
    found = cluster.store.get("nodes", "", "n")["metadata"]["annotations"]
    assert found == {CORDON_ANNOTATION: "2026-03-01T12:10:00Z"}


@pytest.mark.parametrize(
    "it",
    [
        pytest.param(node("n"), id="no cordon"),
        pytest.param(node("n", unschedulable=True), id="his cordon"),
        pytest.param(node("n", annotations={CORDON_ANNOTATION: "x"}), id="schedulable again"),
        pytest.param(node("n", annotations={DRAINED_ANNOTATION: "x"}), id="his own mark"),
    ],
)
async def test_only_under_a_cordon_of_ours_is_a_node_marked(
    cluster: LocalCluster, kube: Client, it: Any
):
    """It may have been made schedulable since, and pods may be there again."""
    cluster.apply(it)
    before = cluster.store.get("nodes", "", "n")
    await run(kube, mark_drained())
    assert cluster.store.get("nodes", "", "n") == before
    assert writes(cluster) == []


async def test_a_node_that_is_made_schedulable_between_reading_and_marking_is_not_marked(
    server: ScriptedServer, client: Client
):
    ours = {CORDON_ANNOTATION: "2026-03-01T12:10:00Z"}
    server.calls += [
        answer(
            {
                "metadata": {"resourceVersion": "7", "annotations": ours},
                "spec": {"unschedulable": True},
            }
        ),
        refuse(409, "Conflict", "the object has been modified; please apply your changes"),
        answer({"metadata": {"resourceVersion": "8", "annotations": ours}, "spec": {}}),
    ]
    await run(client, mark_drained())
    assert [request.body for request in server.requests if request.body] == [
        {
            "metadata": {
                "annotations": {DRAINED_ANNOTATION: "2026-03-01T12:10:00Z"},
                "resourceVersion": "7",
            }
        }
    ]


# -- deletion costs

COST, OWN = COST_ANNOTATION, OWN_COST_ANNOTATION


def costs(cluster: LocalCluster) -> Any:
    return cluster.store.get("pods", "serving", "p")["metadata"].get("annotations")


def put(cluster: LocalCluster, **annotations: str) -> None:
    names = {"cost": COST, "own": OWN, "theirs": "theirs"}
    made = pod("p", owner="rs", node="n", ready_since="2026-03-01T12:02:00Z")
    made["metadata"]["annotations"] = {names[key]: value for key, value in annotations.items()}
    cluster.apply(made)


async def test_a_cost_is_set_and_taken_away_with_the_annotation_that_says_whose_it_is(
    cluster: LocalCluster, kube: Client
):
    put(cluster, theirs="kept")
    version = cluster.store.get("pods", "serving", "p")["metadata"]["resourceVersion"]
    await run(kube, set_cost(-3))
    assert costs(cluster) == {"theirs": "kept", COST: "-3", OWN: "-3"}
    assert cluster.api.requests[-1].body["metadata"]["resourceVersion"] == version
    await run(kube, set_cost(-3))
    assert len(writes(cluster)) == 1, "what is right is not written"
    await run(kube, set_cost(-1))
    assert costs(cluster) == {"theirs": "kept", COST: "-1", OWN: "-1"}
    await run(kube, set_cost(None))
    assert costs(cluster) == {"theirs": "kept"}
    await run(kube, set_cost(None))
    assert len(writes(cluster)) == 3


@pytest.mark.parametrize("cost", ["5", "0", "-3"], ids=["positive", "zero", "as ours would be"])
async def test_the_cost_of_somebody_else_is_neither_written_over_nor_taken_away(
    cluster: LocalCluster, kube: Client, cost: str
):
    put(cluster, cost=cost)
    error = await refused(kube, set_cost(-3))
    assert error.reason == "Conflict"
    assert "somebody else has set" in str(error)
    assert cost in str(error)
    await run(kube, set_cost(None))
    assert costs(cluster) == {COST: cost}
    assert writes(cluster) == []


async def test_one_of_ours_that_somebody_wrote_over_is_theirs_and_our_mark_goes(
    cluster: LocalCluster, kube: Client
):
    put(cluster, cost="7", own="-3")
    assert (await refused(kube, set_cost(-3))).reason == "Conflict"
    await run(kube, set_cost(None))
    assert costs(cluster) == {COST: "7"}


async def test_another_pod_of_that_name_one_that_goes_and_one_that_is_gone_need_no_cost(
    cluster: LocalCluster, kube: Client
):
    put(cluster)
    await run(kube, set_cost(), uid_of=lambda _namespace, _name: "another")
    made = pod("p", owner="rs", node="n", deleting=True)
    cluster.apply(made)
    await run(kube, set_cost())
    cluster.store.remove("pods", "serving", "p")
    await run(kube, set_cost())
    assert writes(cluster) == []


async def test_a_pod_written_in_between_is_read_again_a_few_times(
    cluster: LocalCluster, kube: Client
):
    fault = ApiFault(
        kind=ApiFaultKind.CONFLICT, verbs=frozenset({"patch"}), resource="pods", times=2
    )
    with cluster.faults.during(fault):
        await run(kube, set_cost())
    assert costs(cluster)[COST] == "-3"
    assert len(cluster.api.requests) == 6, "each try reads first"
    always = ApiFault(kind=ApiFaultKind.CONFLICT, verbs=frozenset({"patch"}), resource="pods")
    with cluster.faults.during(always):
        assert (await refused(kube, set_cost(None))).reason == "Conflict"


async def test_without_the_right_it_is_forbidden_and_says_which_right(
    server: ScriptedServer, client: Client
):
    server.calls += [refuse(403, "Forbidden", 'pods "p" is forbidden')]
    error = await refused(client, set_cost())
    assert error.reason == "Forbidden"
    assert "`get` on `pods`" in str(error)


async def test_a_node_written_in_between_is_read_again(cluster: LocalCluster, kube: Client):
    fault = ApiFault(
        kind=ApiFaultKind.CONFLICT, verbs=frozenset({"patch"}), resource="nodes", times=2
    )
    with cluster.faults.during(fault):
        await run(kube, cordon())
    assert cluster.store.get("nodes", "", "n")["spec"]["unschedulable"] is True
    assert len(writes(cluster)) == 3
    assert len(cluster.api.requests) == 6, "each try reads first"


async def test_a_node_always_written_in_between_is_a_conflict(cluster: LocalCluster, kube: Client):
    fault = ApiFault(kind=ApiFaultKind.CONFLICT, verbs=frozenset({"patch"}), resource="nodes")
    with cluster.faults.during(fault):
        assert (await refused(kube, cordon())).reason == "Conflict"
    assert len(writes(cluster)) == 3


async def test_somebody_who_cordons_in_between_keeps_the_cordon(
    server: ScriptedServer, client: Client
):
    """Without the version in the patch we would claim, and later undo, what is not ours."""
    server.calls += [
        answer({"metadata": {"name": "n", "resourceVersion": "7"}, "spec": {}}),
        refuse(409, "Conflict", "the object has been modified"),
        answer(
            {"metadata": {"name": "n", "resourceVersion": "8"}, "spec": {"unschedulable": True}}
        ),
    ]
    await run(client, cordon())
    assert server.requests[1].body["metadata"]["resourceVersion"] == "7"
    assert len(server.requests) == 3


async def test_evict_with_the_grace_asked_for(cluster: LocalCluster, kube: Client):
    await run(kube, evict(45))
    it = cluster.store.get("pods", "serving", "p")
    assert it["metadata"]["deletionTimestamp"]
    assert it["metadata"]["deletionGracePeriodSeconds"] == 45
    assert writes(cluster) == [("create", "pods/eviction")]


async def test_delete_with_the_grace_asked_for_and_never_without_any(
    cluster: LocalCluster, kube: Client
):
    await run(kube, delete(0))
    it = cluster.store.get("pods", "serving", "p")
    assert it["metadata"]["deletionGracePeriodSeconds"] == 1
    assert writes(cluster) == [("delete", "pods")]


@pytest.mark.parametrize("removal", [evict, delete])
@pytest.mark.parametrize(
    ("left_s", "grace_s"), [(90.0, 45), (45.0, 45), (37.4, 37), (0.3, 1), (-5.0, 1)], ids=str
)
async def test_a_removal_that_had_to_wait_gives_what_is_left_until_the_pods_end(
    cluster: LocalCluster, kube: Client, removal: Any, left_s: float, grace_s: int
):
    """It was decided with all of the grace, and waited for a raise and a cordon that took their time."""
    await run(kube, removal(45, ends_at=AT + left_s))
    it = cluster.store.get("pods", "serving", "p")
    assert it["metadata"]["deletionGracePeriodSeconds"] == grace_s


async def test_what_a_budget_was_waited_for_comes_off_the_grace(
    cluster: LocalCluster, kube: Client
):
    cluster.apply(budget("keep-one"))
    clock = [AT]

    async def sleep(pause_s: float) -> None:
        clock[0] += pause_s
        if len(cluster.api.requests) == 2:
            cluster.apply(pod("q", owner="rs", node="n", ready_since="2026-03-01T12:02:00Z"))

    await run(kube, evict(45, ends_at=AT + 45), now=lambda: clock[0], sleep=sleep)
    it = cluster.store.get("pods", "serving", "p")
    assert it["metadata"]["deletionGracePeriodSeconds"] == int(AT + 45 - clock[0]) < 45


@pytest.mark.parametrize("command", [evict(), delete()])
async def test_a_pod_that_is_gone_is_what_was_wanted(
    cluster: LocalCluster, kube: Client, command: Command
):
    cluster.store.remove("pods", "serving", "p")
    await run(kube, command)


@pytest.mark.parametrize("command", [evict(), delete()])
async def test_another_pod_of_that_name_is_left_alone(
    server: ScriptedServer, client: Client, command: Command
):
    server.calls.append(
        refuse(
            409, "Conflict", "the UID in the precondition (a) does not match the UID in record (b)"
        )
    )
    await run(client, command, uid_of=lambda namespace, name: f"{namespace}/{name}/uid")
    body = server.requests[0].body
    options = body.get("deleteOptions", body)
    assert options["preconditions"] == {"uid": "serving/p/uid"}
    assert options["gracePeriodSeconds"] == 45


def budget(name: str, app: str = "llama") -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"namespace": "serving", "name": name},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": app}}},
    }


async def test_a_budget_that_gives_way_is_waited_for(cluster: LocalCluster, kube: Client):
    cluster.apply(budget("keep-one"))

    async def sleep(_pause_s: float) -> None:
        if len(cluster.api.requests) == 2:
            cluster.apply(pod("q", owner="rs", node="n", ready_since="2026-03-01T12:02:00Z"))

    await run(kube, evict(), sleep=sleep)
    assert cluster.store.get("pods", "serving", "p")["metadata"]["deletionTimestamp"]
    assert len(writes(cluster)) == 3


async def test_a_budget_that_does_not_is_named(cluster: LocalCluster, kube: Client):
    cluster.apply(budget("keep-one"))
    pauses = Pauses()
    error = await refused(kube, evict(), sleep=pauses)
    assert error.reason == "DisruptionBudget"
    assert "the disruption budget keep-one refuses" in str(error)
    assert len(writes(cluster)) == 5, "four pauses, five tries"
    assert sum(pauses.taken) < 10, "a command takes ten seconds at most"
    assert pauses.taken == sorted(pauses.taken)
    assert "deletionTimestamp" not in cluster.store.get("pods", "serving", "p")["metadata"]


@pytest.mark.parametrize(("grace_s", "tries"), [(45, 5), (30, 5), (20, 4), (8, 3), (1, 1)], ids=str)
async def test_a_budget_is_waited_for_by_a_fraction_of_the_grace_that_is_left(
    cluster: LocalCluster, kube: Client, grace_s: int, tries: int
):
    """The seconds come off the pod's own drain, and a deletion has to wait until the eviction has ended."""
    cluster.apply(budget("keep-one"))
    pauses = Pauses()
    error = await refused(kube, evict(grace_s), sleep=pauses)
    assert error.reason == "DisruptionBudget"
    assert len(writes(cluster)) == tries
    assert sum(pauses.taken) <= 1.25 * grace_s / 4


async def test_two_budgets_on_one_pod_are_no_case_for_trying_again(
    cluster: LocalCluster, kube: Client
):
    cluster.apply(budget("one"))
    cluster.apply(budget("two"))
    error = await refused(kube, evict())
    assert error.reason == "DisruptionBudget"
    assert "more than one PodDisruptionBudget" in str(error)
    assert len(writes(cluster)) == 1


async def test_a_busy_server_is_not_taken_for_a_budget(server: ScriptedServer, client: Client):
    server.calls.append(refuse(429, "TooManyRequests", "too many requests, please try again later"))
    assert (await refused(client, evict())).reason == "Unavailable"
    assert len(server.requests) == 1


# -- whatever the command


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize(
    ("step", "reason", "said"),
    [
        pytest.param(refuse(403, "Forbidden", "no"), "Forbidden", "lacks the verb", id="403"),
        pytest.param(refuse(401, "Unauthorized", "no"), "Forbidden", "credentials", id="401"),
        pytest.param(page(502), "Unavailable", "502", id="html 502"),
        pytest.param(page(200), "Unavailable", "that is no answer", id="html 200"),
        pytest.param(refuse(503, "ServiceUnavailable", "no"), "Unavailable", "503", id="503"),
        pytest.param(refuse(422, "Invalid", "no"), "Failed", "this is a bug", id="422"),
    ],
)
async def test_a_refusal_has_a_reason_and_a_message(
    server: ScriptedServer, client: Client, command: Command, step: Any, reason: str, said: str
):
    server.always["call"] = step
    error = await refused(client, command)
    assert error.reason == reason
    assert said in str(error)


@pytest.mark.parametrize(
    "command", [set_replicas(), annotate("x"), cordon(), mark_drained(), uncordon()]
)
async def test_what_is_not_there_is_not_found(
    server: ScriptedServer, client: Client, command: Command
):
    server.always["call"] = refuse(404, "NotFound", "not found")
    assert (await refused(client, command)).reason == "NotFound"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: type(c).__name__)
async def test_what_expired_is_not_begun(server: ScriptedServer, client: Client, command: Command):
    error = await refused(client, command, now=lambda: command.expires_at)
    assert error.reason == "Expired"
    assert server.requests == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: type(c).__name__)
async def test_a_server_that_hangs_is_left_when_the_command_expires(
    server: ScriptedServer, client: Client, command: Command
):
    server.always["call"] = hang()
    error = await refused(client, command, now=lambda: command.expires_at - 0.1)
    assert error.reason == "Unavailable"
    assert "not done within 0.1 s" in str(error)


async def test_a_kind_that_cannot_be_scaled_is_said(client: Client):
    target = ScaleTarget(api_version="apps/v1", kind="DaemonSet", namespace="serving", name="x")
    command = SetReplicas(**COMMON, scale_target=target, replicas=1)
    error = await refused(client, command)
    assert error.reason == "Failed"
    assert "name one of: Deployment of apps/v1" in str(error)


class OddServer:
    """A client whose reads are answered with one thing, whatever was asked; it keeps what is written."""

    server = "https://odd"

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.written: list[str] = []

    async def call(self, verb: str, *_: object, **__: object) -> Any:
        if verb == "get":
            return self.answer
        self.written.append(verb)
        return {}


@pytest.mark.parametrize(
    "answer",
    [
        {"metadata": {}, "spec": {"replicas": 1}},
        {"metadata": {"resourceVersion": ""}, "spec": {"replicas": 1}},
        {"metadata": {"resourceVersion": ["1"]}, "spec": {"replicas": 1}},
        {"metadata": "x", "spec": {}},
        {"metadata": {"resourceVersion": "1"}, "spec": ["replicas"]},
        {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": "many", "unschedulable": "no"}},
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(set_replicas(5), id="scale"),
        pytest.param(
            CordonNode(id="1.1", model="serving/llama", expires_at=1e12, node="n1"), id="cordon"
        ),
    ],
)
async def test_nothing_is_written_over_an_object_that_cannot_be_read(answer: Any, command):
    """Without the version that was read, a write would be over whatever somebody else wrote."""
    odd = OddServer(answer)
    with pytest.raises(ActuationError):
        await perform(odd, command, now=lambda: 0.0)
    assert odd.written == []
