"""Containers without an image: processes of this machine, each with a loopback address of its own.

A pod's first container is run; side-cars and init containers are not. Its command line is the
template's, with `$(VARIABLES)` expanded and ConfigMap volumes laid out as files; a template without
a command runs `simulations.box.vllm_server`, whatever its image says. Linux only: every address of
127.0.0.0/8 answers there, and a child can be told to die with its parent.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import simulations
from simulations.box.local_cluster.objects import Object
from simulations.box.local_cluster.store import Store

DEFAULT_COMMAND = ("python3", "-m", "simulations.box.vllm_server")
_INTERPRETERS = frozenset({"python", "python3", "/usr/bin/python3", "/usr/local/bin/python3"})
_VARIABLE = re.compile(r"\$\((\w+)\)")
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class Addresses:
    """Loopback addresses for pods, apart from those of other clusters on this machine."""

    def __init__(self) -> None:
        # the process id keeps clusters apart that run side by side; `take` checks nevertheless
        self._network = (64 + os.getpid() // 256 % 128, os.getpid() % 256)
        self._next = 0

    def take(self, port: int) -> str:
        """An address on which `port` is free."""
        for _ in range(64 * 254):
            host = 1 + self._next % 254
            block = (self._network[0] + self._next // 254) % 128 + 64
            self._next += 1
            address = f"127.{block}.{self._network[1]}.{host}"
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((address, port))
                except OSError:
                    continue
                return address
        raise OSError(f"no address of 127.0.0.0/8 has port {port} free")


@dataclass(slots=True, kw_only=True)
class Container:
    """What a pod's template says, made ready to run here."""

    argv: list[str]
    env: dict[str, str]
    folder: Path
    mounts: dict[str, Path] = field(default_factory=dict)
    """Where each mountPath is on this machine."""

    @classmethod
    def of(cls, store: Store, pod: Object, *, address: str, folder: Path) -> Container:
        """Lay out the pod's volumes and resolve its command line."""
        spec = pod["spec"]["containers"][0]
        folder.mkdir(parents=True, exist_ok=True)
        mounts = _lay_out(store, pod, spec, folder)
        env = _environment(pod, spec, address)
        made = cls(argv=[], env=env, folder=folder, mounts=mounts)
        command = spec.get("command") or list(DEFAULT_COMMAND)
        arguments = [*command, *(spec.get("args") or ())]
        if not spec.get("command") and not any(str(a).startswith("--host") for a in arguments):
            # one network namespace for all pods: a server must not take every address
            arguments += ["--host", address]
        made.argv = made.resolve(arguments)
        return made

    def resolve(self, command: list[str]) -> list[str]:
        """A command line of the template, as it runs here."""
        resolved = [
            _VARIABLE.sub(lambda found: self.env.get(found[1], found[0]), str(part))
            for part in command
        ]
        for mount, where in self.mounts.items():
            resolved = [
                f"{where}{part[len(mount) :]}" if part.startswith(f"{mount}/") else part
                for part in resolved
            ]
        if resolved[0] in _INTERPRETERS:
            resolved[0] = sys.executable
        return resolved

    async def start(self, argv: list[str], log: Path) -> asyncio.subprocess.Process:
        """Run a command line in the container, its output appended to the pod's log."""
        with log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                cwd=self.folder,
                env=self.env,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )


def kill_group(process: asyncio.subprocess.Process) -> None:
    """SIGKILL to the process and all it started."""
    if process.returncode is None:
        with suppress(ProcessLookupError):  # it ended by itself a moment ago
            os.killpg(process.pid, signal.SIGKILL)


def die_with_parent() -> None:
    """For a child before its exec: SIGKILL when the thread that started it ends, however it ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _lay_out(store: Store, pod: Object, spec: Object, folder: Path) -> dict[str, Path]:
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
    mounts = {}
    for mount in spec.get("volumeMounts") or ():
        source = volumes.get(mount["name"], {}).get("configMap")
        if source is None:
            continue
        where = folder / mount["name"]
        where.mkdir(exist_ok=True)
        namespace = pod["metadata"]["namespace"]
        for name, text in store.get("configmaps", namespace, source["name"])["data"].items():
            (where / name).write_text(text, encoding="utf-8")
        mounts[str(mount["mountPath"]).rstrip("/")] = where
    return mounts


def _environment(pod: Object, spec: Object, address: str) -> dict[str, str]:
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    root = str(Path(simulations.__file__).resolve().parent.parent)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    env["HOSTNAME"] = pod["metadata"]["name"]
    # what deploy/drain would have of namespaces of its own: its localhost, and its process 1
    env |= {"INFERENCE_AUTOSCALER_DRAIN_HOST": address, "INFERENCE_AUTOSCALER_DRAIN_LOG": "-"}
    # a pod here is a light process: no pool of threads for arithmetic
    env |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    fields = _downward_fields(pod, address)
    for variable in spec.get("env") or ():
        source = (variable.get("valueFrom") or {}).get("fieldRef", {}).get("fieldPath")
        value = fields.get(source, "") if source else str(variable.get("value", ""))
        env[variable["name"]] = _VARIABLE.sub(lambda found: env.get(found[1], found[0]), value)
    return env


def _downward_fields(pod: Object, address: str) -> Mapping[str, str]:
    return {
        "metadata.name": pod["metadata"]["name"],
        "metadata.namespace": pod["metadata"]["namespace"],
        "metadata.uid": pod["metadata"]["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "status.podIP": address,
    }
