"""The town that chats: its plan is what is documented, its phones keep the protocol, its judge sees every fault."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import pytest
import trio
from click.testing import CliRunner
from hypothesis import given, strategies as st

from bench import mixed
from bench.crowd_ledger import Ledger, Message
from bench.crowd_link import BINARY, CLOSE, PING, PONG, LinkEnded, _frames
from bench.crowd_phone import RECEIPT_AFTER_S, Counts, Phone
from bench.crowd_plan import draw_groups, group_sizes, read_texts
from bench.histogram import Histogram
from bench.memory import Sample, slope_kib_per_minute
from bench.options import Common
from bench.replay import EXCERPT

# --- The plan --------------------------------------------------------------------------------------------------------


def test_group_sizes_follow_zipf() -> None:
    sizes = group_sizes(2000, 200)
    assert sizes[:6] == [500, 250, 167, 125, 100, 83]
    assert sizes[-1] == 3
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == 2944


def test_no_group_is_larger_than_the_town() -> None:
    assert group_sizes(3, 2) == [3, 3]


def test_the_same_seed_draws_the_same_groups() -> None:
    groups = draw_groups(Random(7), 100, 10)
    assert groups == draw_groups(Random(7), 100, 10) != draw_groups(Random(8), 100, 10)
    assert [len(set(members)) for members in groups] == group_sizes(100, 10)
    assert {member for members in groups for member in members} <= set(range(100))


def test_what_is_said_is_what_people_said(tmp_path: Path) -> None:
    texts = read_texts([EXCERPT])
    assert texts[0] == "it's on the website"
    assert all(texts)
    log = tmp_path / "empty.txt"
    log.write_text("=== ann [a@host.example]  has joined #x\n[12:00] <ann>\n")
    with pytest.raises(ValueError, match="nobody says anything"):
        read_texts([log])
    result = CliRunner().invoke(mixed.main, ["--logs", str(log)])
    assert (result.exit_code, "nobody says anything" in result.output) == (2, True)
    result = CliRunner().invoke(mixed.main, [str(log)])
    assert "named after --logs" in result.output


# --- Figures ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1000), min_size=1), st.sampled_from([0.5, 0.99, 0.999]))
def test_a_quantile_is_never_too_low_and_at_most_a_little_too_high(seconds: list[float], share: float) -> None:
    histogram = Histogram()
    for one in seconds:
        histogram.note(one)
    exact = min(one for one in seconds if sum(other <= one for other in seconds) >= share * len(seconds)) * 1e3
    assert exact - 1e-6 <= histogram.quantile_ms(share) <= exact * 1.008 + 1e-6
    assert histogram.told()["count"] == len(seconds)
    assert histogram.told()["max_ms"] == pytest.approx(max(seconds) * 1e3, abs=1e-5)


def test_an_empty_histogram_tells_zeros() -> None:
    assert set(Histogram().told().values()) == {0}


def test_the_slope_is_that_of_a_straight_line() -> None:
    line = [Sample(at, 5_000_000 + 1024 * 3 * at // 6) for at in range(0, 600, 30)]
    assert slope_kib_per_minute(line) == pytest.approx(30.0)
    assert slope_kib_per_minute([Sample(0, 1), Sample(0, 2)]) is None


# --- The judge -------------------------------------------------------------------------------------------------------


def well(ledger: Ledger) -> dict[str, dict[str, int]]:
    """Two phones that saw everything rightly; their heads."""
    for number, seq in (("k1", 2), ("k2", 3)):
        message = Message(number, "ann", "c", "hello", 0.0)
        ledger.said(message)
        for user in ("ann", "bob"):
            ledger.seen(user, "c", seq - 1, seq, number)
        assert ledger.answered(message, seq)
    return {"ann": {"c": 3}, "bob": {"c": 3}}


def test_a_right_course_has_no_violation() -> None:
    ledger = Ledger()
    ledger.judge(well(ledger))
    assert (ledger.violations, ledger.examples, ledger.acknowledged) == (0, [], 2)


def _gap(ledger: Ledger) -> None:
    ledger.seen("bob", "c", 1, 3, "k2")


def _repeat(ledger: Ledger) -> None:
    assert ledger.seen("bob", "c", 3, 2, "k1") == 3


def _another(ledger: Ledger) -> None:
    ledger.seen("cid", "c", 1, 2, "k2")


def _stranger(ledger: Ledger) -> None:
    ledger.seen("cid", "c", None, 3, "k2")


def _from_nowhere(ledger: Ledger) -> None:
    ledger.seen("ann", "c", 3, 4, "k9")
    ledger.seen("bob", "c", 3, 4, "k9")


def _elsewhere(ledger: Ledger) -> None:
    ledger.said(Message("k3", "ann", "d", "hello", 0.0, acknowledged=4))
    ledger.seen("ann", "c", 3, 4, "k3")


def _twice_acknowledged(ledger: Ledger) -> None:
    assert not ledger.answered(ledger.messages["k1"], 3)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (_gap, "lost"),
        (_repeat, "doubled"),
        (_another, "altered"),
        (_stranger, "foreign"),
        (_from_nowhere, "foreign"),
        (_elsewhere, "foreign"),
        (_twice_acknowledged, "altered"),
    ],
)
def test_each_fault_is_seen_at_once(fault: Callable[[Ledger], None], kind: str) -> None:
    ledger = Ledger()
    well(ledger)
    fault(ledger)
    assert ledger.wrongs[kind] == 1
    assert ledger.violations == 1
    assert ledger.examples[0].startswith(kind)


def test_the_verdict_sees_what_never_came() -> None:
    ledger = Ledger()
    heads = well(ledger)
    heads["bob"]["c"] = 2  # the last entry
    ledger.said(Message("k3", "ann", "c", "x", 0.0))  # never acknowledged
    ledger.said(Message("k4", "ann", "c", "x", 0.0, acknowledged=9))  # acknowledged, and nobody saw it
    ledger.judge(heads)
    assert ledger.wrongs == Counter(lost=3)


def test_the_verdict_sees_one_message_under_two_numbers() -> None:
    ledger = Ledger()
    well(ledger)
    for user in ("ann", "bob"):
        ledger.seen(user, "c", 3, 4, "k1")
    ledger.judge({"ann": {"c": 4}, "bob": {"c": 4}})
    assert ledger.wrongs == Counter(doubled=1)


# --- Frames ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=70_000), max_size=4), st.data())
def test_frames_are_read_however_they_are_cut(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(_framed(payload) for payload in payloads)
    cut = data.draw(st.integers(0, len(stream)))
    first, used = _frames(stream[:cut])
    second, rest = _frames(stream[used:])
    assert first + second == [(BINARY, payload) for payload in payloads]
    assert used + rest == len(stream)


def _framed(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((BINARY, size)) + payload
    if size < 65_536:
        return bytes((BINARY, 126)) + size.to_bytes(2, "big") + payload
    return bytes((BINARY, 127)) + size.to_bytes(8, "big") + payload


# --- A phone ---------------------------------------------------------------------------------------------------------


class Wire:
    """A link whose other end is the test."""

    def __init__(self) -> None:
        self.upgraded = False
        self.pushed: list[dict[str, Any]] = []
        self.pongs: list[bytes] = []
        self.came: list[tuple[int, bytes]] = []

    def push(self, payload: bytes, opcode: int = BINARY) -> None:
        if opcode == PONG:
            self.pongs.append(payload)
        else:
            self.pushed.append(msgpack.unpackb(payload))

    def receive(self) -> list[tuple[int, bytes]]:
        self.upgraded = True
        came, self.came = self.came, []
        return came


class TestHouse:
    """A crowd of one phone, whose clock is turned by hand."""

    __test__ = False

    def __init__(self) -> None:
        self.ledger, self.counts, self.random = Ledger(), Counts(measured=True), Random(1)
        self.time = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.phone = Phone(self, "ann", "token", ["c"])
        self.wire = Wire()

    def now(self) -> float:
        return self.time

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        self.timers.append((self.time + seconds, what))

    def dirty(self, phone: Phone) -> None:
        assert phone is self.phone

    def synced(self, phone: Phone) -> None:
        assert phone.live

    def connect(self) -> dict[str, Any]:
        """A new connection, as far as hello; the hello."""
        self.wire = Wire()
        self.phone.connected(self.wire)  # type: ignore[arg-type]
        self.hear()
        return self.wire.pushed[0]

    def hear(self, *frames: dict[str, Any]) -> None:
        self.wire.came += [(BINARY, msgpack.packb(frame)) for frame in frames]
        self.phone.readable()

    def sign_in(self) -> None:
        self.connect()
        state = {"t": "conversation", "conversation": "c", "head": 1}
        self.hear({"t": "ok", "id": 0, "result": {}}, state, {"t": "synced", "cursor": "C1"})

    def pass_s(self, seconds: float) -> None:
        self.time += seconds
        due = [what for at, what in self.timers if at <= self.time]
        self.timers = [(at, what) for at, what in self.timers if at > self.time]
        for what in due:
            what()

    def asked(self, command: str) -> list[dict[str, Any]]:
        return [frame for frame in self.wire.pushed if frame["t"] == command]


def entry(seq: int, key: str, author: str = "bob", text: str = "hello") -> dict[str, Any]:
    return {
        "t": "entry", "conversation": "c", "seq": seq, "kind": "message", "author": author, "key": key, "at_ms": 1,
        "text": text,
    }  # fmt: skip


def said(house: TestHouse, key: str) -> Message:
    message = Message(key, "ann", "c", f"text of {key}", house.time)
    house.phone.say(message)
    return message


def test_a_phone_signs_in_watches_and_answers_pings() -> None:
    house = TestHouse()
    hello = house.connect()
    assert hello == {"t": "hello", "id": 0, "token": "token", "device": "bench", "heads": {}, "recent": 0}
    house.sign_in()
    assert house.phone.live
    assert house.phone.heads == {"c": 1}
    assert [frame["conversation"] for frame in house.asked("presence.watch")] == ["c"]
    house.wire.came = [(PING, b"there?")]
    house.phone.readable()
    assert house.wire.pongs == [b"there?"]


def test_a_phone_comes_back_with_heads_and_cursor_and_sends_what_was_not_answered() -> None:
    """In the same order, with the same keys, before anything new."""
    house = TestHouse()
    house.sign_in()
    messages = [said(house, key) for key in ("k1", "k2", "k3")]
    first = house.asked("message.send")
    house.hear(entry(2, "k1", "ann", "text of k1"), {"t": "ok", "id": first[0]["id"], "result": {"seq": 2, "at_ms": 1}})
    house.phone.disconnected()
    hello = house.connect()
    assert (hello["heads"], hello["cursor"]) == ({"c": 2}, "C1")
    house.hear({"t": "ok", "id": 0, "result": {}})
    again = house.asked("message.send")
    assert [frame["key"] for frame in again] == ["k2", "k3"]
    assert [frame["text"] for frame in again] == ["text of k2", "text of k3"]
    house.hear(entry(3, "k2", "ann", "text of k2"), {"t": "synced", "cursor": "C2"})
    house.hear(entry(4, "k3", "ann", "text of k3"))
    for frame, seq in zip(again, (3, 4), strict=True):
        house.hear({"t": "ok", "id": frame["id"], "result": {"seq": seq, "at_ms": 1}})
    assert house.phone.outbox == {}
    house.ledger.judge({"ann": house.phone.heads})
    assert (house.ledger.violations, house.ledger.caught_up, house.ledger.live) == (0, 1, 2)
    assert [message.undisturbed for message in messages] == [True, False, False]
    assert house.ledger.delivery.count == house.ledger.ack.count == 1  # the others' age says when she came back


def test_a_phone_tells_what_it_has_read_once_for_many() -> None:
    house = TestHouse()
    house.sign_in()
    for seq in (2, 3, 4):
        house.hear(entry(seq, f"k{seq}"))
    assert house.asked("receipt") == []
    house.pass_s(RECEIPT_AFTER_S)
    (receipt,) = house.asked("receipt")
    assert (receipt["delivered"], receipt["read"]) == (4, 4)
    house.hear(entry(5, "k5"))  # one is under way
    house.pass_s(RECEIPT_AFTER_S)
    assert len(house.asked("receipt")) == 1
    house.hear({"t": "ok", "id": receipt["id"], "result": {"delivered": 4, "read": 4}})
    house.pass_s(RECEIPT_AFTER_S)
    assert [frame["read"] for frame in house.asked("receipt")] == [4, 5]


def test_a_phone_sees_what_is_wrong() -> None:
    house = TestHouse()
    house.sign_in()
    house.ledger.said(Message("k2", "bob", "c", "hello", 0.0))
    house.phone.live = False  # everything that is caught up with is decoded whole
    house.hear(entry(2, "k2", text="something else"))
    house.hear({"t": "conversation", "conversation": "c", "head": 9}, {"t": "rewound"})
    house.hear({"t": "conversation", "conversation": "z", "head": 9}, {"t": "ok", "id": 77, "result": {}})
    assert house.ledger.wrongs == Counter(altered=2, lost=1, foreign=2)
    house.hear({"t": "error", "id": 1, "code": "not_a_member", "message": "no"})
    assert (house.counts.errors, house.counts.first_error) == (1, "presence.watch: not_a_member: no")


def test_a_phone_says_how_the_server_closed_it() -> None:
    house = TestHouse()
    house.sign_in()
    house.wire.came = [(CLOSE, b"\x0f\xa1slow")]
    with pytest.raises(LinkEnded, match="4001 slow"):
        house.phone.readable()


# --- A town ----------------------------------------------------------------------------------------------------------


async def test_a_small_town_drops_comes_back_and_misses_nothing() -> None:
    """The real server, the crowd in its own process, a third of the sockets dropping each second."""
    town = mixed.Town(users=30, groups=6, rate=40, drop_share=20, away_s=(0.05, 0.5))
    with trio.fail_after(120):
        report = await mixed.measure(Common(seconds=3, warmup=0.5), town)
    assert report.good, report.line()
    (run,) = report.runs
    assert (run["violations"], run["failures"]) == (0, {"lost": 0, "wrong": 0, "errors": 0, "closes": 0})
    assert run["drops"] > 5
    assert run["caught_up"] > 0
    assert run["messages_per_s"] == pytest.approx(40, rel=0.2)
    assert run["p50_ms"] <= run["p99_ms"] <= run["p999_ms"] <= run["max_ms"]
    assert {"hello", "message.send", "typing", "receipt", "presence.watch"} <= set(run["asked"])
    assert {"typing", "receipt", "synced"} <= set(run["events"])
    assert run["left_behind"] == {"sockets": 0, "people": 0, "conversations": 0}
    if run["rss_mib"] is not None:
        assert run["rss_empty_before_mib"] > 0
        assert len(run["rss_each_half_minute_mib"]) >= 2
