"""`--config`: a file or a folder of resources, each document read or refused by itself, with every problem.

A document that is refused leaves the others as they are, and its model as it was: one tenant's slip must
not freeze, or stop, the models of all.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from autoscaler.errors import SettingsError, SpecProblem
from autoscaler.foreign_text import shown
from autoscaler.settings.documents import Document, files_of, read_documents
from autoscaler.settings.metrics_rules import problems_with_servers
from autoscaler.settings.problems import problems_of, value_text
from autoscaler.settings.resource import API_VERSION, KIND, InferenceAutoscaler
from autoscaler.settings.rules import problems_between, problems_within


class SpecError(SettingsError):
    """A configuration that is not used, with everything that is wrong with it."""

    def __init__(self, problems: Iterable[SpecProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is in use: what was read and is valid, and what was before where it is not."""

    path: Path
    resources: tuple[InferenceAutoscaler, ...]
    """In order of key."""
    problems: tuple[SpecProblem, ...] = ()
    """Of the documents that are refused."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """The file that each resource is from, by key."""
    complete: bool = True
    """False: a document has been refused since the first reading, and its model is not in use; or of a file not
    even that is known."""


def load_config(path: Path, *, servers: Collection[str] | None = None) -> Config:
    """Read a file of YAML documents, or a folder of such files, all of them valid.

    Args:
        path: The file or folder.
        servers: Names of the Prometheus servers that documents may name; None: it is not known which.

    Raises:
        SpecError: With every problem of every document.
    """
    config = read_config(path, servers=servers)
    if config.problems:
        raise SpecError(config.problems)
    return config


def read_config(
    path: Path, *, last: Config | None = None, servers: Collection[str] | None = None
) -> Config:
    """Read it as far as it is valid.

    Of a document that is refused the model stays as it is in `last`; of one that does not say whose it is, all
    models of its file that are not found elsewhere. Without `last` what it is about is missing.
    """
    problems: list[SpecProblem] = []
    documents, broken = _documents(path, problems)
    before = {resource.key: resource for resource in last.resources} if last else {}
    # What is in use comes first: of two documents that claim one target it is the new one that is refused.
    documents.sort(key=lambda document: document.key not in before)
    found: dict[str, Document] = {}
    resources: dict[str, InferenceAutoscaler] = {}
    refused: set[str] = set()
    contested = list(problems_between([d for d in documents if _is_ours(d)]))
    for document in documents:
        own: list[SpecProblem] = []
        resource = _resource(document, own)
        if resource is not None and servers is not None:
            own += problems_with_servers(document, resource, servers)
        own += [each for each in contested if each.path.startswith(f"{document.place}: ")]
        problems += own
        if resource is not None and not own:
            resources[resource.key], found[resource.key] = resource, document
        elif document.key:
            refused.add(document.key)
        else:
            broken.add(document.file)
    files = {key: document.file for key, document in found.items()}
    for key, resource in before.items():
        home = last.files.get(key) if last else None
        if key not in resources and (key in refused or not documents or home in broken):
            _give_way(resource, resources, found, problems)
            resources[key] = resource
            files[key] = home or path
    missing = bool(broken) or not refused <= resources.keys()
    return Config(
        path=path,
        resources=tuple(resources[key] for key in sorted(resources)),
        problems=tuple(problems),
        files={key: files[key] for key in resources},
        complete=not missing or (last is not None and last.complete),
    )


def _give_way(
    kept: InferenceAutoscaler,
    resources: dict[str, InferenceAutoscaler],
    found: Mapping[str, Document],
    problems: list[SpecProblem],
) -> None:
    """Refuse documents that claim a target of a model which stays in use."""
    targets = _targets(kept)
    for key in [each for each, resource in resources.items() if _targets(resource) & targets]:
        del resources[key]
        problems.append(
            SpecProblem(
                path=f"{found[key].place}: spec.pools",
                found=f"a scale target of {kept.key}, whose own document is refused and which stays in use",
                remedy="mend that document, or wait until it is",
            )
        )


def _targets(resource: InferenceAutoscaler) -> set[tuple[str, str, str]]:
    return {
        (resource.metadata.namespace, pool.scale_target_ref.kind, pool.scale_target_ref.name)
        for pool in resource.spec.pools
    }


def _documents(path: Path, problems: list[SpecProblem]) -> tuple[list[Document], set[Path]]:
    """Every document there is, and the files of which a part cannot be read."""
    try:
        files: Sequence[Path] = files_of(path)
    except OSError as error:
        problems.append(
            SpecProblem(
                path=shown(str(path), limit=400),
                found=f"unreadable ({error.strerror or type(error).__name__})",
                remedy="make it readable",
            )
        )
        return [], {path}
    if not files:
        problems.append(
            SpecProblem(
                path=str(path),
                found="a folder without a .yaml, .yml or .json file",
                remedy="put at least one InferenceAutoscaler document there",
            )
        )
    documents: list[Document] = []
    broken: set[Path] = set()
    for file in files:
        before = len(problems)
        documents += read_documents(file, problems)
        if len(problems) > before:
            broken.add(file)
    return documents, broken


def _is_ours(document: Document) -> bool:
    return isinstance(document.content, dict) and document.content.get("kind") in (KIND, None)


def _resource(document: Document, problems: list[SpecProblem]) -> InferenceAutoscaler | None:
    """Validate one document; its problems go to the list."""
    content = document.content
    if not isinstance(content, dict):
        problems.append(
            SpecProblem(
                path=document.place,
                found=value_text(content),
                remedy=f"write a document of kind {KIND}: apiVersion, kind, metadata, spec",
            )
        )
        return None
    if not _is_ours(document):
        problems.append(
            SpecProblem(
                path=f"{document.place}: kind",
                found=f"{value_text(content['kind'])}",
                remedy=f"write {KIND} ({API_VERSION}); other objects belong in another file",
            )
        )
        return None
    found: list[SpecProblem] = []
    resource: InferenceAutoscaler | None = None
    try:
        found += problems_within(document)
        # As JSON, because that is what the API server would get: strict, and with its types.
        resource = InferenceAutoscaler.model_validate_json(json.dumps(content, allow_nan=False))
    except ValidationError as error:
        found = problems_of(document.place, error) + found
    except (TypeError, ValueError) as error:
        found.append(
            SpecProblem(
                path=document.place,
                found=f"what JSON cannot hold ({shown(error)})",
                remedy="use text keys, and no value that contains itself",
            )
        )
    except Exception as error:  # noqa: BLE001  nobody foresaw it: it is this document's matter
        found.append(
            SpecProblem(
                path=document.place,
                found=f"what we cannot judge ({type(error).__name__}: {shown(error)})",
                remedy="this is a bug, please report it",
            )
        )
    problems.extend(found)
    return resource
