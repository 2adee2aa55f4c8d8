"""What the daemon shows at /debug/models, read by commands that tell it."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any, NamedTuple

from autoscaler import __version__
from autoscaler.core.contract.codec import Unreadable, from_builtins
from autoscaler.core.contract.decision import Decision
from autoscaler.errors import SettingsError
from autoscaler.explain.asked import AskedModel, read_asked
from autoscaler.foreign_text import shown

_ANSWER_S = 10.0
_ANSWER_BYTES_MAX = 256 * 2**20
FORWARD = "kubectl -n inference-autoscaler port-forward deployment/inference-autoscaler 8081"


class LiveModel(NamedTuple):
    """One model's last decision, and what was asked."""

    decision: Decision
    asked: AskedModel


class LivePage(NamedTuple):
    """The daemon, as it was a moment ago."""

    at: float
    """Its clock, seconds since the epoch."""
    version: str
    problems: tuple[str, ...]
    """Why its decisions are not to be counted on; empty: they are."""
    spec_problems: tuple[str, ...]
    models: dict[str, LiveModel]
    recorded: bool = False
    """It is no daemon's, but of a recording."""


def read_live_page(server: str) -> LivePage:
    """Read a daemon's page.

    Raises:
        SettingsError: Nobody answers there, it is no daemon of ours, or one of another version.
    """
    address = server if "://" in server else f"http://{server}"
    url = f"{address.rstrip('/')}/debug/models"
    try:
        request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310  the user's own address
        with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:  # noqa: S310
            body = answer.read(_ANSWER_BYTES_MAX)
    except urllib.error.HTTPError as error:
        error.close()
        raise SettingsError(
            f"{url}: answered with status {error.code}; give the address of a daemon's --debug-listen"
        ) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise SettingsError(
            f"{url}: no daemon answers ({shown(getattr(error, 'reason', error))}); forward its port first: {FORWARD}"
        ) from error
    try:
        page = json.loads(body)
        return _live_page(page, url)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingsError(
            f"{url}: what answers is no daemon of ours ({shown(body, limit=80)}); give the address of its --debug-listen"
        ) from error


def _live_page(page: dict[str, Any], url: str) -> LivePage:
    version = str(page["version"])
    models: dict[str, LiveModel] = {}
    for each in page["models"]:
        asked = each.pop("spec")
        try:
            decision: Decision = from_builtins(each, Decision)
            models[decision.model] = LiveModel(decision, read_asked(asked))
        except Unreadable as error:
            raise SettingsError(
                f"{url}: the daemon is of version {version} and this is {__version__}, which reads its decisions no more "
                f"({error}); use the command of the same version"
            ) from error
    return LivePage(
        at=float(page["at"]),
        version=version,
        problems=tuple(map(str, page["problems"])),
        spec_problems=tuple(map(str, page["spec_problems"])),
        models=models,
    )
