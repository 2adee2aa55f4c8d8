"""The baselines against the recorded decisions of the real controllers they stand for."""
