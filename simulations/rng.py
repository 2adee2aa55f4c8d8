"""Named streams of randomness: one seed, one stream per subsystem.

A stream depends on the seed and its name alone, never on what others drew: adding a fault moves no
arrival, and a policy that starts more replicas does not change how long the first one takes.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, name: str) -> np.random.Generator:
    """The generator called `name` under `seed`; the same for the same pair."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
