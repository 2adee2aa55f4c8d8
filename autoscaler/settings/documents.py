"""YAML files into documents: which file, which document, and its content."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from autoscaler.errors import SpecProblem
from autoscaler.foreign_text import shown
from autoscaler.settings.yaml_text import Allowance, RefusedYamlError, load_documents, parts_of

_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLimits:
    """How much of a file is read."""

    bytes_max: int
    document_nodes_max: int
    """Values of one document, each alias counted with all that it stands for."""
    file_nodes_max: int
    """Of all its documents, as they are written."""
    pipes: bool = False
    """Whether it need not be a regular file."""


SETTINGS = FileLimits(bytes_max=1024 * 1024, document_nodes_max=20_000, file_nodes_max=50_000)
"""A ConfigMap holds no more bytes; three hundred models in a List, more than such a file has of them."""
MANIFESTS = FileLimits(
    bytes_max=64 * 1024 * 1024, document_nodes_max=200_000, file_nodes_max=5_000_000, pipes=True
)
"""What somebody gives the command line himself, with whatever resource definitions are in it."""
PROBLEMS_MAX = 100
"""Of one file that say what cannot be read; what comes after that many is not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One YAML document, and the file it is from."""

    file: Path
    ordinal: int
    """Counted from 1 within its file, empty documents left out."""
    content: Any
    told_as: str = ""
    """What it is called in messages; empty: by its file."""

    @property
    def key(self) -> str:
        """`namespace/name` of its resource, as far as it says; empty: it does not."""
        metadata = self.content.get("metadata") if isinstance(self.content, dict) else None
        if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
            return ""
        return f"{metadata.get('namespace', 'default')}/{metadata['name']}"

    @property
    def place(self) -> str:
        """`file: document 2 (llama-70b)`, or what it is called."""
        if self.told_as:
            return self.told_as
        name = shown(_name_of(self.content), limit=80)
        return f"{_path_text(self.file)}: document {self.ordinal}{f' ({name})' if name else ''}"


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


def read_documents(
    file: Path,
    problems: list[SpecProblem],
    *,
    kind: str = "InferenceAutoscaler",
    limits: FileLimits = SETTINGS,
) -> list[Document]:
    """Read one file; what cannot be read becomes a problem, and no document.

    Each document is read by itself: one that is no YAML leaves the others as they are.

    Args:
        file: A file of YAML documents.
        problems: Gets what is wrong with it.
        kind: What is expected in it, for the message where there is nothing.
        limits: What comes beyond them is a problem.
    """
    try:
        raw = _read_bytes(file, limits)
        text = raw.decode("utf-8-sig")
    except FileNotFoundError:
        problems.append(_problem(file, "no such file", "name a file or folder that is there"))
        return []
    except UnicodeDecodeError as error:
        problems.append(_problem(file, f"no UTF-8 at byte {error.start}", "save it as UTF-8"))
        return []
    except OSError as error:
        reason = error.strerror or type(error).__name__
        problems.append(_problem(file, f"unreadable ({reason})", "make it readable"))
        return []
    except _NoSettingsError as error:
        problems.append(
            _problem(file, str(error), f"write a file of at most {limits.bytes_max} bytes")
        )
        return []
    contents: list[Any] = []
    before = len(problems)
    allowance = Allowance(
        document_nodes=limits.document_nodes_max, file_nodes=limits.file_nodes_max
    )
    for first_line, part in parts_of(text):
        if len(problems) - before >= PROBLEMS_MAX or allowance.left < 0:
            where = f"{_path_text(file)}: line {first_line}"
            found, remedy = "more that is not read", "mend what comes before it"
            problems.append(SpecProblem(path=where, found=found, remedy=remedy))
            break
        try:
            contents += [
                content for content in load_documents(part, allowance) if content is not None
            ]
        except yaml.YAMLError as error:
            problems.append(_syntax_problem(file, error, first_line=first_line))
        except Exception as error:  # noqa: BLE001  a reader of YAML raises anything: it is this document's matter
            problems.append(
                SpecProblem(
                    path=f"{_path_text(file)}: line {first_line}",
                    found=f"what cannot be read ({type(error).__name__}: {shown(error, limit=80)})",
                    remedy="mend the document that begins there",
                )
            )
    if not contents and len(problems) == before:
        problems.append(_problem(file, "no document", f"write at least one {kind} document"))
    return [
        Document(file=file, ordinal=ordinal, content=content)
        for ordinal, content in enumerate(_items_of(contents), start=1)
    ]


class _NoSettingsError(Exception):
    """A file that can hold no settings: what it is."""


def _read_bytes(file: Path, limits: FileLimits) -> bytes:
    """Read a regular file of a size that settings have: a pipe would never end, a device neither."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode) and not limits.pipes:
        raise _NoSettingsError("no regular file")
    if status.st_size > limits.bytes_max:
        raise _NoSettingsError(f"{status.st_size} bytes")
    with file.open("rb") as opened:
        raw = opened.read(limits.bytes_max + 1)
    if len(raw) > limits.bytes_max:
        raise _NoSettingsError(f"more than {limits.bytes_max} bytes")
    return raw


def _items_of(contents: list[Any]) -> Iterator[Any]:
    """Unfold a List, as `kubectl get -o yaml` prints it."""
    for content in contents:
        if _kind_of(content).endswith("List"):
            items = content.get("items")
            if isinstance(items, list):
                yield from items
                continue
        yield content


def _kind_of(content: Any) -> str:
    kind = content.get("kind") if isinstance(content, dict) else None
    return kind if isinstance(kind, str) else ""


def _name_of(content: Any) -> str:
    metadata = content.get("metadata") if isinstance(content, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else ""


def _problem(file: Path, found: str, remedy: str) -> SpecProblem:
    return SpecProblem(path=_path_text(file), found=found, remedy=remedy)


def _path_text(file: Path) -> str:
    return shown(str(file), limit=400)


def _syntax_problem(file: Path, error: yaml.YAMLError, *, first_line: int) -> SpecProblem:
    where = _path_text(file)
    found = "no YAML"
    if isinstance(error, yaml.MarkedYAMLError):
        line = error.problem_mark.line if error.problem_mark is not None else 0
        where += f": line {first_line + line}"
        found = shown(" ".join(part for part in (error.context, error.problem) if part))
    elif isinstance(error, yaml.reader.ReaderError):
        where += f": line {first_line}"
        found = f"the character {error.character!a}, which YAML does not allow"
    remedy = "mend the YAML there"
    if isinstance(error, RefusedYamlError):
        remedy = error.remedy
    return SpecProblem(path=where, found=found, remedy=remedy)
