"""Join links and requests by the contract of every ``Store``: PostgreSQL, and the simulated world's fake."""

from typing import Any
from uuid import UUID

import pytest
import trio

from protocol.errors import Refused
from protocol.frames import (
    Entry,
    Joined,
    Link,
    LinkCreate,
    LinkJoin,
    LinkRevoke,
    MemberBan,
    MemberRole,
    MemberUnban,
    RequestAnswer,
)
from storage.rows import Acted, NewKind, RequestPage, Rules
from storage.store import Store
from tests.test_store_contract import (
    ANN,
    BOB,
    CID,
    DAN,
    EVE,
    FAY,
    MOST,
    Bench,
    D,
    G,
    bench,
    group,
    log,
    place,
    say,
    seqs,
    state,
    uid,
)

__all__ = ["bench", "place"]  # fixtures

FIRST = (0, UUID(int=0))


async def link(store: Store, author: UUID = ANN, key: str = "n", most: int = 50, **more: Any) -> Link:
    command = LinkCreate(id=1, conversation=G, key=key, **more)
    return await store.create_link(author, command, Rules(MOST, links=most))


async def join(store: Store, person: UUID, code: str, key: str = "j", rules: Rules | None = None) -> Joined:
    return await store.join_by_link(person, LinkJoin(id=1, code=code, key=key), rules or Rules(MOST))


async def revoke(store: Store, code: str, author: UUID = ANN, key: str = "r") -> None:
    await store.revoke_link(author, LinkRevoke(id=1, conversation=G, key=key, code=code))


async def answer(store: Store, user: UUID, accept: bool = True, author: UUID = ANN, key: str = "q") -> Acted:
    action = RequestAnswer(id=1, conversation=G, key=key, user=user, accept=accept)
    return await store.act(0, author, action, Rules(MOST))


async def ban(store: Store, user: UUID, key: str = "b") -> None:
    await store.act(0, ANN, MemberBan(id=1, conversation=G, key=key, user=user), Rules())


async def asking(store: Store, person: UUID = ANN) -> list[UUID]:
    return [one.user for one in (await store.requests(person, G, FIRST, 10)).requests]


async def code_of(coming: Any) -> str:
    """The code of the error that *coming* ends with."""
    with pytest.raises(Refused) as caught:
        await coming
    return caught.value.code


# --- Links ------------------------------------------------------------------------------------------------------------


async def test_a_link_lets_people_in(bench: Bench) -> None:
    """By one entry, as if they had been added by themselves."""
    store = bench.store
    await group(store, ANN)
    made = await link(store)
    assert (made.author, made.used, made.approval, len(made.code) >= 20) == (ANN, 0, False, True)
    assert len(await log(store, G)) == 1, "no entry tells of a link"
    joined = await join(store, BOB, made.code)
    assert joined == Joined(G, False, 2, joined.at_ms)
    assert (await log(bench.other, G))[1] == Entry(
        conversation=G, seq=2, kind="member.added", author=BOB, key="j", at_ms=joined.at_ms, user=BOB  # type: ignore[arg-type]
    )
    assert (await state(store, BOB, G)).members == [ANN, BOB]
    assert await seqs(store, BOB, G) == [1, 2]
    assert await code_of(join(store, BOB, made.code, "j2")) == "already_a_member"
    assert [(one.code, one.used) for one in await store.links(ANN, G)] == [(made.code, 1)]
    assert await link(store) == made, "a repeat gets its first answer"
    assert (await link(store, key="n2")).code != made.code
    assert await code_of(link(store, uses=3)) == "key_reused"


async def test_a_room_counts_who_joins_by_a_link(bench: Bench) -> None:
    await bench.store.create_group(G, ANN, "make", "hall", "all", [ANN], MOST, NewKind("channel"))
    made = await link(bench.store)
    await join(bench.store, BOB, made.code, rules=Rules(1))
    assert (await log(bench.store, G))[1].count == 2
    assert await code_of(join(bench.store, CID, made.code, rules=Rules(room_members=2))) == "conversation_full"


async def test_a_repeat_gets_its_first_answer_also_after_the_link_was_revoked(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN)
    one, two = await link(store, key="n1"), await link(store, key="n2", approval=True)
    joined = await join(store, BOB, one.code)
    asked = await join(store, CID, two.code)
    assert asked == Joined(G, True)
    await revoke(store, one.code)
    await revoke(store, two.code, key="r2")
    await revoke(store, one.code)
    await store.change_member(0, "remove", G, ANN, "out", BOB, MOST)
    assert await join(store, BOB, one.code) == joined
    assert await join(store, CID, two.code) == asked
    assert await code_of(join(store, BOB, two.code)) == "key_reused"
    assert await code_of(join(store, BOB, one.code, "j2")) == "link_over"
    assert (await state(store, ANN, G)).members == [ANN], "a repeat brings nobody back"
    assert await link(store, key="n1") == one
    assert await store.links(ANN, G) == []


