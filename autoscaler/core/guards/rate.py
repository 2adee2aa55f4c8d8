"""Rate: the scaling policies of an explicit `behavior`, exactly as HPA has them.

Without a `behavior` there is no limit: a rate that is right for a web server starves a model whose
replicas take minutes to load. Reads the rescales that were accepted; the engine remembers them.
"""

from __future__ import annotations

from autoscaler.core.contract.reasons import Reason
from autoscaler.core.guards.contract import Verdict
from autoscaler.core.hpa import limit_rate
from autoscaler.core.memory import ModelMemory
from autoscaler.core.pools.replica_count import ReplicaCount, with_stand_ins
from autoscaler.core.pools.situation import Situation


def adjust(situation: Situation, count: ReplicaCount, memory: ModelMemory, /) -> Verdict | None:
    """Bound a change by the policies of its direction."""
    behavior = situation.spec.behavior
    if behavior is None:
        return None
    limited = limit_rate(
        memory.hpa,
        at=situation.at,
        current=situation.serving_replicas,
        proposal=count.serving,
        up=behavior.scale_up,
        down=behavior.scale_down,
    )
    if limited.replicas == count.serving:
        return None
    return Verdict(
        with_stand_ins(situation, limited.replicas),
        Reason(limited.reason),
        f"the behavior allows {limited.replicas} now, from {situation.serving_replicas}",
    )
