"""GPUs by pod and by node, from pages and through Prometheus."""

from __future__ import annotations

import pytest

from autoscaler.errors import SourceError
from autoscaler.sources import dcgm
from autoscaler.sources.dcgm import DcgmReading, GpuAccount
from autoscaler.sources.dcgm.page import USED
from autoscaler.sources.pages.exposition import read_page
from autoscaler.sources.pages.rows import SeriesRow
from autoscaler.sources.prometheus.answer import Answer
from tests.sources.bodies import page, without

MIB = 2**20


def read_of(body: bytes | str, *, node: str | None = None, at: float = 100.0) -> DcgmReading:
    body = body.encode() if isinstance(body, str) else body
    return dcgm.read(read_page(body, dcgm.NAMES), at=at, node=node)


def read(*bodies: bytes | str, node: str | None = None) -> GpuAccount:
    """What is known once each exporter's page was read."""
    return dcgm.account([read_of(body, node=node) for body in bodies])


def row(name: str, value: float, **labels: str) -> str:
    inside = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"{name}{{{inside}}} {value}\n"


def used(reading: GpuAccount) -> dict[str, float]:
    return {pod: sample.used_bytes for (_, pod), sample in reading.framebuffers.items()}


def free(reading: GpuAccount) -> dict[str, int]:
    """By node, where it is known."""
    found = ((node, sample.free) for node, sample in reading.nodes.items())
    return {node: count for node, count in found if count is not None}


def test_the_exporter_s_page_by_pod_and_by_node():
    reading = read(page("dcgm-exporter"))
    assert used(reading) == {
        "llama-8b-7d9c5b6f4-abcde": 75186 * MIB,
        "llama-8b-7d9c5b6f4-fghij": 75170 * MIB,
        "embed-small-0": 4120 * MIB,
    }
    assert free(reading) == {"gpu-node-0": 1}  # gpu 2; the free MIG instance is no whole GPU


def test_a_shared_device_is_never_added_up_over_its_pods():
    reading = read(page("dcgm-exporter-timeslicing"))
    assert used(reading) == {
        "tiny-a-0": 30210 * MIB,
        "tiny-b-0": 22150 * MIB,
        "notebook-0": 0,
    }
    assert free(reading) == {}  # how many slices are free is not on the page


def test_copies_of_a_device_s_value_say_nothing_of_one_pod():
    body = "".join(
        row(USED, 40000, UUID="GPU-0", Hostname="n", namespace="s", pod=pod, vgpu=str(index))
        for index, pod in enumerate(["a", "b"])
    )
    assert used(read(body)) == {}


def test_parts_that_all_read_zero_beside_a_device_in_use_are_unknown():
    device = row(USED, 40000, UUID="GPU-0", Hostname="n")
    parts = "".join(
        row(USED, 0, UUID="GPU-0", Hostname="n", namespace="s", pod=pod, vgpu="0") for pod in "ab"
    )
    assert used(read(device + parts)) == {}


def test_a_pod_of_several_gpus_is_their_sum_or_unknown():
    first = row(USED, 100, UUID="GPU-0", Hostname="n", namespace="s", pod="tp2")
    second = row(USED, 50, UUID="GPU-1", Hostname="n", namespace="s", pod="tp2")
    blank = row(USED, 9223372036854775794, UUID="GPU-1", Hostname="n", namespace="s", pod="tp2")
    assert used(read(first + second)) == {"tp2": 150 * MIB}
    assert used(read(first + blank)) == {}
    assert free(read(first + blank)) == {"n": 0}  # who holds it is known all the same


HOLDERS = [
    # labels beside the GPU's own, the pod that holds it, free GPUs
    ({"namespace": "s", "pod": "a"}, "a", 0),
    ({}, None, 1),
    ({"namespace": "", "pod": "", "container": ""}, None, 1),  # old exporters
    ({"pod_namespace": "s", "pod_name": "a"}, "a", 0),
    # Prometheus with honorLabels false puts the exporter where the workload stood.
    (
        {
            "namespace": "gpu",
            "pod": "nvidia-dcgm-exporter-x",
            "exported_namespace": "s",
            "exported_pod": "a",
        },
        "a",
        0,
    ),
    ({"namespace": "gpu", "pod": "nvidia-dcgm-exporter-x"}, None, 1),
]


@pytest.mark.parametrize(("labels", "pod", "gpus"), HOLDERS)
@pytest.mark.parametrize("node_label", ["Hostname", "hostname", "node"])
def test_who_holds_a_gpu(labels: dict[str, str], pod: str | None, gpus: int, node_label: str):
    reading = read(row(USED, 7, UUID="GPU-0", **{node_label: "n"}, **labels))
    assert free(reading) == {"n": gpus}
    assert used(reading) == ({} if pod is None else {pod: 7 * MIB})
    if pod:
        assert list(reading.framebuffers) == [("s", "a")]


def test_a_node_of_mig_devices_alone_says_nothing_of_whole_gpus():
    body = "".join(
        row(USED, 7, UUID="GPU-0", GPU_I_ID=instance, GPU_I_PROFILE="1g.10gb", Hostname="n")
        for instance in ("1", "2")
    )
    assert free(read(body)) == {}


def test_the_node_of_a_scraped_exporter_is_known_better_than_its_label():
    body = row(USED, 7, UUID="GPU-0", Hostname="dcgm-exporter-x7k2p")
    assert free(read(body, node="gpu-node-3")) == {"gpu-node-3": 1}


def test_the_node_that_prometheus_discovered_is_known_better_too():
    body = row(USED, 7, UUID="GPU-0", Hostname="dcgm-exporter-x7k2p", node="gpu-node-3")
    assert free(read(body)) == {"gpu-node-3": 1}


def test_a_page_without_the_framebuffer_is_an_error():
    with pytest.raises(SourceError, match="default counters"):
        read(without(page("dcgm-exporter"), *dcgm.NAMES))


def test_a_gpu_given_back_a_minute_ago_is_free_and_its_old_pod_holds_nothing():
    # Prometheus still has the old series within its look-back: other labels, older sample.
    common = {"UUID": "GPU-0", "Hostname": "n"}
    answer = Answer(
        by_name={
            USED: [
                SeriesRow(
                    labels={**common, "exported_namespace": "s", "exported_pod": "gone"},
                    value=7e4,
                    at=30.0,
                ),
                SeriesRow(labels={**common, "pod": "dcgm-exporter-1"}, value=3.0, at=90.0),
            ]
        }
    )
    reading = dcgm.account([dcgm.read(answer, at=100.0)])
    assert free(reading) == {"n": 1}
    assert used(reading) == {}
    assert reading.nodes["n"].sampled_at == 90.0


def test_a_gpu_handed_from_pod_to_pod_belongs_to_the_new_one_alone():
    common = {"UUID": "GPU-0", "Hostname": "n", "exported_namespace": "s"}
    answer = Answer(
        by_name={
            name: [
                SeriesRow(labels={**common, "exported_pod": "old"}, value=7e4, at=60.0),
                SeriesRow(labels={**common, "exported_pod": "new"}, value=2e4, at=90.0),
            ]
            for name in (USED,)
        }
    )
    assert used(dcgm.account([dcgm.read(answer, at=100.0)])) == {"new": 2e4 * MIB}
