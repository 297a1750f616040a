"""Messages that are sent later, by the contract of every ``Store``: PostgreSQL, and the simulated world's fake."""

from uuid import UUID

import msgspec
import pytest
import trio
from msgspec import UNSET, UnsetType

from protocol import limits
from protocol.errors import BadCursor, Refused
from protocol.frames import (
    Attachment,
    Content,
    Entity,
    Entry,
    LaterMessage,
    MessageDelete,
    MessageEdit,
    MessageSchedule,
    MessageScheduled,
    MessageSend,
    ScheduledMessage,
    StateEvent,
)
from storage.rows import Acted, Rules
from storage.scheduled import DueMessage, Filed, SendScheduled
from storage.store import Store
from tests.test_store_contract import ANN, BOB, CID, DAN, MOST, Bench, G, H, bench, group, log, place, say, talk, uid

__all__ = ["bench", "place"]  # fixtures

FIRST, SECOND, THIRD = uid(201), uid(202), uid(203)
LEASE_S = 30.0


async def now_ms(bench: Bench) -> int:
    """The database's clock, by what it writes."""
    await group(bench.store, DAN, conversation=uid(999))
    return (await log(bench.store, uid(999)))[0].at_ms


@pytest.fixture
async def now(bench: Bench) -> int:
    """When the test began, by the database's clock."""
    return await now_ms(bench)


def later(at_ms: int, text: str = "later", key: str = "s", conversation: UUID = G) -> MessageSchedule:
    return MessageSchedule(id=1, conversation=conversation, key=key, at_ms=at_ms, text=text)


def send(scheduled_id: UUID, conversation: UUID = G) -> SendScheduled:
    return SendScheduled(conversation, scheduled_id)


async def act(store: Store, author: UUID, action: SendScheduled) -> Acted:
    return await store.act(0, author, action, Rules(MOST))


def named(filed: Filed) -> tuple[UUID, int]:
    return filed.scheduled, filed.at_ms


async def waiting(store: Store, author: UUID = ANN) -> list[ScheduledMessage]:
    return (await store.scheduled(author, MessageScheduled(id=1))).scheduled


async def refusal(store: Store, author: UUID, command: MessageSchedule | SendScheduled, new_id: UUID = SECOND) -> str:
    with pytest.raises(Refused) as caught:
        if isinstance(command, SendScheduled):
            await act(store, author, command)
        else:
            await store.schedule(new_id, author, command)
    return caught.value.code


async def test_a_scheduled_message_waits_and_becomes_an_ordinary_one(bench: Bench, now: int) -> None:
    await group(bench.store, ANN, BOB)
    assert named(await bench.store.schedule(FIRST, ANN, later(now))) == (FIRST, now)
    assert await waiting(bench.other) == [ScheduledMessage(G, now, "later", scheduled=FIRST)]
    assert len(await log(bench.store, G)) == 1
    due = await bench.other.take_due(10, LEASE_S)
    assert due.scheduled == [DueMessage(FIRST, ANN, G)]
    acted = await act(bench.other, ANN, send(FIRST))
    assert acted.entry == Entry(
        conversation=G, seq=2, kind="message", author=ANN, key=f"scheduled:{FIRST}", at_ms=acted.at_ms, text="later"
    )
    assert (await log(bench.store, G))[1] == acted.entry
    assert await waiting(bench.store) == []
    assert (await bench.store.take_due(10, 0.0)).in_ms is None
    [answer] = (await bench.store.append(0, [say(G, ANN, f"scheduled:{FIRST}", "later")], {})).answers
    assert (answer.seq, answer.new, answer.reused) == (2, False, False), "as if it had been sent by hand"


async def own(store: Store, author: UUID = ANN) -> list[tuple[int, StateEvent]]:
    """The rows of *author*'s own, those that are gone, too, with their numbers."""
    page = await store.personal(author, 0, limits.SEQ_MAX, True, 100, 1 << 20)
    return [(row.number, row.state) for row in page.rows]


