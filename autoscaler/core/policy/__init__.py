"""The production policies: from demand, forecast and supply to a proposal.

One policy a file, and one line in `POLICIES`.
"""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.core.policy import candidates, economic, reactive
from autoscaler.core.policy.contract import Policy, PolicyInput, Proposal

POLICIES: Mapping[str, Policy] = {
    candidates.NAME: candidates.propose,
    economic.NAME: economic.propose,
    reactive.NAME: reactive.propose,
}

__all__ = ["POLICIES", "Policy", "PolicyInput", "Proposal"]
