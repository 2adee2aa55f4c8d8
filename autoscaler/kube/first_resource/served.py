"""What one Deployment serves, and where: engine, model, page, kind of nodes."""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler.core.contract.state import CapacityType
from autoscaler.errors import SettingsError
from autoscaler.foreign_text import shown
from autoscaler.kube.api.fields import UnreadableError
from autoscaler.kube.api.plain import Plain, part, parts, text, whole
from autoscaler.kube.capacity import CAPACITY_LABELS
from autoscaler.kube.first_resource.namespace_read import NamespaceRead
from autoscaler.kube.soundness.arguments import CommandLine, command_line, environment
from autoscaler.kube.soundness.landing import labels_asked
from autoscaler.kube.soundness.template import (
    ENGINE_MARKS,
    TemplateFacts,
    engine_container,
    template_facts,
)
from autoscaler.kube.watch.gpus import gpus_of
from autoscaler.settings import EngineType

_DEFAULT_PORTS = {
    EngineType.VLLM: 8000,
    EngineType.SGLANG: 30_000,
    EngineType.TGI: 80,  # of its image, whose PORT is 80
    EngineType.RAY_SERVE: 8080,  # of Ray's metrics agent, as KubeRay sets --metrics-export-port
}
_MODEL_OPTIONS = ("--model", "--model-path", "--model-id")
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_PORT_MAX = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedBy:
    """One Deployment, as far as a resource is about it."""

    name: str
    engine: EngineType
    model: tuple[str, ...]
    """What it loads, or, where that is not told, all that it is started with: equal ones serve the same."""
    model_told: bool
    ports: tuple[int, ...]
    ports_from: str
    """What told them."""
    tls: bool
    capacity_type: CapacityType
    gpus: int | None
    """Of one replica; None: it cannot be told."""
    replicas: int
    """Asked for now; 1 where nothing is written."""
    services: frozenset[str] | None
    """Names of those that send to its pods; None: not read."""


def served_by(
    read: NamespaceRead, name: str, *, engine: EngineType | None = None, port: int | None = None
) -> ServedBy:
    """Tell what a Deployment serves.

    Args:
        read: Its namespace.
        name: Of the Deployment.
        engine: Of somebody who knows; None: it is told by image and command line.
        port: Of its page, likewise.

    Raises:
        SettingsError: There is no such Deployment, no engine is told, or no port of several.
    """
    item = read.deployment(name)
    facts = template_facts(item, port=port)
    pod = part(item, "spec", "template", "spec")
    _, container = engine_container(pod, port)
    line = command_line(container)
    found = engine or (EngineType(facts.engine) if facts.engine else None)
    if found is None:
        raise SettingsError(_no_engine(read, name, container))
    model = _model(line, container)
    ports, ports_from = (
        ((port,), "--port")
        if port is not None
        else _ports(read, name, item, container=container, facts=facts, engine=found)
    )
    replicas = whole(part(item, "spec"), "replicas")
    return ServedBy(
        name=name,
        engine=found,
        model=(model,) if model else (text(container, "image"), *line.words),
        model_told=bool(model),
        ports=ports,
        ports_from=ports_from,
        tls=facts.tls,
        capacity_type=_capacity_type(pod, facts),
        gpus=_gpus(pod),
        replicas=1 if replicas is None else replicas,
        services=None
        if read.services is None
        else frozenset(text(part(each, "metadata"), "name") for each in _services(read, item)),
    )


def _no_engine(read: NamespaceRead, name: str, container: Plain) -> str:
    marks = "; ".join(f"{engine}: {', '.join(words)}" for engine, words in ENGINE_MARKS)
    image, words = text(container, "image"), command_line(container).words
    return (
        f"Deployment {read.namespace}/{name}: found image {shown(image) or 'none'}, started with "
        f"{shown(' '.join(words), limit=80) or 'its own entry point'}, which tells no engine; looked in both for "
        f"these words ({marks}); name another Deployment, or say what it runs: --engine VLLM"
    )


def _model(line: CommandLine, container: Plain) -> str:
    """Return what is loaded, by the options of vLLM, SGLang and TGI; empty: it is not told."""
    for value in reversed(line.values(*_MODEL_OPTIONS)):
        if value != "?":
            return value
    words = list(line.words)
    behind = words[words.index("serve") + 1 :] if "serve" in words else []
    if behind and not behind[0].startswith("-"):
        return behind[0]
    return environment(container).get("MODEL_ID", "")


