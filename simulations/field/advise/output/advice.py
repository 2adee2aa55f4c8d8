"""One model's advice, as data: what it rests on, what each policy came to, what to believe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from simulations.field.advise.figures import Breach, Comparison
from simulations.field.advise.profile_choice import ProfileChoice
from simulations.field.advise.starts import MeasuredStart
from simulations.results.scorecard import Score
from simulations.results.text import rounded

SCHEMA = "autoscaler.advise/v1"
MONTH_H = 730.0
EQUAL_RATIO = 0.001
"""Attainments closer than this are called equal."""
BELIEVED_RATIO, ROUGH_RATIO = 0.15, 0.35
"""Largest error of a mean latency up to which the replay is believed, or called rough. A measured
vLLM's own speed wanders by up to a quarter between equal runs."""
JUDGED = ("ttft_mean", "tpot_mean", "e2e_mean")

_ROW = (
    *("policy", "requests", "completed", "aborted", "lost", "gpu_hours", "cost_usd", "attainment"),
    *("ttft_s", "tpot_s", "replicas", "starts", "flaps", "worst_5min_attainment"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Everything that is told about one model."""

    model_name: str
    namespace: str | None
    deployment: str | None
    """As its pods' names tell it."""
    since: float
    until: float
    """Seconds since 1970."""
    hours: float
    """Of the span that are known and count: replayed, or stood for by a day that is."""
    replayed_hours: float
    extrapolated: bool
    holes_s: Sequence[Sequence[int]]
    requests: float
    """Captured."""
    choice: ProfileChoice
    start: MeasuredStart
    notes: Sequence[str]
    """What else was found or assumed."""
    replicas_max: int
    objective: str
    attainment_ratio: float
    ttft_s: float
    tpot_s: float
    """What the engine was told of the objective: that of the median request."""
    in_flight_target: float
    """And of a replica: requests in flight, from a load test on this traffic."""
    now: Score
    """What scales it now, else the recorded replicas."""
    recorded: Score
    ours: Score
    breaches: Sequence[Breach]
    """Shares of now, and ours."""
    compared: Sequence[Comparison]

    @property
    def name(self) -> str:
        """`namespace/model`."""
        return f"{self.namespace}/{self.model_name}" if self.namespace else self.model_name

    @property
    def saving_usd(self) -> float:
        """What now costs more than ours; negative: less."""
        return self.now.cost_usd - self.ours.cost_usd

    @property
    def saving_ratio(self) -> float:
        """Of what now costs."""
        return self.saving_usd / self.now.cost_usd if self.now.cost_usd > 0 else 0.0

    @property
    def error_max(self) -> float | None:
        """Largest error of a mean latency; None: none was recorded.

        Relative to the record, but to a quarter of what is owed at least: where a first token is owed
        in a second, whether it took 60 ms or 100 changes nothing.
        """
        least = {"ttft_mean": self.ttft_s / 4, "tpot_mean": self.tpot_s / 4, "e2e_mean": 0.0}
        errors = [
            abs(c.replayed - c.recorded) / max(c.recorded, least[c.name])
            for c in self.compared
            if c.name in JUDGED and c.recorded and c.replayed is not None
        ]
        return max(errors) if errors else None

    def breached(self, which: int) -> list[Breach]:
        """The minutes of policy 0 (now) or 1 (ours)."""
        return [breach for breach in self.breaches if breach.shares[which] < self.attainment_ratio]

    def to_json(self) -> dict[str, object]:
        """In the published schema."""
        return {
            "namespace": self.namespace,
            "model": self.model_name,
            "deployment": self.deployment,
            "profile": {
                "name": self.choice.profile.name,
                "guessed": self.choice.guessed,
                "why": self.choice.explanation,
                "usd_per_hour": self.choice.profile.usd_per_hour,
            },
            "cold_start": {"mean_s": self.start.cold_start.mean_s, "why": self.start.explanation},
            "since": utc_text(self.since),
            "until": utc_text(self.until),
            "hours": round(self.hours, 6),
            "replayed_hours": round(self.replayed_hours, 6),
            "extrapolated": self.extrapolated,
            "holes": [
                [utc_text(self.since + first), utc_text(self.since + last)]
                for first, last in self.holes_s
            ],
            "requests": round(self.requests),
            "objective": self.objective,
            "attainment_ratio": self.attainment_ratio,
            "replicas_max": self.replicas_max,
            "in_flight_target": self.in_flight_target,
            "notes": list(self.notes),
            "now": _row(self.now),
            "as_recorded": _row(self.recorded),
            "inference_aware": _row(self.ours),
            "saving_usd": round(self.saving_usd, 6),
            "saving_ratio": round(self.saving_ratio, 6),
            "breached_minutes": [
                {
                    "at": utc_text(breach.at),
                    "requests": breach.requests,
                    "now": rounded(breach.shares[0]),
                    "inference_aware": rounded(breach.shares[1]),
                }
                for breach in self.breaches
            ],
            "replay_error": {c.name: rounded(c.error) for c in self.compared},
            "recorded": {c.name: rounded(c.recorded) for c in self.compared},
            "replayed": {c.name: rounded(c.replayed) for c in self.compared},
        }


def _row(score: Score) -> dict[str, object]:
    """What of a score is told, with the names of a row of `autoscaler.simulate/v1`."""
    row = score.to_json()
    return {name: row[name] for name in _ROW}


def utc_text(at: float) -> str:
    """RFC 3339, UTC, whole seconds."""
    return datetime.fromtimestamp(round(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
