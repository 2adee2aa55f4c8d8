"""A pod's deletion cost as a ReplicaSet reads it, and whose it is."""

from __future__ import annotations

import pytest

from autoscaler.core.contract.deletion_cost import (
    COST_ANNOTATION,
    OWN_COST_ANNOTATION,
    deletion_cost,
    is_ours,
)


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        ("0", 0), ("5", 5), ("-5", -5), ("2147483647", 2147483647), ("-2147483648", -2147483648),
        # none to kube-controller-manager (GetDeletionCostFromPodAnnotations)
        ("", 0), ("+5", 0), ("007", 0), ("00", 0), ("2147483648", 0), ("-2147483649", 0),
        ("9" * 50, 0), ("1.5", 0), ("-", 0), (" 5", 0), ("٣", 0), ("1_0", 0), ("--1", 0),
        ("-07", -7),  # its check looks at the first character alone
    ],
)  # fmt: skip
def test_what_is_no_int32_is_as_if_it_were_not_there(text: str, cost: int):
    assert deletion_cost({COST_ANNOTATION: text}) == cost


@pytest.mark.parametrize(
    ("cost", "own", "ours"),
    [
        (None, None, False),
        ("-1", None, False),
        (None, "-1", False),
        ("-1", "-1", True),
        ("-2", "-1", False),  # written over by somebody else
        ("0", None, False),
    ],
)
def test_ours_is_what_our_own_annotation_says_too(cost: str | None, own: str | None, *, ours: bool):
    annotations = {COST_ANNOTATION: cost, OWN_COST_ANNOTATION: own}
    assert is_ours({key: each for key, each in annotations.items() if each is not None}) == ours
