"""Bodies that are made to cost: each fills its limit with what somebody may send."""

from __future__ import annotations

from collections.abc import Iterator

from autoscaler.sources.pages.limits import (
    ANSWER_BYTES_MAX,
    LINE_BYTES_MAX,
    POD_PAGE_BYTES_MAX,
    RAY_PAGE_BYTES_MAX,
)

WANTED = b"vllm:num_requests_running"
RAY_WANTED = b"ray_vllm:num_requests_running"
_HEAD = b'{"status":"success","data":{"resultType":"matrix","result":['
_TAIL = b"]}}"


def filled(piece: bytes, limit: int, *, before: bytes = b"", after: bytes = b"") -> bytes:
    """Repeat a piece up to the limit."""
    room = limit - len(before) - len(after)
    return before + piece * (room // len(piece)) + after


def _numbered(limit: int, name: bytes, labels: str) -> bytes:
    """Lines of one name whose labels differ each time."""
    lines, size = [], 0
    while True:
        line = name + b"{" + labels.format(len(lines)).encode() + b"} 1\n"
        size += len(line)
        if size > limit:
            return b"".join(lines)
        lines.append(line)


def pages(limit: int = POD_PAGE_BYTES_MAX, name: bytes = WANTED) -> Iterator[tuple[str, bytes]]:
    """(what it is, body) of pages."""
    line = LINE_BYTES_MAX - len(name) - 10
    yield "titles, never closed", filled(b"<title>", limit, before=b"<html>")
    yield "titles without their bracket", filled(b"<title ", limit, before=b"<")
    yield "empty lines", filled(b"\n", limit)
    yield "spaces", filled(b" ", limit)
    yield "one long line", filled(b"x", limit)
    yield "foreign rows", filled(b'other_series{a="b",c="d"} 1.0\n', limit)
    yield "comments on the wanted", filled(b"# HELP " + name + b" x\n", limit)
    yield "the wanted name, on one line", filled(name + b" ", limit, before=b"x")
    yield "the wanted name and spaces", filled(b" " * 40 + name + b"x", limit)
    yield "beginnings of the name", filled(name[:-1], limit)
    yield "wanted rows", filled(name + b'{engine="0"} 1\n', limit)
    yield "wanted rows with distinct labels", _numbered(limit, name, 'engine="{}",x="y"')
    yield (
        "wanted rows of many labels",
        _numbered(limit, name, 'e="{0}",' + "".join(f'a{n}="",' for n in range(100))),
    )
    yield (
        "wanted rows of escapes",
        filled(name + b'{a="' + b'\\"' * (line // 2) + b'"} 1\n', limit),
    )
    yield (
        "wanted rows of backslashes",
        filled(name + b'{a="' + b"\\\\" * (line // 2) + b'"} 1\n', limit),
    )
    yield "wanted rows of quotes", filled(name + b"{" + b'"' * line + b"} 1\n", limit)
    yield "wanted rows of braces", filled(name + b"{" + b"}" * line + b" 1\n", limit)
    yield "wanted rows of braces in values", filled(name + b'{a="}",b="{}"} 1\n', limit)
    yield "wanted rows of commas", filled(name + b"{" + b"," * line + b"} 1\n", limit)
    yield "wanted rows of long numbers", filled(name + b" " + b"9" * line + b"\n", limit)
    yield "wanted rows of blanks", filled(name + b" " * line + b"1\n", limit)
    yield (
        "one wanted line of escapes",
        filled(b'\\"', limit, before=name + b'{a="', after=b'"} 1\n'),
    )
    yield "one wanted line of labels", filled(b'a="",', limit, before=name + b"{", after=b"} 1\n")
    yield "bytes that are no text", filled(b"\xff\xfe", limit)
    yield "zero bytes", filled(b"\x00", limit)


def ray_pages() -> Iterator[tuple[str, bytes]]:
    """The same of a Ray node, which may have more."""
    yield from pages(RAY_PAGE_BYTES_MAX, RAY_WANTED)


def answers(limit: int = ANSWER_BYTES_MAX) -> Iterator[tuple[str, bytes]]:
    """(what it is, body) of answers of a Prometheus."""
    series = b'{"metric":{"__name__":"up","pod":"p"},"values":[[1,"1"]]},'
    yield "series", filled(series, limit, before=_HEAD, after=series[:-1] + _TAIL)
    labels = b"".join(b'"l%d":"",' % number for number in range(100))
    wide = b'{"metric":{' + labels + b'"__name__":"up"},"values":[[1,"1"]]},'
    yield "series of many labels", filled(wide, limit, before=_HEAD, after=wide[:-1] + _TAIL)
    yield "numbers for series", filled(b"1,", limit, before=_HEAD, after=b"1" + _TAIL)
    yield "lists for series", filled(b"[],", limit, before=_HEAD, after=b"[]" + _TAIL)
    yield "nested lists", filled(b"[", limit, before=_HEAD)
    yield "nested objects", filled(b'{"a":', limit)
    yield (
        "one series of samples",
        filled(b'[1,"1"],', limit, before=_HEAD + b'{"metric":{"__name__":"up"},"values":['),
    )
    yield "one long string", filled(b"x", limit, before=b'{"status":"', after=b'"}')
    yield "one string of escapes", filled(b"\\u0041", limit, before=b'{"status":"', after=b'"}')
    yield "keys", filled(b'"a":1,', limit, before=b"{", after=b'"b":1}')
    yield "spaces", filled(b" ", limit, before=b"{")
    yield "digits", filled(b"9", limit, before=b'{"status":')
    yield "integers of 4,000 digits", filled(b"9" * 4000 + b",", limit, before=b'{"status":[')
    yield "wide characters", filled("𝔸".encode(), limit, before=b'{"status":"')
    yield "a page", filled(b"up 1\n", limit)
