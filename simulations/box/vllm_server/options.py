"""The command line: vLLM's flags where the model knows them, and a few of our own."""

from __future__ import annotations

import argparse
import math
import os
import random
from contextlib import suppress
from dataclasses import dataclass, replace

from simulations.serving.profiles.profiles import PROFILES, Profile

DEFAULT_PROFILE = "llama-3.1-8b/1xL40S"
DEFAULT_VERSION = "0.32.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Everything a server process is told. Seconds are seconds of the clock on the wall."""

    host: str
    port: int
    profile: Profile
    served_model_names: tuple[str, ...]
    """The first one is the `model_name` of metrics."""
    model_length_max: int
    """`--max-model-len`: prompt and output tokens of one request together."""
    cold_start_s: float
    """From process start to the port being open."""
    speed: float
    """Seconds of the model in one second of the wall."""
    shutdown_timeout_s: float
    """0: abort at SIGTERM; else drain for so long."""
    abort_hangs_ratio: float
    """Probability that an abort leaves its clients without an answer."""
    teardown_s: float
    """From the last request of a drain to the port being closed."""
    flush_interval_s: float
    """Tokens go out at the end of steps, but not more often than this."""
    natural_tokens: float
    """Mean length of an answer that may end by itself."""
    metrics_version: tuple[int, int, int]
    track_load: bool
    """`--enable-server-load-tracking`: whether /load counts."""
    seed: str
    """Of all that is drawn in this process; differs from pod to pod."""


def parse(arguments: list[str]) -> ServerOptions:
    """Options of a command line; exits with 2 and a message where it makes no sense."""
    parser = _parser()
    given, ignored = parser.parse_known_args(arguments)
    if ignored:
        print(f"vllm_server: these flags have no meaning here: {' '.join(ignored)}")
    profile = _profile(parser, given)
    seed = f"{given.seed}/{os.environ.get('HOSTNAME', '')}/{given.host}/{given.port}"
    if given.seed is None:
        seed = os.urandom(8).hex()
    room = (profile.kv_blocks - 1) * profile.block_tokens
    names = tuple(given.served_model_name or [given.model or profile.model])
    return ServerOptions(
        host=given.host,
        port=given.port,
        profile=profile,
        served_model_names=names,
        model_length_max=min(room, given.max_model_len or room),
        cold_start_s=_draw(parser, given.cold_start, random.Random(f"{seed}/cold start")),
        speed=given.speed,
        shutdown_timeout_s=given.shutdown_timeout,
        abort_hangs_ratio=given.abort_hangs,
        teardown_s=given.teardown,
        flush_interval_s=given.flush_interval,
        natural_tokens=given.natural_tokens,
        metrics_version=_version(parser, given.metrics_version),
        track_load=given.enable_server_load_tracking,
        seed=seed,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulations.box.vllm_server",
        description=__doc__,
        epilog="Flags of vLLM that have no meaning here are named and ignored.",
    )
    vllm = parser.add_argument_group("as vLLM has them")
    vllm.add_argument("--host", default="127.0.0.1")
    vllm.add_argument("--port", type=int, default=8000)
    vllm.add_argument("--model", help="name of the model where --served-model-name says nothing")
    vllm.add_argument("--served-model-name", nargs="+", metavar="NAME")
    vllm.add_argument("--max-num-seqs", type=_count, metavar="N")
    vllm.add_argument("--max-num-batched-tokens", type=_count, metavar="N")
    vllm.add_argument("--max-model-len", type=_count, metavar="TOKENS")
    vllm.add_argument(
        "--num-gpu-blocks", "--num-gpu-blocks-override", type=_count, metavar="N", dest="num_blocks"
    )
    vllm.add_argument("--block-size", type=_count, metavar="TOKENS")
    vllm.add_argument(
        "--enable-prefix-caching", action=argparse.BooleanOptionalAction, default=None
    )
    vllm.add_argument("--enable-server-load-tracking", action="store_true")
    vllm.add_argument(
        "--shutdown-timeout",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="0: abort requests in flight at SIGTERM (vLLM's default); else let them finish so long",
    )
    ours = parser.add_argument_group("of the stand-in; seconds are those of the wall clock")
    ours.add_argument("--profile", default=DEFAULT_PROFILE, help=f"one of {', '.join(PROFILES)}")
    ours.add_argument("--speed", type=_positive, default=1.0, help="times real time (default 1)")
    ours.add_argument(
        "--cold-start",
        default="0",
        metavar="SECONDS|lognormal:MEDIAN:SIGMA|uniform:LOW:HIGH",
        help="how long the port stays closed (default 0)",
    )
    ours.add_argument("--seed", type=int, help="of all that is drawn; the pod's name is mixed in")
    ours.add_argument(
        "--abort-hangs",
        type=_ratio,
        nargs="?",
        const=1.0,
        default=0.0,
        metavar="PROBABILITY",
        help="that an abort at SIGTERM leaves streams open without a word, as vLLM may",
    )
    ours.add_argument(
        "--teardown",
        type=_seconds,
        default=7.0,
        metavar="SECONDS",
        help="between the last request of a drain and the closing of the port (vLLM: 7)",
    )
    ours.add_argument("--flush-interval", type=_seconds, default=0.05, metavar="SECONDS")
    ours.add_argument(
        "--natural-tokens",
        type=_positive,
        default=256.0,
        metavar="MEAN",
        help="length of answers without ignore_eos, which may end before max_tokens",
    )
    ours.add_argument(
        "--metrics-version",
        default=DEFAULT_VERSION,
        metavar="X.Y.Z",
        help="whose names /metrics and /version use, from 0.8.5 on",
    )
    return parser


