"""Taking over from an HPA or KEDA: first the copy, then the writer goes, and only then another one begins.

KEDA is paused by `autoscaling.keda.sh/paused`, which ends its loop and deletes its HPA, and never by `paused-replicas`:
by that it sets the replicas back to its number whenever it looks at the ScaledObject, and would be a second writer. Nor
is a ScaledObject deleted, which may set the replicas to what they were before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from autoscaler.core.contract.commands import PAUSED_ANNOTATION
from autoscaler.core.contract.spec import Mode
from autoscaler.errors import SettingsError
from autoscaler.kube.api.client import MERGE_PATCH, ApiError, Client
from autoscaler.kube.api.fields import Json
from autoscaler.kube.api.plain import part, parts, text
from autoscaler.kube.api.resources import HPAS, SCALED_OBJECTS
from autoscaler.migration.cluster import ScaleWriter, writers_in
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
from autoscaler.migration.predecessor import HPA_KIND, SCALED_OBJECT_KIND
from autoscaler.migration.saved_copy import (
    PREDECESSOR_ANNOTATION,
    manifest_of,
    place_of,
    write_config_map,
    write_file,
)
from autoscaler.migration.scaled_object import PAUSED, PAUSED_REPLICAS

_KEEPERS = (
    ("meta.helm.sh/release-name", "Helm"),
    ("argocd.argoproj.io/tracking-id", "Argo CD"),
    ("argocd.argoproj.io/instance", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
)
"""Annotations and labels of what would make an object anew, or write it back."""
_KEEPING_WRITERS = {
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
    "helm": "Helm",
}
"""The same by the names under which they write."""

_TRIES = 5
"""To delete an HPA whose status is written every few seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeoverPlan:
    """What is to be taken over."""

    resource: Json
    writers: tuple[ScaleWriter, ...]
    """That write the scale of its targets now; empty: they were taken away by a takeover that stopped."""
    done: bool
    """Nothing is left to do."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what may undo it."""
        found = []
        paused = text(part(self.resource, "metadata", "annotations"), PAUSED_ANNOTATION)
        if paused not in ("", "false"):
            found.append(
                f"it has the annotation {PAUSED_ANNOTATION}: {paused}, and holds the replicas as long as it does"
            )
        for writer in self.writers:
            metadata = part(writer.item, "metadata")
            marks = {**part(metadata, "labels"), **part(metadata, "annotations")}
            written_by = {text(each, "manager") for each in parts(metadata, "managedFields")}
            found_keepers = {keeper for mark, keeper in _KEEPERS if mark in marks}
            found_keepers |= {
                _KEEPING_WRITERS[each] for each in written_by & _KEEPING_WRITERS.keys()
            }
            keepers = sorted(found_keepers)
            if keepers:
                found.append(
                    f"{writer.kind} {writer.name} is kept by {' and '.join(keepers)}, which would write it back: take it "
                    "out of there first"
                )
        return tuple(found)