def _gpus(pod: Plain) -> int | None:
    try:
        return gpus_of(dict(pod))
    except UnreadableError:
        return None


def _capacity_type(pod: Plain, facts: TemplateFacts) -> CapacityType:
    """Tell on which nodes it lands; a template that asks nothing of spot nodes is on-demand, as a pool's default.

    Mixed: spot nodes are asked for or tolerated by name, and others do as well.
    """
    landing = facts.landing
    if landing.spot and not landing.on_demand:
        return CapacityType.SPOT
    known = {label: values.split() for label, values, _ in CAPACITY_LABELS}
    lands_on = {name.partition("=")[0] for name in landing.spot}
    preferred = {
        text(expression, "key")
        for each in parts(
            part(pod, "affinity", "nodeAffinity"), "preferredDuringSchedulingIgnoredDuringExecution"
        )
        for expression in parts(part(each, "preference"), "matchExpressions")
    }
    tolerated = {
        text(each, "key")
        for each in parts(pod, "tolerations")
        if text(each, "value") in known.get(text(each, "key"), ())
    }
    named = {*labels_asked(pod), *preferred, *tolerated}
    return CapacityType.MIXED if named & lands_on else CapacityType.ON_DEMAND


def _services(read: NamespaceRead, item: Plain) -> list[Plain]:
    """Return the Services that select its pods."""
    labels = part(item, "spec", "template", "metadata", "labels")
    found = []
    for service in read.services or ():
        selector = part(service, "spec", "selector")
        if selector and all(labels.get(key) == value for key, value in selector.items()):
            found.append(service)
    return found


# -- the page


def _ports(
    read: NamespaceRead,
    name: str,
    item: Plain,
    *,
    container: Plain,
    facts: TemplateFacts,
    engine: EngineType,
) -> tuple[tuple[int, ...], str]:
    """Return the ports of the page and what told them, the surest sign first."""
    named = _named_ports(container)
    usual = _DEFAULT_PORTS[engine]
    if engine is EngineType.RAY_SERVE:
        told = _numbers(command_line(container), "--metrics-export-port")
        if told or "metrics" in named:
            return (told or (named["metrics"],)), "Ray's metrics agent"
        return (usual,), "the usual one of Ray's metrics agent; the Deployment does not say"
    if facts.ports:
        return facts.ports, "--port"
    by_environment = environment(container).get("PORT", "") if engine is EngineType.TGI else ""
    probed = {
        number
        for probe in _PROBES
        if (number := _port(part(container, probe, "httpGet").get("port"), named)) is not None
    }
    sent_to = {
        number
        for service in _services(read, item)
        for each in parts(part(service, "spec"), "ports")
        if (number := _port(each.get("targetPort", each.get("port")), named)) is not None
    }
    for numbers, told_by in (
        (
            {number} if (number := _port(by_environment, named)) else set(),
            "PORT in its environment",
        ),
        (probed, "its probes"),
        (set(named.values()), "containerPort"),
        (sent_to, "the Service that sends to it"),
        (set(named.values()) & {usual}, f"the usual one of {engine}"),
    ):
        if len(numbers) == 1:
            return tuple(numbers), told_by
    if not named:
        return (usual,), f"the usual one of {engine}; the Deployment does not say"
    ports = ", ".join(
        f"{number} ({key})" if key != str(number) else key for key, number in sorted(named.items())
    )
    raise SettingsError(
        f"Deployment {read.namespace}/{name}: found several ports, and nothing that tells which has {engine}'s "
        f"metrics page: {shown(ports)}; say which: --port NUMBER"
    )


def _named_ports(container: Plain) -> dict[str, int]:
    """Return its TCP ports by name; one without a name is called by its number."""
    found = {}
    for each in parts(container, "ports"):
        number = _port(each.get("containerPort"), {})
        if number is not None and text(each, "protocol") in ("", "TCP"):
            found[text(each, "name") or str(number)] = number
    return found


def _numbers(line: CommandLine, option: str) -> tuple[int, ...]:
    value = line.value(option)
    number = _port(value, {})
    return () if number is None else (number,)


def _port(found: object, named: dict[str, int]) -> int | None:
    """Read a port by its number or its name."""
    if isinstance(found, str):
        return named.get(found) or (int(found) if found.isdecimal() and len(found) <= 5 else None)
    known = isinstance(found, int) and not isinstance(found, bool) and 0 < found <= _PORT_MAX
    return found if known and isinstance(found, int) else None
