"""The notice that our own agent on a node writes on its Node: one annotation, a JSON object.

    {"kind": "Termination", "source": "aws-imds", "deadline": "2026-04-24T17:11:44Z", "noticed": "2026-..."}

Only the agent and whoever may patch Nodes can write it; what is there is still not taken on trust.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from autoscaler.core.contract.state import Interruption, InterruptionKind
from autoscaler.foreign_text import quoted
from autoscaler.kube.api.plain import part
from autoscaler.kube.api.timestamps import seconds
from autoscaler.notices.mark import Mark, Reading, Seen, UnreadableNotice

NOTICE_ANNOTATION = "inference-autoscaler.dev/notice"
ALIVE_ANNOTATION = "inference-autoscaler.dev/node-agent"
"""On a node whose agent runs; any value. Without it nobody can tell an agent that has nothing to say from
none."""
LEADS_S: Mapping[str, float] = {"aws-imds": 120.0, "gce-metadata": 30.0, "azure-imds": 30.0}
"""By source: the customary notice, in seconds, where the deadline cannot be read."""
LEAD_S_MAX = 7200.0
"""The longest a lifecycle hook of an Auto Scaling group waits by default is an hour, and the agent's lead
for it can be set. What lies further ahead is no deadline of a machine."""
_KINDS = {
    str(kind): kind
    for kind in (InterruptionKind.TERMINATION, InterruptionKind.DISRUPTION, InterruptionKind.RISK)
}


class _Written(msgspec.Struct):
    """The annotation's value."""

    kind: str
    source: str
    deadline: str | None = None
    noticed: str | None = None


def read_notice(node: Mapping[str, Any], seen: Seen) -> tuple[Reading, ...]:
    """Read the annotation of a Node object, or of the parts of it that `SlimNode.marks` keeps."""
    metadata = part(node, "metadata")
    text = part(metadata, "annotations").get(NOTICE_ANNOTATION)
    if text is None:
        return ()
    name = str(metadata.get("name") or "")
    said = f"node {name}: annotation {NOTICE_ANNOTATION}"
    try:
        written = msgspec.json.decode(str(text), type=_Written)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return (
            UnreadableNotice(problem=f"{said} cannot be read ({error}): {quoted(text)}; ignored"),
        )
    kind = _KINDS.get(written.kind)
    lead_s = LEADS_S.get(written.source)
    if kind is None or lead_s is None:
        what = (
            f"kind {quoted(written.kind)}" if kind is None else f"source {quoted(written.source)}"
        )
        return (UnreadableNotice(problem=f"{said}: {what} is not known to this version; ignored"),)
    noticed_at = seen.bounded(seconds(written.noticed))
    deadline_at, problem = None, ""
    if kind is InterruptionKind.TERMINATION:
        deadline_at = seconds(written.deadline)
        if math.isnan(deadline_at) or deadline_at > seen.at + LEAD_S_MAX:
            problem = (
                f"{said}: no deadline can be read in {quoted(written.deadline)}; the customary "
                f"{lead_s:g} s are taken"
            )
            deadline_at = noticed_at + lead_s
    return (
        Mark(
            interruption=Interruption(
                node=name,
                kind=kind,
                source=written.source,
                noticed_at=noticed_at,
                deadline_at=deadline_at,
            ),
            problem=problem,
        ),
    )
