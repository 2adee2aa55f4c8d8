"""What is left of a value once it was written down and read back."""

from __future__ import annotations

import json
from typing import Any

from autoscaler.core.contract.codec import from_builtins, to_builtins


def through_json(value: Any, kind: Any = None) -> Any:
    """Write a value as `kind` (its class, unless that is one of a union), and read it back."""
    kind = kind or type(value)
    return from_builtins(json.loads(json.dumps(to_builtins(value, kind), allow_nan=False)), kind)
