"""YAML as users write settings in it, and nothing that YAML can do beside.

Read as YAML 1.2 reads it, as far as users notice: `Off` is a word and not a boolean, `010` is not
eight, a date is text. A key given twice is refused: YAML would take the last one in silence. So are tags
(`!!bool maybe`), integers that no field takes, nesting that no resource has, and aliases that stand for
more than a document may hold (a kilobyte of them can stand for gigabytes).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Any

import yaml

from autoscaler.foreign_text import quoted

DEPTH_MAX = 64
DOCUMENT_NODES = 10
"""As many values a document counts for, also an empty one."""
DIGITS_MAX = 18
"""Of an integer: all of them are an int64."""
_TAGS = frozenset({None, "!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq"))})
"""Tags that change nothing; any other makes a value of a kind that no resource has."""
_MARKER = re.compile(r"---(?:\s|$)")


class RefusedYamlError(yaml.MarkedYAMLError):
    """YAML that is legal, and that no settings are written in."""

    def __init__(self, found: str, mark: yaml.Mark | None, *, remedy: str) -> None:
        super().__init__(None, None, found, mark)
        self.remedy = remedy


def parts_of(text: str) -> Iterator[tuple[int, str]]:
    """Split a file at its document markers: (number of its first line, text) of each part.

    A line that begins with `---` begins a document wherever it stands, also within a text of several lines.
    """
    part: list[str] = []
    begin, directives = 1, False
    for number, line in enumerate(text.split("\n"), start=1):
        if _MARKER.match(line) and part and not directives:
            yield begin, "\n".join(part)
            part, begin = [], number
        directives = line.startswith("%") or (directives and not _MARKER.match(line))
        part.append(line)
    yield begin, "\n".join(part)


class Allowance:
    """How many values a file may have: each costs PyYAML 60 microseconds, and memory, wherever it stands."""

    def __init__(self, *, document_nodes: int, file_nodes: int) -> None:
        """Begin a file.

        Args:
            document_nodes: Of one document at most, each alias counted with all that it stands for.
            file_nodes: Of all documents at most, as they are written.
        """
        self.document_nodes = document_nodes
        self.file_nodes = file_nodes
        self.left = file_nodes


def load_documents(text: str, allowance: Allowance) -> Iterator[Any]:
    """Read the documents of one part.

    Args:
        text: Of it.
        allowance: Of its file; what is read is taken from it.

    Raises:
        yaml.YAMLError: It is no YAML, or none that settings are written in.
    """
    allowance.left -= DOCUMENT_NODES
    loader = _Loader(text, allowance=allowance)
    try:
        while loader.check_data():  # type: ignore[no-untyped-call]
            yield loader.get_data()
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's scalars, no duplicate keys, no tags, and limits."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML's own class attribute, replaced as a whole

    def __init__(self, stream: Any, *, allowance: Allowance) -> None:
        super().__init__(stream)
        self._allowance = allowance
        self._nodes = 0
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose one node, unless it is too deep or has a tag."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if self._depth == 0:
            self._nodes = 0
        if self._depth >= DEPTH_MAX:
            raise _too_deep(event.start_mark)
        self._nodes += 1
        self._allowance.left -= 1
        if self._nodes > self._allowance.document_nodes:
            raise _too_many(self._allowance.document_nodes, event.start_mark)
        if self._allowance.left < 0:
            raise _too_many(self._allowance.file_nodes, event.start_mark, of="a file of ")
        if getattr(event, "tag", None) not in _TAGS:
            raise RefusedYamlError(
                f"the tag {quoted(event.tag, limit=80)}",
                event.start_mark,
                remedy="take the tag away",
            )
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_document(self, node: yaml.Node) -> Any:
        """Build one document, unless its aliases stand for too much."""
        _measure(node, {}, set(), nodes_max=self._allowance.document_nodes)
        return super().construct_document(node)

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002  PyYAML's signature
    ) -> dict[Hashable, Any]:
        """Build a mapping, or refuse it for a key given twice."""
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise RefusedYamlError(
                    f"the key {quoted(key, limit=80)} twice",
                    key_node.start_mark,
                    remedy="keep one of the two",
                )
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _measure(
    node: yaml.Node, known: dict[int, tuple[int, int]], above: set[int], *, nodes_max: int
) -> tuple[int, int]:
    """Count the nodes under a node, and its depth, with each alias replaced by what it stands for."""
    if not isinstance(node, yaml.CollectionNode):
        return 1, 1
    if id(node) in known:
        return known[id(node)]
    if id(node) in above:
        raise RefusedYamlError(
            "a value that contains itself", node.start_mark, remedy="take the alias away"
        )
    above.add(id(node))
    nodes, depth = 1, 0
    pairs = isinstance(node, yaml.MappingNode)
    for child in (part for pair in node.value for part in pair) if pairs else node.value:
        below, deep = _measure(child, known, above, nodes_max=nodes_max)
        nodes, depth = nodes + below, max(depth, deep)
        if nodes > nodes_max:
            raise _too_many(nodes_max, node.start_mark)
        if depth >= DEPTH_MAX:
            raise _too_deep(node.start_mark)
    above.remove(id(node))
    known[id(node)] = (nodes, depth + 1)
    return known[id(node)]


def _too_many(limit: int, mark: yaml.Mark | None, *, of: str = "") -> RefusedYamlError:
    return RefusedYamlError(
        f"{of}more than {limit} values, aliases written out",
        mark,
        remedy="write files of fewer models"
        if of
        else "write a document of its own for each model",
    )


def _too_deep(mark: yaml.Mark | None) -> RefusedYamlError:
    return RefusedYamlError(
        f"more than {DEPTH_MAX} values within each other", mark, remedy="take the nesting away"
    )


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    digits = len(node.value.lstrip("+-"))
    if digits > DIGITS_MAX:
        raise RefusedYamlError(
            f"an integer of {digits} digits", node.start_mark, remedy="write a smaller number"
        )
    return int(loader.construct_scalar(node))


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_resolve("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_resolve("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789")
_resolve("float", r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789")
_resolve("merge", r"^<<$", "<")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
