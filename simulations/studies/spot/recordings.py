"""What the study replays: recorded spot markets, and recorded traffic."""

from __future__ import annotations

from dataclasses import dataclass

from simulations.replay.conditions import LEADS_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """One recording of a spot market."""

    name: str
    spec: str
    """Below the folder of traces."""
    lead_s: float
    """That its cloud gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """One recording of requests, at a size that needs about 32 replicas at its peak."""

    name: str
    spec: str
    profile: str
    scale: float


MARKETS = (
    Market(name="bamboo-aws", spec="spot/bamboo_aws_p3.csv.gz", lead_s=LEADS_S["aws"]),
    Market(name="bamboo-gcp", spec="spot/bamboo_gcp_v100_us-east1-c.csv.gz", lead_s=LEADS_S["gcp"]),
    # three zones, one of which never had a machine
    Market(
        name="toad-gcp-v100",
        spec="spot/toad_gcp_2020-03-01.csv.gz,gpu=v100,machines=16",
        lead_s=LEADS_S["gcp"],
    ),
    Market(
        name="toad-gcp-p100",
        spec="spot/toad_gcp_2020-03-01.csv.gz,gpu=p100,machines=16",
        lead_s=LEADS_S["gcp"],
    ),
    # four zones, each there while it costs at most about what it costs on average
    Market(
        name="toad-aws-prices",
        spec="spot/toad_aws_spot_prices_us-east-1.csv.gz,instance_type=p3.2xlarge,bid=0.96,machines=16",
        lead_s=LEADS_S["aws"],
    ),
)
TRAFFIC = (
    Traffic(
        name="t48-office",
        spec="windows/servegen_m-large_d00-08_windows.csv.gz,tenant=48,from=6d,days=1",
        profile="llama-3.3-70b/4xH100",
        scale=14.0,
    ),
    Traffic(
        name="t153-levels",
        spec="windows/servegen_m-large_d00-08_windows.csv.gz,tenant=153,from=6d,days=1",
        profile="qwen3-14b/1xH100",
        scale=3.5,
    ),
)
