"""The event that tells of a conversation, and what follows it."""

from konnect_server.announce import as_of, present
from protocol.frames import Entry
from storage.rows import Range, State
from tests.fakes import ANN, BOB, ROOM


def entry(seq: int) -> Entry:
    return Entry(conversation=ROOM, seq=seq, kind="message", author=BOB, key=f"k{seq}", at_ms=seq, text="hi")


def state(until: int | None = None) -> State:
    """A group of ten entries that Ann joined with the fourth and may see whole; she has read up to the seventh."""
    head = 10 if until is None else until
    return State(
        conversation=ROOM, kind="group", title="club", head=head, first_seq=1, joined=4, until=until, read=7,
        delivered=8, unread=head - 7, active_at_ms=10, history="all", owner=BOB,
        members=[BOB, ANN] if until is None else [], recent=[entry(head - 1), entry(head)],
    )  # fmt: skip


def test_what_one_is_in_is_told_as_it_stands() -> None:
    event, follows = present(state(), joining=False)
    assert (event.head, event.first_seq, event.unread, event.members) == (10, 1, 3, [BOB, ANN])
    assert [one.seq for one in event.recent] == [9, 10]
    assert follows is None


def test_who_joins_while_connected_gets_what_happened_since() -> None:
    event, follows = present(state(), joining=True)
    assert (event.head, event.first_seq, event.unread, list(event.recent)) == (3, 1, 0, [])
    assert follows == Range(ROOM, 4, 10)


def test_what_has_ended_is_told_as_before_the_end_and_the_end_follows() -> None:
    event, follows = present(state(until=9), joining=False)
    assert (event.head, event.unread, event.members) == (8, 2, [])
    assert [one.seq for one in event.recent] == [8]
    assert follows == Range(ROOM, 9, 9)
    event, follows = present(state(until=9), joining=True)
    assert (event.head, follows) == (3, Range(ROOM, 4, 9))


def test_a_stretch_begins_after_its_head() -> None:
    event = as_of(state(), 3, 4)
    assert (event.head, event.first_seq, event.unread, list(event.recent)) == (3, 4, 0, [])
