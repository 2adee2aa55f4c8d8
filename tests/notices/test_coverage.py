"""Where nothing could ever give notice of a spot node, and where something could."""

from __future__ import annotations

import pytest

from autoscaler.kube.watch.optional import Readability
from autoscaler.kube.watch.slim import slim_node
from autoscaler.notices.coverage import Signs, find_gaps
from tests.kube.scene import CREATED, Json, condition, node

SPOT = {"karpenter.sh/capacity-type": "spot"}
AKS = {"kubernetes.azure.com/scalesetpriority": "spot"}
EKS = {"eks.amazonaws.com/capacityType": "SPOT", "eks.amazonaws.com/nodegroup": "gpu"}
BARE = {"node.kubernetes.io/lifecycle": "spot"}
ALIVE = {"inference-autoscaler.dev/node-agent": "0.1.0"}


def gaps(*nodes: Json, **signs: object) -> tuple[str, ...]:
    given = {
        "spot_pools": ["serving/llama spot"],
        "events": Readability.READABLE,
        "claims": Readability.ABSENT,
        "heard": (),
        **signs,
    }
    return find_gaps(Signs(nodes=[slim_node(each) for each in nodes], **given))


@pytest.mark.parametrize(
    ("body", "signs"),
    [
        pytest.param(
            node("n", labels={**SPOT, "karpenter.sh/nodepool": "gpu"}), {}, id="karpenter"
        ),
        pytest.param(
            node("n", labels={**SPOT, "karpenter.sh/provisioner-name": "gpu"}), {}, id="before 1.0"
        ),
        pytest.param(node("n", labels=BARE, annotations=ALIVE), {}, id="our agent"),
        pytest.param(node("n", labels={"cloud.google.com/gke-spot": "true"}), {}, id="gke"),
        pytest.param(
            node(
                "n",
                labels=AKS,
                conditions=[condition("VMEventScheduled", "False", since=CREATED)],
            ),
            {},
            id="aks",
        ),
        pytest.param(
            node("n", labels=BARE), {"heard": {"aws-node-termination-handler"}}, id="it has spoken"
        ),
        pytest.param(node("n", labels=EKS, annotations=ALIVE), {}, id="eks with our agent"),
        pytest.param(node("n", labels=BARE), {"spot_pools": ()}, id="no spot pool"),
    ],
)
def test_something_could_speak(body: Json, signs: dict):
    assert gaps(body, **signs) == ()


@pytest.mark.parametrize(
    ("body", "signs"),
    [
        pytest.param(node("n", labels=BARE), {}, id="self-managed"),
        pytest.param(node("n", labels=AKS), {}, id="aks without its detector"),
        pytest.param(node("n", labels=SPOT), {}, id="a label alone is no Karpenter"),
        pytest.param(node("n", labels=BARE), {"heard": {"rehearsal"}}, id="only a rehearsal"),
        pytest.param(node("n", labels=BARE), {"heard": {"drain"}}, id="only a drain"),
    ],
)
def test_nothing_could_speak(body: Json, signs: dict):
    (gap,) = gaps(body, node("o"), **signs)
    assert gap.startswith("1 of 1 spot nodes (n) have nothing that could give notice")
    assert "autoscaler node-agent" in gap


def test_an_eks_node_group_speaks_late():
    (gap,) = gaps(node("n", labels=EKS))
    assert "a cordon and evictions, with no deadline" in gap


def test_no_spot_node_to_look_at():
    (gap,) = gaps(node("n"))
    assert "no node is spot by any label" in gap
    assert "serving/llama spot" in gap


def test_rights_that_lack_are_said():
    karpenter = node("n", labels={**SPOT, "karpenter.sh/nodepool": "gpu"})
    found = gaps(karpenter, events=Readability.FORBIDDEN, claims=Readability.FORBIDDEN)
    assert [gap.split(" may not")[0] for gap in found] == [
        "Events in the namespace default",
        "NodeClaims",
    ]
    # Where Karpenter made no node, its NodeClaims are no loss.
    assert gaps(node("n", labels=BARE, annotations=ALIVE), claims=Readability.FORBIDDEN) == ()


def test_many_are_not_all_named():
    (gap,) = gaps(*(node(f"n{i:03}", labels=BARE) for i in range(200)))
    assert "200 of 200 spot nodes (n000, n001, n002, n003, n004 and 195 more)" in gap
