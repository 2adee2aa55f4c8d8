"""The forecast of offered load over the cold start and ten minutes more.

One forecaster a file (`registry.FORECASTERS`); their levels, weighed by their own errors, carry
decayed histograms of residuals (`residuals`), and together they are a distribution
(`distribution`). `learn` once a tick, then `forecast`.
"""

from autoscaler.core.forecast.distribution import Forecast
from autoscaler.core.forecast.experts.registry import FORECASTERS
from autoscaler.core.forecast.learning import ForecastMemory, Scores, forecast, learn, scores

__all__ = ["FORECASTERS", "Forecast", "ForecastMemory", "Scores", "forecast", "learn", "scores"]
