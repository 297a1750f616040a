"""What the operator sees: lines in two forms, and numbers."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from konnect_server import telemetry
from konnect_server.telemetry import counter, exposition, gauge, histogram, set_up_logs


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Logging is one thing for the whole process: put back what a test changed."""
    handlers, level, before = logging.root.handlers[:], logging.root.level, structlog.get_config()
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    structlog.configure(**before)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _say_all() -> None:
    log = structlog.get_logger("konnect.room")
    log.debug("quiet")
    with structlog.contextvars.bound_contextvars(user="ann"):
        log.warning("something happened", number=3)
    logging.getLogger("a.library").warning("it said %s", "so")
    logging.getLogger("a.library").info("quiet")
    password = "hunter2"
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("crashed", also=len(password))


def test_machines_get_one_json_object_a_line() -> None:
    out = io.StringIO()
    set_up_logs("info", "auto", out)
    _say_all()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["something happened", "it said so", "crashed"]
    assert [line["logger"] for line in lines] == ["konnect.room", "a.library", "konnect.room"]
    assert [line["level"] for line in lines] == ["warning", "warning", "error"]
    assert all(line["at"].endswith("Z") for line in lines)
    assert lines[0]["number"] == 3
    assert lines[0]["user"] == "ann"
    assert "ValueError: broken" in lines[2]["exception"]


@pytest.mark.parametrize(("form", "out"), [("text", io.StringIO()), ("auto", _Terminal())])
def test_people_get_plain_lines(form: Literal["auto", "text"], out: io.StringIO) -> None:
    set_up_logs("info", form, out)
    _say_all()
    said = out.getvalue()
    assert "something happened" in said
    assert "it said so" in said
    assert "ValueError: broken" in said
    assert "quiet" not in said


@pytest.mark.parametrize("form", ["text", "json"])
def test_tracebacks_hold_no_values_of_variables(form: Literal["text", "json"]) -> None:
    out = io.StringIO()
    set_up_logs("info", form, out)
    _say_all()
    assert "ValueError: broken" in out.getvalue()
    assert "hunter2" not in out.getvalue()


def test_levels_hold_and_a_logger_made_before_follows() -> None:
    log = structlog.get_logger("early")
    log.debug("before")
    out = io.StringIO()
    set_up_logs("error", "json", out)
    log.warning("not this")
    log.error("this")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["this"]
    out.truncate(0)
    set_up_logs("debug", "json", out)
    log.debug("now this")
    assert "now this" in out.getvalue()


def test_a_reader_that_left_does_no_harm() -> None:
    """`konnect serve 2>&1 | head` must not bring the server down."""

    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    set_up_logs("info", "json", Closed())
    structlog.get_logger("room").warning("nobody hears")
    gone = io.StringIO()
    set_up_logs("info", "json", gone)
    gone.close()
    structlog.get_logger("room").warning("nobody hears")


def test_numbers_come_out_as_prometheus_reads_them() -> None:
    sent = counter("konnect_test_frames_total", "Frames.", ("kind",))
    sent.labels("entry").inc(3)
    gauge("konnect_test_sockets", "Sockets.").set_function(lambda: 7)
    histogram("konnect_test_turn_seconds", "Turns.").observe(0.02)
    said = exposition().decode()
    assert 'konnect_test_frames_total{kind="entry"} 3.0' in said
    assert "konnect_test_sockets 7.0" in said
    assert 'konnect_test_turn_seconds_bucket{le="0.025"} 1.0' in said
    assert "process_resident_memory_bytes" in said
    assert telemetry.CONTENT_TYPE.startswith("text/plain")
