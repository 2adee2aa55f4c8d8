"""What is shown before a takeover, and when nobody would scale after it."""

from __future__ import annotations

import pytest

from autoscaler.core.contract.hindsight import HindsightPolicy, PolicyHindsight, WindowHindsight
from autoscaler.core.contract.spec import Mode
from autoscaler.daemon.recording.decisions import decisions_at
from autoscaler.explain import asked_of
from autoscaler.migration.shadow import shadow_lines, why_not_yet
from tests.daemon.recording.recordings import recorded

PRICE = 2.5


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A real decision, as of a model that observes and has prices."""
    folder = tmp_path_factory.mktemp("recording")
    recorded(folder, ticks=20)
    found = decisions_at(folder, at=None)["serving/llama"]
    asked = asked_of(found.spec)
    pools = tuple(pool._replace(price_usd_per_hour=PRICE) for pool in asked.pools)
    return found.decision, asked._replace(mode=Mode.OBSERVE, pools=pools)


def with_replicas(decision, *, there, desired):
    first, *others = decision.pools
    pools = (
        first._replace(current_replicas=there, desired_replicas=desired),
        *(each._replace(current_replicas=0, desired_replicas=0) for each in others),
    )
    return decision._replace(current_replicas=there, desired_replicas=desired, pools=pools)


def test_what_is_there_and_what_it_would_have_are_priced_side_by_side(told):
    decision, asked = told
    lines = list(shadow_lines(with_replicas(decision, there=4, desired=3), asked))
    assert lines[0].startswith("now: 4 replicas there; it would have 3: ")
    assert lines[1] == "cost now: $10.00/h there, $7.50/h with what it would have (-$2.50/h)"
    more = list(shadow_lines(with_replicas(decision, there=1, desired=3), asked))
    assert more[1].endswith("(+$5.00/h)")


def test_without_prices_the_cost_is_not_known(told):
    decision, asked = told
    unpriced = tuple(pool._replace(price_usd_per_hour=None) for pool in asked.pools)
    lines = list(shadow_lines(decision, asked._replace(pools=unpriced)))
    assert lines[1] == "cost now: not known; write priceUSDPerHour of each pool"


def test_the_fleet_that_is_there_is_told_over_the_windows_that_were_seen(told):
    decision, asked = told
    own = PolicyHindsight(HindsightPolicy.OWN, replica_s=7200.0, usd=5.0, attained_ratio=0.5)
    seen = WindowHindsight(86_400, 3600.0, 10.0, None, (own,))
    unseen = seen._replace(covered_s=0.0)
    lines = list(shadow_lines(decision._replace(hindsight=(seen, unseen)), asked))
    assert (
        lines[2] == "the last 1 d (1 h of it seen): 2 replicas in the mean, for $5.00, 50 % in time"
    )
    assert not lines[3].startswith("the last")


@pytest.mark.parametrize(
    ("decision_changes", "asked_changes", "age_s", "why"),
    [
        ({}, {}, 1.0, ""),
        ({}, {}, 90.0, "its last decision is 1 min 30 s old"),
        ({}, {"mode": Mode.ACTIVE}, 1.0, "does not know yet"),
        ({"desired_replicas": None}, {}, 1.0, "how many replicas"),
        ({"proposal_replicas": None}, {}, 1.0, "cannot tell the load"),
    ],
)
def test_nobody_would_scale_where(told, decision_changes, asked_changes, age_s, why):
    decision, asked = told
    found = why_not_yet(
        decision._replace(**decision_changes),
        asked._replace(**asked_changes),
        at=decision.at + age_s,
    )
    assert (why in found) if why else found == ""
