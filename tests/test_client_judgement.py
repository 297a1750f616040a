"""What an ending means, whether a connection lives, how long a token is good."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from konnect_client import ConnectFailed, ServerRefused, SocketEnded, TokenUnavailable
from konnect_client.endings import Ending, Then, after_close, after_failure
from konnect_client.liveness import Liveness, Pulse, Verdict, judge
from konnect_client.tokens import expires_in_s
from konnect_client.transport import socket_url

LIMITS = Liveness(ping_after_s=20, ping_within_s=10, hello_within_s=15, answer_within_s=60)


@given(st.integers(1000, 4999))
def test_only_4500_to_4999_mean_stay_away(code: int) -> None:
    ending = after_close(SocketEnded(code, "word"), None)
    if code == 4501:
        assert ending == Ending(Then.NEW_TOKEN, "word", code)
    elif code >= 4500:
        assert ending == Ending(Then.STOP, "word", code)
    else:
        assert ending == Ending(Then.COME_BACK, "word", code)


def test_an_ending_has_a_reason_though_the_server_gave_none() -> None:
    assert after_close(SocketEnded(1006, ""), None).reason == "lost"
    assert after_close(SocketEnded(1011, ""), None).reason == "close_1011"


def test_an_answer_to_hello_says_more_than_the_close_code() -> None:
    closed = SocketEnded(4505, "bad_hello")
    assert after_close(closed, ServerRefused("bad_cursor", "?")).then is Then.NEW_CURSOR
    assert after_close(SocketEnded(1006, ""), ServerRefused("unauthorized", "?")) == Ending(
        Then.NEW_TOKEN, "unauthorized", 1006
    )
    later = after_close(SocketEnded(1006, ""), ServerRefused("unavailable", "?", 1_500))
    assert later == Ending(Then.COME_BACK, "unavailable", 1006, 1.5)


def test_a_failed_attempt_is_made_again() -> None:
    assert after_failure(ConnectFailed("http_503", "no", 7.0)) == Ending(Then.COME_BACK, "http_503", None, 7.0)
    assert after_failure(TokenUnavailable("no", 3.0)) == Ending(Then.COME_BACK, "token_unavailable", None, 3.0)
    assert after_failure(OSError("no net")) == Ending(Then.COME_BACK, "token_unavailable")


def pulse(**known: Any) -> Pulse:
    defaults: dict[str, Any] = {
        "began": 0.0, "last_heard": 0.0, "opened": True, "pinged": False, "oldest_unanswered": None,
    }  # fmt: skip
    return Pulse(**(defaults | known))


def test_silence_is_broken_by_one_ping() -> None:
    assert judge(LIMITS, pulse(), 19.0) == Verdict(None, False, 20.0)
    assert judge(LIMITS, pulse(), 20.0) == Verdict(None, True, 30.0)
    assert judge(LIMITS, pulse(pinged=True), 20.0) == Verdict(None, False, 30.0)


def test_a_silence_that_a_ping_does_not_break_is_the_end() -> None:
    assert judge(LIMITS, pulse(pinged=True), 30.0).dead == "no_answer"
    assert judge(LIMITS, pulse(pinged=True, last_heard=5.0), 30.0).dead is None


def test_hello_has_its_own_deadline() -> None:
    assert judge(LIMITS, pulse(opened=False), 14.0) == Verdict(None, False, 15.0)
    assert judge(LIMITS, pulse(opened=False, last_heard=14.0), 15.0).dead == "hello_timeout"


def test_an_answer_may_not_be_forgotten() -> None:
    waiting = pulse(last_heard=60.0, oldest_unanswered=5.0)
    assert judge(LIMITS, waiting, 60.0) == Verdict(None, False, 65.0)
    assert judge(LIMITS, waiting, 65.0).dead == "answer_overdue"


@given(
    st.floats(0, 200), st.floats(0, 200), st.booleans(), st.booleans(), st.one_of(st.none(), st.floats(0, 200))
)  # fmt: skip
def test_the_next_look_lies_ahead(now: float, last: float, opened: bool, pinged: bool, oldest: float | None) -> None:
    verdict = judge(LIMITS, pulse(last_heard=last, opened=opened, pinged=pinged, oldest_unanswered=oldest), now)
    assert verdict.dead is not None or verdict.again_at > now


def jwt(claims: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{body}.c2ln"


@pytest.mark.parametrize(
    ("token", "left_s"),
    [
        (jwt({"exp": 1_900, "iat": 1_000}), 400.0),
        (jwt({"exp": 1_900, "iat": 1_700}), 200.0),  # this clock is slow: never more than the whole life
        (jwt({"exp": 1_400}), 0.0),
        (jwt({"exp": 1_600.5}), 100.5),
        (jwt({"sub": "ann"}), None),
        (jwt({"exp": "soon"}), None),
        (jwt([1]), None),
        ("opaque", None),
        ("a.b.c", None),
        ("a.\xff.c", None),
        ("a." + base64.urlsafe_b64encode(b"\xff\xfe").decode() + ".c", None),
    ],
)
def test_a_token_says_how_long_it_is_good(token: str, left_s: float | None) -> None:
    assert expires_in_s(token, 1_500.0) == left_s


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://localhost:8080", "ws://localhost:8080/v1/socket"),
        ("https://chat.example.com/", "wss://chat.example.com/v1/socket"),
        ("https://example.com/chat?x=1", "wss://example.com/chat/v1/socket"),
        ("ws://[::1]:80/v1/socket", "ws://[::1]:80/v1/socket"),
        ("wss://example.com/other", "wss://example.com/other"),
    ],
)
def test_a_servers_address_gives_its_sockets(url: str, address: str) -> None:
    assert socket_url(url) == address


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://example.com", "http://", "ws://"])
def test_another_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        socket_url(url)
