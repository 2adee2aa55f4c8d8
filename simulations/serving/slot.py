"""One request inside one replica, as the skip-ahead model keeps it."""

from __future__ import annotations

from simulations.serving.gauges import NEVER
from simulations.serving.kv_cache import Content


class Slot:
    """A request and how far it is."""

    __slots__ = (
        "cached",
        "computed",
        "deadline_ns",
        "finish",
        "first_token_ns",
        "gone",
        "held",
        "inbox_ns",
        "last_token_ns",
        "order",
        "output",
        "own",
        "preemptions",
        "prefix",
        "produced",
        "prompt",
        "queued_ns",
        "request",
        "scheduled_ns",
    )

    def __init__(
        self,
        *,
        request: int,
        prompt: int,
        output: int,
        prefix: tuple[int, ...],
        inbox_ns: int,
        deadline_ns: int,
    ) -> None:
        self.request = request
        self.prompt = prompt
        self.output = output
        self.prefix = prefix
        self.inbox_ns = inbox_ns
        """When the engine can see it."""
        self.deadline_ns = deadline_ns
        """When its client gives up."""
        self.produced = 0
        """Output tokens; while decoding, as of when the decoding began."""
        self.computed = 0
        """Tokens in the cache; while decoding, as of when the decoding began."""
        self.finish = NEVER
        """While decoding: the count of steps at which its last token is there."""
        self.order = NEVER
        """While running: its place in the order of admissions."""
        self.first_token_ns = NEVER
        """When the client has its first token."""
        self.queued_ns = NEVER
        """Start of the first step that saw it in the inbox."""
        self.scheduled_ns = NEVER
        """Start of the first step that admitted it."""
        self.cached = 0
        """Tokens that were hit at its first admission."""
        self.last_token_ns = NEVER
        """End of the step of its last token before it was preempted."""
        self.gone = False
        """Finished or dropped: the engine has forgotten it."""
        self.preemptions = 0
        self.own: Content | None = None
        """Its own idle blocks after a preemption."""
        self.held: list[int] = []
        """Prefix blocks it holds under their identity."""

    @property
    def known(self) -> int:
        """Tokens there are; all but the newest have to be computed to get the next."""
        return self.prompt + self.produced
