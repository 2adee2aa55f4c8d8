"""What the simulations cost: `python -m simulations.studies.benchmark`, CPU time and memory on this machine.

Every row is measured in a process of its own, so that its memory is its own.
"""

from simulations.studies.benchmark.traffic import FAMILIES, SHARED_BLOCKS, conversations

__all__ = ["FAMILIES", "SHARED_BLOCKS", "conversations"]
