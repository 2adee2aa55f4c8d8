"""Whom a ReplicaSet deletes first: rule by rule, each against what the next rules would say."""

from __future__ import annotations

import math
from typing import Any

import pytest

from autoscaler.core.supply.deletion_order import DeletionCandidate, deletion_order, time_rank

NOW = 1_000_000.0


def candidate(name: str, **changes: Any) -> DeletionCandidate:
    """Ready for an hour, on a node of its own."""
    ready = changes.pop("ready", True)
    ready_s = changes.pop("ready_s", 3600.0)
    age_s = changes.pop("age_s", 3660.0)
    return DeletionCandidate(
        **{
            "uid": name,
            "bound": True,
            "ready": ready,
            "pods_on_node": 1,
            "ready_at": NOW - ready_s if ready else math.nan,
            "created_at": NOW - age_s,
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("rule", "first", "second"),
    [
        ("unbound", {"bound": False, "ready": False, "cost": 9}, {"phase": "Pending"}),
        ("Pending", {"phase": "Pending", "cost": 9}, {"phase": "Unknown", "ready": False}),
        ("Unknown", {"phase": "Unknown", "cost": 9}, {"ready": False}),
        ("not ready", {"ready": False, "cost": 9}, {"cost": -9}),
        ("lower cost", {"cost": -1}, {"pods_on_node": 8}),
        ("cost of 0 before a positive one", {}, {"cost": 1, "pods_on_node": 8}),
        ("fuller node", {"pods_on_node": 2}, {"ready_s": 1.0}),
        ("ready for less, in powers of two", {"ready_s": 60.0}, {"ready_s": 3600.0, "restarts": 5}),
        ("ready in the future", {"ready_s": -5.0}, {"ready_s": 0.5}),
        ("restarts, ready since the same second", {"restarts": 1}, {"age_s": 3601.0}),
        ("younger", {"age_s": 3601.0}, {"age_s": 90_000.0}),
    ],
)
def test_the_rules_in_their_order(rule: str, first: dict[str, Any], second: dict[str, Any]):
    for names in (("a", "b"), ("b", "a")):  # whatever the UIDs say
        one, two = candidate(names[0], **first), candidate(names[1], **second)
        assert deletion_order([one, two], at=NOW) == [0, 1], rule
        assert deletion_order([two, one], at=NOW) == [1, 0], rule


def test_within_a_power_of_two_the_uid_decides_whatever_the_restarts():
    # 2^41 ns are 2,199 s, 2^42 ns 4,398 s: both lie between
    older, younger = candidate("a", ready_s=4000.0), candidate("b", ready_s=2500.0, restarts=9)
    assert deletion_order([younger, older], at=NOW) == [1, 0]
    # and on the two sides of a power the younger goes first
    older, younger = candidate("a", ready_s=2300.0), candidate("b", ready_s=2100.0)
    assert deletion_order([older, younger], at=NOW) == [1, 0]


def test_powers_are_of_nanoseconds():
    assert time_rank(0.0, at=1.0) == 29  # 2^29 ns is 0.54 s, 2^30 ns 1.07 s
    assert time_rank(0.0, at=1.1) == 30
    assert time_rank(0.0, at=0.0) == -1
    assert time_rank(1.0, at=0.0) == -1
