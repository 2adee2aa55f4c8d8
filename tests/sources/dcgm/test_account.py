"""Which GPUs are free, as far as that is shown; what is not shown is unknown, never zero and never free."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.sources import dcgm
from autoscaler.sources.dcgm.account import IDLE_BYTES_MAX
from tests.sources.dcgm.rows import FULL_MIB, IDLE_MIB, answer, card, free, known, reading

EMPTY = {"container": "", "namespace": "", "pod": ""}
FREE = [
    pytest.param("".join(card(n, labels=EMPTY) for n in range(4)), None, id="full, labels empty"),
    pytest.param("".join(card(n) for n in range(4)), None, id="full, without labels"),
    pytest.param(card(0) + card(1, used=IDLE_MIB), None, id="one full, one idle, no labels"),
    pytest.param(card(0, used=IDLE_MIB) + card(1, used=IDLE_MIB), 2, id="all idle"),
    pytest.param(card(0, pod="a") + card(1, used=IDLE_MIB), 1, id="one held, one idle"),
    pytest.param(card(0, pod="a") + card(1), 0, id="full beside a held one: somebody else's"),
    pytest.param(card(0, pod="a", used=0) + card(1, pod="b", used=0), 0, id="held and empty yet"),
    pytest.param(card(0, pod="a") + card(1, used=700), 1, id="what a driver reserves is idle"),
    pytest.param(card(0, pod="a") + card(1, used=9223372036854775794), None, id="blank"),
    pytest.param(card(0, pod="a") + card(1, used=-1), None, id="negative"),
    pytest.param(card(0, pod="a") + card(1, used=math.nan), None, id="no number"),
    pytest.param(card(0, pod="a") + card(1, used=None, xid=0), None, id="no memory said of it"),
    pytest.param(card(0, pod="a", uuid=False) + card(1, used=0, uuid=False), 1, id="no UUID"),
    pytest.param(
        'DCGM_FI_DEV_FB_USED{pod="a",namespace="s"} 7\nDCGM_FI_DEV_FB_USED{} 0\n',
        None,
        id="cards without a name",
    ),
    pytest.param(
        card(0, used=IDLE_MIB, labels={"GPU_I_ID": "1", "GPU_I_PROFILE": "1g.10gb"}),
        None,
        id="MIG alone",
    ),
    pytest.param(
        card(0, used=IDLE_MIB, labels={"GPU_I_ID": "1", "GPU_I_PROFILE": "1g.10gb"})
        + card(1, used=IDLE_MIB),
        1,
        id="a free slice is no free GPU",
    ),
    pytest.param(
        card(0, pod="a", labels={"vgpu": "0"}) + card(1, used=IDLE_MIB), None, id="time-sliced"
    ),
    pytest.param(
        card(0, pod="a", labels={"dra_claim_name": "c"})
        + card(0, pod="b", labels={"dra_claim_name": "c"})
        + card(1, used=IDLE_MIB),
        1,
        id="a resource claim that two pods share",
    ),
    pytest.param(card(0, pod="of-somebody-else"), 0, id="pods of other namespaces hold cards too"),
]


@pytest.mark.parametrize(("body", "gpus"), FREE)
def test_a_gpu_is_free_only_where_that_is_shown(body: str, gpus: int | None):
    assert free(body) == gpus


TWO_EXPORTERS = [
    pytest.param([card(0, pod="a") + card(1, used=3)] * 2, 1, id="they agree: counted once"),
    pytest.param(
        [card(0, pod="a") + card(1, used=3), card(0, pod="b") + card(1, used=3)],
        None,
        id="they name two pods for one card",
    ),
    pytest.param(
        [card(0, pod="a") + card(1, used=3), card(0, pod="a") + card(1, pod="b", used=3)],
        None,
        id="one says free, one says held",
    ),
    pytest.param(
        [card(0, pod="a") + card(1, used=3), card(0) + card(1, used=3)],
        1,
        id="one knows no pods at all: it has no say",
    ),
    pytest.param(
        [card(0, pod="a") + card(1, used=3), card(0, pod="a") + card(1)],
        0,
        id="one sees memory in use",
    ),
    pytest.param(
        [card(0, pod="a") + card(1, used=3), card(0, pod="a", uuid=False)],
        None,
        id="one has no UUIDs: the same cards twice, for all we know",
    ),
]


@pytest.mark.parametrize(("pages", "gpus"), TWO_EXPORTERS)
def test_two_exporters_on_one_node(pages: list[str], gpus: int | None):
    assert free(*pages) == gpus
    assert free(*reversed(pages)) == gpus


def test_the_memory_of_a_pod_whose_card_is_disputed_is_unknown():
    told = known(card(0, pod="a") + card(1, pod="c"), card(0, pod="b") + card(1, pod="c"))
    assert set(told.framebuffers) == {("s", "c")}


def test_an_exporter_that_has_ended_has_no_say():
    old, new = reading(card(0, pod="a"), at=40.0), reading(card(0, used=3), at=100.0)
    assert dcgm.account([old, new]).nodes["n"].free == 1
    assert dcgm.account([old, new]).framebuffers == {}


def test_one_exporter_that_prometheus_found_twice_is_counted_once():
    held = {"UUID": "GPU-0", "Hostname": "n", "exported_pod": "a", "exported_namespace": "s"}
    idle = {"UUID": "GPU-1", "Hostname": "n", "pod": "gpu-metrics-x", "namespace": "gpu"}
    rows = [
        ({**labels, "instance": "10.0.0.9:9400", "job": job}, used, at)
        for job, at in (("monitor-a", 70.0), ("monitor-b", 80.0))
        for labels, used in ((held, FULL_MIB), (idle, IDLE_MIB))
    ]
    told = dcgm.account([dcgm.read(answer(*rows), at=100.0)])
    assert told.nodes["n"].free == 1
    assert told.framebuffers["s", "a"].used_bytes == FULL_MIB * 2**20


def test_an_exporter_of_any_name_is_no_holder_where_labels_are_renamed():
    """`pod` is the exporter's own then, whatever its chart calls it."""
    held = {"UUID": "GPU-0", "Hostname": "n", "exported_pod": "a", "exported_namespace": "s"}
    own = {"instance": "10.0.0.9:9400", "pod": "gpu-metrics-x", "namespace": "gpu"}
    rows = [({**held, **own}, FULL_MIB, 90.0), ({"UUID": "GPU-1", "Hostname": "n", **own}, 3, 90.0)]
    assert dcgm.account([dcgm.read(answer(*rows), at=100.0)]).nodes["n"].free == 1


