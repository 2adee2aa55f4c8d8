"""Takeovers and handbacks that stop on their way, and those that are refused, on a real API server.

No controllers run: what a daemon and an HPA's controller say in a status, the test says.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from autoscaler.core.contract.commands import PAUSED_ANNOTATION
from autoscaler.errors import SettingsError
from autoscaler.kube.api.client import MERGE_PATCH, ApiError, Client
from autoscaler.kube.api.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    HPAS,
    INFERENCE_AUTOSCALERS,
    SCALED_OBJECTS,
)
from autoscaler.migration.handback import hand_back, plan_handback
from autoscaler.migration.handover import HandoverError, HandoverTimes, ModelNamed, model_named
from autoscaler.migration.scaled_object import PAUSED, PAUSED_REPLICAS
from autoscaler.migration.takeover import plan_takeover, take_over
from tests.kube.control_plane import (
    NAMESPACE,
    NAMESPACES,
    ControlPlane,
    create,
    running_control_plane,
    set_status,
)
from tests.kube.definition import install
from tests.kube.hpa_room import install_scaled_objects
from tests.test_settings import document

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TIMES = HandoverTimes(gone_s=1.0, told_s=5.0, last_write_s=0.0, settle_s=0.0, look_s=0.05)
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"}
HPA_SPEC = {"scaleTargetRef": TARGET, "minReplicas": 2, "maxReplicas": 8}
NUMBERS = itertools.count()
NEVER = 10**6


class CutClient(Client):
    """Breaks off at one write: before it is sent, or when its answer is on its way. After each it looks at who writes."""

    def __init__(self, of: Client, namespace: str, *, at: int, sent: bool = False) -> None:
        super().__init__(of._api, of._access)
        self.left, self._sent, self._namespace = at, sent, namespace

    async def call(self, verb: str, *arguments: Any, **named: Any) -> dict[str, Any]:
        if verb in ("get", "list"):
            return await super().call(verb, *arguments, **named)
        self.left -= 1
        cut = self.left == -1
        answer: dict[str, Any] = {}
        if not cut or self._sent:
            with contextlib.suppress(ApiError) if cut else contextlib.nullcontext():
                answer = await super().call(verb, *arguments, **named)
            await self._assert_one_writes()
        if cut:
            raise ApiError("the connection is lost", unanswered=True)
        return answer

    async def _assert_one_writes(self) -> None:
        where = {"namespace": self._namespace}
        resource = await super().call("get", INFERENCE_AUTOSCALERS, **where, name="llama")
        page = await super().call("list", HPAS, **where)
        active = resource["spec"]["mode"] == "Active"
        assert not (active and page["items"]), "an HPA, and the daemon"


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    async def set_up(_made: ControlPlane, admin: Client) -> None:
        await install(admin)
        await install_scaled_objects(admin)

    with running_control_plane(tmp_path_factory.mktemp("control-plane"), set_up) as made:
        yield made


class Place:
    """A namespace with a Deployment of four replicas, and what plays those who are not there."""

    def __init__(self, admin: Client, namespace: str) -> None:
        self.admin, self.namespace = admin, namespace
        self.model = model_named(admin, f"{namespace}/llama", "")
        self.minima: set[int] = set()
        """That HPAs had whenever their controller looked."""

    async def set_up(self, **spec: Any) -> None:
        await create(self.admin, NAMESPACES, {"metadata": {"name": self.namespace}})
        labels = {"app": "llama"}
        template = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "v", "image": "v"}]},
        }
        body = {"replicas": 4, "selector": {"matchLabels": labels}, "template": template}
        await self.create(DEPLOYMENTS, {"metadata": {"name": "llama"}, "spec": body})
        made = document(
            pools=[{"name": "pool", "scaleTargetRef": {"name": "llama"}}],
            **{"mode": "Observe", "warmFloor": {}, **spec},
        )
        made["metadata"] = {"name": "llama", "namespace": self.namespace}
        await self.create(INFERENCE_AUTOSCALERS, made)

    async def create(self, resource: Any, body: dict[str, Any]) -> dict[str, Any]:
        return await create(self.admin, resource, body, namespace=self.namespace)

    async def hpa(self, name: str = "llama", **metadata: Any) -> None:
        await self.create(HPAS, {"metadata": {"name": name, **metadata}, "spec": HPA_SPEC})

    async def scaled_object(self, **annotations: str) -> None:
        metadata = {"name": "llama", "annotations": annotations}
        spec = {"scaleTargetRef": {"name": "llama"}, "minReplicaCount": 2, "triggers": []}
        body = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject"}
        await self.create(SCALED_OBJECTS, {**body, "metadata": metadata, "spec": spec})

    async def keda_hpa(self) -> None:
        """The HPA that KEDA makes of the ScaledObject."""
        uid = (await self.get(SCALED_OBJECTS))["metadata"]["uid"]
        owner = {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "ScaledObject",
            "name": "llama",
            "uid": uid,
        }
        await self.hpa("keda-hpa-llama", ownerReferences=[owner])

    async def get(self, resource: Any, name: str = "llama") -> dict[str, Any]:
        return await self.admin.call("get", resource, namespace=self.namespace, name=name)

    async def hpas(self) -> list[dict[str, Any]]:
        page = await self.admin.call("list", HPAS, namespace=self.namespace)
        return page["items"]

    async def mode(self) -> str:
        return (await self.get(INFERENCE_AUTOSCALERS))["spec"]["mode"]

    @contextlib.asynccontextmanager
    async def played(self) -> AsyncIterator[None]:
        """The daemon says what it reads; an HPA's controller says that it has looked."""

        ends = asyncio.Event()

        async def play() -> None:
            while not ends.is_set():  # a call that is cut off would leave its socket open
                resource, there = await self.get(INFERENCE_AUTOSCALERS), await self.hpas()
                active = resource["spec"]["mode"] == "Active"
                condition = {
                    "type": "ScalingActive",
                    "status": "True" if active else "False",
                    "reason": "ValidSignals" if active else "Observing",
                    "message": "",
                    "lastTransitionTime": "2026-03-01T12:00:00Z",
                    "observedGeneration": resource["metadata"]["generation"],
                }
                told = {
                    "observedGeneration": condition["observedGeneration"],
                    "reason": "Decided",
                    "conditions": [condition],
                }
                with contextlib.suppress(ApiError):
                    await set_status(
                        self.admin, INFERENCE_AUTOSCALERS, "llama", told, namespace=self.namespace
                    )
                    for each in there:
                        self.minima.add(each["spec"]["minReplicas"])
                        looked = {key: condition[key] for key in ("status", "lastTransitionTime")}
                        looked |= {
                            "type": "AbleToScale",
                            "reason": "ReadyForNewScale",
                            "message": "",
                        }
                        status = {
                            "currentReplicas": 4,
                            "desiredReplicas": 4,
                            "conditions": [looked],
                        }
                        await set_status(
                            self.admin,
                            HPAS,
                            each["metadata"]["name"],
                            status,
                            namespace=self.namespace,
                        )
                await asyncio.sleep(0.02)

        task = asyncio.create_task(play())
        try:
            yield
            assert not task.done(), task.exception()
        finally:
            ends.set()
            await task

    async def take_over(self, client: Client | None = None, **more: Any) -> list[str]:
        said: list[str] = []
        client = client or CutClient(self.admin, self.namespace, at=NEVER)
        model = ModelNamed(client, self.namespace, "llama")
        plan = await plan_takeover(client, model)
        if not plan.done:
            await take_over(client, model, plan, say=said.append, times=TIMES, **more)
        return said

    async def hand_back(self, client: Client | None = None, **more: Any) -> list[str]:
        said: list[str] = []
        client = client or CutClient(self.admin, self.namespace, at=NEVER)
        model = ModelNamed(client, self.namespace, "llama")
        copies = await plan_handback(client, model, saved=None)
        if copies:
            await hand_back(client, model, copies, say=said.append, times=TIMES, **more)
        return said