def _profile(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Profile:
    """The named profile with what the flags change of it."""
    if given.profile not in PROFILES:
        parser.error(f"no profile {given.profile!r}; choose one of {', '.join(PROFILES)}")
    profile = PROFILES[given.profile]
    profile = replace(
        profile,
        requests_max=given.max_num_seqs or profile.requests_max,
        step_tokens_max=given.max_num_batched_tokens or profile.step_tokens_max,
        kv_blocks=given.num_blocks or profile.kv_blocks,
        block_tokens=given.block_size or profile.block_tokens,
        prefix_caching=profile.prefix_caching
        if given.enable_prefix_caching is None
        else given.enable_prefix_caching,
    )
    if given.block_size and not given.num_blocks:
        # The same memory in blocks of another size.
        tokens = profile.kv_blocks * PROFILES[given.profile].block_tokens
        profile = replace(profile, kv_blocks=tokens // given.block_size)
    if profile.step_tokens_max < profile.requests_max:
        parser.error(
            f"--max-num-batched-tokens ({profile.step_tokens_max}) must not be below "
            f"--max-num-seqs ({profile.requests_max})"
        )
    if profile.kv_blocks < 2:
        parser.error("--num-gpu-blocks must be at least 2: one block is reserved")
    return profile


def _draw(parser: argparse.ArgumentParser, text: str, random_: random.Random) -> float:
    """Seconds of a cold start: a number, or drawn from a distribution."""
    kind, *numbers = text.split(":")
    drawn = None
    with suppress(ValueError, argparse.ArgumentTypeError):
        match kind, [float(number) for number in numbers]:
            case "lognormal", [median, sigma] if median > 0 and sigma >= 0:
                drawn = random_.lognormvariate(math.log(median), sigma)
            case "uniform", [low, high] if 0 <= low <= high:
                drawn = random_.uniform(low, high)
            case _, []:
                drawn = _seconds(kind)
    if drawn is None:
        parser.error(
            f"--cold-start {text!r} is neither seconds nor lognormal:MEDIAN:SIGMA "
            "nor uniform:LOW:HIGH"
        )
    return drawn


def _version(parser: argparse.ArgumentParser, text: str) -> tuple[int, int, int]:
    parts = text.split(".")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        parser.error(f"--metrics-version {text!r} is no version like {DEFAULT_VERSION}")
    major, minor, patch = map(int, parts)
    return major, minor, patch


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no duration in seconds")
    return number


def _positive(text: str) -> float:
    number = _seconds(text)
    if number == 0:
        raise argparse.ArgumentTypeError("0 is not positive")
    return number


def _ratio(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no probability")
    return number