CARDS = st.lists(
    st.builds(
        dict,
        number=st.integers(0, 3),
        used=st.sampled_from([None, 0.0, 3.0, 1023.0, 1025.0, FULL_MIB, -1.0, 2.0**63, math.nan]),
        pod=st.sampled_from([None, "", "a", "b", "nvidia-dcgm-exporter-x"]),
        uuid=st.booleans(),
        xid=st.sampled_from([0, 13, 79]),
        labels=st.sampled_from([{}, {"vgpu": "0"}, {"GPU_I_ID": "1"}, {"pod_name": "c"}, EMPTY]),
    ),
    max_size=6,
)


@given(st.lists(CARDS, min_size=1, max_size=3))
def test_never_more_free_gpus_than_cards_that_are_idle_unlabelled_and_well(pages):
    """Whatever page comes, and however many exporters there are."""
    bodies = ["".join(card(**told) for told in page) for page in pages]
    bodies = [body for body in bodies if "FB_USED" in body]
    if not bodies:
        return
    counted = known(*bodies).nodes["n"].free
    shown: dict[int, list[dict]] = {}
    for page in pages:
        for told in page:
            shown.setdefault(told["number"], []).append(told)

    def could_be_free(told: dict) -> bool:
        idle = told["used"] is not None and 0 <= told["used"] * 2**20 <= IDLE_BYTES_MAX
        # empty labels take the place of the pod's
        nobodys = told["labels"] == EMPTY or (told["pod"] or "") in ("", "nvidia-dcgm-exporter-x")
        return idle and nobodys and told["xid"] != 79 and told["labels"] in ({}, EMPTY)

    # A card of which any row alone shows that: rows that disagree can only take it away.
    assert (counted or 0) <= sum(any(map(could_be_free, rows)) for rows in shown.values())
