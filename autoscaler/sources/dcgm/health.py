"""Whether a GPU can carry a replica, by what DCGM says of its errors and clocks.

`DCGM_FI_DEV_XID_ERRORS` is a gauge of the *last* error and stays, so that two things have to be decided:

- What comes after. A card that is broken goes on to report what broke on it (45, the cleanup of its
  processes; 154, a changed recovery action; 63, a remapped row): those take nothing back. A fatal code holds
  until the gauge reads 0 or is gone, or another exporter speaks for the card.
- For how long. A broken card is reset or its machine rebooted, and both end the driver's users, the
  exporter among them, whose gauge then begins at 0. So it needs no time limit of ours: it ends with what it
  says, and a daemon that starts anew reads it again. What a new daemon cannot know is a fatal code that a
  harmless one has covered meanwhile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

XID_ERRORS = "DCGM_FI_DEV_XID_ERRORS"
ECC_ERRORS = "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"
ROW_REMAP_FAILURE = "DCGM_FI_DEV_ROW_REMAP_FAILURE"
CLOCK_REASONS = ("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS")
"""New and old spelling."""
NAMES = (XID_ERRORS, ECC_ERRORS, ROW_REMAP_FAILURE, *CLOCK_REASONS)
"""Of these the exporter's default counters have the first and the third."""

FATAL_XIDS = {
    46: "GPU stopped processing",
    48: "double-bit ECC error",
    54: "auxiliary power not connected",
    62: "internal micro-controller halt",
    64: "row remapping failed",
    74: "NVLink error",
    79: "GPU has fallen off the bus",
    95: "uncontained memory error",
    110: "security fault",
    119: "GSP RPC timeout",
    120: "GSP error",
    136: "link training failed",
    140: "unrecovered ECC error",
    143: "GPU initialization failure",
    144: "NVLink SAW error",
    145: "NVLink RLW error",
    146: "NVLink TLW error",
    147: "NVLink TREX error",
    148: "NVLink control error",
    149: "NVLink NETIR error",
    150: "NVLink MSE error",
    155: "NVLink software-defined error",
    156: "resource retirement",
    158: "GPU fatal timeout",
    167: "PCIe fatal timeout",
    171: "uncorrectable DRAM error",
    172: "uncorrectable SRAM error",
}
"""Codes for which NVIDIA's catalogue (docs.nvidia.com/deploy/xid-errors, "immediate action") says to reset the
GPU, to restart the machine, or to follow the workflow for double-bit or NVLink errors; 167, 171 and 172, which
it has without an action, are such errors by their names. All else is the application's (13, 31, 43, 45, 94), is told for
information (63, 92, 154), or is what NVIDIA's own device plugin takes for the application's (68, 109): the
card goes on."""

SLOWDOWN_BITS = 0x08 | 0x40 | 0x80
"""HW slowdown, HW thermal slowdown, HW power brake: each at least halves the core's clock. Power capping and
software's own thermal limit are everyday life under load."""
SLOWDOWN_S = 90.0
"""A slowdown that stands for three of the exporter's periods of 30 s is no peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuHealth:
    """What is known of one device's health. None: its exporter has no such series."""

    xid: int | None = None
    """The last error; 0: none."""
    fatal_xid: int = 0
    """The one that still holds; 0: none."""
    ecc_errors: float | None = None
    """Double-bit errors since the driver was loaded or the card was reset."""
    row_remap_failed: bool | None = None
    slowed: bool | None = None
    """By hardware, now."""
    slowed_since: float = math.nan
    """When that was first read, seconds; NaN: it is not."""

    @property
    def known(self) -> bool:
        """Whether there is anything to judge by."""
        values = (self.xid, self.ecc_errors, self.row_remap_failed, self.slowed)
        return any(value is not None for value in values)

    def fault(self, *, at: float) -> str:
        """Why the card can carry no replica, in a few words; empty: it can, or nothing is known.

        Args:
            at: When it was read, seconds.
        """
        if self.fatal_xid:
            return f"Xid {self.fatal_xid} ({FATAL_XIDS[self.fatal_xid]})"
        if self.row_remap_failed:
            return "row remapping failed"
        if self.ecc_errors:
            return f"{self.ecc_errors:.0f} double-bit ECC errors since its last reset"
        if at - self.slowed_since >= SLOWDOWN_S:  # NaN is not
            return f"slowed by its hardware (heat or power) for {at - self.slowed_since:.0f} s"
        return ""


def judge(values: dict[str, float], *, at: float) -> GpuHealth:
    """Judge one device by its values.

    Args:
        values: By the name of the series, one or more of NAMES; what is no finite number is unknown.
        at: When it was read, seconds.
    """
    told = {name: value for name, value in values.items() if 0.0 <= value < 2.0**40}
    xid = told.get(XID_ERRORS)
    failure = told.get(ROW_REMAP_FAILURE)
    reasons = next((told[name] for name in CLOCK_REASONS if name in told), None)
    slowed = None if reasons is None else bool(int(reasons) & SLOWDOWN_BITS)
    return GpuHealth(
        xid=None if xid is None else int(xid),
        fatal_xid=int(xid) if xid is not None and int(xid) in FATAL_XIDS else 0,
        ecc_errors=told.get(ECC_ERRORS),
        row_remap_failed=None if failure is None else failure > 0.0,
        slowed=slowed,
        slowed_since=at if slowed else math.nan,
    )


def follow_health(before: GpuHealth, now: GpuHealth) -> tuple[int, float]:
    """Return the fatal code that holds, and since when the card is slowed, given the reading before."""
    fatal = now.fatal_xid or (before.fatal_xid if now.xid else 0)
    since = before.slowed_since if now.slowed and before.slowed else now.slowed_since
    return fatal, since
