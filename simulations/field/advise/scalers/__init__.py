"""What scales the models now: read from manifests, and run as a policy."""