@pytest.fixture
async def place(control_plane: ControlPlane) -> AsyncIterator[Place]:
    async with await control_plane.admin() as admin:
        yield Place(admin, f"{NAMESPACE}-{next(NUMBERS)}")


@pytest.mark.parametrize("sent", [False, True])
async def test_after_each_write_it_goes_on_from_where_it_stopped(
    control_plane: ControlPlane,
    sent: bool,  # noqa: FBT001  a parameter of the table
):
    async with await control_plane.admin() as admin:
        cuts = 0
        for at in itertools.count():
            place = Place(admin, f"{NAMESPACE}-{next(NUMBERS)}")
            await place.set_up()
            await place.hpa(labels={"team": "a"})
            before = (await place.get(HPAS))["spec"]
            async with place.played():
                cut_taking = await _cut_once(place, place.take_over, at=at, sent=sent)
                await place.take_over()
                assert (await place.hpas(), await place.mode()) == ([], "Active")
                assert await place.take_over() == []

                place.minima.clear()
                cut_giving = await _cut_once(place, place.hand_back, at=at, sent=sent)
                await place.hand_back()
                assert await place.mode() == "Observe"
                back = await place.get(HPAS)
                assert (back["spec"], back["metadata"]["labels"]) == (before, {"team": "a"})
                assert await place.hand_back() == []
                assert 4 in place.minima, "what is there, at the first look"
            assert (await place.get(DEPLOYMENTS))["spec"]["replicas"] == 4
            cuts += cut_taking + cut_giving
            if not cut_taking and not cut_giving:
                break
    assert cuts >= 4 + 4, "copy, annotation, deletion, mode; mode, HPA, its minimum, annotation"


