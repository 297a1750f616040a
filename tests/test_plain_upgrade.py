"""The plain handshake says of any head what websockets' core says, or leaves it to the core."""

import re

import pytest
from hypothesis import example, given, strategies as st

from konnect_server import handshake
from konnect_server.plain_upgrade import accept_plain

NAME = "konnect.v1"
LINES = [
    b"Host: chat.example.com", b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Protocol: konnect.v1",
]  # fmt: skip
ODD = [
    b"Upgrade: h2c", b"upgrade: WebSocket", b"Upgrade: websocket, h2c", b"Connection: keep-alive, Upgrade",
    b"Connection: close", b"Connection: upgrade,", b"Sec-WebSocket-Version: 8", b"Sec-WebSocket-Version: 13, 8",
    b"Sec-WebSocket-Key: short", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==", b"Sec-WebSocket-Key:",
    b"Sec-WebSocket-Protocol: other", b"Sec-WebSocket-Protocol: other, konnect.v1", b"Sec-WebSocket-Extensions: x; y=1",
    b"Sec-WebSocket-Extensions: permessage-deflate", b"Content-Length: 0", b"Content-Length: 5",
    b"Transfer-Encoding: chunked", b" folded", b"\tfolded", b"No colon", b": no name", b"Bad name: x", b"X: \xff",
    b"X: \x01", b"X:", b"X: " + b"a" * 5_000, b"Origin: null", b"Cookie: a=b", b"Expect: 100-continue",
]  # fmt: skip


def head(lines: list[bytes], first: bytes = b"GET /v1/socket HTTP/1.1", end: bytes = b"\r\n") -> bytes:
    return end.join([first, *lines, b"", b""])


def timeless(answer: object) -> object:
    return re.sub(rb"Date: [^\r]*", b"Date:", answer) if isinstance(answer, bytes) else answer


def agree(request: bytes) -> bool:
    """Whether it was plain; if so, both must say the same."""
    plain = accept_plain(request, NAME)
    if plain is not None:
        assert timeless(plain) == timeless(handshake.judge(request, NAME))
    return plain is not None


def test_a_plain_request_is_accepted_here() -> None:
    """The key and its answer are those of RFC 6455, section 1.3."""
    answer = accept_plain(head(LINES), NAME)
    assert answer is not None
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert agree(head(LINES))
    assert agree(head([line.lower() if b"Key" not in line else line for line in reversed(LINES)]))
    assert re.search(rb"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", answer)


@pytest.mark.parametrize("odd", ODD)
def test_what_is_odd_is_judged_as_the_core_does(odd: bytes) -> None:
    name = odd.partition(b":")[0].lower()
    agree(head([*LINES, odd]))
    agree(head([odd, *LINES]))
    agree(head([line for line in LINES if line.partition(b":")[0].lower() != name] + [odd]))


@pytest.mark.parametrize("missing", range(1, len(LINES)))
def test_nothing_that_is_needed_may_be_missing(missing: int) -> None:
    assert not agree(head(LINES[:missing] + LINES[missing + 1 :]))


@given(
    lines=st.lists(st.sampled_from([*LINES, *ODD]), max_size=10),
    first=st.sampled_from([b"GET /v1/socket HTTP/1.1", b"GET / HTTP/1.0", b"POST / HTTP/1.1", b"GET  HTTP/1.1"]),
    end=st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"]),
)
def test_any_lines_in_any_order(lines: list[bytes], first: bytes, end: bytes) -> None:
    agree(head(lines, first, end))


@given(
    lines=st.permutations(LINES), place=st.integers(0, 400), junk=st.binary(max_size=3), cut=st.integers(0, 3),
)  # fmt: skip
@example(lines=LINES, place=0, junk=b"", cut=0)
def test_any_damage(lines: list[bytes], place: int, junk: bytes, cut: int) -> None:
    whole = head(list(lines))
    agree(whole[:place] + junk + whole[place + cut :])
