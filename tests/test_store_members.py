"""Roles and bans by the contract of every ``Store``: PostgreSQL, and the simulated world's fake."""

from typing import Any
from uuid import UUID

import pytest
import trio

from protocol.errors import Banned, Forbidden, NotAMember, Refused
from protocol.frames import (
    AnyAction,
    ConversationHandover,
    Entry,
    MemberBan,
    MemberRole,
    MemberUnban,
    MessageDelete,
)
from storage.rows import Acted, Rules
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
    seqs,
    state,
    talk,
    uid,
)

__all__ = ["bench", "place"]  # fixtures
FAR_MS = 2**50


def role(user: UUID, role: Any = "admin", key: str = "r", conversation: UUID = G) -> MemberRole:
    return MemberRole(id=1, conversation=conversation, key=key, user=user, role=role)


def over(user: UUID, key: str = "o", conversation: UUID = G) -> ConversationHandover:
    return ConversationHandover(id=1, conversation=conversation, key=key, user=user)


def ban(
    user: UUID, reason: str | None = None, until_ms: int | None = None, key: str = "b", conversation: UUID = G
) -> MemberBan:
    return MemberBan(id=1, conversation=conversation, key=key, user=user, reason=reason, until_ms=until_ms)


def unban(user: UUID, key: str = "u", conversation: UUID = G) -> MemberUnban:
    return MemberUnban(id=1, conversation=conversation, key=key, user=user)


async def act(store: Store, author: UUID, action: AnyAction, rules: Rules = Rules(MOST)) -> Acted:  # noqa: B008
    return await store.act(0, author, action, rules)


async def refusal(store: Store, author: UUID, action: AnyAction, rules: Rules = Rules(MOST)) -> str:  # noqa: B008
    with pytest.raises(Refused) as caught:
        await act(store, author, action, rules)
    return caught.value.code


async def change(store: Store, what: Any, author: UUID, user: UUID, key: str) -> int:
    return (await store.change_member(0, what, G, author, key, user, MOST)).seq


async def standing_of(store: Store, viewer: UUID = ANN) -> tuple[UUID | None, list[UUID], list[UUID]]:
    """Owner, admins and members of G."""
    found = await state(store, viewer, G)
    return found.owner, found.admins, found.members


# --- Roles ------------------------------------------------------------------------------------------------------------


async def test_an_admin_is_made_and_unmade(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID)
    made = await act(store, ANN, role(CID))
    assert made.entry == Entry(
        conversation=G, seq=2, kind="member.role", author=ANN, key="r", at_ms=made.at_ms, user=CID, role="admin"
    )
    assert (await log(bench.other, G))[1] == made.entry
    await act(store, CID, role(BOB, key="r2"))
    assert await standing_of(bench.other) == (ANN, [BOB, CID], [ANN, BOB, CID])
    assert (await act(store, BOB, role(CID, "member"))).seq == 4, "admins unmake each other"
    assert (await act(store, BOB, role(BOB, "member", "r2"))).seq == 5, "and step down"
    assert await standing_of(store) == (ANN, [], [ANN, BOB, CID])


async def test_roles_that_are_refused(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID)
    await act(store, ANN, role(BOB))
    assert await refusal(store, CID, role(CID)) == "forbidden"
    assert await refusal(store, BOB, role(ANN, "member")) == "forbidden", "nobody unmakes the owner"
    assert await refusal(store, ANN, role(ANN, "admin", "x")) == "forbidden"
    assert await refusal(store, DAN, role(CID)) == "not_a_member"
    assert await refusal(store, ANN, role(DAN, key="x")) == "not_a_member"
    assert await refusal(store, ANN, role(CID)) == "key_reused"
    await store.open_direct(D, ANN, BOB)
    assert await refusal(store, ANN, role(BOB, conversation=D)) == "wrong_kind"
    assert await refusal(store, ANN, role(CID, key="x"), Rules(MOST, admins=1)) == "too_many_admins"
    assert len(await log(store, G)) == 2


