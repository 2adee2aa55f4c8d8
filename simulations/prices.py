"""What GPUs cost a user, where the list prices are not theirs.

A file of prices is TOML, per hour of one GPU; a GPU that is not in it keeps its list price:

    [L40S]
    usd_per_hour = 1.20
    spot_usd_per_hour = 0.45
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from autoscaler.errors import SettingsError
from simulations.serving.hardware import GPUS
from simulations.serving.profiles import Profile

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


def priced(profile: Profile, path: Path) -> Profile:
    """The profile at the prices of a file; raises SettingsError with all that is wrong in it."""
    prices = read_prices(path).get(profile.gpu)
    if prices is None:
        return profile
    listed = GPUS[profile.gpu]
    return PricedProfile(
        **asdict(profile),
        gpu_usd_per_hour=prices.get("usd_per_hour", listed.usd_per_hour),
        gpu_spot_usd_per_hour=prices.get("spot_usd_per_hour", listed.spot_usd_per_hour),
    )


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
