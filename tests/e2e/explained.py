"""Whether the daemon's recording explains what was seen: who said what, what was decided, what was written."""

from __future__ import annotations

from collections.abc import Sequence

from tests.e2e.daemon import Daemon
from tests.e2e.recording import Recorded, fetch_recording
from tests.e2e.scene import Scene
from tests.e2e.story import SLACK_S, TICK_S, Doomed


async def recorded(scene: Scene, daemon: Daemon) -> Recorded:
    """All that the daemon has recorded so far, if it was never killed."""
    folder = scene.logs / scene.namespace / "recording"
    return Recorded.read(await fetch_recording(daemon, folder))


def explain(story: Doomed, record: Recorded) -> None:
    """Hold the record of one node's end and return against what was seen."""
    node, dialect = story.node, story.dialect
    record = record.between(story.said_at - 1, story.released_at + TICK_S)

    seen = [
        (at, each)
        for at, each in record.interruptions(node)
        if each["source"] == dialect.source and each["kind"] == dialect.kind
    ]
    assert seen, (
        f"{node}: no {dialect.kind} by {dialect.source} in {record.interruptions(node)[:3]}"
    )
    if dialect.kind == "Termination":
        deadlines = {round(each["deadline_at"] - story.ends_at) for _, each in seen}
        assert deadlines <= set(range(-1, 6)), f"{node}: deadlines are off by {deadlines} s"
    assert {each["drained_elsewhere"] for _, each in seen} == {dialect.drain is not None}

    raised = [at for at, said in record.steps("FallbackRaised") if node in said]
    assert len(raised) == 1, f"{node}: raised {len(raised)} times"
    assert raised[0] <= story.said_at + TICK_S + SLACK_S
    if dialect.drain is None:  # else its pods may be leaving before we look
        assert any(node in said for said in record.conditions("NodesDoomed"))
    released = record.steps("FallbackReleased")
    assert [at for at, _ in released if at > story.ends_at], f"{node}: nothing says why it went"

    _writes_in_order(story, record)


def _writes_in_order(story: Doomed, record: Recorded) -> None:
    promise = next(
        each for each in _accepted(record, "Annotate") if story.node in (each["value"] or "")
    )
    scale = next(
        each for each in _accepted(record, "SetReplicas") if each["ended_at"] >= promise["ended_at"]
    )
    cordons = [each for each in record.commands("CordonNode") if each["node"] == story.node]
    removals = [
        each for each in record.commands("EvictPod", "DeletePod") if each["pod"] in story.pods
    ]
    if story.dialect.drain is not None:
        assert cordons == removals == [], f"{story.node}: somebody else drains it"
        return
    # a node's status is written often: a cordon that lost a race is sent again
    cordons = [each for each in cordons if each["ended"] == "Accepted"]
    assert len(cordons) == 1
    assert cordons[0]["ended_at"] >= scale["ended_at"], "the cordon waits for the raise"
    # what waits for a write that lost a race is skipped with it, and sent again with it
    removals = [each for each in removals if each["ended"] == "Accepted"]
    assert {each["pod"] for each in removals} == set(story.pods)
    assert min(each["ended_at"] for each in removals) >= cordons[0]["ended_at"], (
        "and the drain for it"
    )


def _accepted(record: Recorded, kind: str) -> Sequence[dict]:
    return [each for each in record.commands(kind) if each["ended"] == "Accepted"]
