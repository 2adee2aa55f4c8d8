"""The captured and constructed pages, and edits of them."""

from __future__ import annotations

import gzip
from functools import lru_cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "pages"
PAGES = tuple(sorted(path.name.removesuffix(".prom.gz") for path in _FOLDER.glob("*.prom.gz")))

ENGINE_PAGES = {
    "VLLM": "vllm-0.32.0-loaded",
    "TGI": "tgi",
    "SGLang": "sglang",
    "RayServe": "ray-serve",
}
"""A page under load for each engine of SOURCES."""


@lru_cache
def page(name: str) -> bytes:
    """Return one page as it came."""
    return gzip.decompress((_FOLDER / f"{name}.prom.gz").read_bytes())


def without(body: bytes, *names: str) -> bytes:
    """Drop the samples of these series."""
    prefixes = tuple(f"{name}{end}".encode() for name in names for end in ("{", " "))
    return b"\n".join(line for line in body.split(b"\n") if not line.startswith(prefixes))


def with_value(body: bytes, name: str, value: str) -> bytes:
    """Give every sample of one series another value."""
    prefixes = (f"{name}{{".encode(), f"{name} ".encode())
    return b"\n".join(
        line[: line.rfind(b" ")] + b" " + value.encode() if line.startswith(prefixes) else line
        for line in body.split(b"\n")
    )
