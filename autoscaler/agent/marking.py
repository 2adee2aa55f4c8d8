"""Keeps the notice on the Node equal to what the board says, one patch at a time.

Beside it stands a second annotation that says that an agent runs here.
"""

from __future__ import annotations

import random
import time

from autoscaler.agent.board import NoticeBoard
from autoscaler.agent.dialects.contract import MetadataError, MetadataService
from autoscaler.agent.log import Log
from autoscaler.agent.notice import (
    ALIVE_ANNOTATION,
    DRAINED_ANNOTATION,
    NOTICE_ANNOTATION,
    NodeNotice,
    moment_of,
    read_notice,
)
from autoscaler.agent.own_node import NodeError, NodeView, OwnNode
from autoscaler.agent.polling import jittered

LOOK_EVERY_S = 60.0
"""The mark is written again so often: somebody may have taken it away, or made the Node anew."""
DRAINED_EVERY_S = 5.0
"""While a drain is waited for, to acknowledge."""
RETRY_FIRST_S = 0.25
RETRY_NOTICE_S = 3.0
"""At most between two tries while there is a notice to write: there may be 30 s in all."""
RETRY_MAX_S = 30.0


class Marking:
    """The only writer."""

    def __init__(
        self,
        node: OwnNode,
        board: NoticeBoard,
        service: MetadataService,
        *,
        log: Log,
        acknowledges: bool = False,
    ) -> None:
        self._node = node
        self._board = board
        self._service = service
        self._log = log
        self._acknowledges = acknowledges
        self._text: str | None = None
        """The notice, as it was last seen on the Node."""
        self._looked = False
        self._look_at = 0.0
        """When it is written again although nothing changed. On the monotonic clock."""
        self._failures = 0

    def take_over(self, view: NodeView) -> None:
        """Hear what the Node carries from before this process began. Else the first step looks."""
        self._text = view.annotations.get(NOTICE_ANNOTATION)
        self._board.take_over(read_notice(self._text))
        self._looked = True
        if view.annotations.get(ALIVE_ANNOTATION) == self._service.source:
            self._look_at = time.monotonic() + jittered(LOOK_EVERY_S)

    def step(self) -> float:
        """Write what there is to write; returns the seconds after which to come again."""
        self._board.changed.clear()
        try:
            if not self._looked:
                self.take_over(self._node.look())
            notice = self._board.notice()
            text = None if notice is None else notice.text()
            if text != self._text or time.monotonic() >= self._look_at:
                self._write(notice, text)
        except NodeError as error:
            return self._failed(error)
        if self._failures:
            self._log("node.recovered", failures=self._failures)
            self._failures = 0
        return max(0.0, self._look_at - time.monotonic())

    def leave(self) -> None:
        """Say that no agent runs here any more; the notice stays. Nothing is tried twice: it is late."""
        try:
            self._node.annotate({ALIVE_ANNOTATION: None})
        except NodeError as error:
            self._log("node.failed", found=str(error))

    def _write(self, notice: NodeNotice | None, text: str | None) -> None:
        view = self._node.annotate(
            {NOTICE_ANNOTATION: text, ALIVE_ANNOTATION: self._service.source}
        )
        every_s = LOOK_EVERY_S
        if text != self._text:
            if notice is None:
                self._log("notice.cleared", node=self._node.name)
            else:
                self._log("notice.marked", node=self._node.name, notice=text)
        self._text = text
        if self._acknowledges and notice is not None and not self._acknowledged(notice, view):
            every_s = DRAINED_EVERY_S
        self._look_at = time.monotonic() + jittered(every_s)

    def _failed(self, error: NodeError) -> float:
        if self._failures == 0:
            self._log("node.failed", found=str(error))
        self._failures += 1
        longest = RETRY_MAX_S if self._board.notice() is None else RETRY_NOTICE_S
        longest = min(RETRY_FIRST_S * 2.0 ** min(self._failures, 10), longest)
        return random.uniform(longest / 2.0, longest)  # noqa: S311  no secret

    def _acknowledged(self, notice: NodeNotice, view: NodeView) -> bool:
        """Let the cloud begin, if the Node was drained for this notice; else it is looked at again soon."""
        drained_at = moment_of(view.annotations.get(DRAINED_ANNOTATION))
        if drained_at is None or drained_at < notice.noticed_at:
            return False
        try:
            if self._service.acknowledge():
                self._log("event.acknowledged", node=self._node.name)
        except MetadataError as error:
            self._log("metadata.failed", feed="acknowledgement", found=str(error))
            return False
        return True
