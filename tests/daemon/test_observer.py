from __future__ import annotations

import structlog

from autoscaler.core.contract.spec import FleetSpec
from autoscaler.core.contract.state import Interruption, InterruptionKind
from autoscaler.daemon.observer import FIRST_READ_S, FleetObserver
from autoscaler.daemon.telemetry.outages import OutageLog
from autoscaler.kube.watch.changes import ObjectChange
from autoscaler.kube.watch.optional import Readability
from autoscaler.kube.watch.slim import SlimNode, slim_node
from autoscaler.notices.interruptions import Interruptions
from tests.kube.scene import fleet, node

FLEET = FleetSpec(models=())


class FakeCluster:
    def __init__(self) -> None:
        self.cluster_at = 0.0
        self.troubles: tuple[str, ...] = ()
        self.followed: list[FleetSpec] = []
        self.refused: dict[str, str] = {}
        self.readable: dict[str, Readability] = {}
        self.nodes: list[SlimNode] = []
        self.missing: dict[str, str] = {}
        self.unseen: dict[str, str] = {}

    def unread_hpas(self) -> dict[str, str]:
        return self.unseen

    def refusals(self) -> dict[str, str]:
        return self.refused

    def problems(self) -> tuple[str, ...]:
        return self.troubles

    def missing_targets(self) -> dict[str, str]:
        return self.missing

    def unreadable(self) -> tuple[str, ...]:
        return ()

    doubts = ()

    def follow(self, fleet: FleetSpec) -> None:
        self.followed.append(fleet)

    def subscribe_to_nodes(self, changed) -> None:
        self.changed = changed

    def subscribe_to_events(self, changed) -> None:
        self.events_changed = changed

    def subscribe_to_claims(self, changed) -> None:
        self.claims_changed = changed

    def readable_notices(self) -> dict[str, Readability]:
        return dict(self.readable)

    def optional_problems(self) -> dict[str, str]:
        return {"events": "list events default: 403; grant it"}

    def all_nodes(self) -> list[SlimNode]:
        return self.nodes

    def has_replicas_on(self, node: str) -> bool:
        return node == "n1"

    def scrape_targets(self, _: FleetSpec) -> list:
        return ["target"]

    def exporter_targets(self) -> list:
        return []


class FakeCollector:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def set_models(self, _) -> None:
        self.calls.append("models")

    def set_targets(self, _) -> None:
        self.calls.append("targets")

    def set_exporters(self, _) -> None:
        self.calls.append("exporters")


class Stage:
    def __init__(self) -> None:
        self.at = 1000.0
        self.told: list[Interruption] = []
        self.cluster, self.collector = FakeCluster(), FakeCollector()
        self.observer = FleetObserver(
            cluster=self.cluster,
            collector=self.collector,
            fleet=FLEET,
            resources=[],
            now=lambda: self.at,
            interruptions=Interruptions({}),
            age_s_max=30.0,
            on_interruption=self.told.append,
        )
        self.outages = OutageLog(self.observer)


def test_there_is_nothing_to_observe_before_the_lists_and_the_first_reads():
    stage = Stage()
    assert not stage.observer.synced
    stage.cluster.cluster_at = stage.at
    assert not stage.observer.synced
    stage.at += FIRST_READ_S
    assert stage.observer.synced
    stage.cluster.cluster_at = 0.0  # a namespace that was added and is not listed yet
    assert stage.observer.synced


def test_sources_learn_of_the_pods_before_they_are_read_for_the_first_time():
    """Else their first round finds nobody, and the first decision is blind for a period."""
    stage = Stage()
    assert stage.collector.calls == []
    stage.cluster.cluster_at = stage.at
    assert not stage.observer.synced
    assert stage.collector.calls == ["targets", "exporters", "models"]


def test_a_change_of_the_fleet_before_the_first_lists_reads_nobody():
    stage = Stage()
    stage.observer.follow(FLEET, [])
    assert stage.cluster.followed == [FLEET]
    assert stage.collector.calls == []


def test_what_is_wrong_with_the_cluster():
    stage = Stage()
    assert stage.observer.outage() == "the first lists are not in yet"
    stage.cluster.troubles = ("list pods: refused",)
    assert stage.observer.outage() == "list pods: refused"
    stage.cluster.cluster_at = stage.at
    assert stage.observer.outage() == "", "a watch that is being opened anew is no trouble yet"
    stage.at += 31
    assert stage.observer.outage() == "the cluster was last in step 31 s ago: list pods: refused"


def events(stage: Stage) -> list[str]:
    with structlog.testing.capture_logs() as logs:
        stage.outages.look()
    return [line["event"] for line in logs]


