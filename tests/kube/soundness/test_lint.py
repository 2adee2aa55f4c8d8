"""Each thing that can be wrong with a scale target, alone in a target that is sound in all else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.contract.reasons import FindingReason
from autoscaler.core.contract.state import CapacityType
from autoscaler.kube.soundness.budgets import budget_facts
from autoscaler.kube.soundness.lint import lint, unsound
from autoscaler.kube.soundness.template import template_facts
from tests.kube.soundness.targets import (
    HOOK,
    OFF_SPOT,
    affinity,
    changed,
    found,
    one,
    probe,
    sound,
    terms,
)
from tests.require import ROOT

SPOT = CapacityType.SPOT
MANIFESTS = Path(__file__).parent / "manifests"


def args(*words: str) -> dict[str, Any]:
    return changed(container={"args": list(words)})


def hook(*command: str) -> dict[str, Any]:
    return changed(container={"lifecycle": {"preStop": {"exec": {"command": list(command)}}}})


def test_nothing_is_said_of_a_sound_one():
    assert lint(sound(), terms()) == []


# -- the manifest of a guide


def test_the_guides_manifest_shows_its_faults():
    item = yaml.safe_load((MANIFESTS / "guide.yaml").read_text())
    findings = lint(item, terms(cold_start_s=300.0))
    assert [f"{each.severity} {each.reason}" for each in findings] == [
        "error NoShutdownTimeout",
        "error GraceTooShort",
        "error LandsOnSpot",
        "warning PreStopSleeps",
        "warning LivenessDuringStart",
        "warning StartDelayed",
        "warning LivenessHasty",
        "warning ReplicasWritten",
        "warning VolumeWritable",
    ]
    grace = findings[1]
    assert grace.path == "spec.template.spec.terminationGracePeriodSeconds"
    assert grace.found == (
        "nothing, so 30, not more than 90 (preStop) + 0 (--shutdown-timeout) + 10 (teardown): "
        "the hook is cut at 30 s"
    )
    assert grace.remedy == "write 101 or more"
    # on spot, with a cold start that takes longer than its liveness probe allows twice over
    assert found(item, cold_start_s=800.0, capacity_type=SPOT)[:3] == [
        "error NoShutdownTimeout",
        "error GraceTooShort",
        "error StartCut",
    ]


# -- how replicas end


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        pytest.param(
            changed(pod={"terminationGracePeriodSeconds": 100}),
            ["error GraceTooShort"],
            id="equal is not more",
        ),
        pytest.param(changed(pod={"terminationGracePeriodSeconds": 101}), [], id="one more is"),
        pytest.param(
            changed(pod={"terminationGracePeriodSeconds": None}),
            ["error GraceTooShort"],
            id="none is 30",
        ),
        pytest.param(
            changed(pod={"terminationGracePeriodSeconds": "120"}),
            ["error GraceTooShort"],
            id="of another type, it is as if it were not there",
        ),
        pytest.param(
            changed(container={"lifecycle": None}), ["error NoPreStop"], id="no preStop hook"
        ),
        pytest.param(
            changed(container={"lifecycle": {"preStop": {"sleep": {"seconds": 60}}}}),
            ["warning PreStopSleeps"],
            id="a sleep action",
        ),
        pytest.param(hook("sleep", "60"), ["warning PreStopSleeps"], id="a sleep command"),
        pytest.param(
            hook("sh", "-c", "sleep 1m; sleep 30"),
            ["error GraceTooShort", "warning PreStopSleeps"],
            id="sleeps add up",
        ),
        pytest.param(
            hook("/bin/sh", "-c", "sleep 60 && curl -s localhost"),
            ["warning PreStopSleeps"],
            id="and something else",
        ),
        pytest.param(
            hook("tini", "--", "bash", "-ec", "sleep 85"),
            ["error GraceTooShort", "warning PreStopSleeps"],
            id="a shell behind a wrapper",
        ),
        pytest.param(
            hook("sh", "-c", "while curl -s localhost; do sleep 1; done"),
            ["warning PreStopUnclear"],
            id="a loop",
        ),
        pytest.param(
            hook("sh", "-c", "sleep $SECONDS"), ["warning PreStopUnclear"], id="a variable"
        ),
        pytest.param(hook("/wait.sh"), ["warning PreStopUnclear"], id="a script that is not here"),
        pytest.param(
            changed(container={"lifecycle": {"preStop": {"httpGet": {"path": "/", "port": 1}}}}),
            ["warning PreStopUnclear"],
            id="a call",
        ),
        pytest.param(hook(*HOOK[:2]), [], id="the hook's own budget is 60"),
        pytest.param(
            hook(*HOOK[:2], "--budget", "90"), ["error GraceTooShort"], id="a budget as two words"
        ),
        pytest.param(
            hook("sh", "-c", "exec python3 /drain/drain.py --budget=90"),
            ["error GraceTooShort"],
            id="the hook in a shell",
        ),
        pytest.param(
            changed(
                container={
                    "lifecycle": {"preStop": {"exec": {"command": HOOK[:2]}}},
                    "env": [{"name": "INFERENCE_AUTOSCALER_DRAIN_BUDGET", "value": "90"}],
                }
            ),
            ["error GraceTooShort"],
            id="a budget from the environment",
        ),
    ],
)
def test_grace_pays_for_the_hook_and_the_drain(item: dict[str, Any], expected: list[str]):
    assert found(item) == expected


NONE, SHORT = ["error NoShutdownTimeout"], ["warning ShutdownTimeoutShort"]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        pytest.param(args("--port=8000"), NONE, id="none"),
        pytest.param(args("--shutdown-timeout=0"), NONE, id="zero"),
        pytest.param(args("--shutdown-timeout", "30"), [], id="two words"),
        pytest.param(args("--shutdown_timeout=30"), [], id="underscores"),
        pytest.param(args("--shutdown-timeout=99"), ["error GraceTooShort"], id="too long"),
        pytest.param(args("--shutdown-timeout=$(DRAIN)"), [], id="not to be told"),
        pytest.param(args("--config=/etc/vllm.yaml"), ["warning NoShutdownTimeout"], id="a file"),
        pytest.param(
            changed(
                container={"args": None, "command": ["vllm", "serve", "--shutdown-timeout=30"]}
            ),
            [],
            id="in the command",
        ),
        pytest.param(
            changed(
                container={
                    "command": ["/bin/sh", "-c"],
                    "args": ["vllm serve m --port 8000 \\\n  --shutdown-timeout 30"],
                }
            ),
            [],
            id="in a script",
        ),
        pytest.param(
            changed(
                container={
                    "command": ["bash", "-c", 'exec vllm serve "$@" --shutdown-timeout=$T'],
                    "args": [],
                    "env": [{"name": "T", "value": "0"}],
                }
            ),
            NONE,
            id="in a script, by a variable",
        ),
        pytest.param(
            changed(container={"command": ["sh", "-c", "vllm serve 'm"], "args": []}),
            ["warning NoShutdownTimeout"],
            id="a script that cannot be read",
        ),
        pytest.param(
            changed(container={"image": "vllm/vllm-openai:v0.17.1", "args": ["--port=8000"]}),
            [],
            id="before 0.18 the hook does all of it",
        ),
        pytest.param(
            changed(container={"image": "registry:5000/vllm/vllm-openai:v0.11.0-cu128"}),
            ["error ShutdownTimeoutRefused"],
            id="and the option stops it from starting",
        ),
        pytest.param(
            changed(
                container={
                    "image": "vllm/vllm-openai:v0.9.2",
                    "args": ["--port=8000"],
                    "lifecycle": {"preStop": {"sleep": {"seconds": 30}}},
                }
            ),
            ["error NoShutdownTimeout", "warning PreStopSleeps"],
            id="before 0.18 without the hook",
        ),
    ],
)
def test_a_shutdown_timeout_that_is_missing_is_named(item: dict[str, Any], expected: list[str]):
    assert found(item) == expected


def test_a_drain_that_leaves_an_answer_no_time_is_named():
    """A hook whose budget is its delay, and a timeout shorter than the work: it hangs until SIGKILL."""
    item = changed(
        container={
            "args": ["--shutdown-timeout=10"],
            "lifecycle": {"preStop": {"exec": {"command": [*HOOK[:2], "--budget=20"]}}},
        }
    )
    assert found(item) == SHORT
    assert "SIGKILL" in one(item).found
    # on spot the whole notice may be 15 s
    assert "warning ShutdownTimeoutShort" not in found(item, capacity_type=SPOT)


def test_other_engines_have_no_shutdown_timeout():
    assert found(args("--port=8000"), engine="SGLang") == []
    image = {"image": "lmsysorg/sglang:v0.5", "args": ["--port=8000"]}
    assert found(changed(container=image), engine="") == []
    assert found(changed(container={"args": ["--port=8000"]}), engine="") == NONE


def test_on_spot_all_of_it_fits_into_the_notice():
    on_spot = {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]}
    item = changed(pod={"affinity": affinity(on_spot)})
    assert found(item, capacity_type=SPOT) == ["warning GraceBeyondNotice"]
    item["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 110
    assert found(item, capacity_type=SPOT) == []


# -- how they start


@pytest.mark.parametrize(
    ("container", "cold_start_s", "expected"),
    [
        pytest.param(
            {"startupProbe": probe()}, 180.0, ["error StartCut"], id="30 s, for 180: a restart loop"
        ),
        pytest.param(
            {"startupProbe": probe(periodSeconds=5, failureThreshold=20)},
            180.0,
            ["warning StartCut"],
            id="100 s, for 180 with the image",
        ),
        pytest.param(
            {"startupProbe": probe(initialDelaySeconds=160, failureThreshold=2)},
            180.0,
            [],
            id="a delay counts",
        ),
        pytest.param(
            {}, 1500.0, ["error StartCut", "warning ProgressDeadlineShort"], id="measured"
        ),
        pytest.param(
            {"startupProbe": None},
            180.0,
            ["error StartCut", "warning LivenessDuringStart"],
            id="liveness alone",
        ),
        pytest.param(
            {"startupProbe": None, "livenessProbe": None}, 500.0, [], id="nothing kills it"
        ),
        pytest.param({"readinessProbe": None}, 180.0, ["error NoReadinessProbe"], id="not ready"),
        pytest.param(
            {"readinessProbe": probe(initialDelaySeconds=120)},
            180.0,
            ["warning StartDelayed"],
            id="a readiness probe that waits",
        ),
        pytest.param(
            {"livenessProbe": probe(timeoutSeconds=1, failureThreshold=6)},
            180.0,
            ["warning LivenessHasty"],
            id="a busy engine is restarted",
        ),
        pytest.param(
            {"livenessProbe": probe(failureThreshold=6, terminationGracePeriodSeconds=5)},
            180.0,
            ["warning LivenessDuringDrain"],
            id="a grace period of its own",
        ),
    ],
)
def test_probes_against_the_cold_start(
    container: dict[str, Any], cold_start_s: float, expected: list[str]
):
    assert found(changed(container=container), cold_start_s=cold_start_s) == expected


def test_a_liveness_probe_that_an_engine_fails_while_it_drains():
    item = changed(container={"livenessProbe": probe(failureThreshold=6), "args": ["--port=8000"]})
    assert found(item, engine="SGLang") == []  # 60 s, and the drain is 60
    item = changed(container={"livenessProbe": probe(failureThreshold=4), "args": ["--port=8000"]})
    assert found(item, engine="SGLang") == ["warning LivenessDuringDrain"]


def test_rollouts():
    assert found(changed(spec={"strategy": {"type": "Recreate"}})) == ["warning Recreated"]
    for most, expected in (("25%", []), (1, ["warning RolloutTakesReady"]), ("100%", 1)):
        item = changed(spec={"strategy": {"rollingUpdate": {"maxUnavailable": most}}})
        assert found(item) == (["warning RolloutTakesReady"] if expected == 1 else expected)


# -- where they land, and who may take them away


@pytest.mark.parametrize(
    ("pod", "asked", "expected"),
    [
        pytest.param({"affinity": None}, {}, ["error LandsOnSpot"], id="nothing keeps it off spot"),
        pytest.param(
            {"affinity": None}, {"warm": False}, ["warning LandsOnSpot"], id="and no warm floor"
        ),
        pytest.param(
            {"affinity": None, "nodeSelector": {"kubernetes.io/os": "linux"}},
            {},
            ["error LandsOnSpot"],
            id="a label that every node has",
        ),
        pytest.param(
            {"affinity": None, "nodeSelector": {"team": "serving"}},
            {},
            ["warning LandsOnSpot"],
            id="a label of their own may keep it off",
        ),
        pytest.param(
            {"affinity": None, "nodeSelector": {"eks.amazonaws.com/capacityType": "ON_DEMAND"}},
            {},
            [],
            id="a node selector does",
        ),
        pytest.param(
            {"affinity": affinity({**OFF_SPOT, "operator": "DoesNotExist", "values": []})},
            {},
            [],
            id="only nodes without Karpenter's label",
        ),
        pytest.param(
            {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}},
            {},
            ["error LandsOnSpot"],
            id="a preference does not",
        ),
        pytest.param({"affinity": None}, {"capacity_type": CapacityType.MIXED}, [], id="Mixed may"),
        pytest.param(
            {"affinity": None, "terminationGracePeriodSeconds": 110},
            {"capacity_type": SPOT},
            ["warning LandsOnOnDemand"],
            id="a spot pool on on-demand nodes",
        ),
        pytest.param(
            {
                "affinity": None,
                "terminationGracePeriodSeconds": 110,
                "nodeSelector": {"karpenter.sh/capacity-type": "on-demand"},
            },
            {"capacity_type": SPOT},
            ["error LandsOnOnDemand"],
            id="a spot pool that is kept off spot",
        ),
        pytest.param(
            {
                "affinity": None,
                "terminationGracePeriodSeconds": 110,
                "nodeSelector": {"kubernetes.azure.com/scalesetpriority": "spot"},
            },
            {"capacity_type": SPOT},
            ["error SpotNotTolerated"],
            id="AKS taints all spot nodes",
        ),
        pytest.param(
            {
                "affinity": None,
                "terminationGracePeriodSeconds": 110,
                "nodeSelector": {"kubernetes.azure.com/scalesetpriority": "spot"},
                "tolerations": [
                    {"key": "kubernetes.azure.com/scalesetpriority", "operator": "Exists"}
                ],
            },
            {"capacity_type": SPOT},
            [],
            id="tolerated",
        ),
        pytest.param(
            {
                "affinity": None,
                "terminationGracePeriodSeconds": 110,
                "nodeSelector": {"cloud.google.com/gke-spot": "true"},
            },
            {"capacity_type": SPOT},
            ["warning SpotNotTolerated"],
            id="GKE taints some",
        ),
        pytest.param(
            {"tolerations": [{"operator": "Exists"}]},
            {},
            ["warning ToleratesAll"],
            id="every taint",
        ),
    ],
)
def test_where_pods_land(pod: dict[str, Any], asked: dict[str, Any], expected: list[str]):
    assert found(changed(pod=pod), **asked) == expected


@pytest.mark.parametrize("key", ["karpenter.sh/do-not-disrupt", "karpenter.sh/do-not-evict"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param("true", '"true" on pods', id="as long as it lives"),
        pytest.param("True", '"true" on pods', id="in capitals"),
        pytest.param("30m", "1800 s on pods", id="half an hour from its start"),
        pytest.param("1h30m0s", "5400 s on pods", id="an hour and a half"),
        pytest.param("false", "", id="not at all"),
        pytest.param("0s", "", id="no time"),
        pytest.param("soon", "", id="nothing that Karpenter reads"),
    ],
)
def test_karpenters_annotation_on_spot_dies_with_the_machine(key: str, value: str, said: str):
    item = changed(pod={"terminationGracePeriodSeconds": 110})
    item["spec"]["template"]["metadata"]["annotations"] = {key: value}
    assert found(item) == []
    for capacity in (SPOT, CapacityType.MIXED):
        lines = [str(each) for each in lint(item, terms(capacity_type=capacity))]
        assert any("DoNotDisrupt" in line and said in line for line in lines) is bool(said)
        assert any("DoNotDisrupt" in line for line in lines) is bool(said)


def budget(selector: Any, **spec: Any) -> dict[str, Any]:
    fields = {"selector": selector, "unhealthyPodEvictionPolicy": "AlwaysAllow", **spec}
    return {"metadata": {"name": "b"}, "spec": fields}


OURS = {"matchLabels": {"app": "llama"}}
BLOCKED = ["error DisruptionBlocked"]


@pytest.mark.parametrize(
    ("budgets", "expected"),
    [
        pytest.param([budget(OURS, maxUnavailable=1)], [], id="one may go"),
        pytest.param([budget(OURS, maxUnavailable=0)], BLOCKED, id="none may go"),
        pytest.param([budget(OURS, maxUnavailable="0%")], BLOCKED, id="0 %"),
        pytest.param([budget(OURS, minAvailable="100%")], BLOCKED, id="100 %"),
        pytest.param(
            [budget(OURS, minAvailable=2)], ["warning DisruptionBlocked"], id="of two, two"
        ),
        pytest.param([budget(OURS, minAvailable=1)], [], id="of two, one"),
        pytest.param([budget({"matchLabels": {"app": "x"}}, maxUnavailable=0)], [], id="another's"),
        pytest.param([budget({}, maxUnavailable=0)], BLOCKED, id="an empty selector takes all"),
        pytest.param([budget(None, maxUnavailable=0)], [], id="none takes none"),
        pytest.param(
            [
                budget(
                    {"matchExpressions": [{"key": "app", "operator": "Exists"}]}, maxUnavailable=0
                )
            ],
            BLOCKED,
            id="expressions",
        ),
        pytest.param(
            [budget(OURS, maxUnavailable=1), budget({}, maxUnavailable=1)],
            ["error SeveralBudgets"],
            id="two: evictions answer 500",
        ),
        pytest.param(
            [budget(OURS, maxUnavailable=1, unhealthyPodEvictionPolicy="IfHealthyBudget")],
            ["warning UnreadyNotEvicted"],
            id="a loading replica holds up the drain",
        ),
    ],
)
def test_disruption_budgets(budgets: list[dict[str, Any]], expected: list[str]):
    read = tuple(budget_facts(each) for each in budgets)
    assert found(sound(), budgets=read, replicas_min=2) == expected


# -- how they are read


@pytest.mark.parametrize(
    ("words", "asked", "expected"),
    [
        pytest.param("--port=8001", {}, "error PortsUnread", id="another port"),
        pytest.param(
            "--port=8000 --data-parallel-size 4 --data-parallel-multi-port-external-lb",
            {},
            "error PortsUnread",
            id="a port for each of four ranks",
        ),
        pytest.param(
            "--port=8000 -dp 4 --data-parallel-multi-port-external-lb",
            {"ports": (8000, 8001, 8002, 8003)},
            "",
            id="all of them are read",
        ),
        pytest.param("--port=8000 --data-parallel-size=4", {}, "", id="ranks behind one port"),
        pytest.param(
            "--port=8000 --ssl-certfile=/c", {}, "error SchemeWrong", id="TLS, read as http"
        ),
        pytest.param("--port=8000 --ssl-keyfile /k", {"scheme": "https"}, "", id="read as https"),
        pytest.param("--port=8000", {"scheme": "https"}, "error SchemeWrong", id="no TLS"),
        pytest.param(
            "--port=8001 --ssl-keyfile /k", {"port": None, "scheme": ""}, "", id="not known"
        ),
    ],
)
def test_pages_that_nobody_reads(words: str, asked: dict[str, Any], expected: str):
    item = args("--shutdown-timeout=30", *words.split())
    assert found(item, **asked) == ([expected] if expected else [])


def test_several_servers_in_one_script():
    script = "vllm serve m --port 8000 & vllm serve m --port 8001 --shutdown-timeout=30; wait"
    item = changed(container={"command": ["sh", "-c", script], "args": []})
    finding = one(item)
    assert finding.reason is FindingReason.PORTS_UNREAD
    assert finding.found.startswith("servers on ports 8000, 8001, and spec.metrics reads 8000")


def test_the_engine_is_told_from_its_sidecars():
    item = sound()
    item["spec"]["template"]["spec"]["containers"].insert(
        0, {"name": "proxy", "image": "envoy", "ports": [{"containerPort": 9000}]}
    )
    assert lint(item, terms()) == []
    assert template_facts(item).container == "spec.template.spec.containers[1]"  # by its GPU


# -- whatever it is given


def test_what_a_condition_says_is_the_errors():
    item = changed(container={"args": ["--port=8000"], "startupProbe": probe()})
    facts = template_facts(item)
    # what a start takes is learnt: the engine compares it itself
    assert unsound(facts, terms()) == (FindingReason.NO_SHUTDOWN_TIMEOUT,)
    assert unsound(template_facts(sound()), terms()) == ()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3)
    ),
    max_leaves=5,
)


def spoil(draw: st.DrawFn, value: Any) -> Any:
    """Put anything in one place of an object."""
    if isinstance(value, dict) and value and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: spoil(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 9)):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], spoil(draw, value[at]), *value[at + 1 :]]
    return draw(ANYTHING)


@st.composite
def spoilt(draw: st.DrawFn) -> Any:
    return spoil(draw, spoil(draw, sound()))


@pytest.mark.slow
@given(item=spoilt(), other=ANYTHING)
def test_an_object_of_any_shape_is_read(item: Any, other: Any):
    for each in (item, other):
        for finding in lint(each, terms(budgets=(budget_facts(each),))):
            assert "nan" not in str(finding)


def test_the_runbook_knows_every_word():
    text = (ROOT / "docs/runbook.md").read_text()
    assert [reason for reason in FindingReason if f"`{reason}`" not in text] == []
