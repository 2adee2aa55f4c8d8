"""The facts of one Deployment that its soundness depends on: read once when the object changes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from autoscaler.kube.api.plain import Plain, pairs, part, parts, text, whole
from autoscaler.kube.api.timestamps import duration_s
from autoscaler.kube.soundness.arguments import CommandLine, command_line, number
from autoscaler.kube.soundness.landing import Landing, landing_of
from autoscaler.kube.soundness.pre_stop import PreStop, pre_stop_of

POD = "spec.template.spec"
ENGINE_MARKS = (
    ("VLLM", ("vllm",)),
    ("SGLang", ("sglang",)),
    ("TGI", ("text-generation", "tgi")),
    ("RayServe", ("rayproject", "ray-serve", "serve.run")),
)
"""Words of `spec.engine`, and what images and command lines of theirs contain."""
_DO_NOT_DISRUPT = ("karpenter.sh/do-not-disrupt", "karpenter.sh/do-not-evict")
_RANKS_MAX = 64
_RANKS = ("--data-parallel-size", "-dp")
_LOCAL_RANKS = ("--data-parallel-size-local", "-dpl")
_MANY_PORTS = ("--data-parallel-multi-port-external-lb",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFacts:
    """One probe, with the API's defaults."""

    initial_delay_s: float
    period_s: float
    timeout_s: float
    failures: int
    path: str
    """Of a GET; empty: another kind."""
    grace_s: float | None
    """Its own terminationGracePeriodSeconds; None: the pod's."""

    @property
    def allowed_s(self) -> float:
        """Seconds from the container's start until it is given up, where nothing answers."""
        return self.initial_delay_s + self.period_s * self.failures


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFacts:
    """What one Deployment says, as far as it matters here."""

    container: str
    """Path of the engine's container."""
    engine: str
    """As `spec.engine` has it, told by image and command line; empty: not to be told."""
    vllm_version: tuple[int, int] | None
    """Of the image's tag; None: it does not say."""
    complete: bool
    """The command line is all here: an option that is absent is not given."""
    grace_s: float | None
    """terminationGracePeriodSeconds; None: not given, 30."""
    pre_stop: PreStop
    shutdown_timeout_s: float | None
    """vLLM's; None: not given; NaN: it cannot be told."""
    ports: tuple[int, ...]
    """On which engines serve, as far as the command line tells."""
    tls: bool
    startup: ProbeFacts | None
    readiness: ProbeFacts | None
    liveness: ProbeFacts | None
    recreate: bool
    replicas_unavailable_max: str
    """rollingUpdate.maxUnavailable, as it is written; empty: not given."""
    progress_deadline_s: float
    do_not_disrupt: str
    """Karpenter's annotation on the pod template; empty: not there, or it keeps nothing."""
    undisrupted_s: float
    """For so long from its start a pod is kept by it, seconds; infinite: as long as it lives."""
    landing: Landing
    labels: tuple[tuple[str, str], ...]
    """Of the pod template."""
    replicas: int | None
    """spec.replicas; None: not given."""
    from_file: bool
    """Never seen by an API server: nothing in it but what somebody wrote."""
    writable_volumes: tuple[str, ...]
    """Paths at which the engine may write to a claim that all replicas share."""


def template_facts(item: Plain, *, port: int | None = None) -> TemplateFacts:
    """Read a Deployment.

    Args:
        item: The object, of whatever shape.
        port: Of the engine's page, to tell its container by; None: the one with GPUs is taken.
    """
    metadata, spec = part(item, "metadata"), part(item, "spec")
    template = part(spec, "template")
    pod = part(template, "spec")
    index, container = engine_container(pod, port)
    line = command_line(container)
    grace = whole(pod, "terminationGracePeriodSeconds")
    annotations = part(template, "metadata", "annotations")
    kept_by = next((name for name in _DO_NOT_DISRUPT if _undisrupted_s(annotations.get(name))), "")
    rolling = part(spec, "strategy", "rollingUpdate")
    image = text(container, "image")
    engine = _engine(image, line)
    deadline = whole(spec, "progressDeadlineSeconds")
    return TemplateFacts(
        container=f"{POD}.containers[{index}]",
        engine=engine,
        vllm_version=_version(image) if engine == "VLLM" else None,
        complete=line.complete,
        grace_s=None if grace is None else float(grace),
        pre_stop=pre_stop_of(container),
        shutdown_timeout_s=line.seconds("--shutdown-timeout"),
        ports=_ports(line),
        tls=line.has("--ssl-certfile", "--ssl-keyfile"),
        startup=_probe(container, "startupProbe"),
        readiness=_probe(container, "readinessProbe"),
        liveness=_probe(container, "livenessProbe"),
        recreate=text(part(spec, "strategy"), "type") == "Recreate",
        replicas_unavailable_max=str(rolling.get("maxUnavailable") or ""),
        progress_deadline_s=600.0 if deadline is None else float(deadline),
        do_not_disrupt=kept_by,
        undisrupted_s=_undisrupted_s(annotations.get(kept_by)),
        landing=landing_of(pod),
        labels=pairs(part(template, "metadata", "labels")),
        replicas=whole(spec, "replicas"),
        from_file=not text(metadata, "uid"),
        writable_volumes=_writable_volumes(pod, container),
    )


