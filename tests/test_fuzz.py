"""The fuzzer finds what is planted, says how to see it again, and is quiet otherwise."""

from collections.abc import Callable
from typing import Any

import pytest
from websockets.utils import apply_mask

from konnect_server import caller, connection, handshake, reader
from protocol import codec
from tests import fuzz

Plant = Callable[[pytest.MonkeyPatch], None]


def _keeps_the_handler_waiting(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(connection.Connection, "_lose", lambda self: None)


def _tells_the_end_twice(patch: pytest.MonkeyPatch) -> None:
    finish = connection.Connection._finish

    def twice(self: connection.Connection) -> None:
        handler = self._handler
        finish(self)
        handler.closed(0, "")

    patch.setattr(connection.Connection, "_finish", twice)


def _misses_the_mask_s_turn(patch: pytest.MonkeyPatch) -> None:
    def peek(self: Any, buffer: bytes, start: int) -> bool:
        new = apply_mask(buffer[start + self._checked :], buffer[start - 4 : start])
        if self._decoder is None:
            self._decoder = reader._Utf8()
        self._checked += len(new)
        return bool(self._decodes(new, last=False))

    patch.setattr(reader._Rare, "peek", peek)


def _accepts_one_byte_too_many(patch: pytest.MonkeyPatch) -> None:
    init = reader.Reader.__init__
    patch.setattr(reader.Reader, "__init__", lambda self, limit: init(self, limit + 1))


def _decodes_with_a_traceback(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(codec, "_explain", lambda payload, problem: ValueError("planted"))


def _stumbles_over_a_head(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(handshake, "_malformed", lambda problem: 1 / 0)


def _holds_whom_it_refused(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(caller.Caller, "close", lambda self: None)


@pytest.mark.parametrize(
    "plant",
    [
        _keeps_the_handler_waiting,
        _tells_the_end_twice,
        _misses_the_mask_s_turn,
        _accepts_one_byte_too_many,
        _decodes_with_a_traceback,
        _stumbles_over_a_head,
        _holds_whom_it_refused,
    ],
)
def test_a_planted_bug_is_found(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within 200 seeds; its seed alone finds it again, and without the bug finds nothing."""
    with monkeypatch.context() as patch:
        plant(patch)
        assert fuzz.main(["--count", "200", "--seconds", "600"]) == 1
        found = capsys.readouterr().out
        again = found.strip().splitlines()[-1].removeprefix("again: python -m tests.fuzz ").split()
        assert fuzz.main(again) == 1
        assert capsys.readouterr().out.splitlines()[0] == found.splitlines()[0]
    assert fuzz.main(again) == 0
    assert "1 seeds from" in capsys.readouterr().out


def test_it_stops_when_its_time_is_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--seconds", "0", "--seed", "7"]) == 0
    assert "1 seeds from 7" in capsys.readouterr().out
