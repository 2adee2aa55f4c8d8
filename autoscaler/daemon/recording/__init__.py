"""The recording: written by the daemon, read by `autoscaler replay`."""
