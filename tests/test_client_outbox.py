"""Messages that wait: bounded, in order, each until it is answered."""

from dataclasses import dataclass, field
from functools import partial
from random import Random

import pytest
from hypothesis import given, strategies as st

from konnect_client import (
    ClientClosed,
    Delivery,
    MemoryJournal,
    OutboxFull,
    OutboxUnwritable,
    Outgoing,
    Sent,
    ServerRefused,
    TooLarge,
)
from konnect_client.backoff import Backoff
from konnect_client.journal import Kept
from konnect_client.outbox import Outbox
from tests.client_peer import HALL, ROOM

LATER = ServerRefused("unavailable", "not now", 2_000)
NEVER = ServerRefused("not_a_member", "no")


def outbox(journal: MemoryJournal | None = None, **limits: int) -> Outbox:
    return Outbox(journal or MemoryJournal(), partial(Backoff, Random(1)), **limits)


def fill(box: Outbox, count: int, conversation: str = ROOM) -> list[Outgoing]:
    messages = [Outgoing(conversation, f"k{number}", f"text {number}") for number in range(count)]
    for message in messages:
        box.add(message)
    return messages


def taken(box: Outbox, now: float = 0.0) -> list[str]:
    """The keys of all that may be sent now."""
    keys = []
    while (message := box.take(now)) is not None:
        keys.append(message.key)
    assert box.next_due() > now  # else the writer would turn in a loop
    return keys


def test_messages_leave_in_order_as_many_as_the_window_holds() -> None:
    box = outbox(window=3)
    messages = fill(box, 5)
    assert taken(box) == ["k0", "k1", "k2"]
    box.accepted(messages[0], Sent(1, 1))
    assert taken(box) == ["k3"]
    assert box.in_flight == 3


def test_an_answer_settles_a_message() -> None:
    journal = MemoryJournal()
    box = outbox(journal)
    (message,) = fill(box, 1)
    assert message.delivery is Delivery.PENDING
    taken(box)
    box.accepted(message, Sent(4, 5))
    assert (message.delivery, message.result) == (Delivery.SENT, Sent(4, 5))
    assert (len(box), box.size_bytes, journal.load()) == (0, 0, [])


def test_a_refusal_fails_its_message_only() -> None:
    journal = MemoryJournal()
    box = outbox(journal)
    first, second = fill(box, 2)
    taken(box)
    box.refused(first, NEVER, 0.0)
    assert (first.delivery, second.delivery) == (Delivery.FAILED, Delivery.PENDING)
    box.accepted(second, Sent(1, 1))
    assert second.delivery is Delivery.SENT
    assert journal.load() == []


def test_after_a_lost_connection_everything_unanswered_is_repeated_in_order() -> None:
    """The answer to k1 came, those to k0 and k2 did not: k0 and k2 go again, before anything new."""
    box = outbox()
    messages = fill(box, 3)
    taken(box)
    box.accepted(messages[1], Sent(2, 2))
    box.connection_lost()
    box.add(Outgoing(ROOM, "new", "new"))
    assert taken(box) == ["k0", "k2", "new"]


def test_a_later_answer_holds_the_conversation_until_its_time() -> None:
    """What follows must not overtake the message that is to come later."""
    box = outbox()
    messages = fill(box, 3)
    assert box.take(0.0) is messages[0]
    box.refused(messages[0], LATER, now=10.0)
    assert taken(box, 10.0) == []
    assert 12.0 < box.next_due() <= 14.0
    assert taken(box, box.next_due()) == ["k0", "k1", "k2"]


def test_a_held_conversation_waits_for_what_is_on_its_way_and_repeats_from_the_first() -> None:
    box = outbox()
    messages = fill(box, 4)
    assert [box.take(0.0) for _ in range(3)] == messages[:3]
    box.refused(messages[0], LATER, now=0.0)
    assert taken(box, 100.0) == []  # k1 and k2 are on their way
    box.refused(messages[1], LATER, now=0.0)
    assert taken(box, 100.0) == []
    box.accepted(messages[2], Sent(1, 1))
    assert taken(box, 100.0) == ["k0", "k1", "k3"]


def test_a_held_conversation_holds_no_other() -> None:
    box = outbox()
    held, _ = fill(box, 2)
    assert box.take(0.0) is held
    box.refused(held, ServerRefused("internal_error", "a bug of ours"), now=0.0)
    fill(box, 2, HALL)
    assert [message.conversation for message in iter(lambda: box.take(0.0), None)] == [HALL, HALL]


def test_a_rate_limit_holds_everything() -> None:
    box = outbox()
    first, _ = fill(box, 2)
    (other,) = fill(box, 1, HALL)
    assert box.take(0.0) is first
    box.refused(first, ServerRefused("rate_limited", "slowly", 500), now=0.0)
    assert taken(box, 0.4) == []
    due = box.next_due()
    assert 0.5 < due <= 1.5
    assert taken(box, due) == ["k0", "k1", "k0"]
    assert other.in_flight


def test_a_row_of_later_answers_makes_the_waits_longer() -> None:
    box = outbox()
    (message,) = fill(box, 1)
    waits = []
    now = 0.0
    for _ in range(8):
        assert box.take(now) is message
        box.refused(message, ServerRefused("unavailable", "not now"), now)
        waits.append(box.next_due() - now)
        now = box.next_due()
    assert max(waits[:2]) <= 2.0
    assert max(waits) > 4.0
    assert box.take(now) is message
    box.accepted(message, Sent(1, 1))
    (message,) = fill(box, 1)
    assert box.take(now) is message
    box.refused(message, ServerRefused("unavailable", "not now"), now)
    assert box.next_due() - now <= 1.0


