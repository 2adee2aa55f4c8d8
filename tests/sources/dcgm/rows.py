"""Pages of exporters, written card by card."""

from __future__ import annotations

from autoscaler.sources import dcgm
from autoscaler.sources.dcgm import DcgmReading, GpuAccount
from autoscaler.sources.pages.exposition import read_page
from autoscaler.sources.pages.rows import SeriesRow
from autoscaler.sources.prometheus.answer import Answer

FULL_MIB, IDLE_MIB = 71234.0, 4.0
HEALTH = {
    "xid": "DCGM_FI_DEV_XID_ERRORS",
    "ecc": "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
    "remap": "DCGM_FI_DEV_ROW_REMAP_FAILURE",
    "clocks": "DCGM_FI_DEV_CLOCKS_EVENT_REASONS",
    "old_clocks": "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS",
}


def card(
    number: int,
    *,
    used: float | None = FULL_MIB,
    pod: str | None = None,
    uuid: bool = True,
    labels: dict[str, str] | None = None,
    **health: float,
) -> str:
    """One card of node `n`, as the template writes it; `used` None: blank, so left out."""
    told = {"gpu": str(number)}
    if uuid:
        told["UUID"] = f"GPU-{number}"
    told |= {
        "pci_bus_id": f"00000000:{number:02X}:00.0",
        "device": f"nvidia{number}",
        "modelName": "NVIDIA H100 80GB HBM3",
        "Hostname": "n",
    }
    if pod is not None:
        told |= {"container": "vllm", "namespace": "s", "pod": pod}
    told |= labels or {}
    inside = ",".join(f'{name}="{text}"' for name, text in told.items())
    rows = [] if used is None else [f"DCGM_FI_DEV_FB_USED{{{inside}}} {used:g}"]
    rows += [f"{HEALTH[name]}{{{inside}}} {value:.0f}" for name, value in health.items()]
    return "".join(f"{row}\n" for row in rows)


def reading(*cards: str, at: float = 100.0, node: str = "n") -> DcgmReading:
    return dcgm.read(read_page("".join(cards).encode(), dcgm.NAMES), at=at, node=node)


def known(*pages: str) -> GpuAccount:
    """What is known once each exporter of node `n` was read."""
    return dcgm.account([reading(page) for page in pages])


def free(*pages: str) -> int | None:
    return known(*pages).nodes["n"].free


def answer(*rows: tuple[dict[str, str], float, float]) -> Answer:
    """What Prometheus has of FB_USED: labels, MiB, and when."""
    series = [SeriesRow(labels=labels, value=value, at=at) for labels, value, at in rows]
    return Answer(by_name={"DCGM_FI_DEV_FB_USED": series})
