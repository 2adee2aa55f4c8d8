"""How old a sample may be and still be believed."""

from __future__ import annotations

import numpy as np

from autoscaler.core.contract.state import FloatArray, ReplicaColumns

_INTERVALS = 2.5
"""Of whoever reads it for us: one of its scrapes may be lost, and half of one is ingestion's lag."""
_AGE_S_MAX = 300.0
"""However rarely it is read; what is older says nothing of now."""


def sample_age_s_max(replicas: ReplicaColumns, *, asked_s: float) -> FloatArray:
    """Return the greatest age for each replica: as asked, more where its samples come rarely.

    A Prometheus that scrapes every minute has samples of 65 s on one tick in twelve; with a limit of 60 s
    each of these would be blind. Its interval is seen, so the limit follows it.

    Args:
        replicas: With the interval of their samples, where somebody else takes them.
        asked_s: Of the specification.
    """
    seen = np.minimum(_INTERVALS * replicas.sample_interval_s, _AGE_S_MAX)
    return np.asarray(np.fmax(asked_s, seen), dtype=np.float64)  # a NaN is no interval
