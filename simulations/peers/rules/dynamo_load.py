"""NVIDIA Dynamo's planner in load mode (optimization target `throughput`): steps of one, every 5 s.

Per worker `u` = (KV tokens in use + those its queue will need) over what its cache holds. One more
where any `u` is above 1.0, one less where all are below 0.6 and there are two or more. It holds while
a scaling is in progress, and without metrics. Dynamo reads each forward pass of its own runtime; here
the queue's tokens are its requests times the mean prompt of the last five minutes.
"""

from __future__ import annotations

from simulations.peers.baseline import BaselineSetting, TargetView
from simulations.peers.sliding import TokenAverages

UP_USAGE = 1.0
DOWN_USAGE = 0.6
LENGTHS_WINDOW_S = 300.0


class DynamoLoad:
    """The planner's load-based loop over aggregated workers."""

    sync_s = 5.0

    def __init__(
        self,
        setting: BaselineSetting,
        *,
        up_usage: float = UP_USAGE,
        down_usage: float = DOWN_USAGE,
    ) -> None:
        """Thresholds of the easy mode's `throughput` target."""
        self.initial_replicas = setting.replicas_initial
        self._setting = setting
        self._usages = (up_usage, down_usage)
        self._kv_tokens = setting.profile.kv_blocks * setting.profile.block_tokens
        self._lengths = TokenAverages(LENGTHS_WINDOW_S)

    def sync(self, view: TargetView) -> int:
        """One pass."""
        return self.step(view, floor=self._setting.replicas_min)

    def step(self, view: TargetView, *, floor: int) -> int:
        """One pass above a floor."""
        pages = view.samples
        self._lengths.add(view.at, pages)
        now = view.spec_replicas
        workers = [pages[pod.name] for pod in view.ready if pod.name in pages]
        most = self._setting.replicas_max
        if len(workers) != now or not workers:
            return min(max(now, floor), most)
        prompt = self._lengths.prompt_tokens or 0.0
        usage = [
            page.kv_usage_ratio + page.waiting_requests * prompt / self._kv_tokens
            for page in workers
        ]
        up, down = self._usages
        if max(usage) > up:
            now += 1
        elif now > 1 and max(usage) < down:
            now -= 1
        return min(max(now, floor), most)
