"""The study of spot: what its rows are held against, and what it says of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.core.contract.state import CapacityType
from simulations.agenda import NS
from simulations.studies.spot.figures import clairvoyant_usd, given_s
from simulations.studies.spot.rows import CLAIRVOYANTS, Row, table
from simulations.world.ledger import Payment
from simulations.world.market.spot import MachineLife

HOUR = 3600 * NS
ROW = Row(
    traffic="office",
    market="zones",
    policy="inference-aware",
    seed=0,
    cost_usd=47.5,
    attainment=0.992,
    lost=3,
    lost_short=0,
    interruptions=9,
    fallback_hours=1.5,
    on_demand_usd=100.0,
    on_demand_attainment=0.995,
    clairvoyant_usd=40.0,
    free_usd=35.0,
)
PEER = replace(ROW, policy="skyserve", cost_usd=60.0, attainment=0.98)


def paid(from_h: float, to_h: float) -> Payment:
    return Payment(
        capacity_type=CapacityType.ON_DEMAND, from_ns=int(from_h * HOUR), to_ns=int(to_h * HOUR)
    )


def machine(from_h: float, to_h: float) -> MachineLife:
    return MachineLife(up_ns=int(from_h * HOUR), down_ns=int(to_h * HOUR))


@pytest.mark.parametrize(
    ("kept", "lives"),
    [
        pytest.param(0, [], id="no machine: all on demand"),
        pytest.param(0, [machine(0, 10)] * 5, id="more than are needed"),
        pytest.param(0, [machine(0, 2), machine(5, 10)], id="some"),
        pytest.param(1, [machine(0, 10)] * 5, id="one is kept"),
    ],
)
def test_the_clairvoyant_is_on_spot_whenever_there_is_a_machine(kept, lives):
    """Two replicas at 2 dollars on demand, 0.7 on spot: one for ten hours, one from the fifth for ten."""
    payments = [paid(0, 10), paid(5, 20)]
    got = clairvoyant_usd(
        payments,
        lives,
        end_ns=20 * HOUR,
        kept=kept,
        on_demand_usd_per_hour=2.0,
        spot_usd_per_hour=0.7,
    )
    hours = {0: 1, 5: 2, 10: 1}
    expected = 0.0
    for begin, end in [(0, 2), (2, 5), (5, 10), (10, 20)]:
        need = hours[max(start for start in hours if start <= begin)]
        have = sum(life.up_ns <= begin * HOUR and life.down_ns >= end * HOUR for life in lives)
        spot = min(max(need - kept, 0), have)
        expected += (end - begin) * (0.7 * spot + 2.0 * (need - spot))
    assert got == pytest.approx(expected)


def test_a_row_is_told_by_its_share_of_the_saving():
    assert ROW.saving_ratio == pytest.approx(52.5 / 60.0)
    assert ROW.free_ratio == pytest.approx(52.5 / 65.0)
    assert ROW.attainment_loss == pytest.approx(0.003)


def test_the_summary_says_which_rows_meet_which_bar():
    worse = replace(ROW, traffic="night", cost_usd=52.0, lost_short=1, attainment=0.98)
    said = table([ROW, PEER, worse, replace(PEER, traffic="night", cost_usd=51.0)])
    assert said[5] == CLAIRVOYANTS
    assert said[-5:] == [
        "1 of 2: saving >= 85% of the clairvoyant's; not night/zones",
        "0 of 2: saving >= 95%, the aim; not office/zones, night/zones",
        "1 of 2: at most 0.5 points less attained than all on demand; not night/zones",
        "1 of 2: none lost with less to go than the lead; not night/zones",
        "1 of 2: cheaper or better than skyserve; not night/zones",
    ]


def test_a_pod_is_given_the_lead_less_what_is_late():
    assert given_s(120.0) == 108.0
    assert given_s(30.0) == 27.0
