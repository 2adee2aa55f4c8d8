"""Numbers in few bytes, and back: what is read may be anything, and is refused where it is not what was written.

A column of magnitudes is written in notches that lie evenly by ratio, below its own greatest value: so that each keeps as
much of itself, whatever its size. No array exp, log or power: the notches come from scalars, which give the same
bytes on every CPU.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TypedDict

import numpy as np

from autoscaler.core.contract.state import FloatArray, IntArray


class GarbledError(Exception):
    """A part is not what this version writes."""


class Notches(TypedDict):
    """How fine a column is written."""

    ratio: float
    """Of the greatest to the smallest notch."""
    count: int
    """Of notches."""


class Packer:
    """Puts numbers into bytes, little end first."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def floats(self, *values: float) -> None:
        """Put single precision: seven digits. Infinite and unknown ones become NaN."""
        kept = [value if math.isfinite(value) else math.nan for value in values]
        limited = np.clip(np.array(kept, dtype=np.float64), -_FLOAT_MAX, _FLOAT_MAX)
        self._pieces.append(limited.astype("<f4").tobytes())

    def moments(self, *values: float | None) -> None:
        """Put seconds since the epoch, in double precision; None: unknown."""
        kept = [math.nan if value is None else value for value in values]
        self._pieces.append(np.array(kept, dtype="<f8").tobytes())

    def counts(self, *values: int) -> None:
        """Put whole numbers from 0 to 65,535; greater ones become that."""
        kept = [min(max(0, value), _COUNT_MAX) for value in values]
        self._pieces.append(np.array(kept, dtype="<u2").tobytes())

    def notches(self, values: FloatArray, *, ratio: float, count: int) -> None:
        """Put magnitudes, >= 0, each in one of so many notches (at most 65,535) and a zero.

        Args:
            values: of any shape.
            ratio: of the greatest to the smallest notch; what is below half of that is zero.
            count: of notches.
        """
        greatest = min(float(np.maximum.reduce(values.reshape(-1), initial=0.0)), _FLOAT_MAX)
        most = float(np.float32(greatest))  # as it will be read
        self.floats(most)
        if most <= 0.0:
            return
        edges = _edges(ratio, count)
        found = np.searchsorted(edges, (values / most).reshape(-1), side="right")
        if count > _BYTE_MAX:
            # High bytes, then low ones: the high ones are alike, and pack well.
            self._pieces.append((found >> 8).astype(np.uint8).tobytes())
            found &= _BYTE_MAX
        self._pieces.append(found.astype(np.uint8).tobytes())

    def text(self, text: str) -> None:
        """Put a text."""
        self.piece(text.encode())

    def piece(self, piece: bytes) -> None:
        """Put what was packed, at most 64 KiB of it."""
        self.counts(len(piece))
        self._pieces.append(piece)

    def packed(self) -> bytes:
        """Return all of it."""
        return b"".join(self._pieces)


class Unpacker:
    """Takes numbers out again, in the same order. Raises GarbledError."""

    def __init__(self, packed: bytes) -> None:
        self._left = packed

    def floats(self, count: int, *, least: float = 0.0) -> list[float]:
        """Take finite numbers, none below `least`."""
        values = self._take("<f4", count).astype(np.float64)
        if not (np.isfinite(values).all() and (values >= least).all()):
            raise GarbledError("a number that cannot be")
        found: list[float] = values.tolist()
        return found

    def known_floats(self, count: int) -> list[float | None]:
        """Take numbers, >= 0, that may be unknown."""
        values = self._take("<f4", count).astype(np.float64)
        known = values[~np.isnan(values)]
        if not (np.isfinite(known).all() and (known >= 0.0).all()):
            raise GarbledError("a number that cannot be")
        return [None if math.isnan(value) else value for value in values.tolist()]

    def moments(self, count: int, *, until: float) -> list[float | None]:
        """Take seconds since the epoch, none after `until`; None: unknown."""
        values = self._take("<f8", count)
        known = values[~np.isnan(values)]
        if not (np.isfinite(known).all() and (known <= until).all()):
            raise GarbledError("a moment that cannot be")
        return [None if math.isnan(value) else value for value in values.tolist()]

    def counts(self, count: int, *, most: int = 65_535) -> list[int]:
        """Take whole numbers, none above `most`."""
        values: list[int] = self._take("<u2", count).tolist()
        if values and max(values) > most:
            raise GarbledError("a number that cannot be")
        return values

    def notches(self, shape: tuple[int, ...], *, ratio: float, count: int) -> FloatArray:
        """Take magnitudes; the arguments are those with which they were put."""
        (most,) = self.floats(1)
        if most <= 0.0:
            return np.zeros(shape)
        size = math.prod(shape)
        if count > _BYTE_MAX:
            high = self._take("u1", size).astype(np.int64) << 8
            found: IntArray = high + self._take("u1", size).astype(np.int64)
        else:
            found = self._take("u1", size).astype(np.int64)
        if found.max(initial=0) > count:
            raise GarbledError("a notch that there is not")
        values: FloatArray = most * _places(ratio, count).take(found).reshape(shape)
        return values

    def text(self) -> str:
        """Take a text."""
        try:
            return self.piece().decode()
        except UnicodeDecodeError:
            raise GarbledError("a text that is none") from None

    def piece(self) -> bytes:
        """Take what was packed."""
        (size,) = self.counts(1)
        if len(self._left) < size:
            raise GarbledError("less than there should be")
        piece, self._left = self._left[:size], self._left[size:]
        return piece

    def end(self) -> None:
        """Check that nothing is left."""
        if self._left:
            raise GarbledError("more than there should be")

    def _take(self, dtype: str, count: int) -> FloatArray:
        size = np.dtype(dtype).itemsize * count
        if len(self._left) < size:
            raise GarbledError("less than there should be")
        values = np.frombuffer(self._left[:size], dtype=dtype)
        self._left = self._left[size:]
        return values


_FLOAT_MAX = 3.4e38
_COUNT_MAX = 65_535
_BYTE_MAX = 255


@lru_cache(maxsize=32)
def _places(ratio: float, count: int) -> FloatArray:
    """Return the notches of a column whose greatest value is 1, zero first."""
    return np.array(
        [0.0, *(math.pow(ratio, (step - count + 1) / (count - 1)) for step in range(count))]
    )


@lru_cache(maxsize=32)
def _edges(ratio: float, count: int) -> FloatArray:
    """Return between which values which notch is the nearest by ratio."""
    half = math.pow(ratio, 0.5 / (count - 1))
    return np.array([_places(ratio, count)[1] / 2.0, *(_places(ratio, count)[2:] / half)])
