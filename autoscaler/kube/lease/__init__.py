"""Which of several daemons acts: an election by a Lease of coordination.k8s.io, and what holds writes to it."""
