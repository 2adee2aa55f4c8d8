"""How often Python looks for garbage that refers to itself: seldom through everything.

A collection of the oldest generation walks every object that is kept: 0.3 s for the samples of 5,000 pods, in
which nothing else is done. By default one comes whenever those kept have grown by a quarter, every second
while pages are read. Hardly anything of ours refers to itself (exceptions with their frames do, and those are
found young), so it may come seldom.
"""

from __future__ import annotations

import gc

YOUNGEST = 500
"""Containers made and not freed, after which the youngest are looked through. Python's own is 700. What is looked
through is mostly samples, whose every number is far away in memory: 2.5 us each. With 2,000, and ten such
collections, the longest turns of the event loop at 5,000 pods were those (63 ms, and 27 ms with 500)."""
YOUNG = 10
"""Such collections before those that survived them are looked through too: 5,000 containers, some ten milliseconds."""
EVERYTHING = 10_000
"""Of those, before everything is: fifty million containers, which 5,000 pods make in about a quarter of an hour."""


def seldom_look_through_everything() -> None:
    """Let what there is by now stay for good, and look through everything seldom from here on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNGEST, YOUNG, EVERYTHING)
