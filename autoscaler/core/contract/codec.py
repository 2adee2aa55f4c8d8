"""The written form of every record: plain builtins, driven by the classes' own annotations.

Events, outcomes, specifications, settings and the engine's memory are dataclasses and named tuples; what
their annotations say is all that is known of them here. A record becomes a dictionary with its fields in
their order, a tuple or list a list, a word of a StrEnum its text, a numpy column a list, bytes their hex
digits; NaN becomes None, for JSON has none. An encoder that keeps this order (the recorder's does)
writes the same bytes for the same records, which is what a replay compares.

- A field that the constructor does not take (`init=False`) follows from the others and is not written.
- Of a union of records, such as `Event`, each is written with the name of its class, as `kind`.
- A dictionary becomes a list of pairs: JSON's have texts for keys, and ours not only.

What is read may come from anywhere: anything but what is written here is refused, with its place.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

import numpy as np
from numpy.typing import NDArray

from autoscaler.errors import InvariantBroken

Plain: TypeAlias = "dict[str, Plain] | list[Plain] | str | float | int | bool | None"
Write: TypeAlias = Callable[[Any], Any]
Read: TypeAlias = Callable[[Any], Any]
T = TypeVar("T")

KIND = "kind"
"""The key under which the class of a union's member stands."""


class Unreadable(InvariantBroken):
    """What was to be read is not what this version writes."""

    def __init__(self, expected: str, found: object) -> None:
        super().__init__()
        self.where = ""
        """The path to it, from what was read as a whole."""
        self.what = f"{expected} was expected, found {found!r:.80}"

    def __str__(self) -> str:
        return f"{self.where.removeprefix('.') or 'the whole'}: {self.what}"


def to_builtins(value: object, kind: Any) -> Any:
    """Write a value of the type `kind`, which may be a union such as `Event`."""
    return _codec_of(kind)[0](value)


@overload
def from_builtins(plain: object, kind: type[T]) -> T: ...
@overload
def from_builtins(plain: object, kind: Any) -> Any: ...
def from_builtins(plain: object, kind: Any) -> Any:
    """Read back what `to_builtins` wrote of the same type.

    Raises:
        Unreadable: It did not write this.
    """
    return _codec_of(kind)[1](plain)


