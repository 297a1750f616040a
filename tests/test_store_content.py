"""What a message is beside its text, by the contract of every ``Store``: PostgreSQL, and the simulated world's fake."""

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import trio
from hypothesis import HealthCheck, given, settings, strategies as st
from msgspec import UNSET

from protocol import limits
from protocol.errors import UnknownMedium
from protocol.frames import (
    Attachment,
    Contact,
    Content,
    Entity,
    Entry,
    Forwarded,
    Location,
    MessageEdit,
    MessageForward,
    MessagePin,
    MessageSend,
    Source,
    Version,
)
from storage.rows import Acted, NewMessage, Range, Rules
from storage.store import Store
from tests.test_store_contract import (
    ANN,
    BOB,
    CID,
    DAN,
    MOST,
    Bench,
    D,
    G,
    H,
    bench,
    group,
    log,
    place,
    postgres_bench,
    state,
    talk,
    uid,
)
from tests.test_store_messages import act, delete, edit, message, react, refusal

__all__ = ["bench", "place"]  # fixtures

PHOTO, VOICE, OTHER = uid(901), uid(902), uid(903)
BOLD = Entity("bold", 0, 2)
PLACE = Content(location=Location(48.2082, 16.3738, "Vienna", 12.5))
RICH = Content(
    entities=[BOLD, Entity("link", 1, 3, url="https://example.com/ü"), Entity("mention", 0, 4, user=BOB)],
    mention_all="here", location=Location(-90.0, 1e-7), contact=Contact("Bob", "+43 1", "bob@example.com", BOB),
)  # fmt: skip


def send(content: Content, text: str = "", key: str = "s", conversation: UUID = G) -> MessageSend:
    return MessageSend(id=1, conversation=conversation, key=key, text=text, content=content)


def reply(seq: int, key: str = "s", conversation: UUID = G) -> MessageSend:
    return send(Content(reply_to=seq), "yes", key, conversation)


async def append(store: Store, author: UUID, key: str, text: str, content: Content | None) -> Any:
    [answer] = (await store.append(0, [NewMessage(G, author, key, text, content)], {})).answers
    return answer


# --- In one batch with plain messages ---------------------------------------------------------------------------------


