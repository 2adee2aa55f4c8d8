"""One trace: what the engine that ran on it says of others, beside what these cost and attained in the replay.

The engine knows nothing of the first minutes, so means are held against each other: replicas over the time, and shares of
the requests. The objective is to be the same for all requests, as a resource's is: the engine is told one number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autoscaler.core.contract.decision import Outcome
from autoscaler.core.contract.events import Event
from autoscaler.core.contract.hindsight import HindsightPolicy, WindowHindsight
from simulations.peers.baseline import BaselineSetting, TargetView
from simulations.replay.conditions import Conditions
from simulations.replay.engine_loop import ENGINE_POLICIES
from simulations.replay.replay import run
from simulations.results.scorecard import score
from simulations.traces.trace import Trace

SEED = 0


class StaticSize:
    """So many replicas, whatever comes."""

    sync_s = 3600.0

    def __init__(self, setting: BaselineSetting, *, replicas: int) -> None:
        """Of this size, within the run's bounds."""
        self.initial_replicas = min(max(replicas, setting.replicas_min), setting.replicas_max)

    def sync(self, view: TargetView) -> int | None:
        """Leave it."""
        del view
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class HindsightRow:
    """One policy on one trace."""

    trace: str
    policy: str
    replicas: float
    """Mean of those paid for, as hindsight has it."""
    replayed_replicas: float
    """The same in the replay of the policy itself."""
    attained: float | None
    """Share of the requests, as hindsight has it; of the engine, by its histograms. None: it does not say."""
    replayed_attained: float
    foretold: float | None = None
    """Of the engine: what the play says of the fleet that ran."""
    covered_ratio: float
    """Of the trace: the time that hindsight speaks of."""
    size: int | None = None
    """Of the static fleet: what hindsight chose."""
    replayed_size: int | None = None
    """The smallest that keeps the objective in the replay; None: none within the bounds does."""

    @property
    def cost_error_ratio(self) -> float:
        """Above zero: hindsight finds it too dear."""
        return self.replicas / self.replayed_replicas - 1.0

    @property
    def attained_error(self) -> float | None:
        """Above zero: hindsight finds it too good."""
        return None if self.attained is None else self.attained - self.replayed_attained


def study(trace: Trace, conditions: Conditions) -> list[HindsightRow]:
    """Replay a trace under the engine, and then under what its hindsight speaks of; empty: it told nothing.

    Args:
        trace: of at most a week.
        conditions: load-tested on it, and with its maximum.
    """
    told: list[WindowHindsight] = []

    def hear(_: Event, outcome: Outcome) -> None:
        for decision in outcome.decisions:
            if decision.hindsight:
                told[:] = [decision.hindsight[-1]]

    def replayed(policy: str, size: int | None = None) -> tuple[float, float]:
        made = run(
            trace,
            policy,
            seed=SEED,
            conditions=conditions,
            make=None if size is None else StaticSize,
            parameters={} if size is None else {"replicas": size},
            listeners=[hear] if policy == ENGINE_POLICIES[0] else [],
        )
        row = score(made)
        return row.replicas_mean, row.attainment

    ours = replayed(ENGINE_POLICIES[0])
    rows = []
    for window in told:
        for each in window.policies:
            own = each.policy is HindsightPolicy.OWN
            replicas, attained = ours if own else replayed(str(each.policy), each.replicas)
            smallest = None
            if each.replicas is not None:
                objective = conditions.objective.attainment_ratio
                sizes = _sizes(conditions)
                smallest = next(
                    (size for size in sizes if replayed("static", size)[1] >= objective), None
                )
            rows.append(
                HindsightRow(
                    trace=trace.name,
                    policy=str(each.policy),
                    replicas=each.replica_s / window.covered_s,
                    replayed_replicas=replicas,
                    attained=each.attained_ratio,
                    replayed_attained=attained,
                    foretold=window.foretold_ratio if own else None,
                    covered_ratio=window.covered_s / (trace.end_ns / 1e9),
                    size=each.replicas,
                    replayed_size=smallest,
                )
            )
    return rows


def _sizes(conditions: Conditions) -> Iterator[int]:
    yield from range(1, conditions.replicas_max + 1)