async def plan_takeover(client: Client, model: ModelNamed) -> TakeoverPlan:
    """Look whom there is to take over from.

    Raises:
        SettingsError: There is nobody, or it cannot be done as things are; says what to do.
    """
    resource = await model.read()
    names = {f"Deployment/{name}" for name in targets_of(resource)}
    there = [each for each in await writers_in(client, model.namespace) if each.target in names]
    writing = [each for each in there if not await _is_paused(client, model.namespace, each)]
    active, saved = mode_of(resource) is Mode.ACTIVE, place_of(resource)
    if active and writing:
        raise SettingsError(
            f"{model.key} is Active, and {_names(writing)} writes the same scale: set its mode to Observe first "
            f'(kubectl patch infas {model.name} -n {model.namespace} --type merge -p \'{{"spec":{{"mode":"Observe"}}}}\')'
        )
    if active:
        if saved:
            return TakeoverPlan(resource=resource, writers=(), done=True)
        raise SettingsError(f"{model.key} is Active already, and there is nobody to take over from")
    if not writing and not saved:
        paused = f" but {_names(there)}, which is paused" if there else ""
        raise SettingsError(
            f"there is no HPA and no ScaledObject of {', '.join(sorted(names))} in the namespace {model.namespace}"
            f"{paused}: there is nobody to take over from; set spec.mode of {model.key} to Active yourself"
        )
    for name in sorted(names):
        several = [each for each in writing if each.target == name]
        if len(several) > 1:
            raise SettingsError(f"{name}: {_names(several)} write its scale; keep one of them")
    for writer in writing:
        owners = parts(part(writer.item, "metadata"), "ownerReferences")
        if owners:
            made = ", ".join(f"{text(each, 'kind')} {text(each, 'name')}" for each in owners)
            raise SettingsError(
                f"{writer.kind} {writer.name} is made by {made}, which would make it anew: switch its autoscaling off there"
            )
    return TakeoverPlan(resource=resource, writers=tuple(writing), done=False)


async def take_over(
    client: Client,
    model: ModelNamed,
    plan: TakeoverPlan,
    *,
    say: Say,
    save_to: Path | None = None,
    times: HandoverTimes | None = None,
) -> None:
    """Save, take the writers away, and let the daemon act; a second call goes on where the first one stopped.

    Args:
        client: With the rights of whoever calls.
        model: The resource.
        plan: What was found of it.
        say: Is told of each step.
        save_to: A new file for the copy; None: a ConfigMap.
        times: How long others are waited for.

    Raises:
        HandoverError: It stopped on its way; says how things are and how to go on.
        SettingsError: The file cannot be written; nothing was changed.
    """
    times = times or HandoverTimes()
    state = HandoverState(
        now="nothing was changed; the predecessor writes the scale", go_on="call it again"
    )
    try:
        before = await model.replicas(plan.resource)
        say(f"replicas asked for: {replicas_text(before)}")
        if plan.writers:
            await _save(client, model, plan, say=say, save_to=save_to)
        state.go_on = (
            f"call it again, it goes on from here; or give it back: autoscaler handback {model.key}"
        )
        for writer in plan.writers:
            state.now = f"its copy is saved, {writer.kind} {writer.name} may be there still, and {model.key} observes"
            await _take_away(client, model, writer, say=say, state=state, times=times)
        state.now = (
            f"nobody writes the scale, and {model.key} observes: the replicas stay as they are"
        )
        await asyncio.sleep(times.settle_s)
        after = await model.replicas(plan.resource)
        moved = "" if after == before else f", which it wrote last; before: {replicas_text(before)}"
        say(f"nobody writes the scale now; replicas asked for: {replicas_text(after)}{moved}")
        written = await model.write({"spec": {"mode": str(Mode.ACTIVE)}})
        say(f"{model.key}: mode Active")
        state.now = f"nobody but {model.key} may write the scale, and its mode is Active"
        generation = part(written, "metadata").get("generation")

        async def acts() -> bool:
            now = await model.read()
            return mode_of(now) is Mode.ACTIVE and is_decided_on(now)

        if not await until(acts, within_s=times.told_s, look_s=times.look_s):
            raise state.error(
                f"the daemon does not say within {times.told_s:g} s that it acts on generation {generation}: look whether it "
                "runs with --watch-resources, without --dry-run, and what `kubectl describe infas` says"
            )
        say(f"the daemon acts; to give it back: autoscaler handback {model.key}")
    except ApiError as error:
        raise state.error(error) from error


