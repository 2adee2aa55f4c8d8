"""An engine with its clock: steps start when the pause is over and end when their time has passed.

What a fleet and a server in real time have in common. It knows neither router nor clients.
"""

from __future__ import annotations

from simulations.serving.gauges import FOREVER
from simulations.serving.profiles.profiles import Profile
from simulations.serving.reference.engine import (
    EngineSequence,
    EngineStep,
    ReferenceEngine,
    StepResult,
)


class Replica:
    """One engine; the caller says until when its steps may be made."""

    def __init__(self, profile: Profile, prefix_tokens: int) -> None:
        self.engine = ReferenceEngine(profile, prefix_tokens)
        self.step: EngineStep | None = None
        """Under way; None: none is."""
        self._profile = profile
        self._step_end_ns = FOREVER
        self._ready_ns = 0
        """When the pause after the last step is over."""

    def put(self, sequence: EngineSequence) -> None:
        """Send a request; calls come in order of `inbox_ns`."""
        self.engine.inbox.append(sequence)

    def abort(self, sequence: EngineSequence, at_ns: int) -> None:
        """The client is gone: the first step that starts at `at_ns` or later drops the request."""
        sequence.deadline_ns = min(sequence.deadline_ns, at_ns)

    def next_start_ns(self) -> int:
        """When the next step starts, if none is under way; FOREVER: there is nothing to do."""
        engine = self.engine
        if engine.running or engine.waiting:
            return self._ready_ns
        if engine.inbox:
            return max(self._ready_ns, engine.inbox[0].inbox_ns)
        return FOREVER

    def start(self, at_ns: int) -> int:
        """Start a step and say when it ends; FOREVER: there were only requests to drop."""
        self.step = self.engine.start(at_ns)
        if self.step is not None:
            self._step_end_ns = at_ns + self.step.duration_ns(self._profile)
            return self._step_end_ns
        return FOREVER

    def end(self) -> StepResult:
        """End the step under way."""
        step, at_ns = self.step, self._step_end_ns
        assert step is not None
        self.step = None
        self._ready_ns = at_ns + step.pause_ns(self._profile)
        return self.engine.end(step, at_ns)

    def advance(self, limit_ns: int) -> StepResult | None:
        """Make the next step, if it ends by `limit_ns`; None: it does not, or there is none.

        Everything that was sent before `limit_ns` must have been `put`.
        """
        while self.step is None:
            start = self.next_start_ns()
            if start >= limit_ns:
                return None
            self.start(start)
        return self.end() if self._step_end_ns <= limit_ns else None

    def wake_ns(self) -> int:
        """Up to this moment `advance` changes nothing, if nothing arrives; FOREVER: never."""
        if self.step is not None:
            return self._step_end_ns
        # a start that only drops requests changes the page at once
        return min(FOREVER, self.next_start_ns() + 1)
