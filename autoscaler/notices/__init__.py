"""Nodes that are being taken away: who says so, which interruptions are in force, and the rehearsal.

`NOTICE_SOURCES` holds the readers of the notices that are written on Node objects: one file a source, and
one line here. `interruptions` keeps what they read; `rehearse` writes such a notice.
"""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.notices.interruptions import MarkFunction
from autoscaler.notices.node_marks import read_marks

NOTICE_SOURCES: Mapping[str, MarkFunction] = {
    "node_marks": read_marks,
}
"""By name of the module."""
