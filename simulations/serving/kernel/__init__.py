"""The compiled kernel: the whole fleet in arrays, equal to the reference to the nanosecond.

Needs numba (`pip install inference-autoscaler[simulate]`). The rules are stated in `reference`, the
method in `replica`; here the same is done without a Python object per request. `fleet` is the door.
"""
