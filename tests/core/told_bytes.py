"""Prints a digest of all that an engine says in a story with a budget, two models and a lost spot node.

Run in processes with different hash seeds: `python -m tests.core.told_bytes`.
"""

from __future__ import annotations

import hashlib
import json

from autoscaler.core.contract.codec import to_builtins
from autoscaler.core.contract.decision import Outcome
from autoscaler.core.engine import EngineSettings, build_engine
from tests.builders import (
    ON_DEMAND,
    group,
    model,
    notice,
    observed,
    on_demand,
    seen,
    specified,
    spot,
)


def tell() -> str:
    """The digest."""
    one = model("one", pools=[on_demand("o1"), spot("s1")], warm=1, warm_on=ON_DEMAND, priority=1)
    two = model("two", pools=[on_demand("o2"), spot("s2")], warm=1, warm_on=ON_DEMAND)
    engine = build_engine(EngineSettings())
    engine.handle(specified(one, two, gpu_budget=9))
    digest = hashlib.sha256()
    for tick in range(60):
        at = 5.0 * tick
        doomed = [notice("n1", deadline_at=250.0, noticed_at=100.0), notice("n2", deadline_at=240.0, noticed_at=100.0)]  # fmt: skip
        event = observed(
            *(
                seen(
                    spec,
                    group(names[0], ready=1, running=30.0 + tick % 7),
                    group(names[1], ready=1, node="n1", running=40.0 - tick % 5, name="a"),
                    group(names[1], ready=2, node="n2", running=20.0 + tick % 3, name="b"),
                )
                for spec, names in ((one, ("o1", "s1")), (two, ("o2", "s2")))
            ),
            at=at,
            id=tick + 1,
            interruptions=doomed if tick > 20 else [],
        )
        digest.update(json.dumps(to_builtins(engine.handle(event), Outcome)).encode())
    digest.update(json.dumps(engine.checkpoint()).encode())
    return digest.hexdigest()


if __name__ == "__main__":
    print(tell())