async def _cut_once(place: Place, act: Any, *, at: int, sent: bool) -> bool:
    client, stopped = CutClient(place.admin, place.namespace, at=at, sent=sent), ""
    try:
        await act(client)
    except HandoverError as error:
        stopped = str(error)
    told = [line.partition(":")[0] for line in stopped.splitlines()]
    assert told in ([], ["the connection is lost", "as it is now", "to go on"])
    assert bool(told) is (client.left < 0)
    return bool(told)


async def test_a_scaled_object_is_paused_and_never_held_to_a_number(place: Place):
    await place.set_up()
    await place.scaled_object(**{PAUSED_REPLICAS: "3"})
    await place.keda_hpa()
    async with place.played():
        with pytest.raises(HandoverError, match="KEDA does not delete the HPA") as it:
            await place.take_over()
        assert "its HPA is still there and writes the scale" in str(it.value)
        assert await place.mode() == "Observe"
        annotations = (await place.get(SCALED_OBJECTS))["metadata"]["annotations"]
        assert annotations == {PAUSED: "true"}

        await place.admin.call(
            "delete", HPAS, namespace=place.namespace, name="keda-hpa-llama"
        )  # its operator is back
        await place.take_over()
        assert await place.mode() == "Active"
        said = await place.hand_back()
    assert any("was paused before, and stays paused" in line for line in said)
    assert (await place.get(SCALED_OBJECTS))["metadata"]["annotations"] == {PAUSED: "true"}


async def test_one_that_scales_to_zero_keeps_what_is_there_until_a_trigger_is_active(place: Place):
    await place.set_up()
    await place.scaled_object()
    zero = {"spec": {"minReplicaCount": None}}
    where = {"namespace": place.namespace, "name": "llama"}
    await place.admin.call("patch", SCALED_OBJECTS, **where, body=zero, content_type=MERGE_PATCH)
    async with place.played():
        await place.take_over()
        await place.keda_hpa()
        with pytest.raises(HandoverError, match="where no trigger is active KEDA scales to zero"):
            await place.hand_back()
        assert (await place.get(SCALED_OBJECTS))["spec"]["minReplicaCount"] == 4
        active = {"conditions": [{"type": "Active", "status": "True"}]}
        await set_status(place.admin, SCALED_OBJECTS, "llama", active, namespace=place.namespace)
        await place.hand_back()
    back = await place.get(SCALED_OBJECTS)
    assert "minReplicaCount" not in back["spec"]
    assert PAUSED not in back["metadata"].get("annotations", {})


async def test_who_would_lose_replicas_at_the_first_look_is_told_before(place: Place):
    await place.set_up()
    await place.hpa()
    async with place.played():
        await place.take_over()
        change = {"spec": {"replicas": 10}}
        await place.admin.call(
            "patch",
            DEPLOYMENTS,
            namespace=place.namespace,
            name="llama",
            body=change,
            content_type=MERGE_PATCH,
        )
        with pytest.raises(SettingsError, match=r"would take 2 away. Set spec.maxReplicas"):
            await place.hand_back()
        assert await place.mode() == "Active"