def shown_as(message: LaterMessage | UnsetType, scheduled_id: UUID = FIRST) -> StateEvent:
    return StateEvent(what="scheduled", subject=str(scheduled_id), scheduled=message)


async def test_it_is_a_row_of_ones_own_until_it_is_sent(bench: Bench, now: int) -> None:
    """Each change raises the author's number, in the commit of what caused it; a repeat changes nothing."""
    store = bench.store
    await group(store, ANN, BOB)
    content = Content(entities=[Entity("bold", 0, 5)])
    command = msgspec.structs.replace(later(now), content=content)
    filed = await store.schedule(FIRST, ANN, command)
    [row] = await own(bench.other)
    assert row == (filed.number, shown_as(LaterMessage(G, now, "later", content)))
    assert await bench.other.schedule(SECOND, ANN, command) == filed
    assert await own(store) == [row]
    await act(store, ANN, send(FIRST))
    [gone] = await own(store)
    assert (gone[1], gone[0] > row[0]) == (shown_as(UNSET), True)
    await act(bench.other, ANN, send(FIRST))
    with pytest.raises(Refused, match="sent"):
        await store.unschedule(ANN, FIRST)
    assert await own(store) == [gone]
    assert (await store.schedule(SECOND, ANN, command)).number == gone[0]


async def test_taken_back_or_failed_its_author_is_told(bench: Bench, now: int) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await store.schedule(FIRST, BOB, later(now))
    await store.schedule(SECOND, BOB, later(now, key="t"))
    number = await store.unschedule(BOB, SECOND)
    assert (await own(store, BOB))[-1] == (number, shown_as(UNSET, SECOND))
    assert await store.unschedule(BOB, SECOND) == number, "it is gone already"
    await store.change_member(0, "remove", G, ANN, "x", BOB, MOST)
    assert await refusal(store, BOB, send(FIRST)) == "not_a_member"
    failed = (await own(store, BOB))[-1]
    assert failed[1] == shown_as(LaterMessage(G, now, "later", problem="not_a_member"))
    assert await refusal(store, BOB, send(FIRST)) == "unknown_scheduled"
    assert (await own(store, BOB))[-1] == failed
    assert await store.unschedule(BOB, FIRST) > failed[0], "it forgets that it failed"
    assert [state.scheduled for _, state in await own(store, BOB)] == [UNSET, UNSET]
    assert await own(store) == [], "nobody else's"


async def test_it_is_sent_once_however_often_it_is_tried(bench: Bench, now: int) -> None:
    """Whoever died after it was sent is followed by somebody who tries again, and gets the first answer."""
    await group(bench.store, ANN, BOB)
    await bench.store.schedule(FIRST, ANN, later(now))
    first = await act(bench.store, ANN, send(FIRST))
    for store in (bench.other, bench.store):
        again = await act(store, ANN, send(FIRST))
        assert (again.seq, again.at_ms, again.entry) == (first.seq, first.at_ms, None)
    assert len(await log(bench.store, G)) == 2


async def test_two_processes_at_once_send_it_once(bench: Bench, now: int) -> None:
    await group(bench.store, ANN, BOB)
    await bench.store.schedule(FIRST, ANN, later(now))
    answers: list[Acted] = []

    async def other() -> None:
        answers.append(await act(bench.other, ANN, send(FIRST)))

    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", ANN, send(FIRST)))
        nursery.start_soon(other)
        await bench.until_waiting()
        await commit()
    assert [(one.seq, one.entry) for one in answers] == [(2, None)]
    assert len(await log(bench.store, G)) == 2


