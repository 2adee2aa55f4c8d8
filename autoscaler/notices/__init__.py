"""Who says that a node is taken away. One file a source, and one line here.

`NOTICE_SOURCES` holds the readers of notices that stand on a Node object. `rehearse` is not one: it
writes such a notice.
"""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.kube.notices import MarkFunction
from autoscaler.notices.node_marks import read_marks

NOTICE_SOURCES: Mapping[str, MarkFunction] = {
    "node_marks": read_marks,
}
"""By name of the module."""