async def test_who_may_do_what_with_links(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    made = await link(store)
    assert await code_of(link(store, BOB)) == "forbidden"
    assert await code_of(store.links(BOB, G)) == "forbidden"
    assert await code_of(store.requests(BOB, G, FIRST, 1)) == "forbidden"
    assert await code_of(revoke(store, made.code, BOB)) == "forbidden"
    assert await code_of(answer(store, CID, author=BOB)) == "forbidden"
    for one in (link(store, CID), store.links(CID, G), store.requests(CID, G, FIRST, 1), revoke(store, "x", CID)):
        assert await code_of(one) == "not_a_member"
    assert await code_of(revoke(store, "x")) == "unknown_link"
    assert await code_of(answer(store, CID)) == "unknown_request"
    assert await code_of(link(store, most=1, key="n2")) == "too_many_links"
    await store.act(0, ANN, MemberRole(id=1, conversation=G, key="p", user=BOB, role="admin"), Rules())
    assert await code_of(link(store, BOB, expires_at_ms=1)) == "invalid"
    await link(store, BOB)
    await store.open_direct(D, ANN, BOB)
    assert await code_of(store.create_link(ANN, LinkCreate(id=1, conversation=D, key="n"), Rules())) == "wrong_kind"
    await store.act(0, ANN, MemberRole(id=1, conversation=G, key="p2", user=BOB, role="member"), Rules())
    assert (await link(store, BOB)).author == BOB, "the key first, then the right"
    other = uid(180)
    await group(store, ANN, conversation=other)
    with pytest.raises(Refused):
        await store.revoke_link(ANN, LinkRevoke(id=1, conversation=other, key="r", code=made.code))


async def test_where_a_link_leads(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN)
    made = await link(store, approval=True)
    seen = await store.preview_link(BOB, made.code)
    assert (seen.conversation, seen.kind, seen.member_count, seen.approval, seen.joined) == (G, "group", 1, True, False)
    assert (await store.preview_link(ANN, made.code)).joined
    assert await code_of(store.preview_link(BOB, "x")) == "unknown_link"
    assert await code_of(join(store, BOB, "x")) == "unknown_link"
    await ban(store, BOB)
    assert await code_of(store.preview_link(BOB, made.code)) == "banned"
    await revoke(store, made.code)
    assert await code_of(store.preview_link(CID, made.code)) == "link_over"


async def test_a_link_ends_by_uses_or_by_the_databases_clock(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN)
    now_ms = (await log(store, G))[0].at_ms
    twice, short = await link(store, key="n1", uses=2), await link(store, key="n2", expires_at_ms=now_ms + 400)
    await join(store, BOB, twice.code)
    await join(store, CID, twice.code)
    assert await code_of(join(store, DAN, twice.code)) == "link_over"
    await store.preview_link(DAN, short.code)
    await trio.sleep(0.5)
    assert await code_of(join(store, DAN, short.code)) == "link_over"
    assert [one.used for one in await store.links(ANN, G)] == [2, 0], "they are shown until they are revoked"


async def test_exactly_so_many_get_in_at_the_limit(bench: Bench) -> None:
    """Over two processes; one use and two people, who come at the same time."""
    store = bench.store
    await group(store, ANN)
    made = await link(store, uses=2)
    await join(store, BOB, made.code)
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("link", CID, LinkJoin(id=1, code=made.code, key="j")))

        async def late() -> None:
            assert await code_of(join(store, DAN, made.code)) == "link_over"

        nursery.start_soon(late)
        await bench.until_waiting()
        await commit()
    assert (await state(store, ANN, G)).members == [ANN, BOB, CID]


async def test_two_joins_for_the_last_place_of_members(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID, DAN)  # one less than a group may have
    made = await link(store)
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("link", EVE, LinkJoin(id=1, code=made.code, key="j")))

        async def late() -> None:
            assert await code_of(join(store, FAY, made.code)) == "conversation_full"

        nursery.start_soon(late)
        await bench.until_waiting()
        await commit()
    assert [one.used for one in await store.links(ANN, G)] == [1], "who was refused used nothing"


async def test_a_join_that_waits_for_the_revocation_is_refused(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN)
    made = await link(store)
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("link", ANN, LinkRevoke(id=1, conversation=G, key="r", code=made.code)))

        async def late() -> None:
            assert await code_of(join(store, BOB, made.code)) == "link_over"

        nursery.start_soon(late)
        await bench.until_waiting()
        await commit()


async def test_a_join_by_a_link_that_waits_for_a_ban_is_refused(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN)
    made = await link(store)
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", ANN, MemberBan(id=1, conversation=G, key="b", user=BOB)))

        async def late() -> None:
            assert await code_of(join(store, BOB, made.code)) == "banned"

        nursery.start_soon(late)
        await bench.until_waiting()
        await commit()