async def test_what_is_due_is_taken_by_one_process(bench: Bench, now: int) -> None:
    """And by another when the first did not do it in its time."""
    store = bench.store
    await group(store, ANN, BOB)
    for number, one in enumerate((FIRST, SECOND, THIRD)):
        await store.schedule(one, ANN, later(now - 2 + number, key=f"s{number}"))
    assert [one.scheduled for one in (await store.take_due(2, 0.2)).scheduled] == [FIRST, SECOND]
    due = await bench.other.take_due(2, LEASE_S)
    assert [one.scheduled for one in due.scheduled] == [THIRD]
    assert due.in_ms is not None
    assert due.in_ms <= 200, "until the first one's time is over"
    await trio.sleep(0.25)
    assert [one.scheduled for one in (await bench.other.take_due(9, LEASE_S)).scheduled] == [FIRST, SECOND]
    assert (await store.take_due(9, LEASE_S)).scheduled == []


async def test_what_is_not_due_yet_is_left(bench: Bench, now: int) -> None:
    await group(bench.store, ANN, BOB)
    await bench.store.schedule(FIRST, ANN, later(now + 60_000))
    await bench.store.schedule(SECOND, ANN, later(now + 40_000, key="t"))
    due = await bench.store.take_due(9, LEASE_S)
    assert due.scheduled == []
    assert due.in_ms is not None
    assert 20_000 < due.in_ms <= 40_000


async def test_a_repeated_schedule_gets_its_first_answer(bench: Bench, now: int) -> None:
    """While it waits, when it was sent, after a removal; nothing waits twice."""
    store = bench.store
    await group(store, ANN, BOB)
    await store.schedule(FIRST, BOB, later(now))
    assert named(await bench.other.schedule(SECOND, BOB, later(now))) == (FIRST, now)
    await act(store, BOB, send(FIRST))
    await store.change_member(0, "remove", G, ANN, "out", BOB, MOST)
    assert named(await store.schedule(SECOND, BOB, later(now))) == (FIRST, now)
    assert await waiting(store, BOB) == []
    assert await refusal(store, BOB, later(now, "other")) == "key_reused"


async def test_schedules_that_are_refused(bench: Bench, now: int) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k")
    assert await refusal(store, CID, later(now)) == "not_a_member"
    assert await refusal(store, ANN, later(now, conversation=H)) == "not_a_member", "no such conversation"
    assert await refusal(store, ANN, later(now, key="k")) == "key_reused", "of a message"
    assert await refusal(store, ANN, later(now + limits.SCHEDULED_AHEAD_MS + 60_000)) == "invalid"
    assert await waiting(store) == []


async def test_so_many_may_wait(bench: Bench, now: int) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await group(store, ANN, conversation=H)
    for number in range(limits.SCHEDULED):
        await store.schedule(uid(1000 + number), ANN, later(now + 60_000, key=f"k{number}"))
    assert await refusal(store, ANN, later(now, key="one more")) == "too_many_scheduled"
    await store.schedule(FIRST, ANN, later(now, conversation=H))
    await store.schedule(SECOND, BOB, later(now))
    await store.unschedule(ANN, uid(1000))
    await store.schedule(THIRD, ANN, later(now, key="one more"))


async def test_what_is_taken_back_is_not_sent(bench: Bench, now: int) -> None:
    """Not by a process that has taken it already, either; and a repeat finds it so."""
    store = bench.store
    await group(store, ANN, BOB)
    await store.schedule(FIRST, ANN, later(now))
    await store.take_due(9, LEASE_S)
    with pytest.raises(Refused, match="no scheduled message"):
        await store.unschedule(BOB, FIRST)
    for one in (store, bench.other):
        await one.unschedule(ANN, FIRST)
    assert await refusal(store, ANN, send(FIRST)) == "unknown_scheduled"
    assert await waiting(store) == []
    assert len(await log(store, G)) == 1
    assert named(await store.schedule(SECOND, ANN, later(now))) == (FIRST, now), "its key stands for what is gone"


