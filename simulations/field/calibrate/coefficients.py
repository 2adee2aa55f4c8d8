"""What is fitted, between the hardware's floors and a profile in whole nanoseconds."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from autoscaler.errors import SettingsError
from simulations.serving.profiles.hardware import GPUS, MODELS, Roofline, roofline
from simulations.serving.profiles.profiles import Profile

BEFORE_SHARE = 0.75
"""Of the constant around the engine, what lies before it (BLIS: 12 of 16 ms)."""

AT_FLOOR_RATIO = 1.01
"""Of its floor, up to which a coefficient is as good as there."""
FLOORED = ("step_ns", "token_ns", "kv_token_ns", "attention_ps")


class Coefficients(NamedTuple):
    """What is free in a fit.

    The rest follows: attention is as efficient as other arithmetic, and arithmetic hides behind
    reading up to where both take as long.
    """

    step_ns: float
    token_ns: float
    kv_token_ns: float
    pause_decode_ns: float
    around_ns: float
    """Before and after the engine together."""


def floors_of(profile: Profile) -> Roofline:
    """What the profile's hardware allows.

    Raises:
        SettingsError: The model or the GPU is none that the tables know.
    """
    if profile.model not in MODELS or profile.gpu not in GPUS:
        raise SettingsError(
            f"no roofline for {profile.model} on {profile.gpu}: known are {', '.join(MODELS)} on "
            f"{', '.join(GPUS)}; add a row to simulations/serving/profiles/hardware.py"
        )
    return roofline(
        model=profile.model,
        variant=profile.variant,
        gpu=profile.gpu,
        gpus=profile.gpus,
        block_tokens=profile.block_tokens,
    )


def at_roofline(profile: Profile, floors: Roofline) -> tuple[str, ...]:
    """Which coefficients lie where the hardware can do no better: what was seen may be quicker still."""
    return tuple(
        name for name in FLOORED if getattr(profile, name) <= AT_FLOOR_RATIO * getattr(floors, name)
    )


def coefficients_of(profile: Profile) -> Coefficients:
    """Where a fit starts."""
    return Coefficients(
        step_ns=profile.step_ns,
        token_ns=profile.token_ns,
        kv_token_ns=profile.kv_token_ns,
        pause_decode_ns=profile.pause_decode_ns,
        around_ns=profile.before_ns + profile.after_ns,
    )


def profile_with(base: Profile, floors: Roofline, found: Coefficients) -> Profile:
    """The base profile with these coefficients, rounded, and nothing below its floor."""
    step_ns = max(round(found.step_ns), floors.step_ns)
    token_ns = max(round(found.token_ns), floors.token_ns)
    # The part of the base's step that is not reading stays what it is.
    overhead_ns = max(0, base.step_ns - base.flat_tokens * base.token_ns)
    attention_ps = floors.attention_ps * token_ns / floors.token_ns
    before_ns = round(BEFORE_SHARE * found.around_ns)
    return replace(
        base,
        step_ns=step_ns,
        token_ns=token_ns,
        flat_tokens=max(0, (step_ns - overhead_ns) // token_ns),
        kv_token_ns=max(round(found.kv_token_ns), floors.kv_token_ns),
        attention_ps=round(attention_ps),
        pause_decode_ns=round(found.pause_decode_ns),
        before_ns=before_ns,
        after_ns=round(found.around_ns) - before_ns,
    )
