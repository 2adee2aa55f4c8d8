"""The shell: one loop around the pure core."""