@functools.cache
def _codec_of(kind: Any) -> tuple[Write, Read]:
    """Return what writes and what reads a type, made once."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _union(arguments)
    if origin is Annotated:
        return _nan_or_none, lambda plain: math.nan if plain is None else _read_float(plain)
    if origin is np.ndarray:
        return _column(get_args(arguments[1])[0])
    if origin in (tuple, list):
        if origin is tuple and arguments[-1] is not Ellipsis:
            return _row([_codec_of(argument) for argument in arguments])
        return _sequence(origin, *_codec_of(arguments[0]))
    if origin is dict:
        write, read = _sequence(list, *_row([_codec_of(argument) for argument in arguments]))
        return lambda values: write(values.items()), lambda plain: dict(read(plain))
    if kind in _SCALARS:
        return _SCALARS[kind]
    if issubclass(kind, StrEnum):
        return str, _word_of(kind)
    return _record(kind)


def _as_it_is(value: Any) -> Any:
    return value


def _nan_or_none(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _exactly(expected: str, *kinds: type) -> Read:
    def read(plain: Any) -> Any:
        if type(plain) not in kinds:
            raise Unreadable(expected, plain)
        return plain

    return read


_read_list = _exactly("a list", list)
_read_number = _exactly("a number", float, int)


def _read_float(plain: Any) -> float:
    try:
        return float(_read_number(plain))
    except OverflowError:
        raise Unreadable("a number", plain) from None


def _read_bytes(plain: Any) -> bytes:
    try:
        return bytes.fromhex(plain)
    except (TypeError, ValueError):
        raise Unreadable("hex digits", plain) from None


_SCALARS: dict[Any, tuple[Write, Read]] = {
    str: (_as_it_is, _exactly("a text", str)),
    int: (_as_it_is, _exactly("a whole number", int)),
    bool: (_as_it_is, _exactly("true or false", bool)),
    float: (float, _read_float),
    bytes: (bytes.hex, _read_bytes),
}


def _word_of(kind: type[StrEnum]) -> Read:
    words = {word.value: word for word in kind}

    def read(plain: Any) -> StrEnum:
        if type(plain) is str and plain in words:
            return words[plain]
        raise Unreadable(f"one of {', '.join(words)}", plain)

    return read


def _union(arguments: tuple[Any, ...]) -> tuple[Write, Read]:
    kinds = [kind for kind in arguments if kind is not NoneType]
    if len(kinds) == 1:
        write, read = _codec_of(kinds[0])
    elif set(kinds) <= _SCALARS.keys():
        names = " or ".join([kind.__name__ for kind in kinds])
        write, read = _as_it_is, _exactly(names, *kinds)
    else:
        write, read = _one_of_records(kinds)
    if len(kinds) == len(arguments):
        return write, read
    gap = (
        _nan_or_none if kinds == [float] else lambda value: None if value is None else write(value)
    )
    return gap, lambda plain: None if plain is None else read(plain)


def _one_of_records(kinds: list[Any]) -> tuple[Write, Read]:
    codecs = {kind.__name__: _codec_of(kind) for kind in kinds}

    def write(value: Any) -> Any:
        name = type(value).__name__
        return {KIND: name, **codecs[name][0](value)}

    def read(plain: Any) -> Any:
        name = plain.get(KIND) if type(plain) is dict else None
        if type(name) is not str or name not in codecs:
            raise Unreadable(f"an object whose `{KIND}` is one of {', '.join(codecs)}", plain)
        return codecs[name][1]({key: plain[key] for key in plain if key != KIND})

    return write, read


def _record(kind: Any) -> tuple[Write, Read]:
    """Compile a dataclass or a named tuple."""
    hints = get_type_hints(kind, include_extras=True)
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind) if field.init]
    else:
        names = list(kind._fields)
    codecs = {name: _codec_of(hints[name]) for name in names}
    writes = [(name, write) for name, (write, _) in codecs.items()]
    reads = [read for _, read in codecs.values()]

    def write(value: Any) -> dict[str, Any]:
        return {name: write(getattr(value, name)) for name, write in writes}

    def read(plain: Any) -> Any:
        if type(plain) is not dict:
            raise Unreadable(f"an object ({kind.__name__})", plain)
        if plain.keys() != codecs.keys():
            odd = min(plain.keys() ^ codecs.keys())
            how = "with" if odd in codecs else "without"
            raise Unreadable(f"{kind.__name__} {how} `{odd}`", plain)
        values = _read_each(reads, [plain[name] for name in names], names)
        return kind(**dict(zip(names, values, strict=True)))

    return write, read


def _sequence(kind: type, write: Write, read: Read) -> tuple[Write, Read]:
    def read_all(plain: Any) -> Any:
        return kind(_read_each(itertools.repeat(read), _read_list(plain)))

    if write is _as_it_is:
        return list, read_all
    return lambda values: [write(value) for value in values], read_all


def _row(codecs: list[tuple[Write, Read]]) -> tuple[Write, Read]:
    """Compile a tuple of so many values."""
    writes, reads = zip(*codecs, strict=True)

    def read(plain: Any) -> Any:
        if len(_read_list(plain)) != len(codecs):
            raise Unreadable(f"a list of {len(codecs)}", plain)
        return tuple(_read_each(reads, plain))

    return lambda row: [put(value) for put, value in zip(writes, row, strict=True)], read


def _read_each(
    reads: Iterable[Read], plains: list[Any], names: Sequence[str] | None = None
) -> list[Any]:
    """Read values one by one; what is unreadable is told where it stands."""
    values: list[Any] = []
    try:
        for read, plain in zip(reads, plains, strict=False):
            values.append(read(plain))
    except Unreadable as error:
        at = len(values)
        error.where = (f"[{at}]" if names is None else f".{names[at]}") + error.where
        raise
    return values


def _column(dtype: type[np.generic]) -> tuple[Write, Read]:
    """Compile an array, of any shape; only one of floats has gaps."""
    kinds = {np.float64: "fiO", np.int64: "i", np.bool_: "b"}[dtype]

    def write(column: NDArray[Any]) -> Any:
        if dtype is np.float64:
            gaps = np.isnan(column)
            if gaps.any():
                column = column.astype(object)
                column[gaps] = None
        return column.tolist()

    def read(plain: Any) -> NDArray[Any]:
        try:
            column = np.array(_read_list(plain))
            if column.size == 0 or column.dtype.kind in kinds:
                return column.astype(dtype, copy=False)
        except (TypeError, ValueError, OverflowError):
            pass
        raise Unreadable(f"a column of {dtype.__name__}", plain)

    return write, read
