"""A real API server with its etcd, and a service account that has the rights of our table."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autoscaler.kube.api.client import Client, connect
from autoscaler.kube.api.permissions import PERMISSIONS, Permission
from autoscaler.kube.api.resources import ApiResource
from tests.require import ROOT, require

SCRIPT = ROOT / "tests" / "e2e" / "cluster" / "control-plane.sh"
ACCOUNT = "autoscaler"
NAMESPACE = "serving"

NAMESPACES = ApiResource(group="", version="v1", plural="namespaces", namespaced=False)
ACCOUNTS = ApiResource(group="", version="v1", plural="serviceaccounts", namespaced=True)
BUDGETS = ApiResource(group="policy", version="v1", plural="poddisruptionbudgets", namespaced=True)
RBAC = "rbac.authorization.k8s.io"
ROLES = ApiResource(group=RBAC, version="v1", plural="clusterroles", namespaced=False)
BINDINGS = ApiResource(group=RBAC, version="v1", plural="clusterrolebindings", namespaced=False)
LOCAL_BINDINGS = ApiResource(group=RBAC, version="v1", plural="rolebindings", namespaced=True)


def binaries() -> Path:
    """The folder of etcd and kube-apiserver; skips where there is none."""
    named = os.environ.get("KUBEBUILDER_ASSETS")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    found = [Path(named)] if named else sorted(cache.glob("inference-autoscaler/cluster-tools-*"))
    usable = [path for path in found if (path / "kube-apiserver").is_file()]
    require(
        "control-plane", usable, "no kube-apiserver; set KUBEBUILDER_ASSETS or `make cluster-tools`"
    )
    require("control-plane", shutil.which("openssl"), "control-plane.sh needs openssl")
    return usable[-1]


class ControlPlane:
    """Started and stopped by the script of the end-to-end suite."""

    def __init__(self, folder: Path, **environment: str) -> None:
        """`environment`: of the script; no controller and no scheduler runs unless it says otherwise."""
        self.folder = folder
        self._environment = {
            **os.environ,
            "KUBEBUILDER_ASSETS": str(binaries()),
            "WITHOUT": "kube-scheduler kube-controller-manager",
            **environment,
        }

    async def script(self, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            str(SCRIPT),
            *arguments,
            str(self.folder),
            env=self._environment,
            stdout=asyncio.subprocess.DEVNULL,
        )
        assert await process.wait() == 0, f"control-plane.sh {arguments} failed; see {self.folder}"

    async def admin(self) -> Client:
        return await connect(str(self.folder / "admin.kubeconfig"))

    async def set_up(self, admin: Client) -> None:
        """A namespace, and our service account with the rights of the table."""
        await create(admin, NAMESPACES, {"metadata": {"name": NAMESPACE}})
        for name in (ACCOUNT, "default"):  # pods are admitted only where the default one exists
            await create(admin, ACCOUNTS, {"metadata": {"name": name}}, namespace=NAMESPACE)
        await create(admin, ROLES, role(ACCOUNT, PERMISSIONS))
        await create(admin, BINDINGS, binding(ACCOUNT, to=ACCOUNT))

    async def set_up_apart(self, admin: Client, account: str) -> None:
        """A service account as `deploy/` makes it: nodes everywhere, the rest namespace by namespace."""
        await create(admin, ACCOUNTS, {"metadata": {"name": account}}, namespace=NAMESPACE)
        for name, namespaced in ((f"{account}-nodes", False), (f"{account}-models", True)):
            rights = [each for each in PERMISSIONS if each.namespaced == namespaced]
            await create(admin, ROLES, role(name, rights))
        await create(admin, BINDINGS, binding(f"{account}-nodes", to=account))

    async def let_in(self, admin: Client, account: str, *, namespace: str) -> None:
        """The RoleBinding of `deploy/README.md`, for an account that was set up apart."""
        body = binding(f"{account}-models", to=account)
        await create(admin, LOCAL_BINDINGS, body, namespace=namespace)

    async def mount_account(
        self, admin: Client, folder: Path, *, account: str
    ) -> Mapping[str, str]:
        """Write token and certificate as a kubelet does; returns a pod's environment."""
        answer = await admin.call(
            "create",
            ACCOUNTS,
            namespace=NAMESPACE,
            name=account,
            subresource="token",
            body={"spec": {"expirationSeconds": 3600}},
        )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "token").write_text(answer["status"]["token"])
        shutil.copy(self.folder / "pki" / "ca.crt", folder / "ca.crt")
        host, port = admin.server.removeprefix("https://").rsplit(":", 1)
        return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}


@contextlib.contextmanager
def running_control_plane(
    folder: Path, set_up: Callable[[ControlPlane, Client], Awaitable[None]], **environment: str
) -> Iterator[ControlPlane]:
    """One for the tests of a module: started, set up by its administrator, and stopped whatever happens."""
    made = ControlPlane(folder, **environment)
    asyncio.run(made.script("start"))

    async def as_admin() -> None:
        async with await made.admin() as admin:
            await set_up(made, admin)

    try:
        asyncio.run(as_admin())
        yield made
    finally:
        asyncio.run(made.script("stop"))


def role(name: str, rights: Sequence[Permission]) -> dict[str, Any]:
    """A ClusterRole that grants these rights."""
    rules = [
        {
            "apiGroups": [each.group],
            "resources": [each.resource],
            "verbs": list(each.verbs),
            **({"resourceNames": [each.name]} if each.name else {}),
        }
        for each in rights
    ]
    return {"metadata": {"name": name}, "rules": rules}


def binding(name: str, *, to: str) -> dict[str, Any]:
    """A binding of the ClusterRole of that name to a service account."""
    return {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": to}],
    }


async def create(
    client: Client, resource: ApiResource, body: Mapping[str, Any], *, namespace: str = ""
) -> dict[str, Any]:
    return await client.call("create", resource, namespace=namespace, body=dict(body))


async def set_status(
    client: Client,
    resource: ApiResource,
    name: str,
    status: Mapping[str, Any],
    *,
    namespace: str = "",
) -> None:
    await client.call(
        "patch",
        resource,
        namespace=namespace,
        name=name,
        subresource="status",
        body={"status": dict(status)},
        content_type="application/merge-patch+json",
    )