async def test_content_travels_in_one_batch_with_plain_text(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    batch = [
        NewMessage(G, ANN, "1", "plain"), NewMessage(G, ANN, "2", "bold", RICH), NewMessage(G, BOB, "3", "", PLACE),
        NewMessage(G, ANN, "4", "plain"),
    ]  # fmt: skip
    appendix = await store.append(0, batch, {G: 1})
    assert [answer.seq for answer in appendix.answers] == [2, 3, 4, 5]
    found = (await log(bench.other, G))[1:]
    assert [(one.text, one.content) for one in found] == [
        ("plain", UNSET), ("bold", RICH), (UNSET, PLACE), ("plain", UNSET),
    ]  # fmt: skip
    assert await message(store, 3) == found[1]
    assert (await state(store, BOB, G)).unread == 3


async def test_a_repeat_is_told_from_a_reuse_by_the_content_too(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    assert (await append(store, ANN, "k", "hi", PLACE)).seq == 2
    again = await append(bench.other, ANN, "k", "hi", PLACE)
    assert (again.seq, again.new, again.reused) == (2, False, False)
    for text, content in (("hi", None), ("hi", RICH), ("", PLACE), ("ho", PLACE)):
        assert (await append(store, ANN, "k", text, content)).reused
    await talk(store, G, ANN, "plain")
    assert (await append(store, ANN, "plain", "text of plain", PLACE)).reused
    assert len(await log(store, G)) == 3
    [mixed, new] = (
        await store.append(0, [NewMessage(G, ANN, "k", "hi", PLACE), NewMessage(G, ANN, "l", "", PLACE)], {})
    ).answers
    assert (mixed.seq, mixed.new, new.seq, new.new) == (2, False, 4, True)
    assert await message(store, 4) == (await log(store, G))[3]


async def test_what_was_missed_comes_with_its_content(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await append(bench.store, ANN, "k", "", PLACE)
    appendix = await bench.other.append(0, [NewMessage(G, BOB, "l", "hi")], {G: 1})
    assert [one.content for one in appendix.missed] == [PLACE]


async def test_content_counts_for_the_bytes_of_a_page(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN)
    big = Content(entities=[BOLD] * limits.ENTITIES)
    await store.append(0, [NewMessage(G, ANN, str(n), "ab", big) for n in range(10)], {})
    page = await store.visible(ANN, [Range(G, 2, 11)], 16_000)
    [stretch] = await store.stretches([Range(G, 2, 11)], 16_000)
    assert (len(page.entries), page.cut) == (len(stretch.entries), stretch.cut) == (3, True)


# --- Answers ----------------------------------------------------------------------------------------------------------


async def test_a_reply_names_its_message_for_ever(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k")  # 2
    acted = await act(store, BOB, reply(2))
    assert acted.entry == Entry(
        conversation=G, seq=3, kind="message", author=BOB, key="s", at_ms=acted.at_ms, text="yes",
        content=Content(reply_to=2),
    )  # fmt: skip
    await act(store, ANN, delete(2))
    assert await message(store, 3) == acted.entry
    again = await act(bench.other, BOB, reply(2))
    assert again == Acted(3, acted.at_ms)
    assert await refusal(store, BOB, reply(2, "s2")) == "message_deleted"
    assert await refusal(store, BOB, reply(3)) == "key_reused"
    assert (await append(store, BOB, "s", "yes", None)).reused, "a plain message is another one"


async def test_replies_that_are_refused(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, history="from_join")
    await group(store, CID, conversation=H)
    await talk(store, G, ANN, "k")  # 2
    await store.change_member(0, "add", G, ANN, "in", DAN, MOST)  # 3
    assert await refusal(store, BOB, reply(1)) == "unknown_message", "no message"
    assert await refusal(store, BOB, reply(9)) == "unknown_message", "nothing"
    assert await refusal(store, CID, reply(2)) == "not_a_member"
    assert await refusal(store, CID, reply(2, conversation=H)) == "unknown_message", "of another conversation"
    assert await refusal(store, CID, reply(2, conversation=D)) == "not_a_member"
    assert await refusal(store, DAN, reply(2)) == "unknown_message", "from before the joining"
    assert len(await log(store, G)) == 3


# --- Media ------------------------------------------------------------------------------------------------------------


def photo(upload: UUID = PHOTO, **more: Any) -> Attachment:
    return Attachment(upload, "photo", **more)


async def test_media_are_named_by_the_message_that_shows_them(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await bench.add_upload(PHOTO, ANN, "photo")
    await bench.add_upload(VOICE, ANN, "voice")
    content = Content(
        media=[
            Attachment(VOICE, "voice", duration_ms=2_500, waveform=[0, 255, 7]),
            photo(width=640, height=480, blurhash="LEHV6nWB2yk8pyo0adR*.7kCMdnj"),
        ]
    )
    acted = await act(store, ANN, send(content))
    assert acted.entry is not None
    assert (acted.entry.text, acted.entry.content) == (UNSET, content)
    assert await message(store) == acted.entry
    assert await bench.uses(PHOTO) == await bench.uses(VOICE) == [(G, 2)]
    assert (await act(bench.other, ANN, send(content))).entry is None
    await act(store, ANN, send(content, "once more", "s2"))
    assert await bench.uses(PHOTO) == [(G, 2), (G, 3)]
    await act(store, ANN, delete(2))
    assert await bench.uses(PHOTO) == await bench.uses(VOICE) == [(G, 3)]
    assert (await message(store)).content is UNSET
    assert (await act(bench.other, ANN, send(content))).seq == 2, "a repeat names nothing again"
    assert await bench.uses(PHOTO) == [(G, 3)]


async def test_media_that_are_refused_and_then_nothing_is_named(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await bench.add_upload(PHOTO, ANN, "photo")
    await bench.add_upload(OTHER, BOB, "photo")
    await bench.add_upload(VOICE, ANN, "voice", "pending")
    await bench.add_upload(uid(904), ANN, "profile_photo")

    def two(second: Attachment) -> MessageSend:
        return send(Content(media=[photo(), second]))

    with pytest.raises(UnknownMedium) as caught:
        await act(store, ANN, two(photo(OTHER)))
    assert caught.value.medium == OTHER, "somebody else's"
    assert await refusal(store, ANN, two(photo(uid(999)))) == "unknown_medium"
    assert await refusal(store, ANN, two(Attachment(VOICE, "voice"))) == "not_ready"
    assert await refusal(store, ANN, two(photo(uid(904)))) == "wrong_use", "a profile's"
    assert await refusal(store, ANN, send(Content(media=[Attachment(PHOTO, "video")]))) == "wrong_use"
    assert await refusal(store, CID, two(photo(OTHER))) == "not_a_member"
    assert await bench.uses(PHOTO) == []
    assert len(await log(store, G)) == 1


async def test_two_who_show_the_same_media_at_once_do_not_deadlock(bench: Bench) -> None:
    """In two conversations, named in two orders: the rows of uploads are locked by id."""
    store = bench.store
    await group(store, ANN, BOB)
    await group(store, ANN, BOB, conversation=H)
    await bench.add_upload(PHOTO, ANN, "photo")
    await bench.add_upload(OTHER, ANN, "photo")
    one = send(Content(media=[photo(), photo(OTHER)]))
    two = send(Content(media=[photo(OTHER), photo()]), conversation=H)
    commit = await bench.hold(("act", ANN, one))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.store.act, 0, ANN, two, Rules(MOST))
        await bench.until_waiting()
        await commit()
    assert await bench.uses(PHOTO) == await bench.uses(OTHER) == [(G, 2), (H, 2)]


# --- Forwarding -------------------------------------------------------------------------------------------------------


def forward(seq: int, source: UUID = G, to: UUID = H, key: str = "f") -> MessageForward:
    return MessageForward(id=1, conversation=to, key=key, source=Source(source, seq))


async def two_groups(bench: Bench) -> Store:
    """G of Ann and Bob, H of Bob and Cid; a photo of Ann's."""
    await group(bench.store, ANN, BOB)
    await group(bench.store, BOB, CID, conversation=H)
    await bench.add_upload(PHOTO, ANN, "photo")
    return bench.store


async def test_a_forwarded_message_says_who_said_it_and_no_more(bench: Bench) -> None:
    store = await two_groups(bench)
    await talk(store, G, ANN, "k")  # 2
    said = Content(
        reply_to=2, entities=[BOLD], mention_all="all", media=[photo()], location=PLACE.location, contact=RICH.contact
    )
    await act(store, ANN, send(said, "look"))  # 3
    acted = await act(store, BOB, forward(3))
    told = Content(
        entities=[BOLD], media=[photo()], location=PLACE.location, contact=RICH.contact, forwarded=Forwarded(ANN)
    )
    assert acted.entry == Entry(
        conversation=H, seq=2, kind="message", author=BOB, key="f", at_ms=acted.at_ms, text="look", content=told
    )
    assert (await log(store, H))[1] == acted.entry
    assert await bench.uses(PHOTO) == [(G, 3), (H, 2)]
    await act(store, ANN, delete(3))
    assert await bench.uses(PHOTO) == [(H, 2)], "a copy is its forwarder's"
    assert await act(bench.other, BOB, forward(3)) == Acted(2, acted.at_ms), "a repeat gets its first answer"
    assert await refusal(store, BOB, forward(3, key="f2")) == "message_deleted"
    again = await act(store, CID, forward(2, H))
    assert again.entry is not None
    assert again.entry.content == told, "still Ann's words"
    await act(store, BOB, delete(2, conversation=H))
    assert await bench.uses(PHOTO) == [(H, 3)]
    assert len(await log(store, G)) == 4


async def test_plain_text_is_forwarded_too_and_into_its_own_conversation(bench: Bench) -> None:
    store = await two_groups(bench)
    await talk(store, G, ANN, "k")  # 2
    acted = await act(store, ANN, forward(2, to=G))
    assert acted.entry is not None
    assert (acted.seq, acted.entry.text, acted.entry.content) == (3, "text of k", Content(forwarded=Forwarded(ANN)))


async def test_forwards_that_are_refused(bench: Bench) -> None:
    store = await two_groups(bench)
    await talk(store, G, ANN, "k")  # 2
    await talk(store, H, CID, "k")  # 2
    assert await refusal(store, ANN, forward(2)) == "not_a_member", "of the one to send to"
    assert await refusal(store, CID, forward(2)) == "unknown_message", "a stranger to the one it is in"
    assert await refusal(store, BOB, forward(2, D)) == "unknown_message", "no such conversation"
    assert await refusal(store, BOB, forward(1)) == "unknown_message", "no message"
    assert await refusal(store, BOB, forward(9)) == "unknown_message"
    await act(store, BOB, forward(2))
    assert await refusal(store, BOB, forward(2, H)) == "key_reused"
    assert len(await log(store, H)) == 3


async def test_two_forwards_with_one_key_at_once_store_one(bench: Bench) -> None:
    store = await two_groups(bench)
    await act(store, ANN, send(Content(media=[photo()])))  # 2
    commit = await bench.hold(("act", BOB, forward(2)))
    found: list[Acted] = []

    async def again() -> None:
        found.append(await act(bench.other, BOB, forward(2)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(again)
        await bench.until_waiting()
        await commit()
    assert [(one.seq, one.entry) for one in found] == [(2, None)]
    assert await bench.uses(PHOTO) == [(G, 2), (H, 2)]


async def test_a_forward_that_waits_for_the_photos_deletion_keeps_it(bench: Bench) -> None:
    """The photo is nobody's for a moment: it is not swept before its time, and the copy has it."""
    store = await two_groups(bench)
    await act(store, ANN, send(Content(media=[photo()])))  # 2
    commit = await bench.hold(("act", ANN, delete(2)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(act, store, BOB, forward(2))
        await bench.until_waiting()
        await commit()
    assert await bench.uses(PHOTO) == [(H, 2)]


# --- Pins -------------------------------------------------------------------------------------------------------------


def pin(seq: int, on: bool = True, key: str = "p", conversation: UUID = G) -> MessagePin:
    return MessagePin(id=1, conversation=conversation, key=key, seq=seq, on=on)


async def pins(store: Store, person: UUID = ANN, conversation: UUID = G) -> list[int]:
    return (await state(store, person, conversation)).pins


async def test_a_pin_is_told_and_stands_in_the_message_and_the_conversation(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, BOB, "1", "2", "3")
    first = await act(store, ANN, pin(4))
    assert first.entry == Entry(
        conversation=G, seq=5, kind="message.pinned", author=ANN, key="p", at_ms=first.at_ms, of=4, on=True
    )
    await act(store, ANN, pin(2, key="p2"))
    found = await message(store, 4)
    assert (found.pinned, found.changed) == (True, 5)
    assert await pins(store, BOB) == [2, 4]
    down = await act(store, ANN, pin(4, False, "p3"))
    assert down.entry is not None
    assert (down.entry.on, (await message(store, 4)).pinned, (await message(store, 4)).changed) == (False, False, 7)
    assert await pins(store) == [2]
    assert (await act(bench.other, ANN, pin(4))).seq == 5, "a repeat gets its first answer"
    assert await pins(store) == [2], "and undoes nothing"


async def test_a_pin_that_is_there_stores_nothing_and_keeps_its_key(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN)
    await talk(store, G, ANN, "1")
    assert (await act(store, ANN, pin(2, False, "p0"))).seq == 2
    await act(store, ANN, pin(2))  # 3
    assert await act(store, ANN, pin(2, key="p2")) == Acted(3, (await log(store, G))[2].at_ms)
    await act(store, ANN, pin(2, False, "p3"))  # 4
    assert (await act(store, ANN, pin(2, key="p2"))).seq == 3
    assert await pins(store) == []
    assert await refusal(store, ANN, pin(2, False, "p2")) == "key_reused"


async def test_who_may_pin(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, history="from_join")
    await talk(store, G, BOB, "1")  # 2
    assert await refusal(store, BOB, pin(2)) == "forbidden"
    assert await refusal(store, CID, pin(2)) == "not_a_member"
    assert await refusal(store, ANN, pin(1)) == "unknown_message"
    await store.open_direct(D, ANN, BOB)
    await store.append(0, [NewMessage(D, ANN, "k", "hi")], {})
    await act(store, BOB, pin(2, conversation=D))
    await act(store, ANN, pin(2, False, "down", D))
    await act(store, ANN, pin(2))
    await store.change_member(0, "add", G, ANN, "in", CID, MOST)
    assert await pins(store, CID) == [], "pinned before one came, where the past is not shown"
    await store.change_member(0, "remove", G, ANN, "out", BOB, MOST)
    assert await pins(store, BOB) == [], "none of a past member's business"
    assert await pins(store) == [2]


async def test_an_edit_and_a_reaction_leave_the_pin_and_a_deletion_takes_it(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "1")
    await act(store, BOB, react(2))
    await act(store, ANN, pin(2))
    found = await message(store)
    assert (found.pinned, len(found.reactions)) == (True, 1)
    await act(store, ANN, edit(2, "other"))
    await act(store, BOB, react(2, on=False, key="r2"))
    found = await message(store)
    assert (found.pinned, found.text, found.reactions) == (True, "other", [])
    await act(store, ANN, delete(2))
    assert (await message(store)).pinned is False
    assert await pins(store) == []
    assert await refusal(store, ANN, pin(2, key="p2")) == "message_deleted"


async def test_pins_are_bounded(bench: Bench) -> None:
    store, rules = bench.store, Rules(pins=2)
    await group(store, ANN)
    await talk(store, G, ANN, "1", "2", "3")
    await act(store, ANN, pin(2, key="p2"), rules)
    await act(store, ANN, pin(3, key="p3"), rules)
    assert await refusal(store, ANN, pin(4, key="p4"), rules) == "too_many_pins"
    await act(store, ANN, delete(3), rules)
    await act(store, ANN, pin(4, key="p4"), rules)
    assert await pins(store) == [2, 4]


async def test_a_deletion_and_a_pin_at_once(bench: Bench) -> None:
    """Whoever comes first, nothing deleted stays pinned."""
    await group(bench.store, ANN, BOB)
    await talk(bench.store, G, ANN, "1")
    commit = await bench.hold(("act", ANN, pin(2)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(act, bench.other, ANN, delete(2))
        await bench.until_waiting()
        await commit()
    assert (await message(bench.store)).deleted
    assert await pins(bench.store) == []


# --- What changes a message -------------------------------------------------------------------------------------------


async def test_an_edit_gives_other_entities_and_the_rest_stays(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await append(store, ANN, "k", "bold", RICH)
    await act(store, BOB, react(2))
    change = MessageEdit(
        id=1, conversation=G, key="e", seq=2, text="other", entities=[Entity("code", 1, 4)], mention_all="all"
    )
    acted = await act(store, ANN, change)
    after = Content(
        entities=[Entity("code", 1, 4)], mention_all="all", location=RICH.location, contact=RICH.contact
    )
    assert acted.entry is not None
    assert (acted.entry.text, acted.entry.content, acted.entry.of) == ("other", after, 2)
    found = await message(store)
    assert (found.text, found.content, found.changed, len(found.reactions)) == ("other", after, 4, 1)
    assert (await act(bench.other, ANN, change)).seq == 4
    assert await refusal(store, ANN, edit(2, "other", "e")) == "key_reused"
    await act(store, ANN, edit(2, "plain", "e2"))
    rest = Content(location=RICH.location, contact=RICH.contact)
    assert (await message(store)).content == rest
    versions = (await store.edits(BOB, G, 2, 0)).versions
    assert [(one.text, one.content) for one in versions] == [("bold", RICH), ("other", after), ("plain", rest)]


async def test_an_edit_may_leave_nothing_but_text(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN)
    await append(store, ANN, "k", "bold", Content(entities=[BOLD]))
    acted = await act(store, ANN, edit(2, "plain"))
    assert acted.entry is not None
    assert acted.entry.content is (await message(store)).content is UNSET
    await act(store, ANN, MessageEdit(id=1, conversation=G, key="e2", seq=2, text="bold again", entities=[BOLD]))
    assert (await message(store)).content == Content(entities=[BOLD])


async def test_a_deletion_takes_the_content_and_that_of_every_version(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await append(store, ANN, "k", "bold", RICH)
    await act(store, ANN, edit(2, "plain"))
    await act(store, BOB, react(2))
    acted = await act(store, ANN, delete(2))
    found = await message(store)
    assert (found.text, found.content, found.deleted, found.changed) == (UNSET, UNSET, True, acted.seq)
    assert [one.content for one in await log(store, G)] == [UNSET] * 5
    assert (await store.edits(BOB, G, 2, 0)).versions == [
        Version(2, found.at_ms), Version(3, (await log(store, G))[2].at_ms),
    ]  # fmt: skip


async def test_a_reaction_leaves_the_content(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await append(bench.store, ANN, "k", "bold", RICH)
    await act(bench.store, BOB, react(2))
    assert (await message(bench.store)).content == RICH


# --- Whom a message mentions ------------------------------------------------------------------------------------------


async def test_who_is_mentioned_can_be_asked_of_the_database(dsn: str) -> None:
    async with postgres_bench(dsn) as made:
        for person in (ANN, BOB, CID):
            await made.add_account(person, "x")
        await group(made.store, ANN, BOB)
        two = Content(entities=[Entity("mention", 0, 1, user=one) for one in (CID, BOB, CID)], mention_all="all")
        await append(made.store, ANN, "1", "two", two)
        await append(made.store, ANN, "2", "none", Content(entities=[BOLD]))
        await talk(made.store, G, ANN, "3")
        with psycopg.connect(dsn, autocommit=True) as control:
            asked = """select e.seq, array(select m::text from entry_mentions(e) m order by m),
                              e.content ->> 'mention_all' from entry e where kind = 'message' order by seq"""
            assert control.execute(asked).fetchall() == [
                (2, [str(BOB), str(CID)], "all"), (3, [], None), (4, [], None),
            ]  # fmt: skip
            await act(made.store, ANN, delete(2))
            assert control.execute(asked).fetchall()[0] == (2, [], None)


# --- Any of it --------------------------------------------------------------------------------------------------------

text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
address = st.from_regex("^https://e\\.com/[^\\x00-\\x20\\x7f-\\xa0]{1,20}$", fullmatch=True)
label = st.one_of(st.just(UNSET), text)
number = st.floats(-90, 90)
part = st.one_of(
    st.builds(Entity, st.sampled_from(["bold", "pre"]), st.integers(0, 9), st.integers(1, 9)),
    st.builds(Entity, st.just("link"), st.just(0), st.just(1), url=address),
    st.builds(Entity, st.just("mention"), st.just(0), st.just(1), user=st.sampled_from([ANN, BOB])),
)
contents = st.builds(
    Content,
    entities=st.lists(part, max_size=4),
    mention_all=st.sampled_from([UNSET, "here", "all"]),
    location=st.one_of(st.just(UNSET), st.builds(Location, number, number, label, st.floats(0, 1e5))),
    contact=st.one_of(st.just(UNSET), st.builds(Contact, text, user=st.sampled_from([UNSET, CID]))),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(said=st.lists(st.tuples(text, contents), min_size=1, max_size=5), entities=st.lists(part, max_size=3))
async def test_any_content_comes_back_as_it_was(dsn: str, said: list[Any], entities: list[Entity]) -> None:
    """Out of the database as it went in, after an edit too."""
    async with postgres_bench(dsn) as made:
        person, conversation = uuid4(), uuid4()
        await made.add_account(person, "x")
        await group(made.store, person, conversation=conversation)
        batch = [NewMessage(conversation, person, str(n), words, content) for n, (words, content) in enumerate(said)]
        answers = (await made.store.append(0, batch, {})).answers
        assert [one.seq for one in answers] == list(range(2, len(said) + 2))
        assert all(not one.new and not one.reused for one in (await made.store.append(0, batch, {})).answers)
        found = (await log(made.store, conversation))[1:]
        assert [(one.text, one.content) for one in found] == said
        change = MessageEdit(id=1, conversation=conversation, key="e", seq=2, text="x" * 99, entities=entities)
        acted = await act(made.store, person, change)
        first: Content = said[0][1]
        left = Content(entities=entities, location=first.location, contact=first.contact)
        assert acted.entry is not None
        assert acted.entry.content == (UNSET if left == Content() else left)