async def test_a_daemon_that_says_nothing_is_not_taken_for_one_that_stopped(place: Place):
    await place.set_up()
    await place.hpa()
    times = HandoverTimes(gone_s=1.0, told_s=0.2, last_write_s=0.0, settle_s=0.0, look_s=0.05)
    plan = await plan_takeover(place.admin, place.model)
    said: list[str] = []
    with pytest.raises(HandoverError, match=r"does not say within 0.2 s that it acts"):
        await take_over(place.admin, place.model, plan, say=said.append, times=times)
    copies = await plan_handback(place.admin, place.model, saved=None)
    with pytest.raises(HandoverError, match="--daemon-stopped"):
        await hand_back(place.admin, place.model, copies, say=said.append, times=times)
    assert await place.hpas() == []
    async with place.played():  # of the HPA's controller
        await hand_back(
            place.admin, place.model, copies, say=said.append, times=TIMES, daemon_stopped=True
        )
    (back,) = await place.hpas()
    assert back["spec"]["minReplicas"] == 2


async def test_a_model_that_is_paused_is_taken_over_and_told(place: Place):
    await place.set_up()
    await place.hpa()
    paused = {"metadata": {"annotations": {PAUSED_ANNOTATION: "true"}}}
    await place.model.write(paused)
    plan = await plan_takeover(place.admin, place.model)
    assert "holds the replicas as long as it does" in plan.warnings[0]
    async with place.played():
        await place.take_over()
        await place.hand_back()
    assert len(await place.hpas()) == 1


async def test_a_copy_that_is_gone_is_asked_for(place: Place):
    await place.set_up()
    await place.hpa()
    async with place.played():
        await place.take_over()
        await place.admin.call(
            "delete", CONFIG_MAPS, namespace=place.namespace, name="llama-predecessor"
        )
        with pytest.raises(SettingsError, match="is gone; give the manifest: --saved FILE"):
            await place.hand_back()


async def test_what_cannot_be_taken_over_is_told_with_what_to_do(place: Place, tmp_path: Path):
    with pytest.raises(SettingsError, match=r"there is no InferenceAutoscaler .*autoscaler import"):
        await place.take_over()
    await place.set_up()
    with pytest.raises(SettingsError, match="there is nobody to take over from"):
        await place.take_over()
    with pytest.raises(SettingsError, match="has no predecessor"):
        await place.hand_back()
    made = {"apiVersion": "v1", "kind": "InferenceService", "name": "x", "uid": "1"}
    await place.hpa("made", ownerReferences=[made])
    with pytest.raises(SettingsError, match="is made by InferenceService x, which would make it"):
        await place.take_over()
    await place.admin.call("delete", HPAS, namespace=place.namespace, name="made")
    await place.hpa(annotations={"meta.helm.sh/release-name": "llama"})
    plan = await plan_takeover(place.admin, place.model)
    assert plan.warnings == (
        "HorizontalPodAutoscaler llama is kept by Helm, which would write it back: take it out of there first",
    )
    file = tmp_path / "there.yaml"
    file.write_text("")
    with pytest.raises(SettingsError, match="name a file that is not there yet"):
        await place.take_over(save_to=file)
    foreign = {"metadata": {"name": "llama-predecessor"}, "data": {"a": "b"}}
    await place.create(CONFIG_MAPS, foreign)
    with pytest.raises(SettingsError, match="that is not of a takeover"):
        await place.take_over()
    assert (await place.get(CONFIG_MAPS, "llama-predecessor"))["data"] == {"a": "b"}
    await place.hpa("second")
    with pytest.raises(SettingsError, match="keep one of them"):
        await place.take_over()
    await place.model.write({"spec": {"mode": "Active"}})
    with pytest.raises(SettingsError, match="set its mode to Observe first"):
        await place.take_over()
    assert len(await place.hpas()) == 2


@pytest.mark.parametrize("model", ["/", "a/", "/b", "other/llama"])
def test_a_model_is_named_by_namespace_and_name(model):
    with pytest.raises(SettingsError, match="write NAMESPACE/NAME"):
        model_named(None, model, "serving")  # type: ignore[arg-type]
