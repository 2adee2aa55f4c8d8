from __future__ import annotations

import io
import json
import logging
import warnings

import pytest
import structlog

from autoscaler.daemon.telemetry import logs
from tests.test_cli import logging_as_it_was  # noqa: F401  a fixture


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def said(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.usefixtures("logging_as_it_was")
class TestConfigured:
    def test_json_has_time_level_and_event(self):
        stream = io.StringIO()
        logs.configure(form="auto", stream=stream)
        structlog.get_logger().info("daemon.started", version="1", path=io)
        (line,) = said(stream)
        assert (line["event"], line["level"], line["version"]) == ("daemon.started", "info", "1")
        assert line["time"].endswith("Z")

    def test_a_terminal_gets_lines_for_people(self):
        stream = Terminal()
        logs.configure(form="auto", stream=stream)
        structlog.get_logger().info("daemon.started", version="1")
        assert "daemon.started" in stream.getvalue()
        with pytest.raises(json.JSONDecodeError):
            said(stream)

    def test_a_terminal_gets_json_when_asked(self):
        stream = Terminal()
        logs.configure(form="json", stream=stream)
        structlog.get_logger().info("daemon.started")
        assert said(stream)

    def test_the_level_holds(self):
        stream = io.StringIO()
        logs.configure(form="json", level="warning", stream=stream)
        structlog.get_logger().info("daemon.started")
        structlog.get_logger().error("daemon.broke")
        assert [line["event"] for line in said(stream)] == ["daemon.broke"]

    def test_a_bug_comes_with_its_trace_in_one_line(self):
        stream = io.StringIO()
        logs.configure(form="json", stream=stream)
        try:
            _ = 1 / 0
        except ZeroDivisionError:
            structlog.get_logger().exception("engine.broke")
        (line,) = said(stream)
        assert "ZeroDivisionError: division by zero" in line["exception"]

    @pytest.mark.parametrize("form", ["pretty", "json"])
    def test_no_trace_shows_the_variables_of_a_frame(self, form: str):
        """A request's header is one: the token that the API server takes."""
        stream = Terminal()
        logs.configure(form=form, stream=stream)
        token = "Bearer of mine"
        try:
            _ = 1 / len(token[:0])
        except ZeroDivisionError:
            structlog.get_logger().exception("engine.broke")
        assert "ZeroDivisionError: division by zero" in stream.getvalue()
        assert "Bearer of mine" not in stream.getvalue()

    def test_what_libraries_say_is_an_event_of_ours(self):
        stream = io.StringIO()
        logs.configure(form="json", stream=stream)
        logging.getLogger("aiohttp.server").info("not this")
        logging.getLogger("aiohttp.server").warning("odd: %s", "x")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", DeprecationWarning, stacklevel=1)
        first, second = said(stream)
        assert (first["event"], first["logger"], first["message"]) == (
            "library.warned",
            "aiohttp.server",
            "odd: x",
        )
        assert "DeprecationWarning: old" in second["message"]
