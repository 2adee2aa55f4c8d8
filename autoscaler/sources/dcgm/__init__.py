"""GPUs, as dcgm-exporter has them: who holds their memory, which are free, which can carry nothing.

What these series are not: a load signal (vLLM takes 92 % of a card at start, whatever the load).

`page` reads rows into devices, `health` judges a device, `account` puts the devices of all exporters
together into what is known of a pod and of a node.
"""

from autoscaler.sources.dcgm.account import GpuAccount, account
from autoscaler.sources.dcgm.page import NAMES, DcgmReading, GpuDevice, follow, read

__all__ = ["NAMES", "DcgmReading", "GpuAccount", "GpuDevice", "account", "follow", "read"]