def test_the_number_of_messages_is_bounded() -> None:
    box = outbox(messages=2)
    fill(box, 2)
    with pytest.raises(OutboxFull, match="2 messages"):
        box.add(Outgoing(ROOM, "k9", "too many"))


def test_the_bytes_are_bounded_and_one_message_is_always_taken() -> None:
    box = outbox(size_bytes=100)
    box.add(Outgoing(ROOM, "a", "x" * 1_000))
    with pytest.raises(OutboxFull):
        box.add(Outgoing(ROOM, "b", "x"))


def test_a_key_that_waits_is_not_taken_twice() -> None:
    box = outbox()
    fill(box, 1)
    with pytest.raises(ValueError, match="waits already"):
        box.add(Outgoing(ROOM, "k0", "other"))
    box.add(Outgoing(HALL, "k0", "another conversation"))


def test_what_could_never_be_sent_is_refused_at_once() -> None:
    """A frame over the limit would close every connection it is sent on, for ever."""
    with pytest.raises(TooLarge):
        Outgoing(ROOM, "k", "x" * 70_000)
    with pytest.raises(ValueError, match="surrogates"):
        Outgoing(ROOM, "k", "\udc00")


def test_a_journal_that_cannot_be_written_takes_no_message() -> None:
    class Full(MemoryJournal):
        def add(self, kept: Kept) -> None:
            raise OutboxUnwritable("no space left")

    box = outbox(Full())
    with pytest.raises(OutboxUnwritable):
        fill(box, 1)
    assert (len(box), taken(box)) == (0, [])


async def test_after_a_restart_messages_go_on_in_order_with_their_keys() -> None:
    journal = MemoryJournal()
    before = outbox(journal)
    messages = fill(before, 3)
    taken(before)
    before.accepted(messages[0], Sent(1, 1))
    before.stop("closed")
    after = outbox(journal)
    assert taken(after) == ["k1", "k2"]
    assert [message.text for message in after.pending()] == ["text 1", "text 2"]


async def test_who_waits_is_told() -> None:
    box = outbox()
    sent, failed, left = fill(box, 3)
    taken(box)
    box.accepted(sent, Sent(7, 8))
    box.refused(failed, NEVER, 0.0)
    box.stop("replaced")
    assert await sent.wait() == Sent(7, 8)
    with pytest.raises(ServerRefused, match="not_a_member"):
        await failed.wait()
    with pytest.raises(ClientClosed, match="replaced"):
        await left.wait()
    assert left.delivery is Delivery.PENDING


@dataclass
class Server:
    """Stores each key once, in the order of arrival; may answer "later", as long as nothing behind gets through."""

    log: list[str] = field(default_factory=list)

    def store(self, key: str) -> Sent:
        if key not in self.log:
            self.log.append(key)
        return Sent(self.log.index(key) + 1, 0)


@given(st.data())
def test_whatever_happens_each_message_is_stored_once_and_in_order(data: st.DataObject) -> None:
    """Two conversations, a pipeline, answers lost, connections lost, "later" answers, restarts: the log is in order.

    A server that answers "later" lets nothing pass behind it on that connection (Konnect's closes the connection).
    """
    journal = MemoryJournal()
    limits = {"window": data.draw(st.integers(1, 5))}
    box = outbox(journal, **limits)
    servers = {ROOM: Server(), HALL: Server()}
    wire: list[Outgoing] = []  # sent, not yet read by the server
    answers: list[tuple[Outgoing, Sent | None]] = []
    blocked: set[str] = set()
    added: dict[str, list[str]] = {ROOM: [], HALL: []}
    now = 0.0
    steps = data.draw(st.lists(st.sampled_from("aatttrrrrkklsxw"), max_size=80))
    for step in [*steps, *"xw", *("trk" * 400)]:
        match step:
            case "a" if sum(map(len, added.values())) < 30:
                conversation = data.draw(st.sampled_from([ROOM, HALL]))
                key = f"k{len(added[conversation])}"
                box.add(Outgoing(conversation, key, key))
                added[conversation].append(key)
            case "t":
                message = box.take(now)
                if message is not None:
                    wire.append(message)
                    blocked.discard(message.conversation) if not _behind(box, message) else None
                else:
                    now = max(now, min(box.next_due(), now + 100))
            case "r" if wire:
                message = wire.pop(0)
                if message.conversation in blocked:
                    answers.append((message, None))
                else:
                    answers.append((message, servers[message.conversation].store(message.key)))
            case "l" if wire:  # the server says "later", and to all of that conversation behind it
                message = wire.pop(0)
                blocked.add(message.conversation)
                answers.append((message, None))
            case "k" if answers:
                message, sent = answers.pop(0)
                if sent is None:
                    box.refused(message, LATER, now)
                else:
                    box.accepted(message, sent)
            case "x":  # the connection is lost; the server may read some of what was on its way
                for message in wire[: data.draw(st.integers(0, len(wire)))]:
                    if message.conversation not in blocked:
                        servers[message.conversation].store(message.key)
                wire, answers = [], []
                blocked.clear()
                box.connection_lost()
            case "s":  # a restart
                wire, answers = [], []
                blocked.clear()
                box = outbox(journal, **limits)
            case "w":
                now += 1.0
    assert {name: server.log for name, server in servers.items()} == added
    assert len(box) == 0
    assert journal.load() == []


def _behind(box: Outbox, message: Outgoing) -> bool:
    """True when something of the same conversation, older than *message*, is unanswered."""
    for other in box.pending():
        if other is message:
            return False
        if other.conversation == message.conversation:
            return True
    return False
