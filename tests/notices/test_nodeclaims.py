"""NodeClaims by example: interruption told from consolidation, drift and expiry."""

from __future__ import annotations

import copy
import math

import pytest

from autoscaler.core.contract.state import InterruptionKind
from autoscaler.kube.watch.slim_notices import slim_claim
from autoscaler.notices.mark import Seen
from autoscaler.notices.nodeclaims import read_claim
from tests.kube.scene import CREATED_AT, Json
from tests.notices.scene import claim

AT = CREATED_AT + 600
NOW = Seen(at=AT)
TERMINATION, DISRUPTION = InterruptionKind.TERMINATION, InterruptionKind.DISRUPTION
DELETED, DELETED_AT = "2026-03-01T12:09:30Z", AT - 30

ROWS: tuple[tuple[str, Json, InterruptionKind, float, float | None], ...] = (
    ("consolidation, not deleted yet", claim(reason="Underutilized"), DISRUPTION, AT - 120, None),
    ("drift", claim(reason="Drifted", deleted=DELETED), DISRUPTION, DELETED_AT, None),
    ("empty", claim(reason="Empty", deleted=DELETED), DISRUPTION, DELETED_AT, None),
    ("a reason to come", claim(reason="Rightsized", deleted=DELETED), DISRUPTION, DELETED_AT, None),
    (
        "spot, for no reason of Karpenter's",
        claim(deleted=DELETED),
        TERMINATION,
        DELETED_AT,
        DELETED_AT + 120,
    ),
    (
        "on-demand, for no reason: somebody deleted it",
        claim(deleted=DELETED, capacity_type="on-demand"),
        DISRUPTION,
        DELETED_AT,
        None,
    ),
    (
        "expired",
        claim(deleted=DELETED, created="2026-03-01T10:09:30Z", expires="2h"),
        DISRUPTION,
        DELETED_AT,
        None,
    ),
    (
        "not expired by a second",
        claim(deleted=DELETED, created="2026-03-01T10:09:31Z", expires="2h0m0s"),
        TERMINATION,
        DELETED_AT,
        DELETED_AT + 120,
    ),
    (
        "never expires",
        claim(deleted=DELETED, expires="Never"),
        TERMINATION,
        DELETED_AT,
        DELETED_AT + 120,
    ),
    (
        "its drain has an end",
        claim(deleted=DELETED, reason="Drifted", ends="2026-03-01T12:19:30Z"),
        TERMINATION,
        DELETED_AT,
        DELETED_AT + 600,
    ),
    (
        "its drain will have an end",
        claim(deleted=DELETED, reason="Drifted", grace="10m0s"),
        TERMINATION,
        DELETED_AT,
        DELETED_AT + 600,
    ),
    (
        "its instance is broken: at once",
        claim(deleted=DELETED, ends="2026-03-01T12:09:29Z"),
        TERMINATION,
        DELETED_AT,
        DELETED_AT,
    ),
    (
        "an end in a day is its own pace",
        claim(deleted=DELETED, reason="Drifted", grace="24h"),
        DISRUPTION,
        DELETED_AT,
        None,
    ),
    (
        "an end in a day, and nobody says why",
        claim(deleted=DELETED, grace="24h"),
        TERMINATION,
        DELETED_AT,
        DELETED_AT + 120,
    ),
    (
        "its instance is ending",
        claim(deleted=DELETED, reason="Empty", conditions=("InstanceTerminating",)),
        TERMINATION,
        DELETED_AT,
        DELETED_AT,
    ),
    (
        "deleted by a clock that is ahead",
        claim(deleted="2026-03-01T14:00:00Z"),
        TERMINATION,
        AT,
        AT + 120,
    ),
)


@pytest.mark.parametrize(
    ("body", "kind", "noticed_at", "deadline_at"),
    [pytest.param(*row[1:], id=row[0]) for row in ROWS],
)
def test_what_becomes_of_its_node(
    body: Json, kind: InterruptionKind, noticed_at: float, deadline_at: float | None
):
    (mark,) = read_claim(body, NOW)
    it = mark.interruption
    assert (it.node, mark.claim, it.source, it.kind) == ("n1", "pool-abc", "karpenter", kind)
    assert (it.noticed_at, it.deadline_at) == (noticed_at, deadline_at)
    assert it.drained_elsewhere
    # Only what nothing else explains is a guess.
    assert mark.presumed is (deadline_at == noticed_at + 120)
    assert math.isinf(mark.holds_until)
    assert (mark,) == read_claim(slim_claim(body), NOW)


@pytest.mark.parametrize(
    "body",
    [
        claim(),
        claim(conditions=("Drifted", "Consolidatable")),
        claim(conditions=("InstanceTerminating",)),
    ],
)
def test_a_candidate_is_no_notice(body: Json):
    """Drifted and Consolidatable say what might be done; DisruptionReason says that it is."""
    assert read_claim(body, NOW) == ()


def test_a_claim_whose_node_is_not_known_yet_names_itself():
    (mark,) = read_claim(claim(node="", deleted=DELETED), NOW)
    assert (mark.interruption.node, mark.claim) == ("", "pool-abc")


@pytest.mark.parametrize(
    "spoil",
    [
        {"metadata": None},
        {"metadata": {"name": 7, "deletionTimestamp": DELETED}},
        {"metadata": {"name": "c", "deletionTimestamp": DELETED, "annotations": [], "labels": 3}},
        {"metadata": {"name": "c", "deletionTimestamp": {}}},
        {"spec": None},
        {"spec": {"terminationGracePeriod": 30, "expireAfter": "soon"}},
        {"spec": {"terminationGracePeriod": "1.2.3s", "expireAfter": "9" * 5000 + "h"}},
        {"status": []},
        {"status": {"nodeName": ["n1"], "conditions": {"type": "DisruptionReason"}}},
        {"status": {"nodeName": "n1", "conditions": [None, 3, {"type": [], "status": "True"}]}},
    ],
)
def test_a_malformed_claim_is_read_as_far_as_it_goes(spoil: Json):
    body = {**copy.deepcopy(claim(deleted=DELETED)), **spoil}
    readings = read_claim(body, NOW)
    assert readings == read_claim(slim_claim(body), NOW)
    for mark in readings:
        deadline_at = mark.interruption.deadline_at
        assert deadline_at is None or math.isfinite(deadline_at)
