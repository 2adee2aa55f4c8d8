"""Profiles in files: what `autoscaler calibrate` writes and `--profile FILE` reads."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from autoscaler.errors import SettingsError
from simulations.serving.profiles.hardware import GPUS
from simulations.serving.profiles.profiles import PROFILES, Profile

SCHEMA = "autoscaler.profile/v1"
_KIND_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
_KINDS: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


def find_profile(name: str) -> Profile:
    """The profile of that name, or in the file of that name.

    Raises:
        SettingsError: There is neither, or the file is none of ours.
    """
    if name in PROFILES:
        return PROFILES[name]
    path = Path(name)
    if path.suffix == ".json" or path.is_file():
        return read_profile(path)
    raise SettingsError(
        f"--profile {name!r}: no such profile and no such file; write one of {', '.join(PROFILES)}, "
        "or a file that `autoscaler calibrate` wrote"
    )


def write_profile(path: Path, profile: Profile, *, about: dict[str, Any]) -> None:
    """Write the profile, and beside it what should be known about how it came to be.

    Raises:
        SettingsError: The file cannot be written.
    """
    content = {"schema": SCHEMA, "profile": asdict(profile), "about": about}
    try:
        path.write_text(json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise SettingsError(f"writing the profile to {path}: {error}") from error


def read_profile(path: Path) -> Profile:
    """The profile in a file.

    Raises:
        SettingsError: It cannot be read, or something in it is missing or wrong.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SettingsError(f"reading the profile {path}: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise SettingsError(f"{path} is no profile: its schema is not {SCHEMA!r}")
    found = content.get("profile")
    kinds = {field.name: _KINDS[str(field.type)] for field in fields(Profile)}
    problems = [
        f"{name} must be {_KIND_WORDS[kind]}"
        for name, kind in kinds.items()
        if not isinstance(found, dict) or not _is_of(found.get(name), kind)
    ]
    if problems:
        raise SettingsError(f"{path}: {'; '.join(problems)}")
    assert isinstance(found, dict)
    profile = Profile(**{name: found[name] for name in kinds})
    _check(path, profile)
    return profile


def _is_of(value: object, kind: type) -> bool:
    """Whether a value from JSON is of a kind; a whole number is a number too, True is neither."""
    return type(value) is kind or (kind is float and type(value) is int)


def _check(path: Path, profile: Profile) -> None:
    """What the serving model takes for granted."""
    rules = {
        f"gpu must be one of {', '.join(GPUS)}": profile.gpu in GPUS,
        "step_ns must be positive": profile.step_ns > 0,
        "no time may be negative": min(
            profile.token_ns,
            profile.kv_token_ns,
            profile.attention_ps,
            profile.prefill_request_ns,
            profile.pause_ns,
            profile.pause_decode_ns,
            profile.before_ns,
            profile.after_ns,
            profile.flat_tokens,
        )
        >= 0,
        "kv_blocks must be at least 2": profile.kv_blocks >= 2,
        "1 <= requests_max <= step_tokens_max": 1
        <= profile.requests_max
        <= profile.step_tokens_max,
        "block_tokens, gpus and in_flight_target must be positive": min(
            profile.block_tokens, profile.gpus, profile.in_flight_target
        )
        > 0,
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise SettingsError(f"{path}: {'; '.join(broken)}")
