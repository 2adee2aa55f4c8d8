"""HPAs and ScaledObjects as they are written: read, matched to models, and made to run in a replay."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from autoscaler.errors import SettingsError
from simulations.field.advise.scalers.policies import HpaAsWritten, ScaledObjectAsWritten
from simulations.field.advise.signals import Signal, signal_of_metric, signal_of_query
from simulations.field.capture.signals import Subject
from simulations.peers.hpa.spec import MetricKind, hpa_spec
from simulations.peers.hpa.target import external
from simulations.peers.keda.scaled_object import check_not_paused, scaled_object

HPA, SCALED_OBJECT = "HorizontalPodAutoscaler", "ScaledObject"
_REPLICA_SET_AND_POD = r"-[a-z0-9]{5,10}-[a-z0-9]{5}"
"""What a ReplicaSet and its pod add to a Deployment's name."""

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaler:
    """What scales a model now."""

    name: str
    """`HPA serving/llama`, as messages and tables say it."""
    target: str
    """Name of the scale target."""
    namespace: str | None
    manifest: Manifest
    policy: HpaAsWritten | ScaledObjectAsWritten | None
    """None: it asks for something that the replay does not have."""
    reason: str = ""
    """Why not."""


def read_manifests(paths: Sequence[Path]) -> list[Manifest]:
    """The HPAs and ScaledObjects of YAML or JSON files; lists are opened, other kinds left out.

    Raises:
        SettingsError: A file cannot be read, or holds none.
    """
    found = []
    for path in paths:
        try:
            documents = list(yaml.safe_load_all(path.read_text()))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SettingsError(f"--manifests {path}: {error}; give a YAML file") from error
        scalers = list(scalers_among(documents))
        if not scalers:
            raise SettingsError(
                f"--manifests {path}: {len(documents)} documents, none of them a {HPA} or a "
                f"{SCALED_OBJECT}; write it with `kubectl get hpa,scaledobject -A -o yaml`"
            )
        found += scalers
    return found


def scalers_among(documents: Iterable[Any]) -> Iterable[Manifest]:
    """The HPAs and ScaledObjects among them; an HPA that a ScaledObject owns is left out."""
    for document in documents:
        if not isinstance(document, Mapping):
            continue
        if str(document.get("kind", "")).endswith("List"):
            yield from scalers_among(document.get("items") or ())
            continue
        owners = (document.get("metadata") or {}).get("ownerReferences") or ()
        owned = any(owner.get("kind") == SCALED_OBJECT for owner in owners)
        if document.get("kind") in (HPA, SCALED_OBJECT) and not owned:
            yield document


def scaler_of(manifest: Manifest) -> Scaler:
    """Read one; what cannot be modelled becomes its `reason`."""
    metadata = manifest.get("metadata") or {}
    namespace = metadata.get("namespace")
    kind = "HPA" if manifest.get("kind") == HPA else SCALED_OBJECT
    name = f"{kind} {namespace + '/' if namespace else ''}{metadata.get('name', '?')}"
    spec = manifest.get("spec") or {}
    target = str((spec.get("scaleTargetRef") or {}).get("name", ""))
    policy: HpaAsWritten | ScaledObjectAsWritten | None = None
    reason = ""
    try:
        if kind == SCALED_OBJECT:
            check_not_paused(metadata.get("annotations") or {})
        policy = _hpa(manifest) if kind == "HPA" else _scaled_object(spec)
    except SettingsError as error:
        reason = str(error)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"its spec is not what the API accepts ({type(error).__name__}: {error})"
    return Scaler(
        name=name,
        target=target,
        namespace=namespace,
        manifest=manifest,
        policy=policy,
        reason=reason,
    )


def _hpa(manifest: Manifest) -> HpaAsWritten:
    version = str(manifest.get("apiVersion", ""))
    if version != "autoscaling/v2":
        raise SettingsError(f"apiVersion {version} is not read; write it as autoscaling/v2")
    written = manifest["spec"]
    metrics = written.get("metrics") or ()
    if not metrics:
        raise SettingsError("it has no metrics, which means CPU; the replay has no CPU")
    signals = tuple(_metric_signal(metric) for metric in metrics)
    return HpaAsWritten(spec=hpa_spec(written), signals=signals)


def _metric_signal(metric: Manifest) -> Signal:
    kind = str(metric.get("type"))
    if kind not in (MetricKind.PODS, MetricKind.EXTERNAL, MetricKind.OBJECT):
        what = (metric.get("resource") or {}).get("name", kind)
        raise SettingsError(f"its {kind} metric ({what}) is not modelled")
    return signal_of_metric(str(metric[kind.lower()]["metric"]["name"]))


def _scaled_object(spec: Manifest) -> ScaledObjectAsWritten:
    triggers = []
    for trigger in spec["triggers"]:
        if trigger.get("type") != "prometheus":
            raise SettingsError(f"its trigger of type {trigger.get('type')!r} is not modelled")
        scaled = scaled_object({**spec, "triggers": [trigger]})
        triggers.append((scaled, signal_of_query(str(trigger["metadata"]["query"]))))
    first = triggers[0][0]
    if len(triggers) > 1 and first.polls:
        raise SettingsError("several triggers with scaling to zero or cached metrics")
    config = (spec.get("advanced") or {}).get("horizontalPodAutoscalerConfig") or {}
    spec_of_hpa = hpa_spec(
        {
            "minReplicas": first.floor,
            "maxReplicas": first.max_replicas,
            "metrics": [],
            "behavior": config.get("behavior"),
        }
    )
    metrics = tuple(external(scaled.threshold) for scaled, _ in triggers)
    return ScaledObjectAsWritten(
        spec=replace(spec_of_hpa, metrics=metrics), triggers=tuple(triggers)
    )


def scalers_of(
    scalers: Sequence[Scaler], subject: Subject, pods: Sequence[str], *, alone: bool
) -> list[Scaler]:
    """Those that scale this model.

    By the names of its pods, which begin with the target's; else by the model_name in a query; else,
    where there is one model and one scaler (`alone`: no other model), by that.
    """
    here = [
        s
        for s in scalers
        if None in (s.namespace, subject.namespace) or s.namespace == subject.namespace
    ]
    by_pods = [
        scaler
        for scaler in here
        if scaler.target
        and any(re.fullmatch(re.escape(scaler.target) + _REPLICA_SET_AND_POD, pod) for pod in pods)
    ]
    if by_pods:
        return by_pods
    by_query = [scaler for scaler in here if f'"{subject.model_name}"' in str(scaler.manifest)]
    if by_query:
        return by_query
    return here if alone and len(here) == 1 else []


def deployment_of(pods: Sequence[str]) -> str | None:
    """The Deployment that pods of these names come from; None: they do not say one."""
    names = {re.sub(_REPLICA_SET_AND_POD + "$", "", pod) for pod in pods}
    names -= set(pods)
    return min(names) if len(names) == 1 else None
