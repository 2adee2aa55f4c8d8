"""A profile of your own engine.

From a log of requests of one or more replicas (CSV or JSON lines with t_s, input_tokens, output_tokens,
ttft_s, e2e_s and perhaps replica), or from the engine's metrics in a Prometheus. It starts from the
profile that comes closest, never beats its hardware's roofline, and tells what it could not explain.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from autoscaler.errors import SettingsError
from simulations.field.calibrate.coefficients import floors_of
from simulations.field.calibrate.log_fit import Fit, fit_log
from simulations.field.calibrate.prometheus import read_windows
from simulations.field.calibrate.request_log import ServedRequests, read_request_log
from simulations.field.calibrate.windows import fit_windows
from simulations.field.capture.capture import find_subjects
from simulations.field.capture.ranges import Grid, PrometheusServer, RangeReader, header_pairs
from simulations.field.capture.run import parse_span
from simulations.serving.columns import RequestColumns
from simulations.serving.profiles.profile_files import find_profile, write_profile
from simulations.serving.profiles.profiles import Profile
from simulations.serving.replica_capacity import replica_capacity, written_target

TTFT_S, TPOT_S, ATTAINMENT_RATIO = 2.0, 0.1, 0.995
"""The objective that `in_flight_target` is for, as in the profiles that come along."""
SHOWN = {
    "step_ns": ("a step, reading the weights", 1e6, "ms"),
    "token_ns": ("a token beyond the flat part", 1e3, "us"),
    "flat_tokens": ("tokens in the flat part", 1, ""),
    "kv_token_ns": ("a token of context read", 1, "ns"),
    "attention_ps": ("a pair of attention", 1e3, "ns"),
    "pause_decode_ns": ("a sequence", 1e3, "us"),
    "before_ns": ("before the engine", 1e6, "ms"),
    "after_ns": ("after it", 1e6, "ms"),
}


@click.command("calibrate", help=__doc__)
@click.option(
    "--log",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A log of requests that completed; 50 at least, better 500 over low and high load.",
)
@click.option("--prometheus", metavar="URL", help="A Prometheus that scrapes the engines.")
@click.option("--namespace", help="Of the model's pods, with --prometheus.")
@click.option("--model", help="Its model_name; may be left out where there is only one.")
@click.option(
    "--since",
    default="6h",
    show_default=True,
    metavar="SPAN",
    help="How far back: 90m, 6h, 2d; quiet and busy hours, or reading cannot be told from arithmetic.",
)
@click.option(
    "--step",
    type=click.IntRange(min=5),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="Length of a window; not below the scrape interval.",
)
@click.option(
    "--bearer-token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Sent as Authorization.",
)
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Of the server's certificate.",
)
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option("--profile", required=True, metavar="NAME|FILE", help="The one that comes closest.")
@click.option("--num-gpu-blocks", "kv_blocks", type=click.IntRange(min=2), help="As in vLLM's log.")
@click.option("--block-size", "block_tokens", type=click.IntRange(min=1))
@click.option("--max-num-seqs", "requests_max", type=click.IntRange(min=1))
@click.option("--max-num-batched-tokens", "step_tokens_max", type=click.IntRange(min=1))
@click.option("--name", help="Of the new profile.  [default: the old one's, and calibrated]")
@click.option(
    "--write", type=click.Path(path_type=Path, dir_okay=False), help="For --profile FILE."
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def calibrate(
    *,
    log: Path | None,
    prometheus: str | None,
    profile: str,
    name: str | None,
    write: Path | None,
    output: str,
    **more: object,
) -> None:
    """Read, fit, tell."""
    base = _base(profile, more)
    if (log is None) == (prometheus is None):
        raise SettingsError("give either --log FILE or --prometheus URL")
    served = read_request_log(log) if log else []
    fit = fit_log(served, base, floors_of(base)) if served else _fit_metrics(base, prometheus, more)
    made = replace(
        fit.profile,
        name=name or f"{base.name} calibrated",
        in_flight_target=_target(fit.profile, served),
        source=f"calibrated on {log or prometheus}, residual {fit.residual_ratio:.1%}",
    )
    about = {key: value for key, value in asdict(fit).items() if key != "profile"}
    if write is not None:
        write_profile(write, made, about=about)
    if output == "json":
        click.echo(json.dumps({"profile": asdict(made), **about}))
    else:
        _print(base, made, fit)


def _base(name: str, more: dict[str, object]) -> Profile:
    """The profile that it starts from, with the engine's own limits."""
    limits = ("kv_blocks", "block_tokens", "requests_max", "step_tokens_max")
    given = {key: more[key] for key in limits if more[key] is not None}
    base = replace(find_profile(name), **given)  # type: ignore[arg-type]  # whole numbers, says click
    if base.requests_max > base.step_tokens_max:
        raise SettingsError(
            f"--max-num-batched-tokens ({base.step_tokens_max}) must not be below --max-num-seqs "
            f"({base.requests_max})"
        )
    return base


