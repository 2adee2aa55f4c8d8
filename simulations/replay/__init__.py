"""One run: a trace through a policy, in a simulated world."""
