"""Predecessors among documents, each with what is known of its Deployment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoscaler.errors import SpecProblem
from autoscaler.foreign_text import listed, shown
from autoscaler.kube.api.plain import Plain, part, text
from autoscaler.kube.watch.rivals import maker_of
from autoscaler.migration.document import document_of
from autoscaler.migration.hpa import read_hpa
from autoscaler.migration.metric_names import MetricSignal
from autoscaler.migration.predecessor import HPA_KIND, SCALED_OBJECT_KIND, Predecessor
from autoscaler.migration.scaled_object import VERSION, read_scaled_object
from autoscaler.migration.target_facts import TargetFacts, target_facts
from autoscaler.settings.documents import Document
from autoscaler.settings.problems import problems_of, value_text
from autoscaler.settings.resource import InferenceAutoscaler
from autoscaler.settings.rules import problems_within

_READERS = {HPA_KIND: read_hpa, SCALED_OBJECT_KIND: read_scaled_object}


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """One predecessor, and what became of it."""

    predecessor: Predecessor
    document: dict[str, Any]


def read_predecessors(
    documents: Sequence[Document], told: Mapping[str, MetricSignal], problems: list[SpecProblem]
) -> list[Predecessor]:
    """Read those that there are among documents.

    Args:
        documents: Of any kinds.
        told: What the user says of metrics of his own.
        problems: Gets what is wrong with them; that there is none is a problem.
    """
    found, others = [], []
    before = len(problems)
    items = [each.content if isinstance(each.content, dict) else {} for each in documents]
    scaled = {
        text(part(item, "metadata"), "name")
        for item in items
        if text(item, "kind") == SCALED_OBJECT_KIND
    }
    for document, item in zip(documents, items, strict=True):
        kind = text(item, "kind")
        if kind == HPA_KIND and maker_of(item) in scaled - {""}:
            continue  # KEDA made it of one that is here as well
        reader = _READERS.get(kind)
        if reader is None or (kind == SCALED_OBJECT_KIND and text(item, "apiVersion") != VERSION):
            others.append(f"{text(item, 'apiVersion')} {kind}".strip() or "nothing of a kind")
            continue
        read = reader(item, document.place, told)
        if isinstance(read, SpecProblem):
            problems.append(read)
        else:
            found.append(read)
    if not found and len(problems) == before:
        place = shown(str(documents[0].file), limit=200) if documents else "the input"
        problems.append(
            SpecProblem(
                path=place,
                found=f"no HorizontalPodAutoscaler and no ScaledObject ({VERSION}), but {listed(others) or 'nothing'}",
                remedy="give a file that has one, or name it in the cluster: hpa/NAME or scaledobject/NAME",
            )
        )
    problems += _twice(found)
    return found


def _twice(found: Sequence[Predecessor]) -> list[SpecProblem]:
    """Refuse two of one Deployment: they fight there as well."""
    seen: dict[tuple[str, str], Predecessor] = {}
    problems = []
    for each in found:
        key = (each.namespace, each.target)
        if key in seen:
            problems.append(
                SpecProblem(
                    path=f"{each.kind} {shown(each.name, limit=80)}: spec.scaleTargetRef",
                    found=f"Deployment {shown(each.target, limit=80)}, which {seen[key].kind} "
                    f"{shown(seen[key].name, limit=80)} scales as well",
                    remedy="keep one of the two",
                )
            )
        seen.setdefault(key, each)
    return problems


def facts_in(documents: Sequence[Document], predecessor: Predecessor) -> TargetFacts | None:
    """Look for a predecessor's Deployment among documents."""
    for document in documents:
        item: Plain = document.content if isinstance(document.content, dict) else {}
        metadata = part(item, "metadata")
        if text(item, "kind") != "Deployment" or text(metadata, "name") != predecessor.target:
            continue
        if text(metadata, "namespace") in ("", predecessor.namespace):
            return target_facts(item, cold_start_s=None, origin=document.place)
    return None


def imported(
    predecessor: Predecessor,
    facts: TargetFacts | None,
    *,
    namespace: str,
    problems: list[SpecProblem],
) -> Imported:
    """Make the document, and hold it against what a resource may be.

    Args:
        predecessor: As it was read.
        facts: Of its Deployment; None: not known.
        namespace: In place of its own; empty: that.
        problems: Gets what a resource may not be: a name that is too long, for one.
    """
    document = document_of(predecessor, facts, namespace=namespace)
    place = f"made of {predecessor.kind} {shown(predecessor.name, limit=80)}"
    problems += _problems_of_document(document, place)
    return Imported(predecessor=predecessor, document=document)


def _problems_of_document(document: dict[str, Any], place: str) -> list[SpecProblem]:
    from pathlib import Path  # noqa: PLC0415  a document's file is of its type alone

    from pydantic import ValidationError  # noqa: PLC0415

    as_read = Document(file=Path(place), ordinal=1, content=document, told_as=place)
    found = list(problems_within(as_read))
    try:
        InferenceAutoscaler.model_validate_json(json.dumps(document, allow_nan=False))
    except ValidationError as error:
        found = problems_of(place, error) + found
    except (TypeError, ValueError) as error:
        found.append(
            SpecProblem(
                path=place,
                found=value_text(shown(error)),
                remedy="use text keys and finite numbers",
            )
        )
    return found
