"""Real chat logs are read whole, whatever their bytes, and become what their people did."""

from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from bench.chatlog import Joined, Left, Line, Other, Renamed, Said, parse_chatlog, read_chatlog
from bench.replay import EXCERPT
from bench.script import TEXT_CHARS, Come, Go, Say, Script, write_script

CASES: list[tuple[bytes, Line]] = [
    (b"[08:24] <alfred_> yes I have", Said("alfred_", "yes I have")),
    (b"[12:18] <|trey|> 1 < 2 > <b>", Said("|trey|", "1 < 2 > <b>")),
    (b"[12:20] <brad[] > a blank after the nick", Said("brad[]", "a blank after the nick")),
    (b"[12:15] <delta>", Said("delta", "")),
    (b"[12:15] <delta> ", Said("delta", "")),
    (b"[07:35]  * int256 will be back", Said("int256", "/me will be back")),
    (b"[07:09]  * homejoe", Said("homejoe", "/me")),
    (b"=== ogra works on a frontend", Said("ogra", "/me works on a frontend")),
    (b"=== nickrud looks at <how many now?> and 900", Said("nickrud", "/me looks at <how many now?> and 900")),
    (b"=== tvon [~t@host.example]  has joined #ubuntu", Joined("tvon")),
    (b"=== [francof]  [~f@host.example]  has joined #ubuntu", Joined("[francof]")),
    (b'=== DAC1138 [d@host.example]  has left #ubuntu [""Buy.]', Left("DAC1138")),
    (b"=== GOwin [d@host.example]  has left #ubuntu []", Left("GOwin")),
    (b"=== lev is now known as lev-away", Renamed("lev", "lev-away")),
    (b"=== mode/#ubuntu [-b *!*@host.example]  by Seveas", Other("=== mode/#ubuntu [-b *!*@host.example]  by Seveas")),
    (b"=== ..[topic/#ubuntu:Seveas] : Welcome", Other("=== ..[topic/#ubuntu:Seveas] : Welcome")),
    (b"[03:10] caf\xe9 without a nick", Other("[03:10] caf\u00e9 without a nick")),
    (b"[03:10] <a> caf\xc3\xa9", Said("a", "caf\u00e9")),
    (b"[03:10] <a> caf\xe9 au lait\r", Said("a", "caf\u00e9 au lait")),
    ("[03:10] <a> one\u2028line\x0c, \x85 still".encode(), Said("a", "one\u2028line\x0c, \x85 still")),
    (b"[03:10] <a> a\0b", Said("a", "a\ufffdb")),
]


@pytest.mark.parametrize(("raw", "line"), CASES, ids=lambda value: repr(value)[:30])
def test_each_spelling_is_understood(raw: bytes, line: Line) -> None:
    assert list(parse_chatlog(raw + b"\n")) == [line]


def test_a_log_is_read_in_order_and_blank_lines_are_left_out() -> None:
    content = b"\n".join(raw for raw, _ in CASES[:5]) + b"\n\n  \n" + CASES[5][0]
    assert list(parse_chatlog(content)) == [line for _, line in CASES[:6]]


@given(content=st.binary(max_size=300))
def test_whatever_the_bytes_every_line_gives_something(content: bytes) -> None:
    lines = list(parse_chatlog(b"[01:02] <x> " + content))
    assert len(lines) <= content.count(b"\n") + 1
    assert isinstance(lines[0], Said)
    assert not any("\0" in line.text for line in lines if isinstance(line, Said))


def test_the_excerpt_has_people_who_come_go_and_change_their_names() -> None:
    script = write_script(read_chatlog(EXCERPT))
    assert script.says > 150
    assert len(script.people) > 40
    assert sum(isinstance(step, Come) for step in script.steps) > 20
    assert sum(isinstance(step, Go) for step in script.steps) >= 5
    assert_plays(script)


def test_a_rename_keeps_the_account() -> None:
    script = write_script(
        [Said("ann", "hello"), Renamed("ann", "ann_away"), Said("ann_away", "back"), Said("ann", "me")]
    )
    assert script.people == ["ann", "ann"]
    assert script.steps == [Say(0, "hello"), Say(0, "back"), Say(1, "me")]
    assert script.first == [0, 1]


def test_a_name_taken_over_leaves_its_former_owner_silent_in_the_group() -> None:
    script = write_script([Said("ann", "1"), Said("ann_", "2"), Renamed("ann_", "ann"), Said("ann", "3"), Left("ann")])
    assert script.steps == [Say(0, "1"), Say(1, "2"), Say(1, "3"), Go(1)]


def test_who_speaks_after_having_gone_has_come_back_unseen() -> None:
    lines: list[Line] = [
        Joined("ann"),
        Joined("ann"),
        Said("ann", "1"),
        Left("ann"),
        Said("ann", "2"),
        Left("bob"),
        Said("bob", "3"),
    ]
    script = write_script(lines)
    assert script.steps == [Come(0), Say(0, "1"), Go(0), Come(0), Say(0, "2"), Go(1), Come(1), Say(1, "3")]
    assert script.first == [1]
    assert script.passed_over == 1


def test_lines_without_words_are_passed_over_and_long_ones_are_cut() -> None:
    script = write_script([Said("ann", ""), Other("=== topic"), Said("bob", "x" * (TEXT_CHARS + 1))])
    assert script.people == ["bob"]
    assert script.steps == [Say(0, "x" * TEXT_CHARS), Say(0, "x")]
    assert script.passed_over == 2


_NICKS = st.sampled_from(["ann", "bob", "cid", "dot"])
_LINES = st.one_of(
    st.builds(Said, _NICKS, st.sampled_from(["", "hi", "there"])),
    st.builds(Joined, _NICKS),
    st.builds(Left, _NICKS),
    st.builds(Renamed, _NICKS, _NICKS),
    st.builds(Other, st.just("=== ?")),
)


@given(lines=st.lists(_LINES, max_size=60), limit=st.none() | st.integers(0, 60))
def test_every_script_can_be_played(lines: list[Line], limit: int | None) -> None:
    """Nobody speaks or goes who is not there, nobody comes who is, and no message is empty."""
    script = write_script(lines, limit)
    assert_plays(script)
    assert script.says == sum(isinstance(line, Said) and line.text != "" for line in lines[:limit])


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_chatlog(tmp_path / "none.txt")


def assert_plays(script: Script) -> None:
    present = set(script.first)
    assert len(present) == len(script.first)
    for step in script.steps:
        match step:
            case Say(person, text):
                assert person in present
                assert 0 < len(text) <= TEXT_CHARS
            case Come(person):
                assert person not in present
                present.add(person)
            case Go(person):
                present.remove(person)
    assert max(present, default=-1) < len(script.people)
