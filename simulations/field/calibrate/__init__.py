"""A profile of the user's own engine, from what it did: a log of its requests, or its metrics.

`python -m simulations.field.calibrate` (as `autoscaler calibrate`). Coefficients start from the profile that
comes closest and never beat the hardware's roofline; what they cannot explain is told as the residual.
"""
