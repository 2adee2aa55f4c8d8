"""Replicas that serve requests, as a fluid: enough for pages that a daemon can scale by.

Requests come at a rate that the seed draws and go in equal shares to the replicas that are routed to; each
runs `SLOTS` of them at a time, for `service_s` on average, and the others wait.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

SLOTS = 8.0
STEP_S = 1.0
PROMPT_TOKENS, OUTPUT_TOKENS = 400.0, 120.0


@dataclass(slots=True)
class Replica:
    """One engine's process; a new one begins with zero."""

    routed: bool = False
    running: float = 0.0
    waiting: float = 0.0
    finished: float = 0.0


@dataclass(slots=True)
class Load:
    """What is asked of one model: requests a second, from each moment on."""

    steps: list[tuple[float, float]]

    def rate(self, at: float) -> float:
        rate = 0.0
        for since, level in self.steps:
            if since > at:
                break
            rate = level
        return rate

    @classmethod
    def drawn(cls, rng: random.Random, *, until: float, peak: float) -> Load:
        """Levels of a minute or two: idle, ordinary, and bursts."""
        at, steps = 0.0, []
        while at < until:
            level = rng.choice((0.0, 0.2, 0.4, 0.6, 1.0)) * peak * rng.uniform(0.5, 1.0)
            steps.append((at, round(level, 3)))
            at += rng.uniform(40.0, 150.0)
        return cls(steps)


@dataclass(slots=True)
class ServedModel:
    """All replicas of one model."""

    load: Load
    service_s: float
    replicas: dict[str, Replica] = field(default_factory=dict)
    """By the pod's name."""
    held: float = 0.0
    """Requests before the router while there is no replica."""
    at: float = 0.0

    def advance(self, to: float) -> None:
        """Serve until this moment."""
        while self.at + STEP_S <= to:
            self._step()
            self.at += STEP_S

    def _step(self) -> None:
        self.held += self.load.rate(self.at) * STEP_S
        routed = [replica for replica in self.replicas.values() if replica.routed]
        for replica in routed:
            replica.waiting += self.held / len(routed)
        if routed:
            self.held = 0.0
        for replica in self.replicas.values():
            done = replica.running * min(1.0, STEP_S / self.service_s)
            replica.running -= done
            replica.finished += done
            begun = min(replica.waiting, SLOTS - replica.running)
            replica.running += begun
            replica.waiting -= begun


def page_of(replica: Replica, model: str) -> str:
    """Its `/metrics`, as vLLM writes the series that matter."""
    labels = f'engine="0",model_name="{model}"'
    finished = int(replica.finished)
    return (
        "# TYPE vllm:num_requests_running gauge\n"
        f"vllm:num_requests_running{{{labels}}} {round(replica.running)}.0\n"
        "# TYPE vllm:num_requests_waiting gauge\n"
        f"vllm:num_requests_waiting{{{labels}}} {round(replica.waiting)}.0\n"
        "# TYPE vllm:kv_cache_usage_perc gauge\n"
        f"vllm:kv_cache_usage_perc{{{labels}}} {replica.running / SLOTS / 1.5:.4f}\n"
        "# TYPE vllm:request_success_total counter\n"
        f'vllm:request_success_total{{{labels},finished_reason="stop"}} {finished}.0\n'
        "# TYPE vllm:prompt_tokens_total counter\n"
        f"vllm:prompt_tokens_total{{{labels}}} {finished * PROMPT_TOKENS}\n"
        "# TYPE vllm:generation_tokens_total counter\n"
        f"vllm:generation_tokens_total{{{labels}}} {finished * OUTPUT_TOKENS}\n"
        "# TYPE vllm:num_preemptions_total counter\n"
        f"vllm:num_preemptions_total{{{labels}}} 0.0\n"
    )
