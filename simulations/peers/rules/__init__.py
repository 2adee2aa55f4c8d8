"""The autoscalers to beat: one file each, and one line each in `registry.BASELINES`."""
