"""Odd stories by number: a specification and a sequence of observations in which anything may be.

Replicas in every state, clocks that stand still, samples and cluster states that are old, nodes that are
doomed, gone or cordoned, promises that stand, targets that cannot be read, writes that end in every way. The
policy's number is drawn too (None: the production policy speaks).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from autoscaler.core.contract.events import Observed
from autoscaler.core.contract.spec import (
    Behavior,
    ForecastMode,
    ModelSpec,
    Pause,
    PoolSpec,
    SelectPolicy,
)
from autoscaler.core.contract.state import Interruption
from tests.builders import (
    MIXED,
    ON_DEMAND,
    SPOT,
    UNKNOWN,
    NodeRow,
    PoolNow,
    Row,
    group,
    lost,
    mixed,
    model,
    node,
    notice,
    observed,
    on_demand,
    promised,
    rules,
    seen,
    spot,
)
from tests.expect import POLICY_UNKNOWN

T = TypeVar("T")

BEGIN_AT = 1_000_000.0
NODES = {"o1": ON_DEMAND, "o2": ON_DEMAND, "s1": SPOT, "s2": SPOT}
POOLS: Sequence[Sequence[PoolSpec]] = [
    [on_demand()],
    [spot()],
    [mixed()],
    [on_demand(), spot()],
    [on_demand(), spot()],
    [spot(price=2.0), spot("spot-2", price=3.0), on_demand()],
    [mixed(), on_demand()],
]
BEHAVIORS = [
    None,
    None,
    None,
    Behavior(scale_down=rules(window=0)),
    Behavior(scale_down=rules(("Pods", 1, 30), window=60), scale_up=rules(("Pods", 2, 15))),
    Behavior(
        scale_up=rules(window=20, tolerance=0.2), scale_down=rules(select=SelectPolicy.DISABLED)
    ),
]
ENDS = ["Accepted", "Accepted", "Accepted", "Conflict", "DisruptionBudget", "Expired", ""]


@dataclass(frozen=True, kw_only=True)
class OddStory:
    spec: ModelSpec
    looks: Sequence[tuple[Observed, int | None]]
    """What is seen, and what the policy wants."""
    ends: Sequence[str]
    """How commands end, in turn; empty: nothing is heard of it."""
    gpu_budget: int


class Dice:
    """Draws by number."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def pick(self, *values: T) -> T:
        return self._random.choice(values)

    def count(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def some(self, values: Sequence[T], *, most: int) -> list[T]:
        return self._random.sample(list(values), self.count(0, most))

    def story(self) -> OddStory:
        spec = self._spec()
        at = BEGIN_AT
        looks = []
        for number in range(self.count(1, 6)):
            at += self.pick(0.0, 5.0, 5.0, 5.0, 60.0, 400.0)
            wants = self.pick(None, None, POLICY_UNKNOWN, 0, 1, 2, 4, 6, 99)
            looks.append((self._look(spec, at=at, number=100 * number + 100), wants))
        return OddStory(
            spec=spec,
            looks=looks,
            ends=[self.pick(*ENDS) for _ in range(self.count(1, 4))],
            gpu_budget=self.count(0, 12),
        )

    def shuffled(self, count: int) -> list[int]:
        order = list(range(count))
        self._random.shuffle(order)
        return order

    def _spec(self) -> ModelSpec:
        low = self.count(0, 3)
        high = self.count(max(low, 1), 8)
        return model(
            pools=self.pick(*POOLS),
            minimum=low,
            maximum=high,
            warm=self.count(0, min(2, high)),
            warm_on=self.pick(None, ON_DEMAND, SPOT),
            behavior=self.pick(*BEHAVIORS),
            cold_start_s=self.pick(20.0, 180.0),
            forecast=self.pick(*ForecastMode),
            pause=self.pick(Pause.NO, Pause.NO, Pause.NO, Pause.NO, Pause.SCALE_DOWN, Pause.ALL),
            fallback=self.pick(True, True, False),
        )

    def _groups(self, spec: ModelSpec) -> list[list[Row]]:
        return [
            self._group(pool, number) for pool in spec.pools for number in range(self.count(0, 2))
        ]

    def _group(self, pool: PoolSpec, number: int) -> list[Row]:
        kinds = [n for n, kind in NODES.items() if pool.capacity_type in {kind, MIXED}]
        return group(
            pool.name,
            ready=self.count(0, 3),
            starting=[self._age() for _ in range(self.pick(0, 0, 1, 2))],
            unschedulable=[self._age() for _ in range(self.pick(0, 0, 0, 1, 2))],
            deleting=self.pick(0, 0, 0, 1),
            node=self.pick(*kinds, "") if number else kinds[0],
            ready_age_s=self.pick(0.0, 10.0, 299.0, 300.0, 9000.0),
            sample_age_s=self.pick(0.0, 1.0, 1.0, 1.0, 1.0, 19.0, 21.0, UNKNOWN),
            running=self.pick(0.0, 3.0, 31.0, 64.0, UNKNOWN),
            waiting=self.pick(0.0, 0.0, 7.0, 200.0, UNKNOWN),
            kv_usage=self.pick(0.0, 0.5, 1.0, UNKNOWN),
            framebuffer_bytes=self.pick(UNKNOWN, 0.0, 5e9),
            name=str(number),
        )

    def _age(self) -> float:
        return self.pick(0.0, 30.0, 100.0, 500.0, 5000.0)

    def _marks(self, at: float) -> list[Interruption]:
        marks = []
        for name in self.some(list(NODES), most=self.pick(0, 0, 1, 2)):
            deadline_at = at + self.pick(-5.0, 5.0, 60.0, 400.0)
            mark = notice(name, deadline_at=deadline_at, noticed_at=at - 10.0)
            marks.append(self.pick(mark, lost(name, noticed_at=at)))
        return marks

    def _nodes(self) -> list[NodeRow]:
        return [
            node(
                name,
                kind,
                ready=self.pick(True, True, True, True, True, False),
                exists=self.pick(True, True, True, True, True, False),
                unschedulable=self.pick(True, False),
                cordoned_by_us=self.pick(True, False),
                marked_drained=self.pick(True, False),
                gpus_free=self.pick(UNKNOWN, 0.0, 1.0, 8.0),
            )
            for name, kind in NODES.items()
        ]

    def _look(self, spec: ModelSpec, *, at: float, number: int) -> Observed:
        owed = sorted(self.some(["s1", "s2", "o1", "old"], most=self.pick(0, 0, 1, 2)))
        pools = {
            pool.name: PoolNow(
                rolling_out=self.pick(False, False, False, False, False, True),
                gpus_per_replica=self.pick(0, 1, 4),
                promises=tuple(
                    promised(name, self.count(1, 3), since=at - 100.0)
                    for name in owed
                    if pool.capacity_type is ON_DEMAND
                ),
                promises_readable=bool(owed) or self.pick(True, True, True, False),
            )
            for pool in spec.pools
        }
        current = {
            pool.name: self.pick(0, 1, 3, 9, None)
            for pool in spec.pools
            if self.pick(False, False, False, True)
        }
        return observed(
            seen(spec, *self._groups(spec), current=current, pools=pools),
            at=at,
            id=number,
            nodes=self._nodes(),
            interruptions=self._marks(at),
            cluster_age_s=self.pick(0.0, 0.0, 0.0, 10.0, 31.0, UNKNOWN),
        )
