"""`python -m autoscaler.agent`: the agent without the rest of the command line, which is three times its size."""

from __future__ import annotations

import sys

from autoscaler.agent.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], program="python -m autoscaler.agent"))
