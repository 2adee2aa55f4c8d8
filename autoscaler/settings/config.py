"""Documents of files, or of the API server: each read or refused by itself, with every problem.

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
    """Of the file or folder; for the API server's, what is watched there."""
    resources: tuple[InferenceAutoscaler, ...]
    """In order of key."""
    problems: tuple[SpecProblem, ...] = ()
    """Of the documents that are refused."""
    refused: Mapping[str, tuple[SpecProblem, ...]] = field(default_factory=dict)
    """By key, those of documents that say whose they are; of a key that two have, of both."""
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
    reading = _Reading(path, last=last, servers=servers, problems=problems)
    return reading.config(documents, broken=broken, lost=False, keeps_all=not documents)


def read_resources(
    documents: Iterable[Document],
    *,
    path: Path,
    last: Config | None = None,
    servers: Collection[str] | None = None,
    unknown: Sequence[SpecProblem] = (),
    all_listed: bool = True,
) -> Config:
    """Read what the API server has, by the same rules.

    A document that is gone is gone, and with it its model. Of two new ones that claim one target the first is used.

    Args:
        documents: All there are, each with what it is called.
        path: What is watched.
        last: What is in use.
        servers: Names of the Prometheus servers that documents may name; None: it is not known which.
        unknown: A problem for each resource of which it is not known what it says.
        all_listed: Whether there are no others.
    """
    reading = _Reading(path, last=last, servers=servers, problems=list(unknown))
    lost = bool(unknown) or not all_listed
    return reading.config(list(documents), broken=set(), lost=lost, keeps_all=False)


class _Reading:
    """One reading of all documents, and what was in use before it."""

    def __init__(
        self,
        path: Path,
        *,
        last: Config | None,
        servers: Collection[str] | None,
        problems: list[SpecProblem],
    ) -> None:
        self._path = path
        self._last = last
        self._servers = servers
        self._problems = problems
        self._found: dict[str, Document] = {}
        self._resources: dict[str, InferenceAutoscaler] = {}
        self._refused: dict[str, list[SpecProblem]] = {}
        self._given_way: dict[str, list[SpecProblem]] = {}

    def config(
        self,
        documents: list[Document],
        *,
        broken: set[Path],
        lost: bool,
        keeps_all: bool,
    ) -> Config:
        """Say what is in use now.

        Args:
            documents: All that could be read.
            broken: Files of which a part could not: models from them that are not found elsewhere stay.
            lost: There may be models of which nothing is known.
            keeps_all: Models of which there is no document stay all the same.
        """
        last = self._last
        before = {resource.key: resource for resource in last.resources} if last else {}
        self._read(documents, before=before, broken=broken)
        files = {key: document.file for key, document in self._found.items()}
        # Who is kept may take a target from one that was read, whose model is then kept as it was too.
        staying = True
        while staying:
            staying = False
            for key, resource in before.items():
                home = last.files.get(key) if last else None
                stays = key in self._refused or key in self._given_way or home in broken
                if key not in self._resources and (stays or keeps_all):
                    self._give_way(resource)
                    self._resources[key] = resource
                    files[key] = home or self._path
                    staying = True
        resources = self._resources
        missing = lost or bool(broken) or not self._refused.keys() <= resources.keys()
        return Config(
            path=self._path,
            resources=tuple(resources[key] for key in sorted(resources)),
            problems=tuple(self._problems),
            refused={
                key: (*self._refused.get(key, ()), *self._given_way.get(key, ()))
                for key in {**self._refused, **self._given_way}
            },
            files={key: files[key] for key in resources},
            complete=not missing or (last is not None and last.complete),
        )

    def _read(
        self,
        documents: list[Document],
        *,
        before: Mapping[str, InferenceAutoscaler],
        broken: set[Path],
    ) -> None:
        """Read or refuse each document."""
        # What is in use comes first: of two documents that claim one target it is the new one that is refused.
        documents.sort(key=lambda document: document.key not in before)
        contested = list(problems_between([d for d in documents if _is_ours(d)]))
        for document in documents:
            own: list[SpecProblem] = []
            resource = _resource(document, own)
            if resource is not None and self._servers is not None:
                own += problems_with_servers(document, resource, self._servers)
            own += [each for each in contested if each.path.startswith(f"{document.place}: ")]
            self._problems += own
            if resource is not None and not own:
                self._resources[resource.key], self._found[resource.key] = resource, document
            elif document.key:
                self._refused.setdefault(document.key, []).extend(own)
            else:
                broken.add(document.file)

    def _give_way(self, kept: InferenceAutoscaler) -> None:
        """Refuse documents that claim a target of a model which stays in use."""
        targets = _targets(kept)
        resources = self._resources
        for key in [each for each, resource in resources.items() if _targets(resource) & targets]:
            del resources[key]
            problem = SpecProblem(
                path=f"{self._found[key].place}: spec.pools",
                found=f"a scale target of {kept.key}, whose own document is refused and which stays in use",
                remedy="mend that document, or wait until it is",
                contested=True,
            )
            self._problems.append(problem)
            self._given_way.setdefault(key, []).append(problem)


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
