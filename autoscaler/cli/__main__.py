"""`python -m autoscaler.cli`."""

from autoscaler.cli import main

main()
