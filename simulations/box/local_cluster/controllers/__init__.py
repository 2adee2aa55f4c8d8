"""What acts on the objects by itself: scheduler, workloads, the Service."""
