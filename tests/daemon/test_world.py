from __future__ import annotations

import structlog

from autoscaler.core.contract.spec import FleetSpec
from autoscaler.daemon.world import FIRST_READ_S, World

FLEET = FleetSpec(models=())


class FakeCluster:
    def __init__(self) -> None:
        self.cluster_at = 0.0
        self.troubles: tuple[str, ...] = ()
        self.followed: list[FleetSpec] = []
        self.refused: dict[str, str] = {}

    def refusals(self) -> dict[str, str]:
        return self.refused

    def problems(self) -> tuple[str, ...]:
        return self.troubles

    def follow(self, fleet: FleetSpec) -> None:
        self.followed.append(fleet)

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
        self.cluster, self.collector = FakeCluster(), FakeCollector()
        self.world = World(
            cluster=self.cluster,
            collector=self.collector,
            fleet=FLEET,
            resources=[],
            now=lambda: self.at,
        )


def test_there_is_nothing_to_observe_before_the_lists_and_the_first_reads():
    stage = Stage()
    assert not stage.world.synced
    stage.cluster.cluster_at = stage.at
    assert not stage.world.synced
    stage.at += FIRST_READ_S
    assert stage.world.synced
    stage.cluster.cluster_at = 0.0  # a namespace that was added and is not listed yet
    assert stage.world.synced


def test_sources_learn_of_the_pods_before_they_are_read_for_the_first_time():
    """Else their first round finds nobody, and the first decision is blind for a period."""
    stage = Stage()
    assert stage.collector.calls == []
    stage.cluster.cluster_at = stage.at
    assert not stage.world.synced
    assert stage.collector.calls == ["targets", "exporters", "models"]


def test_a_change_of_the_fleet_before_the_first_lists_reads_nobody():
    stage = Stage()
    stage.world.follow(FLEET, [])
    assert stage.cluster.followed == [FLEET]
    assert stage.collector.calls == []


def test_what_is_wrong_with_the_cluster():
    stage = Stage()
    assert stage.world.problem() == "the first lists are not in yet"
    stage.cluster.troubles = ("list pods: refused",)
    assert stage.world.problem() == "list pods: refused"
    stage.cluster.cluster_at = stage.at
    assert stage.world.problem() == "", "a watch that is being opened anew is no trouble yet"
    stage.at += 31
    assert stage.world.problem() == "the cluster was last in step 31 s ago: list pods: refused"


def events(stage: Stage) -> list[str]:
    with structlog.testing.capture_logs() as logs:
        stage.world.watch_over()
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
    assert stage.world.problem() == "", "the others are decided as ever"
    stage.cluster.refused = {}
    assert events(stage) == ["namespace.readable"]
    assert events(stage) == []
