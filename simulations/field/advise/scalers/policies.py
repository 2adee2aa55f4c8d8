"""What runs now, as a policy: the recorded replicas, a user's HPA, or their ScaledObject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulations.field.advise.signals import Signal
from simulations.peers.baseline import Baseline, BaselineSetting, TargetView
from simulations.peers.hpa.metrics import MetricReading
from simulations.peers.hpa.spec import HpaSpec, MetricKind
from simulations.peers.hpa.target import SYNC_S, TargetHpa, per_pod, total
from simulations.peers.keda.operator import KedaOperator
from simulations.peers.keda.scaled_object import ScaledObject, value_of


class RecordedReplicas:
    """The recorded replica counts as a policy; it also records the replay's gauges.

    The counts are of pods that served: whoever runs this gives replicas that are ready at once.
    """

    def __init__(self, counts: Sequence[int], *, step_s: float) -> None:
        """`counts[k]` from `k` steps after the start on."""
        self.sync_s = step_s
        self.initial_replicas = counts[0]
        self.seen: list[tuple[float, float, float]] = []
        """One entry a step: replicas that serve, requests that run on them, and that wait."""
        self._counts = counts
        self._synced = 0

    def __call__(self, setting: BaselineSetting) -> Baseline:
        """The policy itself: it needs nothing of the setting."""
        del setting
        return self

    def sync(self, view: TargetView) -> int:
        """The count that was recorded at this step."""
        self._synced += 1
        pages = view.samples.values()
        running = sum(page.running_requests for page in pages)
        waiting = sum(page.waiting_requests for page in pages)
        self.seen.append((float(len(view.ready)), float(running), float(waiting)))
        return self._counts[min(self._synced, len(self._counts) - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class HpaAsWritten:
    """An HPA of the cluster: makes its baseline."""

    spec: HpaSpec
    signals: tuple[Signal, ...]
    """One for each metric of the spec."""

    def __call__(self, setting: BaselineSetting) -> Baseline:
        """For one run."""
        return _RunningHpa(self, first=setting.replicas_initial)


class _RunningHpa:
    sync_s = SYNC_S

    def __init__(self, written: HpaAsWritten, *, first: int) -> None:
        self.initial_replicas = first
        self._written = written
        self._hpa = TargetHpa(written.spec)

    def sync(self, view: TargetView) -> int:
        """One sync of the controller on the last scrape."""
        count = len(self._written.signals)
        return self._hpa.sync(view, *(self._reading(view, number) for number in range(count)))

    def _reading(self, view: TargetView, number: int) -> MetricReading:
        signal = self._written.signals[number]
        if self._written.spec.metrics[number].kind is MetricKind.PODS:
            return per_pod({pod: signal.of(page) for pod, page in view.samples.items()})
        value = signal.over(list(view.samples.values()))
        return MetricReading() if value is None else total(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledObjectAsWritten:
    """A ScaledObject of the cluster: makes its baseline."""

    spec: HpaSpec
    """Of the HPA that KEDA makes of it."""
    triggers: tuple[tuple[ScaledObject, Signal], ...]

    def __call__(self, setting: BaselineSetting) -> Baseline:
        """For one run."""
        return _RunningKeda(self, first=setting.replicas_initial)


class _RunningKeda:
    sync_s = SYNC_S

    def __init__(self, written: ScaledObjectAsWritten, *, first: int) -> None:
        self.initial_replicas = first
        self._triggers = [(KedaOperator(scaled), signal) for scaled, signal in written.triggers]
        self._hpa = TargetHpa(written.spec)
        self._polled_at: float | None = None

    def sync(self, view: TargetView) -> int:
        """KEDA's own loop where it plays a part, else one sync of the HPA on what it answers."""
        pages = list(view.samples.values())
        values = [
            value_of(signal.over(pages), ignore_null_values=operator.scaled.ignore_null_values)
            for operator, signal in self._triggers
        ]
        operator = self._triggers[0][0]
        due = self._polled_at is None or view.at - self._polled_at >= operator.scaled.polling_s
        if operator.scaled.polls and due:
            self._polled_at = view.at
            written = operator.poll(values[0], at=view.at, replicas=view.spec_replicas)
            if written is not None:
                return written
        answers = [
            operator.answer(value)
            for (operator, _), value in zip(self._triggers, values, strict=True)
        ]
        return self._hpa.sync(
            view,
            *(
                MetricReading(values_milli=None if answer.milli is None else (answer.milli,))
                for answer in answers
            ),
        )
