"""What the simulations cost: `python -m simulations.studies.benchmark`, CPU time and memory on this machine.

Every row is measured in a process of its own, so that its memory is its own.
"""
