"""Our CustomResourceDefinition on a real API server."""

from __future__ import annotations

import asyncio
import contextlib

import yaml

from autoscaler.kube.api.client import ApiError, Client
from autoscaler.kube.api.resources import INFERENCE_AUTOSCALERS, ApiResource
from autoscaler.settings.crd import CRD_FILE, GROUP
from autoscaler.settings.resource import PLURAL
from tests.kube.control_plane import create
from tests.require import ROOT

DEFINITIONS = ApiResource(
    group="apiextensions.k8s.io",
    version="v1",
    plural="customresourcedefinitions",
    namespaced=False,
)


async def install(admin: Client) -> None:
    """Apply what stands in deploy/, and wait until resources of it are answered for."""
    await create(admin, DEFINITIONS, yaml.safe_load((ROOT / CRD_FILE).read_text()))
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(ApiError):
                if (await conditions(admin)).get("Established") == "True":
                    await admin.call("list", INFERENCE_AUTOSCALERS)
                    return
            await asyncio.sleep(0.1)


async def conditions(admin: Client) -> dict[str, str]:
    """Each condition of the definition, with its status."""
    found = await admin.call("get", DEFINITIONS, name=f"{PLURAL}.{GROUP}")
    told = found.get("status", {}).get("conditions") or ()
    return {each["type"]: each["status"] for each in told}
