"""YAML files into documents: which file, which document, and its content.

Read as YAML 1.2 reads it, as far as users notice: `Off` is a word and not a boolean, `010` is not
eight, a date is text. A key given twice is refused: YAML would take the last one in silence.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from autoscaler.errors import SpecProblem

_SUFFIXES = (".yaml", ".yml", ".json")
_BYTES_MAX = 4 * 1024 * 1024
"""Of one file. The API server takes 1.5 MB for one object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One YAML document, and the file it is from."""

    file: Path
    ordinal: int
    """Counted from 1 within its file, empty documents left out."""
    content: Any

    @property
    def place(self) -> str:
        """`file: document 2 (llama-70b)`."""
        name = _name_of(self.content)
        return f"{self.file}: document {self.ordinal}{f' ({name})' if name else ''}"


def files_of(path: Path) -> list[Path]:
    """List the files that a configuration consists of: the file, or the folder's YAML files.

    Hidden entries are left out: a mounted ConfigMap keeps its versions in `..data` and the like.
    """
    if not path.is_dir():
        return [path]
    return sorted(
        entry
        for entry in path.iterdir()
        if entry.suffix in _SUFFIXES and not entry.name.startswith(".") and entry.is_file()
    )


def read_documents(file: Path, problems: list[SpecProblem]) -> list[Document]:
    """Read one file; what cannot be read becomes a problem, and no document."""
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        problems.append(_problem(file, "no such file", "name a file or folder that is there"))
        return []
    except OSError as error:
        reason = error.strerror or type(error).__name__
        problems.append(_problem(file, f"unreadable ({reason})", "make it readable"))
        return []
    if len(raw) > _BYTES_MAX:
        problems.append(_problem(file, f"{len(raw)} bytes", f"keep it below {_BYTES_MAX}"))
        return []
    try:
        text = raw.decode("utf-8-sig")
        contents = [content for content in _load_all(text) if content is not None]
    except UnicodeDecodeError as error:
        problems.append(_problem(file, f"no UTF-8 at byte {error.start}", "save it as UTF-8"))
        return []
    except yaml.YAMLError as error:
        problems.append(_syntax_problem(file, error))
        return []
    if not contents:
        problems.append(
            _problem(file, "no document", "write at least one InferenceAutoscaler document")
        )
    return [
        Document(file=file, ordinal=ordinal, content=content)
        for ordinal, content in enumerate(_items_of(contents), start=1)
    ]


def _items_of(contents: list[Any]) -> Iterator[Any]:
    """Unfold a List, as `kubectl get -o yaml` prints it."""
    for content in contents:
        if isinstance(content, dict) and str(content.get("kind", "")).endswith("List"):
            items = content.get("items")
            if isinstance(items, list):
                yield from items
                continue
        yield content


def _name_of(content: Any) -> str:
    metadata = content.get("metadata") if isinstance(content, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _problem(file: Path, found: str, remedy: str) -> SpecProblem:
    return SpecProblem(path=str(file), found=found, remedy=remedy)


def _syntax_problem(file: Path, error: yaml.YAMLError) -> SpecProblem:
    where = str(file)
    found = "no YAML"
    if isinstance(error, yaml.MarkedYAMLError):
        if error.problem_mark is not None:
            where += f": line {error.problem_mark.line + 1}"
        found = " ".join(part for part in (error.context, error.problem) if part)
    elif isinstance(error, yaml.reader.ReaderError):
        found = f"the character {error.character!r}, which YAML does not allow"
    remedy = "mend the YAML there"
    if isinstance(error, _DuplicateKeyError):
        remedy = "keep one of the two"
    return SpecProblem(path=where, found=found, remedy=remedy)


class _DuplicateKeyError(yaml.constructor.ConstructorError):
    """A mapping that gives a key twice."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's scalars and no duplicate keys."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML's own class attribute, replaced as a whole

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
                raise _DuplicateKeyError(None, None, f"the key {key!r} twice", key_node.start_mark)
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_resolve("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_resolve("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789")
_resolve("float", r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789")
_resolve("merge", r"^<<$", "<")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)


def _load_all(text: str) -> Iterator[Any]:
    yield from yaml.load_all(text, Loader=_Loader)
