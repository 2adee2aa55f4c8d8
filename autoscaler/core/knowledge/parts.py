"""The parts of a model's knowledge, in the order in which they are put back: what a later one needs comes first."""

from __future__ import annotations

from collections.abc import Mapping

from autoscaler.core.forecast.experts.registry import FORECASTERS
from autoscaler.core.forecast.ramp import EDGES
from autoscaler.core.forecast.residuals import LEADS_S, PLACES
from autoscaler.core.knowledge import attainment, demand, forecast, rules, supply
from autoscaler.core.knowledge.part import KnowledgePart

_FORECAST = (LEADS_S, tuple(FORECASTERS), tuple(PLACES))

PARTS: Mapping[str, KnowledgePart] = {
    "cold-starts": KnowledgePart(
        supply.pack_starts, supply.put_back_starts, (), needs_target=False
    ),
    "service-time": KnowledgePart(
        demand.pack_service, demand.put_back_service, (), needs_target=False
    ),
    "carried": KnowledgePart(demand.pack_carried, demand.put_back_carried, (), needs_target=True),
    "capacity": KnowledgePart(
        rules.pack_capacity, rules.put_back_capacity, rules.LAYOUT, needs_target=True
    ),
    "choice": KnowledgePart(
        rules.pack_choice, rules.put_back_choice, rules.LAYOUT, needs_target=True
    ),
    "peaks": KnowledgePart(rules.pack_peaks, rules.put_back_peaks, rules.LAYOUT, needs_target=True),
    "fleets": KnowledgePart(
        rules.pack_fleets, rules.put_back_fleets, rules.LAYOUT, needs_target=True
    ),
    "residuals": KnowledgePart(
        forecast.pack_residuals, forecast.put_back_residuals, _FORECAST, needs_target=True
    ),
    "load": KnowledgePart(forecast.pack_load, forecast.put_back_load, (), needs_target=True),
    "ramp": KnowledgePart(
        forecast.pack_ramp, forecast.put_back_ramp, (tuple(EDGES),), needs_target=True
    ),
    "drains": KnowledgePart(supply.pack_drains, supply.put_back_drains, (), needs_target=False),
    "budgets": KnowledgePart(
        attainment.pack_budgets, attainment.put_back_budgets, attainment.LAYOUT, needs_target=True
    ),
}

ROUGHENED = ("budgets", "residuals", "peaks")
"""Written roughly in this order where all of them would not fit."""
LEAST_WORTH = ("budgets", "drains", "ramp", "fleets", "load", "residuals", "peaks")
"""Left out in this order where that is not enough; the others always fit."""
