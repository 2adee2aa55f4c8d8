"""The model of stories about spot that is taken back, and what is written for it."""

from __future__ import annotations

from autoscaler.core.contract.spec import ModelSpec
from tests.builders import ON_DEMAND, model, on_demand, spot

POOLS = [on_demand(), spot()]
SINCE = "1970-01-01T00:01:40Z"


def fleet(**what) -> ModelSpec:
    """A warm replica on demand, the rest on spot, a cold start of a minute."""
    return model(pools=POOLS, warm=1, warm_on=ON_DEMAND, cold_start_s=60.0, **what)


def annotation(*entries: tuple[str, int], since: str = SINCE) -> str:
    """The command that promises so many replicas for each node, as `in_words` tells it."""
    parts = [f'{{"node":"{n}","replicas":{r},"since":"{since}"}}' for n, r in entries]
    return f"Annotate on-demand [{','.join(parts)}]"
