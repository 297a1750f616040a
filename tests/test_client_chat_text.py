"""The chat's lines: what is typed, what is shown, where files are."""

import os
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, strategies as st

from konnect_client import Attachment, Contact, Content, Conversation, Entry, Location
from konnect_client.journal import Kept
from konnect_server.chat.line_editor import LINE_CHARS, LineEditor
from konnect_server.chat.room import Room, entry_lines
from konnect_server.chat.signin import SEATS, CannotStart, check_email, outbox_for, state_folder, take_seat
from konnect_server.chat.text import cut, harmless, lines_of, tail, width
from tests.client_peer import ANN, BOB, ROOM

# --- a line being typed -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (b"hello\r", "hello"),
        (b"hello\n", "hello"),
        ("grüße \N{GRINNING FACE}\r".encode(), "grüße \N{GRINNING FACE}"),
        (b"helo\x7flo\r", "hello"),
        (b"\x7f\x7fa\b\bb\r", "b"),
        (b"hllo\x1b[D\x1b[D\x1b[De\r", "hello"),
        (b"hllo\x1bOD\x1bOD\x1bODe\x1b[C\x1bOC\x1b[C\x1b[C!\r", "hello!"),
        (b"ello\x01h\x05!\r", "hello!"),
        (b"ello\x1b[Hh\x1b[F!\r", "hello!"),
        (b"ab\x02\x02\x06X\r", "aXb"),
        (b"one two three\x17four\r", "one two four"),
        (b"one two \x17three\r", "one three"),
        (b"one\x15two\r", "two"),
        (b"one\x01\x0btwo\r", "two"),
        (b"abc\x01\x04\x1b[3~\r", "c"),
        (b"a\tb\r", "a b"),
        (b"a\x1b[200~b\x1b[201~\x1b[15;5~\x1bxc\r", "abc"),
        (b"a\x00\x07\x1fb\r", "ab"),
        (b"bad \xff\xfe utf-8\r", "bad \ufffd\ufffd utf-8"),
    ],
)
def test_keys_make_a_line(keys: bytes, line: str) -> None:
    whole, byte_by_byte = LineEditor(), LineEditor()
    assert whole.feed(keys) == [line]
    assert [got for byte in keys for got in byte_by_byte.feed(bytes([byte]))] == [line]
    assert (whole.text, whole.cursor) == ("", 0)


def test_several_lines_come_at_once_and_the_rest_stays() -> None:
    editor = LineEditor()
    assert editor.feed(b"one\rtwo\rthr") == ["one", "two"]
    assert editor.text == "thr"


def test_ctrl_d_ends_an_empty_line_only() -> None:
    editor = LineEditor()
    editor.feed(b"a\x04")
    assert not editor.ended
    editor.feed(b"\x7f\x04more")
    assert (editor.ended, editor.text) == (True, "")


def test_a_line_has_an_end() -> None:
    editor = LineEditor()
    editor.feed(b"x" * (LINE_CHARS + 10))
    assert len(editor.text) == LINE_CHARS


@given(st.binary(max_size=200))
def test_any_keys_are_survived(keys: bytes) -> None:
    editor = LineEditor()
    editor.feed(keys)
    assert 0 <= editor.cursor <= len(editor.text)
    assert editor.text.isprintable()


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_a_message_moves_no_cursor() -> None:
    """An escape sequence could rewrite what others said, or the window's title."""
    assert harmless("a\x1b[2Jb\x07\x9bc\x7f") == "a\u241b[2Jb\u2407\ufffdc\ufffd"
    assert harmless("txt.\u202eexe\u2066\u200b") == "txt.exe"
    assert harmless("fam\N{WOMAN}\u200d\N{WOMAN} żółć") == "fam\N{WOMAN}\u200d\N{WOMAN} żółć"
    assert lines_of("a\r\nb\rc\nd") == ["a", "b", "c", "d"]


@given(st.text())
def test_what_is_shown_is_one_line(text: str) -> None:
    shown = harmless(text)
    assert shown.splitlines() in ([shown], [])
    assert "\x1b" not in shown


@given(st.text(), st.integers(1, 40))
def test_a_cut_line_fits(text: str, columns: int) -> None:
    assert width(cut(text, columns)) <= columns
    assert width(tail(text, columns)) <= columns
    assert text.endswith(tail(text, columns))
    if width(text) <= columns:
        assert cut(text, columns) == text


def entry(kind: str, **more: object) -> Entry:
    return Entry(ROOM, 1, kind, ANN, "k", 1_700_000_000_000, **more)  # type: ignore[arg-type]


