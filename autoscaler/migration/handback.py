"""Giving the scale back to what was there: the daemon stops first, and the first look of an HPA takes no replica away.

An HPA that is new holds where its metrics are unknown, and remembers the replicas of its first look for its whole window
on the way down. Where that window is 0 it could go down at once; so its minimum is what is there, until it has looked.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from pathlib import Path
from typing import Any

from autoscaler.core.contract.spec import Mode
from autoscaler.errors import SettingsError
from autoscaler.kube.api.client import MERGE_PATCH, ApiError, Client
from autoscaler.kube.api.fields import Json
from autoscaler.kube.api.plain import Plain, part, parts, text, whole
from autoscaler.migration.cluster import RESOURCES, writers_in
from autoscaler.migration.handover import (
    HandoverState,
    HandoverTimes,
    ModelNamed,
    Say,
    hpas_made_of,
    is_decided_on,
    mode_of,
    replicas_text,
    targets_of,
    until,
)
from autoscaler.migration.predecessor import HPA_KIND
from autoscaler.migration.saved_copy import PREDECESSOR_ANNOTATION, place_of, read_copies
from autoscaler.migration.scaled_object import MAX_REPLICAS, PAUSED, PAUSED_REPLICAS

_LEAST = {HPA_KIND: "minReplicas"}
_LEAST_OF_KEDA = "minReplicaCount"


async def plan_handback(
    client: Client, model: ModelNamed, *, saved: Path | None
) -> list[dict[str, Any]]:
    """Read what is to be given back to; empty: it was already.

    Raises:
        SettingsError: There is no copy, or it would take replicas away; says what to do.
    """
    resource = await model.read()
    if not place_of(resource) and saved is None:
        names = {f"Deployment/{name}" for name in targets_of(resource)}
        there = [each for each in await writers_in(client, model.namespace) if each.target in names]
        if there and mode_of(resource) is Mode.OBSERVE:
            return []
        raise SettingsError(
            f"{model.key} has no predecessor: it has no annotation {PREDECESSOR_ANNOTATION}; give its manifest: --saved FILE"
        )
    copies = await read_copies(client, resource, saved)
    replicas = await model.replicas(resource)
    for copy in copies:
        target = text(part(copy, "spec", "scaleTargetRef"), "name")
        if target not in replicas:
            raise SettingsError(
                f"{_told(copy)} scales Deployment {target}, which is no target of {model.key}"
            )
        most = _most(copy)
        if replicas[target] > most:
            raise SettingsError(
                f"Deployment {target} has {replicas[target]} replicas, and {_told(copy)} allows {most}: at its first look it "
                f"would take {replicas[target] - most} away. Set spec.maxReplicas of {model.key} to {most} first, and wait "
                "until it is down to that"
            )
    return copies


async def hand_back(
    client: Client,
    model: ModelNamed,
    copies: list[dict[str, Any]],
    *,
    say: Say,
    daemon_stopped: bool = False,
    times: HandoverTimes | None = None,
) -> None:
    """Let the daemon observe, then the predecessors write; a second call goes on where the first one stopped.

    Args:
        client: With the rights of whoever calls.
        model: The resource.
        copies: As they were saved.
        say: Is told of each step.
        daemon_stopped: The daemon does not run: its word is not waited for.
        times: How long others are waited for.

    Raises:
        HandoverError: It stopped on its way; says how things are and how to go on.
    """
    times = times or HandoverTimes()
    state = HandoverState(
        now="nothing was changed; the daemon writes the scale", go_on="call it again"
    )
    try:
        resource = await model.read()
        say(f"replicas asked for: {replicas_text(await model.replicas(resource))}")
        await _stop(model, resource, say, state, daemon_stopped=daemon_stopped, times=times)
        state.now = (
            f"{model.key} observes, and nobody writes the scale: the replicas stay as they are"
        )
        state.go_on = "call it again, it goes on from here"
        replicas = await model.replicas(resource)
        for copy in copies:
            target = text(part(copy, "spec", "scaleTargetRef"), "name")
            give = _give_hpa if text(copy, "kind") == HPA_KIND else _give_scaled_object
            await give(client, model, copy, replicas[target], say=say, state=state, times=times)
        await model.write({"metadata": {"annotations": {PREDECESSOR_ANNOTATION: None}}})
        after = await model.replicas(resource)
        say(f"given back; replicas asked for: {replicas_text(after)}")
        if place_of(resource):
            say(f"the copy stays in {place_of(resource)}, until the next takeover")
    except ApiError as error:
        raise state.error(error) from error


async def _stop(
    model: ModelNamed,
    resource: Json,
    say: Say,
    state: HandoverState,
    *,
    daemon_stopped: bool,
    times: HandoverTimes,
) -> None:
    """Let the daemon observe, and wait until nothing that it wrote can be on its way any more."""
    if mode_of(resource) is Mode.ACTIVE:
        resource = await model.write({"spec": {"mode": str(Mode.OBSERVE)}})
    say(f"{model.key}: mode Observe")
    if daemon_stopped:
        return
    state.now = f"{model.key} says Observe; whether the daemon has read that is unknown"
    state.go_on = "look whether the daemon runs, and call it again; if it does not run at all: --daemon-stopped"

    async def observes() -> bool:
        now = await model.read()
        return mode_of(now) is Mode.OBSERVE and is_decided_on(now)

    if not await until(observes, within_s=times.told_s, look_s=times.look_s):
        raise state.error(f"the daemon does not say within {times.told_s:g} s that it observes")
    await asyncio.sleep(times.last_write_s)
    say("the daemon says that it observes, and no write of it is on its way")


async def _give_hpa(
    client: Client,
    model: ModelNamed,
    copy: Json,
    current: int,
    *,
    say: Say,
    state: HandoverState,
    times: HandoverTimes,
) -> None:
    name, spec = text(part(copy, "metadata"), "name"), part(copy, "spec")
    least = whole(spec, "minReplicas")
    guard = max(current, least or 1)
    body = {**copy, "spec": {**spec, "minReplicas": guard}}
    try:
        await client.call("create", RESOURCES[HPA_KIND], namespace=model.namespace, body=body)
        say(f"HPA {name} is made again, with minReplicas {guard} until it has looked once")
    except ApiError as error:
        if error.status != HTTPStatus.CONFLICT:
            raise
        say(f"HPA {name} is there already")

    async def has_looked() -> bool:
        item = await client.call("get", RESOURCES[HPA_KIND], namespace=model.namespace, name=name)
        return _has_looked(item)

    state.now = f"{model.key} observes, and HPA {name} writes the scale, with minReplicas {guard}"
    await _take_guard_away(
        client,
        model,
        copy,
        has_looked,
        value=1 if least is None else least,
        say=say,
        state=state,
        times=times,
    )


async def _give_scaled_object(
    client: Client,
    model: ModelNamed,
    copy: Json,
    current: int,
    *,
    say: Say,
    state: HandoverState,
    times: HandoverTimes,
) -> None:
    name, spec = text(part(copy, "metadata"), "name"), part(copy, "spec")
    resource = RESOURCES[text(copy, "kind")]
    annotations = part(copy, "metadata", "annotations")
    if PAUSED_REPLICAS in annotations or annotations.get(PAUSED) == "true":
        say(
            f"ScaledObject {name} was paused before, and stays paused; for {PAUSED_REPLICAS} it would set the replicas at once"
        )
        return
    least = whole(spec, _LEAST_OF_KEDA)
    guard = max(current, least or 1)
    change = {
        "metadata": {"annotations": {PAUSED: annotations.get(PAUSED)}},
        "spec": {_LEAST_OF_KEDA: guard},
    }
    try:
        await client.call(
            "patch",
            resource,
            namespace=model.namespace,
            name=name,
            body=change,
            content_type=MERGE_PATCH,
        )
        say(
            f"ScaledObject {name} is paused no more, with {_LEAST_OF_KEDA} {guard} until its HPA has looked once"
        )
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        body = {**copy, "spec": {**spec, _LEAST_OF_KEDA: guard}}
        await client.call("create", resource, namespace=model.namespace, body=body)
        say(f"ScaledObject {name} was gone, and is made again, with {_LEAST_OF_KEDA} {guard}")
    to_zero = not least or whole(spec, "idleReplicaCount") is not None

    async def has_looked() -> bool:
        made = await hpas_made_of(client, model.namespace, name)
        if not any(_has_looked(each) for each in made):
            return False
        item = await client.call("get", resource, namespace=model.namespace, name=name)
        return not to_zero or _condition(item, "Active") == "True"

    state.now = f"{model.key} observes, and KEDA writes the scale, with {_LEAST_OF_KEDA} {guard} of ScaledObject {name}"
    if to_zero:
        state.go_on = (
            f"where no trigger is active KEDA scales to zero at once; if that is meant, set {_LEAST_OF_KEDA} of ScaledObject "
            f"{name} to what it was ({'not given' if least is None else least}) yourself, or call it again when one is"
        )
    await _take_guard_away(
        client, model, copy, has_looked, value=least, say=say, state=state, times=times
    )


async def _take_guard_away(
    client: Client,
    model: ModelNamed,
    copy: Json,
    has_looked: Any,
    *,
    value: int | None,
    say: Say,
    state: HandoverState,
    times: HandoverTimes,
) -> None:
    """Wait for the first look, and give the minimum its own value again."""
    kind, name = text(copy, "kind"), text(part(copy, "metadata"), "name")
    field = _LEAST.get(kind, _LEAST_OF_KEDA)
    if not await until(has_looked, within_s=times.gone_s, look_s=times.look_s):
        raise state.error(f"{_told(copy)} has not looked at its target within {times.gone_s:g} s")
    await client.call(
        "patch",
        RESOURCES[kind],
        namespace=model.namespace,
        name=name,
        body={"spec": {field: value}},
        content_type=MERGE_PATCH,
    )
    say(f"{_told(copy)} has looked; {field} is {'not given' if value is None else value} again")


def _has_looked(hpa: Plain) -> bool:
    """Tell whether the controller has looked at its target: it has written conditions."""
    return bool(parts(part(hpa, "status"), "conditions"))


def _condition(item: Plain, kind: str) -> str:
    found = parts(part(item, "status"), "conditions")
    return next((text(each, "status") for each in found if text(each, "type") == kind), "")


def _most(copy: Plain) -> int:
    spec = part(copy, "spec")
    if text(copy, "kind") == HPA_KIND:
        return whole(spec, "maxReplicas") or 1
    most = whole(spec, "maxReplicaCount")
    return MAX_REPLICAS if most is None else most


def _told(copy: Plain) -> str:
    return f"{text(copy, 'kind')} {text(part(copy, 'metadata'), 'name')}"
