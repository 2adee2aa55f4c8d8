"""What GPUs cost a user, where the list prices are not theirs.

A file of prices is TOML, per hour of one GPU; a GPU that is not in it keeps its list price:

    [L40S]
    usd_per_hour = 1.20
    spot_usd_per_hour = 0.45

Or it is a recorded history of spot prices (see `spot_prices`): then spot costs what it cost at each
moment, per GPU.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from autoscaler.errors import SettingsError
from simulations.agenda import NS
from simulations.serving.profiles.hardware import GPUS
from simulations.serving.profiles.profiles import Profile
from simulations.traces.spec import split_spec
from simulations.world.market.spot_prices import SpotPrices, is_price_history, read_price_history

KEYS = ("usd_per_hour", "spot_usd_per_hour")


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedProfile(Profile):
    """A profile at prices that were given."""

    gpu_usd_per_hour: float
    gpu_spot_usd_per_hour: float

    @property
    def usd_per_hour(self) -> float:
        """Of the replica's GPUs, on demand."""
        return self.gpus * self.gpu_usd_per_hour

    @property
    def spot_usd_per_hour(self) -> float:
        """Of the replica's GPUs, spot."""
        return self.gpus * self.gpu_spot_usd_per_hour


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketProfile(PricedProfile):
    """A profile whose spot price moves; its flat spot price is the history's mean.

    The mean is what its user would write into the resource, and all that a policy is told.
    """

    spot_prices: SpotPrices


def priced(profile: Profile, spec: str | Path) -> Profile:
    """The profile at the prices of a file.

    Raises:
        SettingsError: It is no file of prices; with all that is wrong in it.
        TraceError: It is a history of prices, and something in it is wrong.
    """
    path, settings = split_spec(str(spec))
    listed = GPUS[profile.gpu]
    if path.is_file() and is_price_history(path):
        history = read_price_history(str(spec))
        series = history.of_gpu(listed.spot_usd_per_hour)
        return MarketProfile(
            **asdict(profile),
            gpu_usd_per_hour=history.on_demand_usd_per_hour or listed.usd_per_hour,
            gpu_spot_usd_per_hour=series.mean_usd_per_gpu_hour,
            spot_prices=series,
        )
    if settings:
        raise SettingsError(
            f"{spec}: only a history of prices has settings, and this is none; "
            "write the path alone, or name a readable history"
        )
    prices = read_prices(path).get(profile.gpu)
    if prices is None:
        return profile
    return PricedProfile(
        **asdict(profile),
        gpu_usd_per_hour=prices.get("usd_per_hour", listed.usd_per_hour),
        gpu_spot_usd_per_hour=prices.get("spot_usd_per_hour", listed.spot_usd_per_hour),
    )


def spot_usd(profile: Profile, *, from_ns: int, to_ns: int) -> float:
    """What a replica on spot costs between two moments of the trace."""
    if isinstance(profile, MarketProfile):
        return profile.gpus * profile.spot_prices.usd(from_ns=from_ns, to_ns=to_ns)
    return (to_ns - from_ns) * profile.spot_usd_per_hour / (3600 * NS)


def lowest_spot_usd_per_hour(profile: Profile, *, from_ns: int = 0, until_ns: int) -> float:
    """The least that an hour of a replica on spot costs between two moments of the trace."""
    if isinstance(profile, MarketProfile):
        return profile.gpus * profile.spot_prices.lowest_usd_per_gpu_hour(
            from_ns=from_ns, until_ns=until_ns
        )
    return profile.spot_usd_per_hour


def read_prices(path: Path) -> dict[str, dict[str, float]]:
    """Prices by GPU; raises SettingsError."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}; write a table a GPU") from error
    problems = [problem for gpu, table in document.items() for problem in _problems(gpu, table)]
    if problems or not document:
        said = problems or ["holds no GPU; write a table a GPU"]
        raise SettingsError("\n".join(f"{path}: {problem}" for problem in said))
    return {
        gpu: {key: float(value) for key, value in table.items()} for gpu, table in document.items()
    }


def _problems(gpu: str, table: object) -> list[str]:
    if gpu not in GPUS:
        return [f"no GPU {gpu!r}; write one of {', '.join(GPUS)}"]
    if not isinstance(table, dict) or not table:
        return [f"{gpu} is {table!r}; write {' and '.join(KEYS)} below [{gpu}]"]
    problems = [
        f"{gpu}: no key {key!r}; write {' or '.join(KEYS)}" for key in table if key not in KEYS
    ]
    for key in KEYS:
        value = table.get(key, 1.0)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < float(value) < math.inf:
            problems.append(f"{gpu}: {key} is {value!r}; write dollars above 0")
    return problems