def test_losing_the_api_server_is_said_once_and_so_is_its_return():
    stage = Stage()
    assert events(stage) == [], "it has only begun"
    stage.cluster.troubles = ("list pods: refused",)
    assert events(stage) == ["cluster.lost"]
    assert events(stage) == []
    stage.cluster.cluster_at = stage.at
    assert events(stage) == ["cluster.recovered"]
    assert events(stage) == []
    stage.at += 40
    assert events(stage) == ["cluster.lost"]


def test_a_namespace_that_refuses_is_said_once_and_so_is_its_return():
    stage = Stage()
    stage.cluster.cluster_at = stage.at
    assert events(stage) == []
    stage.cluster.refused = {"b": "list pods b: 403; grant it"}
    assert events(stage) == ["namespace.refused"]
    assert events(stage) == []
    assert stage.observer.outage() == "", "the others are decided as ever"
    stage.cluster.refused = {}
    assert events(stage) == ["namespace.readable"]
    assert events(stage) == []


def test_hpas_that_cannot_be_read_are_said_once_and_so_is_that_they_can():
    stage = Stage()
    stage.cluster.unseen = {"b": "they were not listed yet"}
    assert events(stage) == [], "nothing was listed yet"
    stage.cluster.cluster_at = stage.at
    assert not stage.observer.synced, "they are in now, and the sources are read"
    stage.cluster.unseen = {"b": "list horizontalpodautoscalers b: 403; grant it"}
    assert events(stage) == ["rivals.unseen"]
    assert events(stage) == []
    stage.cluster.unseen = {}
    assert events(stage) == ["rivals.seen"]
    assert events(stage) == []


def test_a_target_that_does_not_exist_is_said_once_and_so_is_that_it_does():
    stage = Stage()
    stage.cluster.cluster_at = stage.at
    assert events(stage) == []
    stage.cluster.missing = {"a/llama": "Deployment/a/lama does not exist"}
    assert events(stage) == ["target.missing"]
    # Deployments come and go, and with them the names beside it: it is missing all the same.
    stage.cluster.missing = {"a/llama": "Deployment/a/lama does not exist; there are: x"}
    assert events(stage) == []
    stage.cluster.missing = {}
    assert events(stage) == ["target.found"]
    assert events(stage) == []


def loss_of(name: str) -> ObjectChange[SlimNode]:
    return ObjectChange(("", name), slim_node(node(name)), None)


def test_a_node_with_replicas_that_is_gone_is_told_at_once():
    stage = Stage()
    stage.cluster.changed([loss_of("n1"), loss_of("n2")], 0.0)
    (told,) = stage.told
    assert (told.node, told.kind, told.noticed_at) == ("n1", InterruptionKind.LOST, stage.at)


def test_what_notices_cannot_be_read_from_is_said_once():
    stage = Stage()
    stage.cluster.readable = {"events": Readability.UNKNOWN, "nodeclaims": Readability.ABSENT}
    assert events(stage) == ["notices.watched"]
    stage.cluster.readable["events"] = Readability.FORBIDDEN
    assert events(stage) == ["notices.refused"]
    assert events(stage) == []
    stage.cluster.readable["events"] = Readability.READABLE
    assert events(stage) == ["notices.watched"]
    assert stage.observer.outage() == "the first lists are not in yet", "nothing hangs on it"


def test_spot_nodes_that_nothing_speaks_of_are_said_once():
    stage = Stage()
    stage.observer.follow(fleet("spot"), [])
    spot = {"node.kubernetes.io/lifecycle": "spot"}
    stage.cluster.nodes = [slim_node(node("n1", labels=spot))]
    stage.cluster.readable = {"events": Readability.UNKNOWN}
    assert stage.observer.notice_gaps() is None, "before the lists nothing can be told"
    stage.cluster.cluster_at = stage.at
    assert not stage.observer.synced
    assert stage.observer.notice_gaps() is None
    stage.cluster.readable = {"events": Readability.READABLE}
    assert events(stage) == ["notices.watched", "notices.uncovered"]
    # Another node of the kind is no news; one whose agent runs ends it.
    stage.cluster.nodes.append(slim_node(node("n2", labels=spot)))
    assert events(stage) == []
    alive = {"inference-autoscaler.dev/node-agent": "x"}
    stage.cluster.nodes = [slim_node(node("n1", labels=spot, annotations=alive))]
    assert events(stage) == []
    stage.cluster.nodes = [slim_node(node("n1", labels=spot))]
    assert events(stage) == ["notices.uncovered"]
