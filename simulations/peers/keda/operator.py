"""KEDA's operator: one trigger's failures, its answers to the HPA, and the loop that owns 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass

from simulations.peers.keda.scaled_object import ScaledObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What one evaluation of the trigger came to."""

    milli: int | None
    """What the HPA is answered, milli-units; None: an error, and the HPA holds."""
    active: bool
    failed: bool
    """The query failed, whatever stands in for it."""


class KedaOperator:
    """One ScaledObject in the operator's process."""

    def __init__(self, scaled: ScaledObject) -> None:
        """Without failures and never active."""
        self.scaled = scaled
        self.failures = 0
        """Consecutive failed evaluations, of the loop and of the HPA alike."""
        self._active_at: float | None = None
        self._cached: Evaluation | None = None

    def answer(self, value: float | None) -> Evaluation:
        """Answer an HPA's request with what the query just gave (None: it failed, also on retry).

        With cached metrics nothing is asked: the loop's last evaluation is the answer.
        """
        if self.scaled.use_cached_metrics and self._cached is not None:
            return self._cached
        return self._evaluate(value)

    def poll(self, value: float | None, *, at: float, replicas: int) -> int | None:
        """One pass of the loop; the replicas to write, or None."""
        self._cached = evaluation = self._evaluate(value)
        scaled = self.scaled
        if evaluation.active:
            self._active_at = at
            idles = scaled.idle_replicas is not None and replicas < scaled.floor
            return scaled.floor if replicas == 0 or idles else None
        if evaluation.failed:
            # with a fallback it waits for the threshold, without one it reports the error
            return None
        rest = self._rest()
        if rest is None or replicas <= rest:
            return None
        if self._active_at is not None and at <= self._active_at + scaled.cooldown_s:
            return None
        return rest

    def activates(self, value: float) -> bool:
        """Whether a value makes the target active: strictly above the threshold."""
        return value > self.scaled.activation_threshold

    def _rest(self) -> int | None:
        """What an inactive target is taken to; None: it is left to the HPA."""
        if self.scaled.idle_replicas is not None:
            return self.scaled.idle_replicas
        return 0 if self.scaled.min_replicas == 0 else None

    def _evaluate(self, value: float | None) -> Evaluation:
        scaled, fallback = self.scaled, self.scaled.fallback
        if value is not None:
            self.failures = 0
            return Evaluation(milli=round(value * 1000), active=self.activates(value), failed=False)
        self.failures += 1
        if fallback is None or self.failures <= fallback.failure_threshold:
            return Evaluation(milli=None, active=False, failed=True)
        stand_in = scaled.threshold * fallback.replicas
        return Evaluation(
            milli=round(stand_in * 1000), active=self.activates(stand_in), failed=True
        )
