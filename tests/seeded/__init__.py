"""The whole daemon in simulated time, against a cluster whose faults are drawn from a seed: see README.md."""
