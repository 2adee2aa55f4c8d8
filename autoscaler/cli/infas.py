"""`kubectl infas`: status and explain for whoever has kubectl, without forwarding ports by hand."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import click

from autoscaler.errors import SettingsError

if TYPE_CHECKING:
    from autoscaler.cli.kubectl import Kubectl

_RESOURCES = "inferenceautoscalers.inference-autoscaler.dev"
_HEAD = ("MODEL", "MODE", "DESIRED", "READY", "FLOOR", "OK", "REASON")
_TEXTS = frozenset({0, 1, 5, 6})
_WIDTH = 100


def _cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of kubectl's own that are handed on to it, and where the daemon is."""
    for option in (
        click.option("--context", help="As kubectl has it."),
        click.option("--kubeconfig", help="As kubectl has it."),
        click.option("-n", "--namespace", help="As kubectl has it."),
        click.option(
            "--daemon-namespace",
            default="inference-autoscaler",
            show_default=True,
            help="Where the daemon is, and its Lease.",
        ),
        click.option("--lease-name", default="inference-autoscaler", show_default=True),
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def infas() -> None:
    """InferenceAutoscalers, told to people."""


@infas.command()
@click.argument("name", required=False)
@click.option("-A", "--all-namespaces", is_flag=True, help="As kubectl has it.")
@click.option("--live", is_flag=True, help="From the daemon, through a forwarded port: all models.")
@_cluster_options
def status(
    *,
    name: str | None,
    all_namespaces: bool,
    live: bool,
    namespace: str | None,
    daemon_namespace: str,
    lease_name: str,
    **where: str | None,
) -> None:
    """Say of every resource, or of NAME: is it fine, what does it want, why.

    It is read from the resources' own status, which the daemon writes within seconds of a change.
    """
    kubectl = _kubectl(**where)
    if live:
        from autoscaler.cli import explain as told

        target = _daemon(kubectl, daemon_namespace, lease_name)
        with kubectl.forwarded(target, namespace=daemon_namespace) as server:
            click.get_current_context().invoke(
                told.status,
                server=server,
                recording=None,
                at_text=None,
                watch=False,
                output="table",
            )
        return
    for line in _table(_resources(kubectl, name, namespace, all_namespaces=all_namespaces)):
        click.echo(line)


@infas.command()
@click.argument("name")
@_cluster_options
def explain(
    *,
    name: str,
    namespace: str | None,
    daemon_namespace: str,
    lease_name: str,
    **where: str | None,
) -> None:
    """Tell the last decision on NAME as a person would.

    It is asked of the daemon that acts, through a forwarded port; where that is not possible, what the resource's status
    has of it is told. NAME may be NAMESPACE/NAME.
    """
    from autoscaler.cli import explain as told
    from autoscaler.cli.kubectl import KubectlError

    kubectl = _kubectl(**where)
    if "/" in name:
        namespace, _, name = name.partition("/")
    try:
        target = _daemon(kubectl, daemon_namespace, lease_name)
        with kubectl.forwarded(target, namespace=daemon_namespace) as server:
            click.get_current_context().invoke(
                told.explain,
                model=f"{namespace}/{name}" if namespace else name,
                server=server,
                recording=None,
                at_text=None,
                output="text",
            )
    except KubectlError as failure:
        click.echo(f"kubectl infas: {failure}; told from the resource's status", err=True)
        (resource,) = _resources(kubectl, name, namespace)
        for line in _told(resource):
            click.echo(line)


def main() -> NoReturn:
    """Run the plugin and end the process."""
    from autoscaler.cli import run_command_line

    sys.exit(run_command_line(infas, "kubectl infas", sys.argv[1:]))


def _kubectl(**where: str | None) -> Kubectl:
    from autoscaler.cli.kubectl import Kubectl

    options = [f"--{name}={value}" for name, value in sorted(where.items()) if value]
    return Kubectl(options=tuple(options))


def _daemon(kubectl: Kubectl, namespace: str, lease_name: str) -> str:
    """Return whom to ask: the pod that holds the Lease, else any of the Deployment."""
    from autoscaler.cli.kubectl import KubectlError
    from autoscaler.kube.api.plain import part, text

    try:
        lease = kubectl.read("lease", lease_name, "-n", namespace)
    except KubectlError:  # it may not be readable, or there is no election
        lease = {}
    pod = text(part(lease, "spec"), "holderIdentity").rpartition("_")[0]
    return f"pod/{pod}" if pod else "deployment/inference-autoscaler"


def _resources(
    kubectl: Kubectl, name: str | None, namespace: str | None, *, all_namespaces: bool = False
) -> list[dict[str, Any]]:
    """Read resources; raises SettingsError where they cannot be told of, with what to do."""
    from autoscaler.cli.kubectl import KubectlError
    from autoscaler.kube.api.plain import parts

    arguments = [_RESOURCES, *([name] if name else [])]
    arguments += ["-A"] if all_namespaces else []
    arguments += ["-n", namespace] if namespace else []
    try:
        found = kubectl.read(*arguments)
    except KubectlError as failure:
        raise SettingsError(
            f"{failure}; where models are documents of a file there are no resources: kubectl infas status --live"
        ) from failure
    return [dict(each) for each in parts(found, "items")] if "items" in found else [found]


# -- what a resource says of itself


def _table(resources: list[dict[str, Any]]) -> Iterator[str]:
    from autoscaler.explain.figures import aligned

    if not resources:
        yield "No InferenceAutoscalers here; -A looks in all namespaces."
        return
    head, *lines = aligned([_HEAD, *(_cells(each) for each in resources)], texts=_TEXTS)
    yield click.style(head, bold=True)
    for resource, line in zip(resources, lines, strict=True):
        yield line
        yield from _sentences(resource)


def _cells(resource: dict[str, Any]) -> tuple[str, ...]:
    from autoscaler.foreign_text import shown
    from autoscaler.kube.api.plain import part, text

    status = part(resource, "status")
    counts = (status.get(f"{which}Replicas", "?") for which in ("desired", "ready", "warmFloor"))
    ready = _conditions(resource).get("Ready", {})
    return (
        _key(resource),
        _mode(resource),
        *(shown(str(count), limit=8) for count in counts),
        shown(ready.get("status") or "Unknown"),
        shown(text(status, "reason") or "NotDecided"),
    )


def _key(resource: dict[str, Any]) -> str:
    from autoscaler.foreign_text import shown
    from autoscaler.kube.api.plain import part, text

    metadata = part(resource, "metadata")
    return shown(f"{text(metadata, 'namespace')}/{text(metadata, 'name')}")


def _mode(resource: dict[str, Any]) -> str:
    """Say what acts, as `autoscaler status` does: the mode, or what a pause leaves of it."""
    from autoscaler.core.contract.spec import Mode, Pause
    from autoscaler.explain.status import mode_text
    from autoscaler.foreign_text import shown
    from autoscaler.kube.api.plain import part, text

    mode = text(part(resource, "spec"), "mode") or Mode.OBSERVE
    pauses = {
        "Paused": Pause.ALL,
        "ScaleDownPaused": Pause.SCALE_DOWN,
        "ScaleUpPaused": Pause.SCALE_UP,
    }
    paused = _conditions(resource).get("Paused", {})
    pause = pauses.get(paused.get("reason", ""), Pause.NO)
    return mode_text(Mode(mode), pause) if mode in set(Mode) else shown(mode)


def _conditions(resource: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return type, status, reason and message of each condition, by its type."""
    from autoscaler.kube.api.plain import part, parts, text

    return {
        text(each, "type"): {
            name: text(each, name) for name in ("status", "reason", "message", "lastTransitionTime")
        }
        for each in parts(part(resource, "status"), "conditions")
    }


def _sentences(resource: dict[str, Any]) -> Iterator[str]:
    """Say why, and what somebody may have to see to."""
    from autoscaler.explain.words import BAD_STATUS
    from autoscaler.foreign_text import shown
    from autoscaler.kube.api.plain import part, text

    sentence = text(part(resource, "status"), "lastDecision")
    if sentence:
        yield from _wrapped(shown(sentence, limit=1_100), indent="  ")
    told = _conditions(resource)
    wrong = [
        str(kind) for kind, bad in BAD_STATUS.items() if told.get(kind, {}).get("status") == bad
    ]
    if wrong:
        name = _key(resource)
        yield from _wrapped(f"see to {', '.join(wrong)}: kubectl infas explain {name}", indent="  ")


def _told(resource: dict[str, Any]) -> Iterator[str]:
    from autoscaler.foreign_text import shown

    yield from _table([resource])
    yield ""
    for kind, each in _conditions(resource).items():
        words = f"{kind} is {each['status']} ({each['reason']}) since {each['lastTransitionTime']}: {each['message']}"
        yield from _wrapped(shown(words, limit=1_300), indent="  ")


def _wrapped(text: str, *, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        width=_WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_on_hyphens=False,
    )
