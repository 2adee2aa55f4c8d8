"""`--config`: a file or a folder of resources, read whole or refused whole with every problem."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from autoscaler.errors import SettingsError, SpecProblem
from autoscaler.settings.documents import Document, files_of, read_documents
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
    """What was read, valid."""

    path: Path
    resources: tuple[InferenceAutoscaler, ...]
    """In order of key."""


def load_config(path: Path) -> Config:
    """Read a file of YAML documents, or a folder of such files.

    Raises:
        SpecError: With every problem of every document.
    """
    problems: list[SpecProblem] = []
    files = files_of(path)
    if not files:
        problems.append(
            SpecProblem(
                path=str(path),
                found="a folder without a .yaml, .yml or .json file",
                remedy="put at least one InferenceAutoscaler document there",
            )
        )
    documents = [document for file in files for document in read_documents(file, problems)]
    resources = [resource for document in documents if (resource := _resource(document, problems))]
    problems.extend(problems_between([d for d in documents if _is_ours(d)]))
    if problems:
        raise SpecError(problems)
    return Config(path=path, resources=tuple(sorted(resources, key=lambda found: found.key)))


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
    found = list(problems_within(document))
    resource: InferenceAutoscaler | None = None
    try:
        # As JSON, because that is what the API server would get: strict, and with its types.
        resource = InferenceAutoscaler.model_validate_json(json.dumps(content))
    except ValidationError as error:
        found = problems_of(document.place, error) + found
    except (TypeError, ValueError) as error:
        found.append(
            SpecProblem(
                path=document.place,
                found=f"what JSON cannot hold ({error})",
                remedy="use text keys, and no value that contains itself",
            )
        )
    problems.extend(found)
    return resource
