"""When each target is read, and the last value of each."""
