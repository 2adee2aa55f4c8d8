"""Many runs: side by side, swept over settings, held against bounds."""
