"""When a model's past is read, and what becomes of a server that does not answer; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import numpy as np
import pytest
from structlog.testing import capture_logs

from autoscaler.core.contract.history import HistoryColumns
from autoscaler.daemon.history_watch import DAYS, RETRIES_S, HistoryWatch
from autoscaler.settings import (
    InferenceAutoscaler,
    PrometheusSettings,
    load_config,
    to_fleet,
)
from autoscaler.sources.history.reader import HistoryOutcome, HistoryReader, PastRead
from tests.core.history.days import Traffic
from tests.daemon.virtual_time import run_virtual
from tests.test_settings import document, write

WHOLE, EMPTY, FAILED = HistoryOutcome.WHOLE, HistoryOutcome.EMPTY, HistoryOutcome.FAILED
HISTORY = Traffic.of(lambda _: 1.0, seconds=600.0).history(until=600.0)
READ_S = 2.0
"""How long a reading takes here."""


def came(outcome: HistoryOutcome, *, refused: bool = False) -> PastRead:
    history = HISTORY
    if outcome in (EMPTY, FAILED):
        nothing = np.full(len(HISTORY), np.nan)
        history = HistoryColumns(
            at=HISTORY.at,
            span_s=60.0,
            **{name: nothing for name in HistoryColumns.__slots__ if name not in ("at", "span_s")},
        )
    return PastRead(
        outcome=outcome,
        history=history,
        known_ratio=1.0 if outcome is WHOLE else 0.0,
        queries=8,
        interval_s=None if outcome is FAILED else 15.0,
        refused=refused,
        message="" if outcome is WHOLE else "no",
    )


class Story:
    """A watch, its servers that do as the test says, and what it did."""

    def __init__(self, folder: Path, *names: str, days: float = DAYS) -> None:
        self.folder = folder
        self.answers: dict[str, Callable[[str], PastRead]] = {}
        self.asked: list[tuple[float, str, str]] = []
        """(when, server, deployment)"""
        self.spans: set[float] = set()
        self.put: list[tuple[float, str]] = []
        self.loop = asyncio.get_running_loop()
        self.watch = HistoryWatch(
            servers={
                name: PrometheusSettings(name=name, server_address=f"https://{name}")
                for name in names
            },
            put=lambda model, _: self.put.append((self.loop.time(), model)),
            now=self.loop.time,
            days=days,
            session=cast("aiohttp.ClientSession", object()),
            reader_of=lambda server: cast("HistoryReader", Reader(self, server.name)),
        )

    def follow(self, *models: str, server: str = "main") -> None:
        resources = self._resources(*models, server=server)
        self.watch.follow(to_fleet(resources, gpu_budget=None), resources)

    def _resources(self, *models: str, server: str) -> tuple[InferenceAutoscaler, ...]:
        if not models:
            return ()
        documents = []
        for name in models:
            made = document(
                pools=[{"name": "main", "scaleTargetRef": {"name": name}}],
                metrics={"source": "Prometheus", "prometheus": {"server": server}},
            )
            made["metadata"]["name"] = name
            documents.append(made)
        return load_config(write(self.folder, *documents)).resources

    @contextmanager
    def running(self) -> Iterator[None]:
        task = asyncio.create_task(self.watch.run())
        try:
            yield
        finally:
            task.cancel()


class Reader:
    """Stands for what reads from one server."""

    def __init__(self, story: Story, server: str) -> None:
        self._story = story
        self._server = server

    async def read(self, _reader: Any, pods: Any, _series: Any, *, until: float, span_s: float):
        story = self._story
        story.asked.append((until, self._server, pods.deployments[0]))
        story.spans.add(span_s)
        await asyncio.sleep(READ_S)
        return story.answers[self._server](pods.deployments[0])


def test_each_model_is_read_once_one_after_the_other_from_the_start(tmp_path):
    async def story() -> None:
        told = Story(tmp_path, "main")
        told.answers["main"] = lambda _: came(WHOLE)
        told.follow("a", "b")
        with told.running():
            await asyncio.sleep(3600.0)
        assert told.asked == [(0.0, "main", "a"), (READ_S, "main", "b")]
        assert told.put == [(READ_S, "serving/a"), (2 * READ_S, "serving/b")]
        assert told.spans == {7 * 86_400.0}
        assert told.watch.outcomes == {WHOLE: 2}
        report = told.watch.reports["serving/a"]
        assert (report.server, report.outcome, report.retry_at) == ("main", WHOLE, None)
        assert (report.from_at, report.until_at) == (HISTORY.at[0], HISTORY.at[-1])

    run_virtual(story())


def test_a_model_that_is_added_later_is_read_then_and_no_other_again(tmp_path):
    async def story() -> None:
        told = Story(tmp_path, "main")
        told.answers["main"] = lambda _: came(WHOLE)
        told.follow("a")
        with told.running():
            await asyncio.sleep(100.0)
            told.follow("a", "b")
            await asyncio.sleep(100.0)
            told.follow("b")
            await asyncio.sleep(1.0)
            assert sorted(told.watch.reports) == ["serving/b"], "what is gone is forgotten"
            told.follow("a", "b")
            await asyncio.sleep(100.0)
        assert [each[::2] for each in told.asked] == [(0.0, "a"), (100.0, "b"), (201.0, "a")]

    run_virtual(story())


def test_a_model_that_goes_while_it_is_read_is_not_handed_on(tmp_path):
    async def story() -> None:
        told = Story(tmp_path, "main")
        told.answers["main"] = lambda _: came(WHOLE)
        told.follow("a")
        with told.running():
            await asyncio.sleep(0.5 * READ_S)
            told.follow()
            await asyncio.sleep(100.0)
        assert (told.put, told.watch.reports, told.watch.outcomes) == ([], {}, {})

    run_virtual(story())


def test_a_server_that_does_not_answer_is_asked_again_ever_later_and_then_not_any_more(tmp_path):
    async def story() -> None:
        told = Story(tmp_path, "main")
        told.answers["main"] = lambda _: came(FAILED)
        told.follow("a", "b")
        with told.running():
            await asyncio.sleep(10 * 3600.0)
        at, expected = 0.0, [0.0]
        for pause_s in RETRIES_S:
            at += READ_S + pause_s
            expected.append(at)
        assert [moment for moment, _, _ in told.asked] == expected
        assert told.put == []
        assert told.watch.outcomes == {FAILED: len(expected)}
        assert told.watch.reports["serving/a"].retry_at is None
        with told.running():
            told.follow("a", "b", "c")
            told.answers["main"] = lambda _: came(WHOLE)
            await asyncio.sleep(60.0)
        assert [model for _, model in told.put] == ["serving/c"], "a new model begins anew"

    run_virtual(story())


def test_a_server_that_comes_back_serves_all_that_waited(tmp_path):
    async def story() -> None:
        told = Story(tmp_path, "main")
        told.answers["main"] = lambda _: came(FAILED)
        told.follow("a", "b")
        with told.running():
            await asyncio.sleep(30.0)
            assert told.watch.reports["serving/a"].retry_at == READ_S + RETRIES_S[0]
            told.answers["main"] = lambda _: came(WHOLE)
            await asyncio.sleep(60.0)
        assert [model for _, model in told.put] == ["serving/a", "serving/b"]
        assert told.watch.outcomes == {FAILED: 1, WHOLE: 2}

    run_virtual(story())


def test_a_server_that_does_not_answer_keeps_no_other_from_being_asked(tmp_path):
    async def story() -> None:
        told = Story(tmp_path, "main", "other")
        told.answers |= {"main": lambda _: came(FAILED), "other": lambda _: came(WHOLE)}
        told.follow("a")
        both = (*told._resources("a", server="main"), *told._resources("b", server="other"))
        with told.running():
            await asyncio.sleep(10.0)
            told.watch.follow(to_fleet(both, gpu_budget=None), both)
            await asyncio.sleep(10.0)
        assert [model for _, model in told.put] == ["serving/b"]

    run_virtual(story())


@pytest.mark.parametrize("end", ["empty", "refused"])
def test_what_no_later_answer_would_mend_is_not_asked_again(tmp_path, end):
    async def story() -> None:
        told = Story(tmp_path, "main")
        ends = {"a": came(EMPTY) if end == "empty" else came(FAILED, refused=True)}
        told.answers["main"] = lambda model: ends.get(model) or came(WHOLE)
        told.follow("a", "b")
        with told.running():
            await asyncio.sleep(3600.0)
        assert [deployment for _, _, deployment in told.asked] == ["a", "b"]
        assert [model for _, model in told.put] == ["serving/b"], "nothing known is nothing to put"
        assert told.watch.reports["serving/a"].from_at is None

    run_virtual(story())


def test_no_days_and_no_server_read_nothing(tmp_path):
    async def story() -> None:
        for told in (Story(tmp_path, "main", days=0), Story(tmp_path)):
            told.follow("a")
            with told.running():
                await asyncio.sleep(1.0)
            assert (told.asked, told.watch.reports) == ([], {})

    run_virtual(story())


def test_a_model_that_breaks_a_run_keeps_no_other_from_being_read(tmp_path):
    """The supervisor logs it, and begins the task anew."""

    async def story() -> None:
        told = Story(tmp_path, "main")

        def broken(deployment: str) -> PastRead:
            if deployment == "a":
                raise ZeroDivisionError
            return came(WHOLE)

        told.answers["main"] = broken
        told.follow("a", "b")
        with pytest.raises(ZeroDivisionError):
            await told.watch.run()
        with told.running():
            await asyncio.sleep(3600.0)
        assert [model for _, model in told.put] == ["serving/b"]
        assert [deployment for _, _, deployment in told.asked] == ["a", "b"]

    run_virtual(story())


def test_what_is_given_up_is_logged_once_for_each_model(tmp_path):
    async def story() -> None:
        told = Story(tmp_path, "main")
        told.answers["main"] = lambda _: came(FAILED)
        told.follow("a", "b")
        with capture_logs() as logs, told.running():
            await asyncio.sleep(10 * 3600.0)
        again = [log["again_s"] for log in logs if log["event"] == "history.failed"]
        assert again == [*(round(pause_s) for pause_s in RETRIES_S), None]
        abandoned = [log["model"] for log in logs if log["event"] == "history.abandoned"]
        assert abandoned == ["serving/b"]

    run_virtual(story())
