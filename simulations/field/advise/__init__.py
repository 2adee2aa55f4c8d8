"""What it would be worth: a Prometheus in, cost and attainment of now and of ours out.

Reads only: a Prometheus, and a cluster's HPAs and ScaledObjects where it is told to. What was recorded
is replayed too, and the replay's error on it is shown beside every figure that rests on the replay.
"""
