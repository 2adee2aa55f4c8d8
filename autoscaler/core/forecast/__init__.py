"""The forecast of offered load over the cold start and ten minutes more.

A handful of simple experts (`experts.registry`) each name a baseline: the demand there would be if
nothing changed. How far demand strayed from each baseline, a given time ahead, is kept as histograms
in which the past fades (`residuals`). The experts are weighed by their own past errors, and baselines,
histograms and weights together are a distribution of the demand to come (`distribution`). `learn` once
a tick, then `forecast`.
"""

from autoscaler.core.forecast.distribution import Forecast
from autoscaler.core.forecast.experts.registry import FORECASTERS
from autoscaler.core.forecast.learning import (
    ForecastMemory,
    ForecastScores,
    forecast,
    learn,
    scores,
)

__all__ = [
    "FORECASTERS",
    "Forecast",
    "ForecastMemory",
    "ForecastScores",
    "forecast",
    "learn",
    "scores",
]