@pytest.mark.parametrize("first", ["send", "unschedule"])
async def test_taking_back_what_is_being_sent(bench: Bench, now: int, first: str) -> None:
    """Whoever has the row first is first: it is sent and too late to take back, or gone and not sent."""
    store = bench.store
    await group(store, ANN, BOB)
    await store.schedule(FIRST, ANN, later(now))
    outcomes: list[str] = []

    async def take_back() -> None:
        try:
            await bench.other.unschedule(ANN, FIRST)
        except Refused as problem:
            outcomes.append(problem.code)

    if first == "unschedule":
        await take_back()
        assert (outcomes, await refusal(store, ANN, send(FIRST))) == ([], "unknown_scheduled")
        return
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", ANN, send(FIRST)))
        nursery.start_soon(take_back)
        await bench.until_waiting()
        await commit()
    assert outcomes == ["too_late"]
    assert len(await log(store, G)) == 2


async def test_what_is_being_sent_is_passed_by(bench: Bench, now: int) -> None:
    """Asking what is due waits for nobody."""
    await group(bench.store, ANN, BOB)
    await bench.store.schedule(FIRST, ANN, later(now))
    commit = await bench.hold(("act", ANN, send(FIRST)))
    assert (await bench.other.take_due(9, LEASE_S)).scheduled == []
    await commit()


async def test_who_is_no_member_any_more_sends_nothing(bench: Bench, now: int) -> None:
    """It stays in the list, with what was wrong, until it is taken back; coming back does not send it."""
    store = bench.store
    await group(store, ANN, BOB)
    await store.schedule(FIRST, BOB, later(now))
    await store.change_member(0, "remove", G, ANN, "out", BOB, MOST)
    assert await refusal(store, BOB, send(FIRST)) == "not_a_member"
    assert await waiting(store, BOB) == [ScheduledMessage(G, now, "later", problem="not_a_member", scheduled=FIRST)]
    await store.change_member(0, "add", G, ANN, "in", BOB, MOST)
    assert await refusal(store, BOB, send(FIRST)) == "unknown_scheduled"
    assert (await store.take_due(9, LEASE_S)).scheduled == []
    await store.unschedule(BOB, FIRST)
    assert await waiting(store, BOB) == []
    assert len(await log(store, G)) == 3


async def test_one_who_waits_for_the_removal_sends_nothing(bench: Bench, now: int) -> None:
    await group(bench.store, ANN, BOB)
    await bench.store.schedule(FIRST, BOB, later(now))
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("change", "remove", G, ANN, "out", BOB))

        async def late() -> None:
            assert await refusal(bench.store, BOB, send(FIRST)) == "not_a_member"

        nursery.start_soon(late)
        await bench.until_waiting()
        await commit()
    assert len(await log(bench.store, G)) == 2


async def test_a_key_of_other_content_stops_it(bench: Bench, now: int) -> None:
    """Its own author may have used the key that it would have."""
    store = bench.store
    await group(store, ANN, BOB)
    await store.schedule(FIRST, ANN, later(now))
    await store.append(0, [say(G, ANN, f"scheduled:{FIRST}", "something else")], {})
    assert await refusal(store, ANN, send(FIRST)) == "key_reused"
    assert [one.problem for one in await waiting(store)] == ["key_reused"]


async def test_who_sends_it_by_hand_has_sent_it(bench: Bench, now: int) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await store.schedule(FIRST, ANN, later(now + 60_000))
    await store.append(0, [say(G, ANN, f"scheduled:{FIRST}", "later")], {})
    acted = await act(store, ANN, send(FIRST))
    assert (acted.seq, acted.entry) == (2, None)
    assert await waiting(store) == []


async def test_what_waits_is_listed_by_its_time_page_by_page(bench: Bench, now: int) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await group(store, ANN, conversation=H)
    at = {FIRST: now + 30_000, SECOND: now + 10_000, THIRD: now + 30_000}
    for number, (one, at_ms) in enumerate(at.items()):
        await store.schedule(one, ANN, later(at_ms, f"text {number}", f"k{number}", G if number else H))
    await store.schedule(uid(204), BOB, later(now))
    page = await store.scheduled(ANN, MessageScheduled(id=1, limit=2))
    assert [(one.scheduled, one.at_ms, one.text) for one in page.scheduled] == [
        (SECOND, at[SECOND], "text 1"), (FIRST, at[FIRST], "text 0"),
    ]  # fmt: skip
    rest = await bench.other.scheduled(ANN, MessageScheduled(id=1, limit=2, cursor=page.cursor))
    assert ([one.scheduled for one in rest.scheduled], rest.cursor) == ([THIRD], None)
    of_one = await store.scheduled(ANN, MessageScheduled(id=1, conversation=G))
    assert [one.scheduled for one in of_one.scheduled] == [SECOND, THIRD]
    for bad in ("nonsense", "gaE", "kgAB"):
        with pytest.raises(BadCursor):
            await store.scheduled(ANN, MessageScheduled(id=1, cursor=bad))


