"""The cards of one node: which pod holds which, and how much of their memory."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

TOTAL_MIB = 81_559
RESERVED_MIB = 551
"""As an H100 of 80 GB has them."""
IDLE_MIB = 4
CONTEXT_MIB = 520
"""Of a process that has opened the card and loaded nothing yet."""
SERVING_MIB = 75_186
"""Weights and KV cache: what vLLM takes of it at its start, whatever the load."""
LOADED_SHARE = 0.9
"""Of that memory, what is taken when the weights are in; the rest comes with readiness."""
COLD_START_S = 20.0
"""Where the pod's command line does not say."""
_GPU = "nvidia.com/gpu"
_OVER = frozenset({"Succeeded", "Failed"})


class Holder(NamedTuple):
    """One pod that holds cards."""

    uid: str
    namespace: str
    name: str
    container: str
    gpus: int
    used_mib: int
    """On each of its cards."""


@dataclass(slots=True)
class Card:
    """One card."""

    number: int
    node: str
    holder: Holder | None = None
    xid: int = 0
    """Its last error; 0: none since the start."""

    @property
    def name(self) -> str:
        """Names it among all cards of a cluster."""
        return f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'{self.node}/{self.number}')}"

    @property
    def used_mib(self) -> int:
        """Memory in use."""
        return self.holder.used_mib if self.holder is not None else IDLE_MIB


@dataclass(slots=True)
class Cards:
    """All cards of a node; a pod keeps those it was given."""

    node: str
    cards: list[Card] = field(default_factory=list)

    def resize(self, count: int) -> None:
        """Follow what the Node offers."""
        self.cards = self.cards[:count]
        self.cards += [Card(number, self.node) for number in range(len(self.cards), count)]

    def assign(self, holders: Iterable[Holder]) -> None:
        """Give pods their cards: those they have, else the first that are free."""
        pods = {holder.uid: holder for holder in holders}
        for card in self.cards:
            card.holder = pods.get(card.holder.uid) if card.holder is not None else None
        for uid, holder in sorted(pods.items()):
            held = sum(card.holder is not None and card.holder.uid == uid for card in self.cards)
            free = [card for card in self.cards if card.holder is None]
            for card in free[: holder.gpus - held]:
                card.holder = holder

    def fail(self, *, numbers: Iterable[int], xid: int) -> None:
        """Give cards an error; 0: they are as after a reset."""
        for number in numbers:
            self.cards[number].xid = xid


def holder_of(pod: Mapping[str, Any], *, at: float) -> Holder | None:
    """What a pod holds at this moment; None: no card, or it is over.

    Args:
        pod: As the API server has it.
        at: Now, seconds since the epoch.
    """
    status, container = pod.get("status", {}), pod["spec"]["containers"][0]
    gpus = int(container.get("resources", {}).get("limits", {}).get(_GPU, 0))
    if gpus == 0 or status.get("phase") in _OVER:
        return None
    metadata = pod["metadata"]
    return Holder(
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        container=container["name"],
        gpus=gpus,
        used_mib=_used_mib(status, cold_start_s=_cold_start_s(container), at=at),
    )


def _used_mib(status: Mapping[str, Any], *, cold_start_s: float, at: float) -> int:
    ready = {each["type"]: each["status"] for each in status.get("conditions", ())}.get("Ready")
    if ready == "True":
        return SERVING_MIB
    states = [each.get("state", {}) for each in status.get("containerStatuses", ())]
    started = states[0].get("running", {}).get("startedAt") if states else None
    if started is None:
        return IDLE_MIB
    share = (at - datetime.fromisoformat(started).timestamp()) / max(cold_start_s, 0.001)
    loaded = LOADED_SHARE * (SERVING_MIB - CONTEXT_MIB)
    return CONTEXT_MIB + int(min(max(share, 0.0), 1.0) * loaded)


def _cold_start_s(container: Mapping[str, Any]) -> float:
    for argument in [*container.get("command", ()), *container.get("args", ())]:
        name, _, value = str(argument).partition("=")
        if name == "--cold-start":
            try:
                return float(value)
            except ValueError:
                return COLD_START_S
    return COLD_START_S
