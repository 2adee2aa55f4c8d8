"""How each cloud says, on the machine itself, that it will be taken away: one file a cloud, one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from autoscaler.agent.dialects import aws, azure, gce
from autoscaler.agent.dialects.contract import MetadataService, Terms

DIALECTS: Mapping[str, Callable[[Terms], MetadataService]] = {
    "aws": aws.AwsMetadata,
    "gce": gce.GceMetadata,
    "azure": azure.AzureMetadata,
}
"""By the word of `--provider`."""