def named(user: str) -> str:
    return {ANN: "Ann", BOB: "Bob"}[user]


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (entry("message", text="hi"), "Ann: hi"),
        (entry("created", title="Tea"), "* Ann opened this conversation"),
        (entry("member.added", user=BOB), "* Ann added Bob"),
        (entry("member.removed", user=BOB), "* Ann removed Bob"),
        (entry("member.removed", user=ANN), "* Ann left"),
        (entry("reaction\x1b"), "* Ann: reaction\u241b"),
    ],
)
def test_an_entry_is_a_line(shown: Entry, said: str) -> None:
    (line,) = entry_lines(shown, BOB, named)
    at, rest = line[:5], line[6:]
    assert (at[2], rest) == (":", said)


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (entry("message", deleted=True), "* Ann said something that is deleted now"),
        (entry("message.edited", text="new", of=1), "* Ann changed an earlier message: new"),
        (entry("message.edited", deleted=True, of=1), "* Ann changed a message that is deleted now"),
        (entry("message.deleted", of=1), "* Ann deleted an earlier message"),
        (entry("message.reacted", of=1, emoji="x\x1b", on=True), "* Ann reacted with x\u241b"),
        (entry("message.reacted", of=1, emoji="x", on=False), "* Ann took back x"),
        (entry("message.pinned", of=1, on=True), "* Ann pinned a message"),
        (entry("message.pinned", of=1, on=False), "* Ann took a pinned message down"),
        (
            entry("message", content=Content(media=(Attachment(BOB, "photo"),), location=Location(1, 2.5, "Ca\x1bfé"))),
            "Ann: [photo] [Ca\u241bfé: 1.00000, 2.50000]",
        ),
        (
            entry("message", text="look", content=Content(contact=Contact("Cid", "+43 1"), forwarded_from=BOB)),
            "Ann: look [Cid, +43 1] [said by Bob]",
        ),
    ],
)
def test_what_is_done_to_a_message_is_a_line(shown: Entry, said: str) -> None:
    (line,) = entry_lines(shown, BOB, named)
    assert line[6:] == said


def test_ones_own_message_is_marked_and_a_long_one_indented() -> None:
    first, second = entry_lines(entry("message", text="one\ntwo"), ANN, named)
    assert first.endswith("Ann: one \u2713")
    assert second == "      two"


def test_a_room_is_called_by_its_title_or_the_others() -> None:
    conversation = Conversation(ROOM, "group", "Te\x1ba", (ANN, BOB), 1, 1, 3, 0, 0)
    room = Room.of(conversation)
    assert (room.called(ANN, named), room.unread) == ("Te\u241ba", 3)
    room.title = None
    assert (room.called(ANN, named), room.called(BOB, named)) == ("Bob", "Ann")
    room.apply(entry("member.removed", user=BOB))
    assert room.called(ANN, named) == "only you"
    for _ in range(2):
        room.apply(entry("member.added", user=BOB))
    assert room.members == [ANN, BOB]


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_second_terminal_takes_the_second_seat_and_a_seat_keeps_its_name(tmp_path: Path) -> None:
    first = take_seat(tmp_path, "http://localhost:8080", "Ann@example.com")
    second = take_seat(tmp_path, "http://localhost:8080", "ann@example.com")
    elsewhere = take_seat(tmp_path, "https://localhost", "ann@example.com")
    assert len({first.device, second.device, elsewhere.device}) == 3
    assert second.token_path.parent.name == "2"
    first.journal.close()
    again = take_seat(tmp_path, "http://localhost:8080", "ann@example.com")
    assert (again.device, again.token_path) == (first.device, first.token_path)
    for seat in (second, elsewhere, again):
        seat.journal.close()


def test_an_address_may_name_another_account_one_day(tmp_path: Path) -> None:
    """The server's data was removed: what was left unsent then is not sent in another's name, and not thrown away."""
    seat = take_seat(tmp_path, "http://localhost", "ann@example.com")
    assert outbox_for(seat, ANN) == (seat.journal, None)
    seat.journal.belongs_to(ANN)
    assert outbox_for(seat, ANN) == (seat.journal, None)
    journal, aside = outbox_for(seat, BOB)
    assert (journal.load(), journal.user, aside) == ([], None, None)
    journal.belongs_to(BOB)
    journal.add(Kept(ROOM, "k", "unsent"))
    journal.close()
    seat = take_seat(tmp_path, "http://localhost", "ann@example.com")
    journal, aside = outbox_for(seat, ANN)
    assert (journal.load(), journal.user) == ([], None)
    assert aside is not None
    assert "unsent" in aside.read_text()
    journal.close()


def test_seats_are_bounded(tmp_path: Path) -> None:
    seats = [take_seat(tmp_path, "http://localhost", "ann@example.com") for _ in range(SEATS)]
    with pytest.raises(CannotStart, match="other terminals"):
        take_seat(tmp_path, "http://localhost", "ann@example.com")
    for seat in seats:
        seat.journal.close()


def test_an_address_makes_no_path(tmp_path: Path) -> None:
    seat = take_seat(tmp_path, "http://localhost", "../../x@example.com/..")
    assert tmp_path in seat.token_path.resolve().parents
    seat.journal.close()


def test_a_folder_that_cannot_be_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match="--state-dir"):
        take_seat(tmp_path / "file", "http://localhost", "ann@example.com")


def test_files_are_where_such_files_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert state_folder("/somewhere") == Path("/somewhere")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder(None) == tmp_path / "konnect"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    assert state_folder(None) == tmp_path / ".local" / "state" / "konnect"


@pytest.mark.parametrize("email", ["", "ann", "@", "ann@", "@example.com", " ann@example.com"])
def test_what_is_no_address_is_said_at_once(email: str) -> None:
    with pytest.raises(CannotStart, match="no"):
        check_email(email)


def test_an_address_is_let_through() -> None:
    check_email(f"ann+{Random(1).random()}@example.com")
