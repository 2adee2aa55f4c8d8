"""The page as dcgm-exporter 4.5 writes it: its template, its labels in their order, its formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulations.box.dcgm_exporter.cards import RESERVED_MIB, TOTAL_MIB, Card

CONTENT_TYPE = "text/plain; charset=utf-8"
MODEL_NAME = "NVIDIA H100 80GB HBM3"
DRIVER = "570.124.06"
_XID_TEXTS = {0: "No Error", 31: "GPU memory page fault", 79: "GPU has fallen off the bus"}


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    kind: str
    help: str
    value: Callable[[Card], str]


FIELDS = (
    _Field(
        "DCGM_FI_DEV_SM_CLOCK",
        "gauge",
        "SM clock frequency (in MHz).",
        lambda card: "1980" if card.holder else "345",
    ),
    _Field(
        "DCGM_FI_DEV_GPU_TEMP",
        "gauge",
        "GPU temperature (in C).",
        lambda card: "54" if card.holder else "33",
    ),
    _Field(
        "DCGM_FI_DEV_POWER_USAGE",
        "gauge",
        "Power draw (in W).",
        lambda card: "412.337000" if card.holder else "71.204000",
    ),
    _Field(
        "DCGM_FI_DEV_XID_ERRORS",
        "gauge",
        "Value of the last XID error encountered.",
        lambda card: str(card.xid),
    ),
    _Field(
        "DCGM_FI_DEV_FB_FREE",
        "gauge",
        "Framebuffer memory free (in MiB).",
        lambda card: str(TOTAL_MIB - RESERVED_MIB - card.used_mib),
    ),
    _Field(
        "DCGM_FI_DEV_FB_USED",
        "gauge",
        "Framebuffer memory used (in MiB).",
        lambda card: str(card.used_mib),
    ),
    _Field(
        "DCGM_FI_DEV_FB_RESERVED",
        "gauge",
        "Framebuffer memory reserved (in MiB).",
        lambda _card: str(RESERVED_MIB),
    ),
    _Field(
        "DCGM_FI_DEV_ROW_REMAP_FAILURE",
        "gauge",
        "Whether remapping of rows has failed",
        lambda _card: "0",
    ),
)
"""Of the default counters, those that say something of what is played here."""


def write_page(cards: Sequence[Card]) -> str:
    """Write the page of one node."""
    lines = []
    for field in FIELDS:
        lines += [f"# HELP {field.name} {field.help}", f"# TYPE {field.name} {field.kind}"]
        lines += [f"{field.name}{{{_labels(card, field)}}} {field.value(card)}" for card in cards]
    return "".join(f"{line}\n" for line in lines)


def _labels(card: Card, field: _Field) -> str:
    """Labels of the card, then those of the counter and of the pod by name."""
    told = {
        "gpu": str(card.number),
        "UUID": card.name,
        "pci_bus_id": f"00000000:{0x1B + 8 * card.number:02X}:00.0",
        "device": f"nvidia{card.number}",
        "modelName": MODEL_NAME,
        "Hostname": card.node,
        "DCGM_FI_DRIVER_VERSION": DRIVER,
    }
    attributes: dict[str, str] = {}
    if field.name == "DCGM_FI_DEV_XID_ERRORS":
        attributes |= {
            "err_code": str(card.xid),
            "err_msg": _XID_TEXTS.get(card.xid, "Unknown Error"),
        }
    if card.holder is not None:
        attributes |= {
            "container": card.holder.container,
            "namespace": card.holder.namespace,
            "pod": card.holder.name,
        }
    return ",".join(
        f'{name}="{text}"' for name, text in [*told.items(), *sorted(attributes.items())]
    )