async def _save(
    client: Client, model: ModelNamed, plan: TakeoverPlan, *, say: Say, save_to: Path | None
) -> None:
    if place_of(plan.resource):
        say(
            f"the copy was saved before, and is what will be given back: {place_of(plan.resource)}; to save anew take the "
            f"annotation {PREDECESSOR_ANNOTATION} away first"
        )
        return
    manifests = [manifest_of(each) for each in plan.writers]
    if save_to is not None:
        place = write_file(save_to, manifests)
    else:
        place = await write_config_map(client, plan.resource, manifests)
    await model.write({"metadata": {"annotations": {PREDECESSOR_ANNOTATION: place}}})
    say(f"saved: {_names(plan.writers)} in {place}")


async def _take_away(
    client: Client,
    model: ModelNamed,
    writer: ScaleWriter,
    *,
    say: Say,
    state: HandoverState,
    times: HandoverTimes,
) -> None:
    """Take a writer away, and wait until it is."""
    if writer.kind == SCALED_OBJECT_KIND:
        await _pause(client, model.namespace, writer.name)

        async def is_gone() -> bool:
            return not await hpas_made_of(client, model.namespace, writer.name)
    else:
        await _delete(client, model.namespace, writer)

        async def is_gone() -> bool:
            page = await client.call("list", HPAS, namespace=model.namespace)
            uid = part(writer.item, "metadata").get("uid")
            return all(part(each, "metadata").get("uid") != uid for each in parts(page, "items"))

    if await until(is_gone, within_s=times.gone_s, look_s=times.look_s):
        done = "paused, and its HPA" if writer.kind == SCALED_OBJECT_KIND else "deleted, and it"
        say(f"{writer.kind} {writer.name} is {done} is gone")
        return
    if writer.kind == SCALED_OBJECT_KIND:
        state.now = (
            f"ScaledObject {writer.name} has the annotation {PAUSED}, its HPA is still there and writes the scale, and "
            f"{model.key} observes"
        )
        raise state.error(
            f"KEDA does not delete the HPA of ScaledObject {writer.name} within {times.gone_s:g} s: look whether its operator "
            "runs and knows this annotation"
        )
    state.now = f"HPA {writer.name} is being deleted and still there (a finalizer?), and {model.key} observes"
    raise state.error(f"HPA {writer.name} is not gone within {times.gone_s:g} s")


async def _pause(client: Client, namespace: str, name: str) -> None:
    await client.call(
        "patch",
        SCALED_OBJECTS,
        namespace=namespace,
        name=name,
        body={"metadata": {"annotations": {PAUSED: "true", PAUSED_REPLICAS: None}}},
        content_type=MERGE_PATCH,
    )


async def _delete(client: Client, namespace: str, writer: ScaleWriter) -> None:
    """Delete the very HPA that was saved: not another of its name, nor one that was changed since."""
    saved = part(writer.item, "metadata").get("uid")
    for again in reversed(range(_TRIES)):
        try:
            item = await client.call("get", HPAS, namespace=namespace, name=writer.name)
            metadata = part(item, "metadata")
            if metadata.get("uid") != saved or part(item, "spec") != part(writer.item, "spec"):
                raise SettingsError(
                    f"HPA {writer.name} was changed while it was taken over: its copy is not what it is now; delete the "
                    f"annotation {PREDECESSOR_ANNOTATION} of the resource and begin anew"
                )
            only = {"uid": saved, "resourceVersion": metadata.get("resourceVersion")}
            body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": only}
            await client.call("delete", HPAS, namespace=namespace, name=writer.name, body=body)
            return
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return
            if error.status != HTTPStatus.CONFLICT or not again:
                raise  # a conflict: its controller wrote its status in between


async def _is_paused(client: Client, namespace: str, writer: ScaleWriter) -> bool:
    """Tell whether KEDA has given a target up: paused, and its HPA gone."""
    if writer.kind == HPA_KIND:
        return False
    if text(part(writer.item, "metadata", "annotations"), PAUSED) != "true":
        return False
    return not await hpas_made_of(client, namespace, writer.name)


def _names(writers: Sequence[ScaleWriter]) -> str:
    return ", ".join(f"{each.kind} {each.name}" for each in writers)
