"""The table of rights is what the code does: no call without its right, no right without its call."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

from autoscaler.app import LEASE_NAME
from autoscaler.kube.api.client import Client, connect
from autoscaler.kube.api.permissions import (
    DELETION_COSTS,
    OWN_NAMESPACE,
    PERMISSIONS,
    RESOURCES,
)
from autoscaler.kube.api.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    HPAS,
    INFERENCE_AUTOSCALERS,
    LEASES,
    NODE_CLAIMS,
    NODES,
    PODS,
    REPLICA_SETS,
)
from autoscaler.kube.knowledge import Shelf, shelf_names
from autoscaler.kube.lease.contender import LeaseTimes
from autoscaler.kube.lease.election import Election
from autoscaler.kube.observe import Cluster
from autoscaler.kube.perform.perform import perform
from simulations.box.local_cluster import LocalCluster
from tests.kube.scene import deployment, fleet, node, pod
from tests.kube.test_perform import AT, COMMANDS
from tests.kube.watched import until_listed

ALL = (*PERMISSIONS, *DELETION_COSTS)
KINDS = (CONFIG_MAPS, DEPLOYMENTS, EVENTS, HPAS, LEASES, NODES, NODE_CLAIMS, PODS, REPLICA_SETS)
BY_PLURAL = {each.plural: each for each in (*KINDS, INFERENCE_AUTOSCALERS)}


async def test_the_table_holds_each_call_and_nothing_more(tmp_path: Path):
    async with (
        LocalCluster(controllers=False, folder=tmp_path) as cluster,
        await connect(str(cluster.kubeconfig)) as client,
    ):
        cluster.apply(deployment("llama", replicas=2))
        cluster.apply(node("n"))
        cluster.apply({"kind": "Namespace", "metadata": {"name": OWN_NAMESPACE}})
        spec = fleet("llama")
        watching = Cluster(
            client, spec, now=lambda: AT, age_s_max=30.0, wants_event=lambda _event: True
        )
        running = asyncio.create_task(watching.run())
        async with asyncio.timeout(60):
            await until_listed(watching)
            for command in COMMANDS:
                cluster.apply(pod("p", owner="rs", node="n"))  # evicted by one, deleted by the next
                await perform(client, command, now=lambda: AT)
            while len({r.resource for r in cluster.api.requests if r.verb == "watch"}) < 7:
                await asyncio.sleep(0.001)
            await hold_and_release(client)
            await keep(client)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        used = {(r.resource, r.verb, bool(r.namespace)) for r in cluster.api.requests}
    granted = {(p.resource, verb, p.namespaced) for p in ALL for verb in p.verbs}
    assert used == granted


async def keep(client: Client) -> None:
    """One that is not there yet is made, and written again."""
    (row, *_) = (each for each in PERMISSIONS if each.name and each.resource == "configmaps")
    shelf = Shelf(client, namespace=row.namespace, name=row.name)
    for text in ("{}", "{ }"):
        await shelf.write({"serving.llama": text}, asked_for=frozenset())


def test_the_shelves_are_those_that_may_be_written():
    named = tuple(each.name for each in PERMISSIONS if each.name and each.resource == "configmaps")
    assert named == shelf_names(LEASE_NAME)


async def hold_and_release(client: Client) -> None:
    (row,) = (each for each in PERMISSIONS if each.name and each.resource == "leases")
    short = LeaseTimes(lease_s=0.2, renew_s=0.12, retry_s=0.04)
    election = Election(
        client, namespace=row.namespace, name=row.name, rng=random.Random(1), times=short
    )
    running = asyncio.create_task(election.run())
    while election.term() is None:
        await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.wait((running,))
    await election.release(drained=True)


def test_rows_name_their_groups_and_are_in_order():
    assert [(p.group, p.resource, p.name) for p in PERMISSIONS] == sorted(
        (p.group, p.resource, p.name) for p in PERMISSIONS
    )
    for row in (*PERMISSIONS, *DELETION_COSTS, *RESOURCES):
        resource = BY_PLURAL[row.resource.split("/")[0]]
        assert (row.group, row.namespaced) == (resource.group, resource.namespaced)
        assert list(row.verbs) == sorted(set(row.verbs))
        assert row.why
