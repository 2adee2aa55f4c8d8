"""What happens in the demo: machines, the load and the reclaim.

The Deployments and the daemon's resource are `deployment.yaml` and `resource.yaml` beside this file.

Accelerated where a cluster is slow (a cold start of seconds, a short notice), real in all else. Small
enough for two cores: some six servers, of four requests at a time each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

import simulations
from autoscaler.errors import SettingsError
from simulations.box.local_cluster.machines.nodes import ClusterDelays, Machine
from simulations.serving.profiles.profiles import PROFILES, Profile

NAMESPACE = "serving"
MODEL = "llama"
PORT = 8000

MACHINES = (
    Machine(name="on-demand-1", gpus=4),
    Machine(name="spot-1", spot=True, gpus=2),
    Machine(name="spot-2", spot=True, gpus=2),
)
DELAYS = ClusterDelays(
    orphans_gone_after_s=1.0,
    endpoints_after_s=0.5,
    restart_after_s=1.0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The course of events, in seconds since the load began."""

    ramps: int = 3
    ramp_s: float = 18.0
    """From the beginning of one ramp to that of the next."""
    rate_low_per_s: float = 0.7
    rate_high_per_s: float = 10.0
    reclaim_at_s: float = 24.0
    """In the middle of the second ramp."""
    notice_s: float = 13.0
    """From the notice to the machine's end. Clouds give 30 to 120 s; requests here take two."""
    returns_after_s: float = 3.0
    """From the machine's end to another spot machine."""

    @property
    def seconds(self) -> float:
        """How long requests are sent."""
        return self.ramps * self.ramp_s

    def rate_per_s(self, at_s: float) -> float:
        """Each ramp rises for 45 % of its time, holds for 15 %, falls for 10 %, and rests."""
        share = at_s % self.ramp_s / self.ramp_s
        if share < 0.45:
            height = share / 0.45
        elif share < 0.6:
            height = 1.0
        else:
            height = max(0.0, 1.0 - (share - 0.6) / 0.1)
        return self.rate_low_per_s + height * (self.rate_high_per_s - self.rate_low_per_s)

    def phase(self, at_s: float) -> str:
        """For people."""
        if at_s >= self.seconds:
            return "the last answers"
        return f"ramp {int(at_s // self.ramp_s) + 1} of {self.ramps}"


RESOURCE_FILE = Path(__file__).with_name("resource.yaml")
"""What the daemon is asked for: its configuration."""
_RESOURCE = yaml.safe_load(RESOURCE_FILE.read_text(encoding="utf-8"))["spec"]
_OBJECTIVE = _RESOURCE["objective"]
TTFT_S = _OBJECTIVE["timeToFirstTokenMilliseconds"] / 1000.0
TPOT_S = _OBJECTIVE["timePerOutputTokenMilliseconds"] / 1000.0
ATTAINMENT = float(_OBJECTIVE["attainmentPercent"]) / 100.0
PRICES_USD_PER_HOUR = {p["name"]: float(p["priceUSDPerHour"]) for p in _RESOURCE["pools"]}
"""Of a replica, by capacity type, which is how the pools are named."""


def profile() -> Profile:
    """What one server here can do."""
    requests_max = _RESOURCE["targets"]["inFlightRequestsPerReplica"]
    return replace(PROFILES["llama-3.1-8b/1xL40S"], requests_max=requests_max)


def cost_usd(paid_s: Mapping[str, float]) -> float:
    """The price of replicas' seconds, by capacity type."""
    return sum(PRICES_USD_PER_HOUR[kind] * seconds / 3600.0 for kind, seconds in paid_s.items())


def manifests() -> list[dict[str, Any]]:
    """The drain hook and one Deployment a pool; the first replica is on demand."""
    hook = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "vllm-drain", "namespace": NAMESPACE},
        "data": {"drain.py": drain_script()},
    }
    text = Path(__file__).with_name("deployment.yaml").read_text(encoding="utf-8")
    on_demand, spot = (yaml.safe_load(text.replace("POOL", pool)) for pool in ("on-demand", "spot"))
    on_demand["spec"]["replicas"] = 1
    return [hook, on_demand, spot]


def drain_script() -> str:
    """The hook that `deploy/drain` ships: from a clone, or as it is packed with this package."""
    root = Path(simulations.__file__).resolve().parent
    for path in (root.parent / "deploy" / "drain" / "drain.py", root / "box" / "demo" / "drain.py"):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise SettingsError(
        "the demo needs the drain hook deploy/drain/drain.py; run it from a clone of the repository"
    )