async def test_the_same_join_from_two_processes_is_one(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN)
    made = await link(store, uses=1)
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("link", BOB, LinkJoin(id=1, code=made.code, key="j")))

        async def again() -> None:
            assert (await join(store, BOB, made.code)).seq == 2

        nursery.start_soon(again)
        await bench.until_waiting()
        await commit()
    assert len(await log(store, G)) == 2


# --- Requests ---------------------------------------------------------------------------------------------------------


async def test_who_asks_is_let_in_or_not(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN)
    made = await link(store, approval=True)
    for one in (BOB, CID):
        assert await join(store, one, made.code) == Joined(G, True)
    assert await join(store, BOB, made.code, "again") == Joined(G, True), "one request"
    [first, second] = (await store.requests(ANN, G, FIRST, 10)).requests
    assert (first.user, first.name, first.code, second.user) == (BOB, "person 2", made.code, CID)
    assert [one.used for one in await store.links(ANN, G)] == [2]
    acted = await answer(store, BOB)
    assert acted.entry == Entry(
        conversation=G, seq=2, kind="member.added", author=ANN, key="q", at_ms=acted.at_ms, user=BOB
    )
    declined = await answer(store, CID, False, key="q2")
    assert (declined.seq, declined.entry) == (2, None)
    assert (await state(store, ANN, G)).members == [ANN, BOB]
    assert await asking(store) == []
    assert await code_of(answer(store, CID, key="q3")) == "unknown_request"
    assert (await answer(store, CID, False, key="q2")).seq == 2, "a repeat gets its first answer"
    assert await code_of(answer(store, CID, True, key="q2")) == "key_reused"
    assert await join(store, CID, made.code, "j2") == Joined(G, True), "one may ask again"
    [answered] = (await store.append(0, [say(G, BOB, "hello")], {})).answers
    assert answered.seq == 3


async def test_a_request_of_somebody_who_was_banned_since(bench: Bench) -> None:
    """It is not shown, and not granted; after the ban it waits as before."""
    store = bench.store
    await group(store, ANN)
    made = await link(store, approval=True)
    await join(store, BOB, made.code)
    await ban(store, BOB)
    assert await store.requests(ANN, G, FIRST, 10) == RequestPage([], False, 0)
    assert await code_of(answer(store, BOB)) == "banned"
    assert await code_of(join(store, BOB, made.code, "j2")) == "banned"
    await store.act(0, ANN, MemberUnban(id=1, conversation=G, key="u", user=BOB), Rules())
    assert await asking(store) == [BOB]
    assert (await answer(store, BOB)).entry is not None


async def test_an_answer_that_waits_for_a_ban_lets_nobody_in(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN)
    made = await link(store, approval=True)
    await join(store, BOB, made.code)
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", ANN, MemberBan(id=1, conversation=G, key="b", user=BOB)))

        async def late() -> None:
            assert await code_of(answer(store, BOB)) == "banned"

        nursery.start_soon(late)
        await bench.until_waiting()
        await commit()
    assert (await state(store, ANN, G)).members == [ANN]


async def test_two_admins_answer_at_once(bench: Bench) -> None:
    """The first answer stands."""
    store = bench.store
    await group(store, ANN, BOB)
    await store.act(0, ANN, MemberRole(id=1, conversation=G, key="p", user=BOB, role="admin"), Rules())
    made = await link(store, approval=True)
    await join(store, CID, made.code)
    yes = RequestAnswer(id=1, conversation=G, key="q", user=CID, accept=True)
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", ANN, yes))

        async def late() -> None:
            assert await code_of(answer(store, CID, False, BOB)) == "unknown_request"

        nursery.start_soon(late)
        await bench.until_waiting()
        await commit()
    assert (await state(store, ANN, G)).members == [ANN, BOB, CID]


async def test_who_got_in_otherwise_asks_no_more(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN)
    made, direct = await link(store, approval=True), await link(store, key="n2")
    await join(store, BOB, made.code)
    await join(store, CID, made.code)
    await store.change_member(0, "add", G, ANN, "a", BOB, MOST)
    await join(store, CID, direct.code, "j2")
    assert await asking(store) == []
    await store.change_member(0, "remove", G, ANN, "x", BOB, MOST)
    assert await asking(store) == []


async def test_requests_are_bounded_and_come_page_by_page(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN)
    made = await link(store, approval=True)
    for one in (BOB, CID, DAN):
        await join(store, one, made.code, rules=Rules(MOST, requests=3))
    assert await code_of(join(store, EVE, made.code, rules=Rules(MOST, requests=3))) == "too_many_requests"
    found, after = [], FIRST
    for more in (True, True, False):
        page = await store.requests(ANN, G, after, 1)
        assert (len(page.requests), page.more, page.count) == (1, more, 3)
        found += page.requests
        after = found[-1].at_ms, found[-1].user
    assert sorted(one.user for one in found) == [BOB, CID, DAN]