async def test_what_one_is_already_stores_nothing_and_keeps_its_key(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    first = await act(store, ANN, role(BOB))
    again = await act(store, ANN, role(BOB, key="r2"))
    assert (again.seq, again.at_ms, again.entry) == (first.seq, first.at_ms, None)
    await act(store, ANN, role(BOB, "member", "r3"))
    assert (await act(store, ANN, role(BOB, key="r2"))).seq == first.seq, "it does not make an admin now"
    assert (await act(store, ANN, role(BOB))).seq == first.seq
    assert (await standing_of(store))[1] == []


async def test_two_admins_unmake_each_other_at_once(bench: Bench) -> None:
    """From two processes: who has the lock first is first, and the second is no admin any more."""
    await group(bench.store, ANN, BOB, CID)
    await act(bench.store, ANN, role(BOB, key="r1"))
    await act(bench.store, ANN, role(CID, key="r2"))
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", BOB, role(CID, "member")))

        async def second() -> None:
            assert await refusal(bench.store, CID, role(BOB, "member")) == "forbidden"

        nursery.start_soon(second)
        await bench.until_waiting()
        await commit()
    assert (await standing_of(bench.store))[1] == [BOB]


async def test_a_role_ends_with_the_membership(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await act(store, ANN, role(BOB))
    await change(store, "leave", BOB, BOB, "l")
    assert (await standing_of(store))[1] == []
    await change(store, "add", ANN, BOB, "a")
    assert (await standing_of(store))[1] == []
    assert await refusal(store, BOB, role(ANN)) == "forbidden"


async def test_admins_remove_and_delete(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID, DAN)
    await talk(store, G, ANN, "k", "l")  # 2, 3
    await act(store, ANN, role(BOB, key="r1"))
    await act(store, ANN, role(CID, key="r2"))
    delete = MessageDelete(id=1, conversation=G, key="d", seq=2)
    assert await refusal(store, DAN, delete) == "forbidden"
    assert (await act(store, BOB, delete)).seq == 6
    with pytest.raises(Forbidden):
        await change(store, "remove", DAN, CID, "x")
    with pytest.raises(Forbidden):
        await change(store, "remove", BOB, ANN, "x")
    assert await change(store, "remove", BOB, CID, "x") == 7
    assert await change(store, "remove", BOB, DAN, "y") == 8


# --- The owner --------------------------------------------------------------------------------------------------------


async def test_a_group_is_handed_over(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID)
    await act(store, ANN, role(CID))
    done = await act(store, ANN, over(CID))
    assert done.entry == Entry(
        conversation=G, seq=3, kind="conversation.owner", author=ANN, key="o", at_ms=done.at_ms, owner=CID
    )
    assert await standing_of(bench.other) == (CID, [ANN], [ANN, BOB, CID])
    assert await refusal(store, ANN, over(BOB, "o2")) == "forbidden"
    assert (await act(store, ANN, over(CID))).seq == 3, "a repeat"
    assert (await act(store, CID, over(CID))).entry is None, "to oneself"
    assert await refusal(store, CID, over(DAN, "o2")) == "not_a_member"
    assert await refusal(store, CID, over(BOB, "o2"), Rules(MOST, admins=1)) == "too_many_admins"
    await store.open_direct(D, ANN, BOB)
    assert await refusal(store, ANN, over(BOB, conversation=D)) == "wrong_kind"


async def test_two_handovers_at_once(bench: Bench) -> None:
    """By two devices of the owner: the second is refused, for the owner is another."""
    await group(bench.store, ANN, BOB, CID)
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", ANN, over(BOB)))

        async def second() -> None:
            assert await refusal(bench.store, ANN, over(CID, "o2")) == "forbidden"

        nursery.start_soon(second)
        await bench.until_waiting()
        await commit()
    assert (await standing_of(bench.store))[:2] == (BOB, [ANN])


async def test_an_owner_who_leaves_is_followed_by_the_oldest_admin(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID, DAN)
    await act(store, ANN, role(DAN, key="r1"))
    await act(store, ANN, role(CID, key="r2"))
    await change(store, "leave", ANN, ANN, "l")
    last = (await log(store, G))[-1]
    assert (last.kind, last.user, last.owner) == ("member.removed", ANN, CID)
    assert await standing_of(store, BOB) == (CID, [DAN], [BOB, CID, DAN])
    assert (await store.change_member(0, "leave", G, ANN, "l", ANN, MOST)).seq == last.seq
    await act(store, CID, role(DAN, "member", "r3"))
    await change(store, "leave", CID, CID, "l")
    assert (await log(store, G))[-1].owner == BOB, "without an admin: the oldest member"
    assert await standing_of(store, BOB) == (BOB, [], [BOB, DAN])


async def test_the_owner_leaves_while_an_admin_steps_down(bench: Bench) -> None:
    await group(bench.store, ANN, BOB, CID)
    await act(bench.store, ANN, role(CID))
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", CID, role(CID, "member")))

        async def second() -> None:
            assert await change(bench.store, "leave", ANN, ANN, "l") == 4

        nursery.start_soon(second)
        await bench.until_waiting()
        await commit()
    assert await standing_of(bench.store, BOB) == (BOB, [], [BOB, CID])


# --- Bans -------------------------------------------------------------------------------------------------------------


async def test_a_ban_removes_and_bars(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID)
    number = (await store.standing(BOB, None)).number
    done = await act(store, ANN, ban(BOB, "spam", FAR_MS))
    assert done.entry == Entry(
        conversation=G, seq=2, kind="member.banned", author=ANN, key="b", at_ms=done.at_ms, user=BOB, reason="spam",
        until_ms=FAR_MS,
    )  # fmt: skip
    assert (await log(store, G))[1] == done.entry
    assert (await standing_of(store))[2] == [ANN, CID]
    after = await store.standing(BOB, None)
    assert after.number is not None
    assert number is not None
    assert after.number > number
    assert [one.until for one in after.spans] == [2]
    await talk(store, G, ANN, "k")
    assert await seqs(store, BOB, G) == [1, 2]
    assert await talk(store, G, BOB, "k") == [None]
    with pytest.raises(Banned):
        await change(store, "add", ANN, BOB, "a")
    assert (await act(store, ANN, ban(BOB, "spam", FAR_MS))).seq == 2, "a repeat"
    assert (await state(store, ANN, G)).members == [ANN, CID]


async def test_a_ban_is_lifted(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await act(store, ANN, ban(BOB))
    done = await act(store, ANN, unban(BOB))
    assert done.entry is not None
    assert (done.seq, done.entry.kind, done.entry.user) == (3, "member.unbanned", BOB)
    assert (await act(store, ANN, unban(BOB, "u2"))).entry is None
    assert (await standing_of(store))[2] == [ANN], "that is no membership"
    assert await change(store, "add", ANN, BOB, "a") == 4
    assert (await act(store, ANN, ban(BOB))).seq == 2, "a repeat bans nobody again"
    assert (await act(store, ANN, unban(BOB))).seq == 3
    assert (await standing_of(store))[2] == [ANN, BOB]


async def test_a_ban_ends_by_the_databases_clock(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    now_ms = (await store.standing(ANN, None)).at_ms
    assert await refusal(store, ANN, ban(BOB, until_ms=now_ms - 1)) == "invalid"
    await act(store, ANN, ban(BOB, until_ms=now_ms + 1_500))
    with pytest.raises(Banned):
        await change(store, "add", ANN, BOB, "a")
    assert [one.user for one in (await store.bans(ANN, G, None, 10)).bans] == [BOB]
    await trio.sleep(2)
    assert (await store.bans(ANN, G, None, 10)).bans == []
    assert await change(store, "add", ANN, BOB, "a") == 3


async def test_bans_that_are_refused(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID)
    await act(store, ANN, role(BOB))
    assert await refusal(store, CID, ban(BOB)) == "forbidden"
    assert await refusal(store, BOB, ban(ANN)) == "forbidden", "the owner"
    assert await refusal(store, BOB, ban(BOB)) == "forbidden", "oneself"
    assert await refusal(store, DAN, ban(BOB)) == "not_a_member"
    assert await refusal(store, ANN, ban(uid(99))) == "unknown_user"
    assert await refusal(store, CID, unban(DAN)) == "forbidden"
    await store.open_direct(D, ANN, BOB)
    assert await refusal(store, ANN, ban(BOB, conversation=D)) == "wrong_kind"
    assert await refusal(store, ANN, unban(BOB, conversation=D)) == "wrong_kind"
    assert (await act(store, BOB, ban(CID))).seq == 3
    assert (await act(store, ANN, ban(BOB))).seq == 4, "an admin, too"


async def test_who_is_no_member_is_banned(bench: Bench) -> None:
    """Before they come, and with another end than before."""
    store = bench.store
    await group(store, ANN, BOB)
    await act(store, ANN, ban(DAN, until_ms=FAR_MS))
    await act(store, ANN, ban(DAN, "for ever", key="b2"))
    [only] = (await store.bans(ANN, G, None, 10)).bans
    assert (only.user, only.author, only.seq, only.reason) == (DAN, ANN, 3, "for ever")
    assert (await state(store, ANN, G)).members == [ANN, BOB]
    with pytest.raises(Banned):
        await change(store, "add", BOB, DAN, "a")


async def test_bans_are_listed_page_by_page(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    for number, person in enumerate((CID, DAN, EVE, FAY)):
        await act(store, ANN, ban(person, key=f"b{number}"))
    first = await store.bans(ANN, G, None, 3)
    assert ([one.user for one in first.bans], first.more) == ([FAY, EVE, DAN], True)
    second = await store.bans(ANN, G, first.bans[-1].seq, 3)
    assert ([one.user for one in second.bans], second.more) == ([CID], False)
    with pytest.raises(Forbidden):
        await store.bans(BOB, G, None, 3)
    with pytest.raises(NotAMember):
        await store.bans(DAN, G, None, 3)
    with pytest.raises(NotAMember):
        await store.bans(ANN, uid(99), None, 3)


async def test_an_add_that_waits_for_a_ban_is_refused(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", ANN, ban(CID)))

        async def second() -> None:
            with pytest.raises(Banned):
                await change(bench.store, "add", BOB, CID, "a")

        nursery.start_soon(second)
        await bench.until_waiting()
        await commit()
    assert (await standing_of(bench.store))[2] == [ANN, BOB]


async def test_nothing_is_stored_after_the_authors_ban(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", ANN, ban(BOB)))

        async def second() -> None:
            assert await talk(bench.store, G, BOB, "late") == [None]

        nursery.start_soon(second)
        await bench.until_waiting()
        await commit()
    assert [one.kind for one in await log(bench.store, G)] == ["created", "member.banned"]
