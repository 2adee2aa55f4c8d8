"""Azure's scheduled events as AKS writes them into conditions and Events.

    Preempt Scheduled: Mon, 19 Sep 2016 18:29:47 GMT. For more information, see ... EventId: 40B7...

What kinds there are and how early each comes: Azure, "Scheduled Events for Linux VMs". `Started` may come
without a date: the machine is being taken.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime

LEADS_S: Mapping[str, float] = {
    "Preempt": 30.0,
    "Terminate": 300.0,
    "Redeploy": 600.0,
    "Reboot": 900.0,
}
"""By kind of event that ends what runs on the machine: the least notice, in seconds. `Freeze` is not among
them: the machine stands still for seconds, and goes on."""
LEAD_S_MAX = 3600.0
"""Of any kind. A date that lies further ahead was written by another clock, or is none."""
ADVISORY = "SpotRebalanceRecommendation Advisory"
"""The node problem detector of AKS sets the same condition, with the same reason, for an advice to
rebalance and for a preemption; only the first words of the message tell them apart."""


def read_deadline(kind: str, text: str) -> float | None:
    """When an event of this kind begins, in seconds; NaN: the text has no such date; None: it has begun."""
    words = " ".join(text[:1024].split())
    if re.match(rf"{kind} Started\b", words):
        return None
    found = re.match(
        rf"{kind} Scheduled: (\w{{3}}, \d{{1,2}} \w{{3}} \d{{4}} [\d:]{{8}}) (?:GMT|UTC)\b", words
    )
    if found is None:
        return math.nan
    try:
        moment = datetime.strptime(found[1], "%a, %d %b %Y %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return math.nan
    return moment.timestamp()


def scheduled_kind(text: str) -> str:
    """The kind of event that a text announces, `Freeze` among them; empty: it announces none.

    The node problem detector passes on whatever its probe prints, also that the metadata service could not
    be asked ("IMDS query failed, exit code: 28"), under the same reason as a preemption.
    """
    found = re.match(
        r"\s*(Preempt|Terminate|Redeploy|Reboot|Freeze)\s+(?:Scheduled|Started)\b", text
    )
    return found[1] if found else ""