def _undisrupted_s(value: object) -> float:
    """Seconds for which Karpenter keeps a pod by this value: `true`, or a time from its start; 0: it does not."""
    if str(value).lower() == "true":
        return math.inf
    told_s = duration_s(value)
    return told_s if math.isfinite(told_s) else 0.0


def engine_container(pod: Plain, port: int | None = None) -> tuple[int, Plain]:
    """Tell the engine's container from sidecars: by the port of its page, by GPUs, by its words, else the first."""
    containers = parts(pod, "containers")
    for index, container in enumerate(containers):
        found = {whole(each, "containerPort") for each in parts(container, "ports")}
        if port is not None and port in found:
            return index, container
    for index, container in enumerate(containers):
        resources = {**part(container, "resources", "requests")}
        resources |= part(container, "resources", "limits")
        if any("gpu" in str(name) for name in resources) or part(container, "resources").get(
            "claims"
        ):
            return index, container
    for index, container in enumerate(containers):
        if _engine(text(container, "image"), command_line(container)):
            return index, container
    return (0, containers[0]) if containers else (0, {})


def _engine(image: str, line: CommandLine) -> str:
    for told in (image, " ".join(line.words)):
        for engine, marks in ENGINE_MARKS:
            if any(mark in told.lower() for mark in marks):
                return engine
    return ""


def _version(image: str) -> tuple[int, int] | None:
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    match = re.match(r"v?([0-9]{1,4})\.([0-9]{1,4})(?:\.|$|-)", tag)
    return (int(match[1]), int(match[2])) if match else None


def _ports(line: CommandLine) -> tuple[int, ...]:
    """Return the ports of all servers: several `--port`, or ranks that count up from the first."""
    told = {int(value) for value in map(number, line.values("--port")) if 0 < value < 65_536}
    ranks = line.seconds(*_LOCAL_RANKS) or line.seconds(*_RANKS) or 1.0
    if line.has(*_MANY_PORTS) and len(told) == 1 and 1 < ranks <= _RANKS_MAX:
        (first,) = told
        told = {first + rank for rank in range(int(ranks))}
    return tuple(sorted(told))


def _probe(container: Plain, name: str) -> ProbeFacts | None:
    probe = part(container, name)
    if not probe:
        return None

    def seconds(field: str, default: float) -> float:
        found = whole(probe, field)
        return default if found is None else float(found)

    grace = whole(probe, "terminationGracePeriodSeconds")
    return ProbeFacts(
        initial_delay_s=seconds("initialDelaySeconds", 0.0),
        period_s=seconds("periodSeconds", 0.0) or 10.0,
        timeout_s=seconds("timeoutSeconds", 0.0) or 1.0,
        failures=whole(probe, "failureThreshold") or 3,
        path=text(part(probe, "httpGet"), "path"),
        grace_s=None if grace is None else float(grace),
    )


def _writable_volumes(pod: Plain, container: Plain) -> tuple[str, ...]:
    shared = {
        text(volume, "name")
        for volume in parts(pod, "volumes")
        if part(volume, "persistentVolumeClaim")
        and part(volume, "persistentVolumeClaim").get("readOnly") is not True
    }
    return tuple(
        text(mount, "mountPath")
        for mount in parts(container, "volumeMounts")
        if text(mount, "name") in shared and mount.get("readOnly") is not True
    )
