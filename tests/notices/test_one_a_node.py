"""What several sources say of one node becomes one interruption; and clocks, restarts, and what is taken back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from autoscaler.core.contract.state import Interruption, InterruptionKind
from autoscaler.kube.watch.changes import ObjectChange
from autoscaler.kube.watch.slim import slim_node
from autoscaler.kube.watch.slim_notices import slim_claim, slim_event
from autoscaler.notices import NOTICE_SOURCES
from autoscaler.notices.interruptions import Interruptions
from autoscaler.notices.mark import Watched
from tests.kube.scene import CREATED_AT, Json, node
from tests.notices.scene import AKS, NTH, claim, said

AT = CREATED_AT + 600
SPOT = {"karpenter.sh/capacity-type": "spot"}
TERMINATION, DISRUPTION, RISK, LOST = (
    InterruptionKind.TERMINATION,
    InterruptionKind.DISRUPTION,
    InterruptionKind.RISK,
    InterruptionKind.LOST,
)
ITN = {"key": "aws-node-termination-handler/spot-itn", "effect": "NoSchedule"}
REBALANCE = {"key": "aws-node-termination-handler/rebalance-recommendation", "effect": "NoSchedule"}
DISRUPTED = {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}


class Watching:
    """Interruptions that are told of objects one at a time, as their caches would."""

    def __init__(self, *nodes: Json, at: float = AT) -> None:
        self.at = at
        self.after = -math.inf
        self.interruptions = Interruptions(NOTICE_SOURCES)
        self.told: list[Interruption] = []
        self._before: dict[tuple[Watched, str], Any] = {}
        for each in nodes or (node("n1", labels=SPOT),):
            self.node(each)

    def node(self, body: Json | None, name: str = "n1") -> None:
        body = (
            None
            if body is None
            else {
                **body,
                "metadata": {
                    "creationTimestamp": "2026-03-01T12:00:00Z",
                    "uid": "u-1",
                    **body["metadata"],
                },
            }
        )
        name = name if body is None else body["metadata"]["name"]
        change = self._change(Watched.NODE, name, None if body is None else slim_node(body))
        self.told += self.interruptions.nodes_changed(
            [change], at=self.at, after=self.after, has_replicas_on=lambda _name: True
        )

    def event(self, body: Json | None, name: str = "") -> None:
        name = name if body is None else body["metadata"]["name"]
        self._objects(Watched.EVENT, name, None if body is None else slim_event(body))

    def claim(self, body: Json | None, name: str = "pool-abc") -> None:
        name = name if body is None else body["metadata"]["name"]
        self._objects(Watched.CLAIM, name, None if body is None else slim_claim(body))

    def now(
        self, *, gone: float | None = None, not_ready: float | None = None
    ) -> Interruption | None:
        found = self.interruptions.current(
            at=self.at,
            gone_since={} if gone is None else {"n1": gone},
            not_ready_since={} if not_ready is None else {"n1": not_ready},
        )
        assert len(found) <= 1
        return found[0] if found else None

    def _objects(self, watched: Watched, name: str, body: Any) -> None:
        change = self._change(watched, name, body)
        self.told += self.interruptions.objects_changed(
            watched, [change], at=self.at, after=self.after
        )

    def _change(self, watched: Watched, name: str, body: Any) -> ObjectChange[Any]:
        before = self._before.get((watched, name))
        self._before[watched, name] = body
        return ObjectChange(("", name), before, body)


def kinds(told: list[Interruption]) -> list[InterruptionKind]:
    return [each.kind for each in told]


def tainted(*taints: Json, **more: Any) -> Json:
    return node("n1", labels=SPOT, taints=list(taints), **more)


# -- one interruption a node


def test_a_spot_interruption_under_karpenter_is_told_once():
    """As it comes: two Events, the NodeClaim's deletion, the Node's taint and deletion."""
    seen = Watching()
    seen.claim(claim())
    seen.event(said("SpotInterrupted", kind="NodeClaim", about="pool-abc", uid="c-1"))
    assert kinds(seen.told) == [TERMINATION]
    expected = seen.now()
    assert (expected.node, expected.source) == ("n1", "karpenter")
    assert (expected.noticed_at, expected.deadline_at) == (AT, AT + 120)
    assert expected.drained_elsewhere
    seen.at += 1
    seen.event(said("SpotInterrupted", uid="u-1"))
    seen.event(said("TerminatingOnInterruption", uid="u-1"))
    seen.claim(claim(deleted="2026-03-01T12:10:01Z"))
    seen.at += 1
    body = tainted(DISRUPTED)
    body["metadata"] |= {
        "deletionTimestamp": "2026-03-01T12:10:02Z",
        "finalizers": ["karpenter.sh/termination"],
    }
    seen.node(body)
    assert kinds(seen.told) == [TERMINATION], "one interruption, told once"
    assert seen.now() == expected


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_worst_kind_and_of_that_the_soonest_deadline_and_whoever_drains(order: int):
    steps: list[Callable[[Watching], None]] = [
        lambda seen: seen.node(tainted(ITN, DISRUPTED)),
        lambda seen: seen.event(said("SpotRebalanceRecommendation", at="2026-03-01T12:00:10Z")),
        lambda seen: seen.event(said("SpotInterrupted", at="2026-03-01T12:09:30Z")),
    ]
    seen = Watching()
    for step in (*steps[order:], *steps[:order]):
        step(seen)
    it = seen.now()
    assert (it.kind, it.source, it.deadline_at) == (TERMINATION, "karpenter", AT + 90)
    assert it.drained_elsewhere
    # What is worse or sooner is told; what is less is not.
    ranks = [(each.kind is TERMINATION, -(each.deadline_at or math.inf)) for each in seen.told]
    assert ranks == sorted(set(ranks))
    assert seen.told[-1].deadline_at == AT + 90


def test_somebody_who_drains_is_carried_over_to_a_notice_without_him():
    seen = Watching()
    seen.event(said("SpotInterruption", "no date", by=NTH))
    assert not seen.now().drained_elsewhere
    seen.node(tainted({"key": "ToBeDeletedByClusterAutoscaler", "value": "1"}))
    it = seen.now()
    assert (it.kind, it.source, it.drained_elsewhere) == (TERMINATION, NTH, True)


def test_a_risk_that_becomes_a_notice_of_the_same_source_is_dated_anew():
    """Else its two minutes would be long over."""
    seen = Watching()
    seen.node(tainted(REBALANCE))
    assert kinds(seen.told) == [RISK]
    seen.at += 1000
    seen.node(tainted(REBALANCE, ITN))
    assert kinds(seen.told) == [RISK, TERMINATION]
    it = seen.now()
    assert (it.noticed_at, it.deadline_at) == (AT + 1000, AT + 1120)


def test_a_risk_that_does_not_come_true_is_let_go():
    seen = Watching()
    seen.node(tainted(REBALANCE))
    seen.at += 1799
    seen.node(tainted(REBALANCE, {"key": "x"}))
    assert seen.now().kind is RISK, "its date stays"
    seen.at += 2
    assert seen.now() is None


def test_a_node_that_is_gone_or_not_ready():
    seen = Watching()
    seen.event(said("SpotInterrupted"))
    assert seen.now(not_ready=AT + 5).kind is TERMINATION, "a kubelet that shuts down"
    assert seen.now(gone=AT + 6).kind is LOST
    for taint, kind in [(DISRUPTED, DISRUPTION), (REBALANCE, RISK)]:
        seen = Watching()
        seen.node(tainted(taint))
        assert seen.now().kind is kind
        assert seen.now(not_ready=AT + 5).kind is LOST


def test_a_marked_node_that_turns_not_ready_is_told_as_lost_unless_its_machine_ends():
    seen = Watching()
    seen.node(tainted(DISRUPTED))
    seen.node(tainted(DISRUPTED, ready="Unknown", ready_since="2026-03-01T12:10:00Z"))
    assert kinds(seen.told) == [DISRUPTION, LOST]
    seen = Watching()
    seen.node(tainted(ITN))
    seen.node(tainted(ITN, ready="False", ready_since="2026-03-01T12:10:00Z"))
    assert kinds(seen.told) == [TERMINATION]


# -- Events: history, forgery, expiry


def test_an_event_that_is_older_than_its_deadline_is_history():
    """Each start lists an hour of them."""
    for age_s, holds in [(290, True), (310, False)]:
        seen = Watching(node("n1", labels=SPOT), at=AT + age_s)
        seen.event(said("SpotInterrupted", at="2026-03-01T12:10:00Z"))
        assert (seen.now() is not None) is holds
        assert bool(seen.told) is holds
        if holds:
            assert seen.now().deadline_at == AT + 120, "a restart puts nothing off"


def test_an_event_that_is_older_than_the_node_is_about_another_of_its_name():
    """GKE and scale sets give names anew."""
    seen = Watching()
    seen.event(said("Shutdown", "Shutdown manager detected shutdown event", by="kubelet"))
    assert seen.now() is not None
    body = node("n1", labels=SPOT)
    body["metadata"]["creationTimestamp"] = "2026-03-01T12:10:40Z"
    seen.node(None)
    seen.at += 45
    seen.node(body)
    assert seen.now() is None


def test_an_event_of_another_uid_is_about_another_node():
    seen = Watching()
    seen.event(said("SpotInterrupted", uid="u-0"))
    assert seen.now() is None
    assert seen.told == []


def test_an_event_before_its_node_is_known_is_told_with_it():
    seen = Watching(node("n2"))
    seen.event(said("SpotInterrupted", at="2026-03-01T12:09:59Z"))
    assert seen.told == []
    seen.node(node("n1", labels=SPOT))
    assert kinds(seen.told) == [TERMINATION]


def test_what_anybody_else_writes_dooms_nothing():
    seen = Watching()
    for reason in ("SpotInterrupted", "SpotInterruption", "Preempted", "ScaleDown"):
        seen.event(said(reason, by="tenant"))
    assert seen.now() is None
    assert seen.interruptions._told == {}, "and is not kept"


def test_an_event_that_kubernetes_deletes_withdraws_nothing():
    """It lives for an hour by default, less on some clusters."""
    seen = Watching()
    body = said("SpotInterrupted")
    seen.event(body)
    seen.at += 30
    seen.event(None, body["metadata"]["name"])
    assert seen.now().deadline_at == AT + 120
    seen.at = AT + 301
    assert seen.now() is None
    assert seen.interruptions._told == {}, "nothing is kept for ever"


def test_a_message_that_is_delivered_again_puts_nothing_off():
    seen = Watching()
    body = said("SpotInterrupted")
    for seconds in range(0, 170, 10):
        seen.at = AT + seconds
        body = {
            **body,
            "count": seconds,
            "lastTimestamp": f"2026-03-01T12:{10 + seconds // 60}:{seconds % 60:02}Z",
        }
        seen.event(body)
        assert seen.now().deadline_at == AT + 120
    assert len(seen.told) == 1


def test_one_that_is_said_again_when_the_first_is_over_is_another():
    seen = Watching()
    body = said("SpotInterrupted")
    seen.event(body)
    seen.at = AT + 1000
    assert seen.now() is None
    seen.event({**body, "count": 2, "lastTimestamp": "2026-03-01T12:26:40Z"})
    assert seen.now().deadline_at == AT + 1120
    assert len(seen.told) == 2


@pytest.mark.parametrize(
    ("notice", "withdrawal"),
    [
        (said("SpotInterruption", "x", by=NTH), said("Uncordon", by=NTH, at="2026-03-01T12:10:20Z")),
        (
            said("ScaleDown", by="cluster-autoscaler"),
            said("ScaleDownFailed", by="cluster-autoscaler", at="2026-03-01T12:10:20Z"),
        ),
        (
            said("PreemptScheduled", "Preempt Started.", by=AKS),
            said(
                "NoVMEventScheduled", "Node condition VMEventScheduled is now: False", by=AKS,
                at="2026-03-01T12:10:20Z",
            ),
        ),
        (
            said("Shutdown", "Shutdown manager detected shutdown event", by="kubelet"),
            {
                **said(
                    "Shutdown", "Shutdown manager detected shutdown cancellation", by="kubelet",
                    at="2026-03-01T12:10:20Z",
                ),
                "metadata": {"name": "cancelled", "creationTimestamp": "2026-03-01T12:10:20Z"},
            },
        ),
    ],
)  # fmt: skip
def test_what_a_source_takes_back_holds_no_longer(notice: Json, withdrawal: Json):
    seen = Watching()
    seen.event(notice)
    assert seen.now() is not None
    seen.at += 20
    seen.event(withdrawal)
    assert seen.now() is None
    # Of another source it takes back nothing, and what is said afterwards counts.
    seen.event(said("SpotInterrupted"))
    assert seen.now().kind is TERMINATION
    seen.at += 40
    again = {**notice, "metadata": {"name": "again", "creationTimestamp": "2026-03-01T12:11:00Z"}}
    seen.event(again)
    assert len(seen.told) >= 2


def test_what_a_state_says_is_withdrawn_with_the_state():
    """Karpenter takes its taint off where a replacement cannot be had."""
    seen = Watching()
    seen.claim(claim(reason="Underutilized"))
    seen.node(tainted(DISRUPTED))
    assert seen.now().kind is DISRUPTION
    seen.node(tainted())
    seen.claim(claim())
    assert seen.now() is None
    assert kinds(seen.told) == [DISRUPTION]


# -- clocks


def test_a_new_event_of_a_clock_that_is_behind_is_new():
    """By its own time it would be history; but it was not there half a minute ago."""
    seen = Watching()
    seen.after = AT - 30
    seen.event(said("SpotInterrupted", at="2026-03-01T11:00:00Z"))
    # The Node was made at 12:00 by the same clock: what is older than that is never taken.
    assert seen.now().deadline_at == AT - 30 + 120


def test_a_new_event_of_a_clock_that_is_ahead_is_dated_when_it_was_seen():
    seen = Watching()
    seen.event(said("SpotInterrupted", at="2026-03-01T13:00:00Z"))
    deadlines = set()
    for _ in range(5):
        deadlines.add(seen.now().deadline_at)
        seen.at += 5
        seen.node(tainted({"key": f"x-{seen.at}"}))
    assert deadlines == {AT + 120}


def test_a_taint_of_a_clock_that_is_behind_leaves_the_whole_lead():
    """A deadline that is past from the start would cut what still has time."""
    seen = Watching()
    seen.after = AT - 3
    seen.node(tainted({**ITN, "timeAdded": "2026-03-01T11:00:00Z"}))
    assert seen.now().deadline_at == AT - 3 + 120


# -- a cordon, and evictions


def cordoned(**more: Any) -> Json:
    return node("n1", labels=SPOT, unschedulable=True, **more)


def test_a_node_that_somebody_cordons_and_evicts_from_is_being_drained():
    """The node termination handler as its chart ships it: no taint, no Event."""
    seen = Watching(cordoned())
    assert seen.now() is None, "a cordon alone is somebody's intent"
    seen.told += seen.interruptions.evictions_seen({"n1": AT - 1}, at=seen.at)
    (drain,) = seen.told
    assert (drain.kind, drain.source, drain.noticed_at) == (DISRUPTION, "drain", AT - 1)
    assert drain.drained_elsewhere
    # The pods that were evicted are gone; others wait for their budget.
    seen.at += 100
    assert seen.interruptions.evictions_seen({}, at=seen.at) == []
    assert seen.now() == drain
    seen.node(node("n1", labels=SPOT))
    assert seen.now() is None, "schedulable again"


def test_an_eviction_without_a_cordon_is_no_drain():
    seen = Watching()
    assert seen.interruptions.evictions_seen({"n1": AT}, at=AT) == []
    assert seen.now() is None


def test_our_own_evictions_are_no_drain_by_somebody_else():
    ours = {"inference-autoscaler.dev/cordoned": "2026-03-01T12:10:00Z"}
    seen = Watching(cordoned(annotations=ours))
    seen.interruptions.evictions_seen({"n1": AT}, at=AT)
    assert seen.now() is None
    # Somebody cordoned, we evict for a notice: it is still ours to drain.
    seen = Watching(cordoned(taints=[ITN]))
    seen.interruptions.evictions_seen({"n1": AT}, at=AT)
    it = seen.now()
    assert (it.kind, it.drained_elsewhere) == (TERMINATION, False)


def test_a_node_that_comes_back_by_its_name_is_not_drained():
    seen = Watching(cordoned())
    seen.interruptions.evictions_seen({"n1": AT}, at=AT)
    seen.node(None)
    seen.node(cordoned())
    assert seen.now() is None


# -- NodeClaims and their Nodes


def test_a_claim_is_mapped_by_the_nodes_owner_where_claims_cannot_be_read():
    body = node("n1", labels=SPOT)
    body["metadata"]["ownerReferences"] = [{"kind": "NodeClaim", "name": "pool-abc"}]
    seen = Watching(body)
    seen.event(said("SpotInterrupted", kind="NodeClaim", about="pool-abc", uid="c-1"))
    assert seen.now().node == "n1"
    seen.node(None)
    assert seen.interruptions._claimed == {}


def test_a_claim_that_is_known_after_its_events_is_told_then():
    seen = Watching()
    seen.event(said("SpotInterrupted", kind="NodeClaim", about="pool-abc"))
    seen.claim(claim(node="n1"))
    assert kinds(seen.told) == [TERMINATION]


def test_a_claim_that_learns_its_node_is_told_then():
    seen = Watching()
    seen.event(said("SpotInterrupted", kind="NodeClaim", about="pool-abc"))
    assert seen.told == []
    seen.claim(claim(node="", deleted="2026-03-01T12:10:00Z"))
    assert seen.told == []
    seen.claim(claim(node="n1", deleted="2026-03-01T12:10:00Z"))
    assert kinds(seen.told) == [TERMINATION]
    seen.claim(None)
    assert seen.interruptions._claimed == {}


def test_a_claim_that_somebody_deletes_is_no_interruption_where_an_event_would_say_so():
    """Else its pods would be deleted past their budgets for a machine that nobody takes."""
    for readable, kind in [(False, TERMINATION), (True, DISRUPTION)]:
        seen = Watching()
        seen.interruptions.events_readable = readable
        seen.claim(claim(deleted="2026-03-01T12:10:00Z"))
        it = seen.now()
        assert (it.kind, it.deadline_at) == (kind, AT + 120 if kind is TERMINATION else None)
        seen.event(said("SpotInterrupted"))
        assert seen.now().kind is TERMINATION
        assert seen.told[-1].kind is TERMINATION


def test_consolidation_is_told_from_interruption():
    seen = Watching()
    seen.claim(claim(reason="Underutilized"))
    seen.node(tainted(DISRUPTED))
    assert kinds(seen.told) == [DISRUPTION]
    # While it goes on, its instance is taken for good: that is a notice.
    seen.event(said("SpotInterrupted"))
    assert kinds(seen.told) == [DISRUPTION, TERMINATION]


# -- problems


def test_problems_are_shown_and_bounded():
    nodes = [node(f"n{i}", annotations={"inference-autoscaler.dev/notice": "{"}) for i in range(30)]
    problems = Watching(*nodes).interruptions.problems
    assert len(problems) == 21
    assert problems[-1] == "and 10 more notices that cannot be read"
