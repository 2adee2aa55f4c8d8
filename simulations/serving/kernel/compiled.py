"""How the kernel is compiled: once per version of its sources, kept on disk.

numba's own cache looks at the file of the function that is called, not at the files of those that it
calls. So the kernel has a folder of its own whose name is a digest of all of it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

from simulations.serving.gauges import FOREVER, NEVER
from simulations.serving.histograms import TPOT, TPOT_BOUNDS_NS, TTFT, TTFT_BOUNDS_NS

KEPT = 3
"""Versions whose compiled code is kept."""
Function = TypeVar("Function", bound=Callable[..., Any])


def _folder() -> str:
    """Where the compiled code of the sources as they are now is kept."""
    histograms = f"{TTFT} {TTFT_BOUNDS_NS} {TPOT} {TPOT_BOUNDS_NS}"
    digest = hashlib.sha256(f"{numba.__version__} {NEVER} {FOREVER} {histograms}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "inference-autoscaler" / f"kernel-{digest.hexdigest()[:16]}"
    try:
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _forget_old(folder.parent)
    except OSError:
        # A read-only home: compiled once per boot is still better than once per process.
        folder = Path(tempfile.gettempdir()) / folder.name
        folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def _forget_old(folder: Path) -> None:
    """Throw away the compiled code of sources that are long gone."""
    versions = sorted(folder.glob("kernel-*"), key=lambda path: path.stat().st_mtime)
    for old in versions[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


_FOLDER = os.environ.get("NUMBA_CACHE_DIR") or _folder()


def entry_point(function: Function) -> Function:
    """Compile what Python calls; kept on disk with all that it calls in turn."""
    # The folder is a setting of the whole process to numba, read while a function is wrapped.
    settings: Any = numba.config
    before, settings.CACHE_DIR = settings.CACHE_DIR, _FOLDER
    try:
        return _compiled(function, cache=True)
    finally:
        settings.CACHE_DIR = before


def compiled_function(function: Function) -> Function:
    """Compile what only compiled code calls."""
    return _compiled(function, **_INSIDE)


def inlined_function(function: Function) -> Function:
    """The same, inlined into its callers: passing all those arrays on costs more than most work."""
    return _compiled(function, forceinline=True, **_INSIDE)


_INSIDE = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def _compiled(function: Function, **options: bool) -> Function:
    """Compile for int64 arithmetic without checks; the tests hold it against the reference.

    Nothing is allocated in the kernel, so arrays need no reference counts (`_nrt`).
    """
    njit: Any = numba.njit
    made: Function = njit(error_model="numpy", nogil=True, _nrt=False, **options)(function)
    return made