def _fit_metrics(base: Profile, url: str | None, more: dict[str, object]) -> Fit:
    assert url is not None
    headers = header_pairs(tuple(more["headers"]))  # type: ignore[arg-type]  # a tuple, says click
    server = PrometheusServer(
        url=url,
        bearer_token_file=more["bearer_token_file"],  # type: ignore[arg-type]  # a path, says click
        ca_file=more["ca_file"],  # type: ignore[arg-type]  # the same
        headers=headers,
    )
    reader = RangeReader(server)
    step = int(str(more["step"]))
    grid = Grid.until(time.time(), since_s=parse_span(str(more["since"])), step=step)
    namespace = None if more["namespace"] is None else str(more["namespace"])
    found = find_subjects(reader, grid, namespace=namespace)
    subjects = [subject for subject in found if more["model"] in (None, subject.model_name)]
    if len(subjects) != 1:
        names = ", ".join(sorted(subject.name for subject in found)) or "none"
        raise SettingsError(
            f"--prometheus: {len(subjects)} models match, one is wanted; there are: {names} (in the last "
            f"{more['since']}); choose with --model and --namespace"
        )
    room = (base.kv_blocks - 1) * base.block_tokens
    windows = read_windows(reader, subjects[0], grid, kv_tokens_max=room)
    return fit_windows(windows, base, floors_of(base))


def _target(profile: Profile, served: list[ServedRequests]) -> float:
    """In-flight target: what a replica carries of the log's requests; without a log, the base's."""
    if not served:
        return profile.in_flight_target
    requests = RequestColumns(
        arrival_ns=np.zeros(sum(len(part.columns) for part in served), dtype=np.int64),
        prompt_tokens=np.concatenate([part.columns.prompt_tokens for part in served]),
        output_tokens=np.concatenate([part.columns.output_tokens for part in served]),
    )
    found = replica_capacity(
        profile, requests, ttft_s=TTFT_S, tpot_s=TPOT_S, attainment_ratio=ATTAINMENT_RATIO
    )
    return min(float(profile.requests_max), written_target(found.in_flight_requests))


def _print(base: Profile, made: Profile, fit: Fit) -> None:
    table = Table(title=made.name)
    for title in ("", "before", "calibrated", ""):
        table.add_column(title, justify="left" if title == "" else "right")
    for field, (text, unit, name) in SHOWN.items():
        before, after = getattr(base, field) / unit, getattr(made, field) / unit
        table.add_row(text, f"{before:,.4g}", f"{after:,.4g}", name)
    Console().print(table)
    click.echo(_summary(made, fit))


def _summary(made: Profile, fit: Fit) -> str:
    errors = {
        "time to first token": fit.ttft_mean_error,
        "time between tokens": fit.tpot_mean_error,
        "end to end": fit.e2e_mean_error,
    }
    means = ", ".join(f"{name} {error:+.1%}" for name, error in errors.items() if error is not None)
    lines = [
        f"{fit.samples} samples, median residual {fit.residual_ratio:.1%}; means: {means}",
        f"carries about {made.in_flight_target:g} requests in flight",
    ]
    if fit.at_roofline:
        named = ", ".join(SHOWN[name][0] for name in fit.at_roofline)
        lines.append(
            f"held at the roofline of {made.model} {made.variant} on {made.gpus}x{made.gpu}: {named}.\n"
            "A quicker engine than that hardware can be, if the residual is large: is the profile its own?"
        )
    return "\n".join(lines)
