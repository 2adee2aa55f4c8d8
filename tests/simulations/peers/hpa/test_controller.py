"""One sync after the other: what is asked, what is remembered, what binds."""

from simulations.peers.hpa.controller import HpaController
from simulations.peers.hpa.metrics import MetricReading, Scale
from simulations.peers.hpa.spec import HpaSpec, hpa_spec


def spec(**changes: object) -> HpaSpec:
    """What KEDA makes of a Prometheus trigger with threshold 5."""
    external = {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "5"}}
    return hpa_spec(
        {
            "minReplicas": 1,
            "maxReplicas": 10,
            "metrics": [{"type": "External", "external": external}],
        }
        | changes
    )


def at(moment: float, *, replicas: int) -> Scale:
    return Scale(
        at=moment,
        spec_replicas=replicas,
        status_replicas=replicas,
        ready_pods=replicas,
        pod_count=replicas,
    )


def asked(total: float) -> list[MetricReading]:
    return [MetricReading(values_milli=(round(total * 1000),))]


def test_paused_at_zero():
    controller = HpaController(spec(), first_replicas=0, at=0.0)
    assert controller.sync(at(0.0, replicas=0), asked(100)).replicas == 0


def test_outside_the_bounds_it_is_set_to_the_bound_and_nothing_is_asked():
    controller = HpaController(spec(), first_replicas=12, at=0.0)
    sync = controller.sync(at(0.0, replicas=12), asked(5))
    assert (sync.proposal, sync.replicas) == (None, 10)


def test_without_a_behavior_one_sync_doubles_or_reaches_four():
    controller = HpaController(spec(), first_replicas=1, at=0.0)
    assert controller.sync(at(0.0, replicas=1), asked(50)).replicas == 4
    assert controller.sync(at(15.01, replicas=4), asked(50)).replicas == 8


def test_the_first_replicas_hold_for_a_whole_window():
    controller = HpaController(spec(), first_replicas=6, at=0.0)
    assert controller.sync(at(15.0, replicas=6), asked(5)).replicas == 6
    assert controller.sync(at(299.9, replicas=6), asked(5)).replicas == 6
    assert controller.sync(at(300.0, replicas=6), asked(5)).replicas == 1  # exactly outside


def test_a_failed_sync_is_not_remembered():
    controller = HpaController(spec(), first_replicas=4, at=0.0)
    sync = controller.sync(at(15.0, replicas=4), [MetricReading()])
    assert (sync.proposal, sync.replicas) == (None, 4)
    assert controller.memory.recommendations == [(0.0, 4)]


def test_of_two_metrics_the_one_that_answers_may_raise_but_not_lower():
    external = {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "5"}}
    two = spec(metrics=[{"type": "External", "external": external}] * 2)
    controller = HpaController(two, first_replicas=4, at=0.0)
    assert controller.sync(at(15.0, replicas=4), [*asked(30), MetricReading()]).proposal == 6
    assert controller.sync(at(30.0, replicas=4), [*asked(10), MetricReading()]).proposal is None


def test_rates_count_own_rescales_from_when_they_were_stored():
    down = {"stabilizationWindowSeconds": 0}
    down["policies"] = [{"type": "Pods", "value": 2, "periodSeconds": 60}]
    controller = HpaController(spec(behavior={"scaleDown": down}), first_replicas=9, at=0.0)
    assert controller.sync(at(15.0, replicas=9), asked(5)).replicas == 7
    controller.rescaled(at=15.1, before=9, after=7)
    assert controller.sync(at(30.0, replicas=7), asked(5)).replicas == 7
    assert controller.sync(at(75.2, replicas=7), asked(5)).replicas == 5
