"""Nodes that are being taken away: who says so, which interruptions are in force, and the rehearsal.

`NOTICE_SOURCES` holds the readers of notices: one file a source, and one line here. `interruptions` makes
one of all that they read; `coverage` says where nothing could ever speak; `rehearse` writes such a notice.
"""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.notices import events, node_agent, node_marks, nodeclaims
from autoscaler.notices.mark import NoticeSource, Watched

NOTICE_SOURCES: Mapping[str, NoticeSource] = {
    "node_marks": NoticeSource(
        watched=Watched.NODE, read=node_marks.read_marks, labels=node_marks.SOURCES
    ),
    "node_agent": NoticeSource(
        watched=Watched.NODE, read=node_agent.read_notice, labels=tuple(node_agent.LEADS_S)
    ),
    "events": NoticeSource(watched=Watched.EVENT, read=events.read_event, labels=events.SOURCES),
    "nodeclaims": NoticeSource(
        watched=Watched.CLAIM, read=nodeclaims.read_claim, labels=(nodeclaims.SOURCE,)
    ),
}
"""By name of the module."""
