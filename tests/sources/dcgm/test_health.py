"""Cards that can carry no replica: which errors say so, and how long that holds."""

from __future__ import annotations

import pytest

from autoscaler.sources import dcgm
from autoscaler.sources.collector.last_values import LastValues
from autoscaler.sources.dcgm import DcgmReading
from autoscaler.sources.dcgm.health import FATAL_XIDS
from tests.sources.dcgm.rows import IDLE_MIB, card, known, reading

VERDICTS = [
    # what is read of the card, whether it can carry a replica (None: unknown)
    pytest.param({}, None, id="nothing said"),
    pytest.param({"xid": 0}, True, id="no error yet"),
    *[pytest.param({"xid": code}, False, id=f"xid {code}") for code in sorted(FATAL_XIDS)],
    *[
        pytest.param({"xid": code}, True, id=f"xid {code}")
        for code in (13, 31, 43, 45, 63, 68, 92, 94, 109, 154, 999)
    ],
    pytest.param({"remap": 1}, False, id="row remapping failed"),
    pytest.param({"remap": 0}, True, id="rows are well"),
    pytest.param({"ecc": 2}, False, id="double-bit errors"),
    pytest.param({"ecc": 0}, True, id="no double-bit errors"),
    pytest.param({"clocks": 0x04 | 0x20}, True, id="power cap and software's thermal limit"),
    pytest.param({"clocks": 0x40}, True, id="hardware slowdown: may be a peak"),
    pytest.param({"xid": 9223372036854775794}, None, id="blank"),
]


@pytest.mark.parametrize(("health", "well"), VERDICTS)
def test_whether_a_card_can_carry_a_replica(health: dict[str, float], well):
    told = known(card(0, pod="a") + card(1, used=IDLE_MIB, **health)).nodes["n"]
    assert told.unhealthy == (None if well is None else 0 if well else 1)
    assert told.free == (0 if well is False else 1)
    assert len(told.faults) == (well is False)


def test_whose_card_it_is():
    told = known(card(0, pod="tp2", xid=79) + card(1, pod="tp2", xid=0) + card(2, pod="b", xid=0))
    node = told.nodes["n"]
    assert [node.unhealthy_of(("s", pod)) for pod in ("tp2", "b")] == [1.0, 0.0]
    assert node.faults == ("GPU-0: Xid 79 (GPU has fallen off the bus)",)


def test_without_pod_labels_it_may_be_anybody_s():
    broken = known(card(0, xid=79) + card(1, xid=0)).nodes["n"]
    assert broken.unhealthy == 1
    assert broken.unhealthy_of(("s", "a")) != broken.unhealthy_of(("s", "a"))  # NaN
    well = known(card(0, xid=0) + card(1, xid=0)).nodes["n"]
    assert well.unhealthy_of(("s", "a")) == 0.0


def test_a_card_cut_into_instances_is_one_card_and_each_of_its_pods_is_told():
    slices = "".join(
        card(0, pod=pod, xid=79, labels={"GPU_I_ID": str(number)})
        for number, pod in enumerate("ab")
    )
    node = known(slices).nodes["n"]
    assert node.unhealthy == 1
    assert [node.unhealthy_of(("s", pod)) for pod in "ab"] == [1.0, 1.0]


def story(*values: dict[str, float], every_s: float = 30.0) -> list[str]:
    """The fault of one card, reading by reading of one exporter."""
    before: DcgmReading | None = None
    faults = []
    for number, told in enumerate(values):
        before = dcgm.follow(before, reading(card(0, **told), at=100.0 + every_s * number))
        faults.append(before.devices[0].fault)
    return faults


def test_what_a_broken_card_goes_on_to_report_takes_nothing_back():
    faults = story({"xid": 79}, {"xid": 45}, {"xid": 154}, {"xid": 48}, {"xid": 13}, {"xid": 0})
    assert [fault.split(" (")[0] for fault in faults] == [
        "Xid 79",
        "Xid 79",
        "Xid 79",
        "Xid 48",
        "Xid 48",
        "",  # its driver began anew
    ]


def test_it_ends_with_the_gauge():
    assert story({"xid": 79}, {}) == [story({"xid": 79})[0], ""]


def test_an_application_s_error_never_becomes_a_fault():
    assert story({"xid": 31}, {"xid": 43}, {"xid": 45}) == ["", "", ""]


@pytest.mark.parametrize("name", ["clocks", "old_clocks"])
def test_a_slowdown_that_lasts_is_a_fault(name: str):
    hot, cool = {name: 0x40}, {name: 0x04}
    assert [bool(fault) for fault in story(hot, hot, hot, hot, cool)] == [False] * 3 + [True, False]
    assert not any(story(hot, hot, cool, hot, hot, hot))


def test_a_card_that_fell_off_the_bus_and_off_the_page_is_no_capacity_still():
    page = card(0, used=IDLE_MIB, xid=0)
    before = reading(page, card(1, used=IDLE_MIB, xid=79), at=100.0)
    after = dcgm.follow(before, reading(page, at=115.0))
    node = dcgm.account([after]).nodes["n"]
    assert (node.whole, node.free, node.unhealthy) == (2, 1, 1)
    assert node.sampled_at == 115.0
    # One that merely went (another MIG layout) is forgotten.
    before = reading(page, card(1, used=IDLE_MIB, xid=0), at=100.0)
    assert dcgm.account([dcgm.follow(before, reading(page))]).nodes["n"].whole == 1


def test_each_exporter_s_last_values_are_followed_and_end_with_it():
    values = LastValues()
    values.set_exporters(["gpu/x", "gpu/y"])
    values.put_dcgm("gpu/x", reading(card(0, used=IDLE_MIB, xid=79), at=100.0))
    values.put_dcgm("gpu/y", reading(card(0, used=IDLE_MIB, xid=0), at=100.0))
    values.put_dcgm("gpu/x", reading(card(0, used=IDLE_MIB, xid=45), at=115.0))
    node = values.nodes()["n"]
    assert (node.whole, node.free, node.unhealthy) == (1, 0, 1), "one of two says so: enough"
    # A new pod of the DaemonSet: it began after the reset.
    values.set_exporters(["gpu/y", "gpu/z"])
    values.put_dcgm("gpu/z", reading(card(0, used=IDLE_MIB, xid=45), at=130.0))
    assert values.nodes()["n"].unhealthy == 0


def test_a_page_that_makes_up_broken_cards_fills_nothing():
    before: DcgmReading | None = None
    for number in range(20):
        made_up = [card(100 * number + each, xid=79) for each in range(10)]
        before = dcgm.follow(before, reading(*made_up, at=100.0 + number))
    assert before is not None
    assert len(before.devices) <= 10 + 64