async def test_a_page_of_what_waits_is_bounded(bench: Bench, now: int) -> None:
    store = bench.store
    await group(store, ANN)
    for number in range(20):
        await store.schedule(uid(1000 + number), ANN, later(now + number, "𝄞" * 8_000, f"k{number}"))
    first = await store.scheduled(ANN, MessageScheduled(id=1, limit=100))
    assert len(first.scheduled) == 8, "256 KiB"
    found, cursor = list(first.scheduled), first.cursor
    while cursor is not None:
        page = await store.scheduled(ANN, MessageScheduled(id=1, limit=100, cursor=cursor))
        found, cursor = found + page.scheduled, page.cursor
    assert [one.scheduled for one in found] == [uid(1000 + number) for number in range(20)]


async def test_what_was_sent_may_be_edited(bench: Bench, now: int) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await store.schedule(FIRST, ANN, later(now))
    await act(store, ANN, send(FIRST))
    edit = MessageEdit(id=1, conversation=G, key="e", seq=2, text="edited")
    assert (await store.act(0, ANN, edit, Rules(MOST))).seq == 3
    again = await act(store, ANN, send(FIRST))
    assert again.seq == 2, "and stays what was sent"


async def test_an_answer_with_a_photo_is_sent_later(bench: Bench, now: int) -> None:
    """It is checked when it is kept, its medium stays until then, and it is what message.send would have made."""
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, BOB, "k")  # 2
    photo, pending = uid(301), uid(302)
    await bench.add_upload(photo, ANN, "photo")
    await bench.add_upload(pending, ANN, "photo", "pending")
    content = Content(reply_to=2, entities=[Entity("bold", 0, 4)], media=[Attachment(photo, "photo", width=3)])

    def shows(medium: UUID, text: str = "look", key: str = "s") -> MessageSchedule:
        shown = msgspec.structs.replace(content, media=[Attachment(medium, "photo", width=3)])
        return MessageSchedule(id=1, conversation=G, key=key, at_ms=now, text=text, content=shown)

    assert await refusal(store, ANN, shows(pending)) == "not_ready"
    assert await refusal(store, ANN, shows(uid(303))) == "unknown_medium"
    assert await refusal(store, BOB, shows(photo)) == "unknown_medium", "somebody else's"
    await store.schedule(FIRST, ANN, shows(photo))
    assert named(await store.schedule(SECOND, ANN, shows(photo))) == (FIRST, now)
    assert await refusal(store, ANN, shows(photo, "hear")) == "key_reused"
    assert await waiting(store) == [ScheduledMessage(G, now, "look", content, scheduled=FIRST)]
    acted = await act(store, ANN, send(FIRST))
    assert acted.entry is not None
    assert (acted.entry.seq, acted.entry.text, acted.entry.content) == (3, "look", content)
    assert (await log(store, G))[2] == acted.entry
    by_hand = MessageSend(id=1, conversation=G, key=f"scheduled:{FIRST}", text="look", content=content)
    assert (await store.act(0, ANN, by_hand, Rules(MOST))).seq == 3, "as if it had been sent by hand"
    await store.schedule(SECOND, ANN, shows(photo, key="t"))
    await store.act(0, BOB, MessageDelete(id=1, conversation=G, key="d", seq=2), Rules(MOST))
    assert await refusal(store, ANN, send(SECOND)) == "message_deleted"
    assert [one.problem for one in await waiting(store)] == ["message_deleted"]
