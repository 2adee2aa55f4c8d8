"""What a takeover and a handback have in common: the resource, its targets, and waiting for what others do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from autoscaler.core.contract.commands import COMMAND_TIMEOUT_S
from autoscaler.core.contract.reasons import ConditionType
from autoscaler.core.contract.spec import Mode
from autoscaler.errors import AutoscalerError, SettingsError
from autoscaler.foreign_text import shown
from autoscaler.kube.api.client import MERGE_PATCH, ApiError, Client
from autoscaler.kube.api.fields import Json
from autoscaler.kube.api.plain import Plain, part, parts, text, whole
from autoscaler.kube.api.resources import DEPLOYMENTS, HPAS, INFERENCE_AUTOSCALERS
from autoscaler.kube.watch.rivals import maker_of

Say = Callable[[str], None]
"""Tells a person what was done."""


class HandoverError(AutoscalerError):
    """A takeover or a handback that stopped on its way: why, how things are now, and how to go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverTimes:
    """How long others are waited for, seconds."""

    gone_s: float = 90.0
    """For an HPA to be gone, or to be there and have looked once."""
    told_s: float = 90.0
    """For the daemon's status to speak of what was written."""
    last_write_s: float = COMMAND_TIMEOUT_S
    """After that until no write of it can be on its way any more."""
    settle_s: float = 3.0
    """After an HPA is gone: a sync of it that had begun writes within this."""
    look_s: float = 0.5
    """Between two looks."""


@dataclass(slots=True, kw_only=True)
class HandoverState:
    """How things are on the way, for whoever has to go on by hand; changed step by step."""

    now: str
    go_on: str

    def error(self, why: object) -> HandoverError:
        """Make the error that says all of it."""
        return HandoverError(f"{why}\nas it is now: {self.now}\nto go on: {self.go_on}")


class ModelNamed:
    """One InferenceAutoscaler of the cluster."""

    def __init__(self, client: Client, namespace: str, name: str) -> None:
        self._client = client
        self.namespace = namespace
        self.name = name

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    async def read(self) -> Json:
        """Read it; raises SettingsError where there is none."""
        try:
            return await self._client.call(
                "get", INFERENCE_AUTOSCALERS, namespace=self.namespace, name=self.name
            )
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            raise SettingsError(
                f"there is no InferenceAutoscaler {self.key} at {self._client.server}; make one of what is there: "
                f"autoscaler import hpa/NAME -n {self.namespace} > model.yaml, and apply it (deploy/components/crd has "
                "the definition)"
            ) from error

    async def write(self, body: Json) -> Json:
        """Merge something into it, and return it."""
        return await self._client.call(
            "patch",
            INFERENCE_AUTOSCALERS,
            namespace=self.namespace,
            name=self.name,
            body=body,
            content_type=MERGE_PATCH,
        )

    async def replicas(self, resource: Plain) -> dict[str, int]:
        """Read how many replicas are asked of each of its scale targets, by name."""
        found = {}
        for name in targets_of(resource):
            item = await self._client.call("get", DEPLOYMENTS, namespace=self.namespace, name=name)
            asked = whole(part(item, "spec"), "replicas")
            found[name] = 1 if asked is None else asked
        return found


def model_named(client: Client, model: str, namespace: str) -> ModelNamed:
    """Read `NAMESPACE/NAME`, or a name in a namespace that is given beside it."""
    first, slash, last = model.partition("/")
    if slash and (not first or not last or (namespace and namespace != first)):
        raise SettingsError(
            f"MODEL: found {shown(model, limit=80)}; write NAMESPACE/NAME, or NAME and -n NAMESPACE"
        )
    return (
        ModelNamed(client, first, last)
        if slash
        else ModelNamed(client, namespace or "default", model)
    )


def mode_of(resource: Plain) -> Mode:
    """Return what the resource says; Observe where it says nothing."""
    return Mode.ACTIVE if text(part(resource, "spec"), "mode") == Mode.ACTIVE else Mode.OBSERVE


def targets_of(resource: Plain) -> list[str]:
    """Return the Deployments that the resource scales."""
    pools = parts(part(resource, "spec"), "pools")
    return [text(part(pool, "scaleTargetRef"), "name") for pool in pools]


def is_decided_on(resource: Plain) -> bool:
    """Tell whether the daemon's status is of the resource as it is now: its mode is what the daemon goes by."""
    generation = part(resource, "metadata").get("generation")
    return any(
        text(condition, "type") == ConditionType.SCALING_ACTIVE
        and condition.get("observedGeneration") == generation
        for condition in parts(part(resource, "status"), "conditions")
    )


def replicas_text(replicas: dict[str, int]) -> str:
    """Write how many are asked of each target."""
    return ", ".join(f"{name} {count}" for name, count in sorted(replicas.items()))


async def hpas_made_of(client: Client, namespace: str, scaled_object: str) -> Sequence[Plain]:
    """List the HPAs that KEDA made of a ScaledObject."""
    page = await client.call("list", HPAS, namespace=namespace)
    return [each for each in parts(page, "items") if maker_of(each) == scaled_object]


async def until(holds: Callable[[], Awaitable[bool]], *, within_s: float, look_s: float) -> bool:
    """Look again and again; False: it did not come to hold. A look that fails is one that did not see it."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + within_s
    while True:
        try:
            if await holds():
                return True
        except ApiError as error:
            if loop.time() >= ends_at or not (
                error.unanswered or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            ):
                raise
        if loop.time() >= ends_at:
            return False
        await asyncio.sleep(look_s)
