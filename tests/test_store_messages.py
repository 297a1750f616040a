"""Edits, deletions and reactions by the contract of every ``Store``: PostgreSQL, and the simulated world's fake."""

from typing import Literal
from uuid import UUID

import pytest
import trio
from msgspec import UNSET

from protocol.errors import (
    BadCursor,
    Forbidden,
    KeyReused,
    MessageDeleted,
    NotAMember,
    Refused,
    TooLate,
    TooManyReactions,
    UnknownMessage,
)
from protocol.frames import (
    AnyAction,
    ConversationAdd,
    ConversationLeave,
    ConversationRemove,
    Entry,
    MessageDelete,
    MessageEdit,
    MessageReact,
    OneReaction,
    Reaction,
)
from storage.rows import Acted, Range, Rules
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
    state,
    talk,
)

__all__ = ["bench", "place"]  # fixtures


def edit(seq: int, text: str, key: str = "e", conversation: UUID = G) -> MessageEdit:
    return MessageEdit(id=1, conversation=conversation, key=key, seq=seq, text=text)


def delete(seq: int, key: str = "d", conversation: UUID = G) -> MessageDelete:
    return MessageDelete(id=1, conversation=conversation, key=key, seq=seq)


def react(seq: int, emoji: str = "👍", on: bool = True, key: str = "r", conversation: UUID = G) -> MessageReact:
    return MessageReact(id=1, conversation=conversation, key=key, seq=seq, emoji=emoji, on=on)


async def act(store: Store, author: UUID, action: AnyAction, rules: Rules = Rules(MOST)) -> Acted:  # noqa: B008
    return await store.act(0, author, action, rules)


async def message(store: Store, seq: int = 2) -> Entry:
    """What G's message says, wherever it is read."""
    [found] = (await store.visible(ANN, [Range(G, seq, seq)], 1)).entries
    [stretch] = await store.stretches([Range(G, seq, seq)], 1)
    page = await store.history(ANN, G, seq + 1, 1)
    shown = [one for one in (await state(store, ANN, G, recent=20)).recent if one.seq == seq]
    assert stretch.entries == page.entries == shown == [found]
    return found


async def refusal(store: Store, author: UUID, action: AnyAction, rules: Rules = Rules(MOST)) -> str:  # noqa: B008
    with pytest.raises(Refused) as caught:
        await act(store, author, action, rules)
    return caught.value.code


# --- Editing ----------------------------------------------------------------------------------------------------------


async def test_an_edit_is_an_entry_and_changes_the_message(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await talk(bench.store, G, ANN, "k")
    acted = await act(bench.other, ANN, edit(2, "hello"))
    assert acted.seq == 3
    assert acted.entry == Entry(
        conversation=G, seq=3, kind="message.edited", author=ANN, key="e", at_ms=acted.at_ms, text="hello", of=2
    )
    assert (await log(bench.store, G))[2] == acted.entry
    found = await message(bench.store)
    assert (found.text, found.edited_at_ms, found.changed, found.deleted) == ("hello", acted.at_ms, 3, False)
    again = await act(bench.store, ANN, edit(2, "hello again", "e2"))
    assert ((await message(bench.store)).text, again.seq) == ("hello again", 4)
    assert [one.seq for one in await log(bench.store, G)] == [1, 2, 3, 4]


async def test_a_repeated_edit_gets_its_first_answer(bench: Bench) -> None:
    """Whatever came between, a removal too; it does not undo a later edit."""
    await group(bench.store, ANN, BOB)
    await talk(bench.store, G, BOB, "k")
    first = await act(bench.store, BOB, edit(2, "one", "e1"))
    await act(bench.store, BOB, edit(2, "two", "e2"))
    await bench.store.change_member(0, "remove", G, ANN, "out", BOB, MOST)
    again = await act(bench.other, BOB, edit(2, "one", "e1"))
    assert (again.seq, again.at_ms, again.entry) == (first.seq, first.at_ms, None)
    assert (await message(bench.store)).text == "two"
    assert len(await log(bench.store, G)) == 5


async def test_edits_that_are_refused(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID)
    await talk(store, G, BOB, "k")  # 2
    assert await refusal(store, ANN, edit(2, "no")) == "forbidden"
    assert await refusal(store, DAN, edit(2, "no")) == "not_a_member"
    assert await refusal(store, BOB, edit(1, "no")) == "unknown_message", "no message"
    assert await refusal(store, BOB, edit(3, "no")) == "unknown_message", "nothing"
    assert await refusal(store, BOB, edit(2, "no", conversation=D)) == "not_a_member", "no such conversation"
    assert await refusal(store, BOB, edit(2, "no", "k")) == "key_reused"
    await store.change_member(0, "remove", G, ANN, "out", BOB, MOST)
    assert await refusal(store, BOB, edit(2, "no")) == "not_a_member"
    assert (await message(store)).text == "text of k"
    assert len(await log(store, G)) == 3


async def test_what_one_may_not_see_one_may_not_touch(bench: Bench) -> None:
    """A newcomer to a group that hides its past is told the same as of a message that is none."""
    store = bench.store
    await group(store, ANN, history="from_join")
    await talk(store, G, ANN, "k")  # 2
    await store.change_member(0, "add", G, ANN, "in", BOB, MOST)  # 3
    for action in (edit(2, "no"), delete(2), react(2)):
        with pytest.raises(UnknownMessage):
            await act(store, BOB, action)
    with pytest.raises(UnknownMessage):
        await store.edits(BOB, G, 2, 0)
    with pytest.raises(UnknownMessage):
        await store.reactions(BOB, G, 2, None, None, 10)
    for read in (store.edits(DAN, G, 2, 0), store.reactions(DAN, G, 2, None, None, 10)):
        with pytest.raises(NotAMember):
            await read


async def test_what_one_said_before_an_absence_is_ones_own(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, BOB, "k")  # 2
    await store.change_member(0, "remove", G, ANN, "out", BOB, MOST)  # 3
    await talk(store, G, ANN, "l")  # 4
    await store.change_member(0, "add", G, ANN, "in", BOB, MOST)  # 5
    assert (await act(store, BOB, edit(2, "back"))).seq == 6
    assert await refusal(store, BOB, react(4)) == "unknown_message", "said during the absence"


@pytest.mark.parametrize(
    ("within_s", "age_ms", "may"),
    [(60, 55_000, True), (60, 60_001, False), (0, 0, False), (-1, 10**12, True), (1, 1_001, False)],
)
async def test_the_window_of_edits_ends_by_the_databases_clock(
    bench: Bench,
    within_s: int,
    age_ms: int,
    may: bool,
) -> None:
    await group(bench.store, ANN)
    await talk(bench.store, G, ANN, "k")
    await bench.age(G, 2, age_ms)
    rules = Rules(MOST, within_s)
    if may:
        assert (await act(bench.store, ANN, edit(2, "in time"), rules)).seq == 3
        return
    with pytest.raises(TooLate):
        await act(bench.store, ANN, edit(2, "too late"), rules)
    assert (await act(bench.store, ANN, delete(2), rules)).seq == 3, "deleting knows no such time"


async def test_a_repeat_after_the_window_gets_its_first_answer(bench: Bench) -> None:
    await group(bench.store, ANN)
    await talk(bench.store, G, ANN, "k")
    await act(bench.store, ANN, edit(2, "in time"))
    assert (await act(bench.store, ANN, edit(2, "in time"), Rules(edit_within_s=0))).seq == 3


async def test_all_that_a_message_said_is_kept(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k")
    [only] = (await store.edits(BOB, G, 2, 0)).versions
    assert (only.seq, only.text) == (2, "text of k")
    for number in range(3):
        await act(store, ANN, edit(2, f"text {number}", f"e{number}"))
    page = await store.edits(BOB, G, 2, 0)
    said = [(one.seq, one.text) for one in page.versions]
    assert said == [(2, "text of k"), (3, "text 0"), (4, "text 1"), (5, "text 2")]
    assert [one.at_ms for one in page.versions] == [one.at_ms for one in (await log(store, G))[1:]]
    assert not page.more
    assert [one.seq for one in (await store.edits(BOB, G, 2, 3)).versions] == [4, 5]


async def test_a_page_of_versions_is_bounded(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN)
    await talk(store, G, ANN, "k")
    for number in range(40):
        await act(store, ANN, edit(2, "𝄞" * 8_000, f"e{number}"))
    first = await store.edits(ANN, G, 2, 0)
    assert first.more
    assert len(first.versions) == 9, "256 KiB"
    found, after = list(first.versions), first.versions[-1].seq
    while after < 42:
        page = await store.edits(ANN, G, 2, after)
        found += page.versions
        after = found[-1].seq
    assert [one.seq for one in found] == list(range(2, 43))


# --- Deleting ---------------------------------------------------------------------------------------------------------


async def test_a_deletion_blanks_the_message_and_all_its_versions(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, BOB, "k")  # 2
    await act(store, BOB, edit(2, "one", "e1"))
    await act(store, ANN, react(2))
    await act(store, BOB, edit(2, "two", "e2"))
    assert (await message(store)).reactions == [Reaction("👍", 1, [ANN])]
    acted = await act(store, BOB, delete(2))
    assert acted.entry == Entry(
        conversation=G, seq=6, kind="message.deleted", author=BOB, key="d", at_ms=acted.at_ms, of=2
    )
    found = await message(store)
    assert (found.text, found.edited_at_ms, found.reactions) == (UNSET, UNSET, [])
    assert (found.deleted, found.changed, found.author, found.key) == (True, 6, BOB, "k")
    entries = await log(store, G)
    edits = [(one.text, one.deleted, one.of) for one in entries if one.kind == "message.edited"]
    assert edits == [(UNSET, True, 2)] * 2
    assert [one.text for one in (await store.edits(ANN, G, 2, 0)).versions] == [UNSET] * 3
    assert (await store.reactions(ANN, G, 2, None, None, 10)).reactions == []


async def test_a_repeat_of_the_sending_after_a_deletion_gets_its_first_answer(bench: Bench) -> None:
    await group(bench.store, ANN)
    await talk(bench.store, G, ANN, "k")
    await act(bench.store, ANN, edit(2, "one"))
    await act(bench.store, ANN, delete(2))
    batch = [say(G, ANN, "k", "text of k"), say(G, ANN, "k", "other")]
    [again, other] = (await bench.other.append(0, batch, {})).answers
    assert (again.seq, again.new, again.reused) == (2, False, False)
    assert other.reused
    assert (await act(bench.store, ANN, edit(2, "one"))).seq == 3, "and so does a repeat of the edit"


async def test_who_may_delete(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID)
    await talk(store, G, BOB, "k", "l")
    assert await refusal(store, CID, delete(2)) == "forbidden"
    assert (await act(store, ANN, delete(2))).seq == 4, "the owner"
    assert (await act(store, BOB, delete(3))).seq == 5, "the author"
    await store.open_direct(D, ANN, BOB)
    await store.append(0, [say(D, BOB, "k")], {})
    assert await refusal(store, ANN, delete(2, conversation=D)) == "forbidden", "nobody owns a direct conversation"
    assert (await act(store, BOB, delete(2, conversation=D))).seq == 3


async def test_after_a_deletion_nothing_changes(bench: Bench) -> None:
    """Deleting again finds it done; all else is refused."""
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, BOB, "k")
    first = await act(store, BOB, delete(2))
    for author, key in ((BOB, "d2"), (ANN, "d3"), (ANN, "d3")):
        again = await act(store, author, delete(2, key))
        assert (again.seq, again.at_ms, again.entry) == (first.seq, first.at_ms, None)
    for action in (edit(2, "no"), react(2), react(2, on=False)):
        with pytest.raises(MessageDeleted):
            await act(store, BOB, action)
    assert len(await log(store, G)) == 3


@pytest.mark.parametrize("first", ["edit", "delete"])
async def test_an_edit_and_a_deletion_at_once(
    bench: Bench,
    first: Literal["edit", "delete"],
) -> None:
    """From two processes: whoever has the lock first is first, and the text is gone in both cases."""
    await group(bench.store, ANN, BOB)
    await talk(bench.store, G, BOB, "k")
    outcomes: list[str] = []

    async def other(author: UUID, action: AnyAction) -> None:
        try:
            outcomes.append(str((await act(bench.store, author, action)).seq))
        except Refused as problem:
            outcomes.append(problem.code)

    async with trio.open_nursery() as nursery:
        held, waits = (edit(2, "late"), delete(2)) if first == "edit" else (delete(2), edit(2, "late"))
        commit = await bench.hold(("act", BOB, held))
        nursery.start_soon(other, BOB, waits)
        await bench.until_waiting()
        await commit()
    assert outcomes == (["4"] if first == "edit" else ["message_deleted"])
    assert (await message(bench.store)).deleted
    assert all(one.text is UNSET for one in (await log(bench.store, G))[1:])


async def test_an_edit_that_waits_for_the_authors_removal_is_refused(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await talk(bench.store, G, BOB, "k")
    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("change", "remove", G, ANN, "out", BOB))

        async def late() -> None:
            assert await refusal(bench.store, BOB, edit(2, "late")) == "not_a_member"

        nursery.start_soon(late)
        await bench.until_waiting()
        await commit()
    assert (await message(bench.store)).text == "text of k"


# --- Reacting ---------------------------------------------------------------------------------------------------------


async def test_reactions_are_counted_and_sorted(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID, DAN, EVE)
    await talk(store, G, ANN, "k")
    rules = Rules(reaction_users=2)
    for number, person in enumerate((CID, ANN, EVE, BOB)):
        acted = await act(store, person, react(2, "👍", key=f"r{number}"), rules)
    assert acted.entry is not None
    assert (acted.entry.kind, acted.entry.of, acted.entry.emoji, acted.entry.on) == ("message.reacted", 2, "👍", True)
    assert (acted.entry.count, acted.entry.users) == (4, [CID, ANN])
    await act(store, BOB, react(2, "a"), rules)
    await act(store, BOB, react(2, "é", key="é"), rules)
    found = await message(store)
    assert found.reactions == [Reaction("a", 1, [BOB]), Reaction("é", 1, [BOB]), Reaction("👍", 4, [CID, ANN])]
    assert (found.changed, found.edited_at_ms) == (8, UNSET)
    gone = await act(store, CID, react(2, on=False, key="off"), rules)
    assert gone.entry is not None
    assert (gone.entry.on, gone.entry.count, gone.entry.users) == (False, 3, [ANN, EVE])
    last = await act(store, BOB, react(2, "a", on=False, key="off a"), rules)
    assert last.entry is not None
    assert (last.entry.count, last.entry.users) == (0, [])
    assert (await message(store)).reactions == [Reaction("é", 1, [BOB]), Reaction("👍", 3, [ANN, EVE])]
    await act(store, ANN, edit(2, "edited"))
    assert len((await message(store)).reactions) == 2, "an edit leaves them"


async def test_a_reaction_that_is_there_stores_nothing_and_keeps_its_key(bench: Bench) -> None:
    """docs/hazards.md, A11: its repeat, after the reaction was taken back, must not bring it back."""
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k")
    first = await act(store, BOB, react(2, key="r1"))
    again = await act(bench.other, BOB, react(2, key="r2"))
    assert (again.seq, again.at_ms, again.entry) == (first.seq, first.at_ms, None)
    await act(store, BOB, react(2, on=False, key="off"))
    repeat = await act(bench.other, BOB, react(2, key="r2"))
    assert (repeat.seq, repeat.entry) == (first.seq, None)
    assert (await message(store)).reactions == []
    assert await refusal(store, BOB, react(2, "other", key="r2")) == "key_reused"
    assert (await act(store, ANN, react(2, on=False, key="x"))).seq == 4, "there was none"
    await talk(store, G, ANN, "l")  # 5
    nothing = await act(store, ANN, react(5, on=False, key="y"))
    assert (nothing.seq, nothing.at_ms) == (5, (await message(store, 5)).at_ms), "of a message that nobody changed"


@pytest.mark.parametrize("key", ["same", "other"])
async def test_reacting_twice_at_once(bench: Bench, key: str) -> None:
    """From two processes, with one key or two: one reaction, one entry, both answered with it."""
    await group(bench.store, ANN, BOB)
    await talk(bench.store, G, ANN, "k")
    answers: list[Acted] = []

    async def other() -> None:
        answers.append(await act(bench.other, BOB, react(2, key=key)))

    async with trio.open_nursery() as nursery:
        commit = await bench.hold(("act", BOB, react(2, key="same")))
        nursery.start_soon(other)
        await bench.until_waiting()
        await commit()
    assert [(one.seq, one.entry) for one in answers] == [(3, None)]
    assert (await message(bench.store)).reactions == [Reaction("👍", 1, [BOB])]
    assert len(await log(bench.store, G)) == 3


async def test_reactions_are_bounded(bench: Bench) -> None:
    store, rules = bench.store, Rules(reactions_of_one=2, reactions=3)
    await group(store, ANN, BOB, CID)
    await talk(store, G, ANN, "k")
    for author, emoji in ((ANN, "a"), (ANN, "b"), (BOB, "c")):
        await act(store, author, react(2, emoji, key=emoji), rules)
    assert await refusal(store, ANN, react(2, "c", key="1"), rules) == "too_many_reactions", "two of her own"
    assert await refusal(store, BOB, react(2, "d", key="2"), rules) == "too_many_reactions", "three in all"
    assert (await act(store, BOB, react(2, "a", key="3"), rules)).seq == 6
    await act(store, ANN, react(2, "b", on=False, key="4"), rules)
    assert (await act(store, CID, react(2, "d", key="5"), rules)).seq == 8
    with pytest.raises(TooManyReactions):
        await act(store, ANN, react(2, "e", key="6"), rules)


async def test_reactions_that_are_refused(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k")
    assert await refusal(store, FAY, react(2)) == "not_a_member"
    assert await refusal(store, BOB, react(1)) == "unknown_message", "no message"
    assert await refusal(store, BOB, react(9)) == "unknown_message", "nothing"
    await act(store, BOB, react(2))
    assert await refusal(store, BOB, react(3, key="x")) == "unknown_message", "a reaction is no message"


async def test_who_reacted_is_told_page_by_page(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, CID)
    await talk(store, G, ANN, "k")
    times = {}
    for number, (person, emoji) in enumerate([(CID, "b"), (ANN, "b"), (BOB, "a"), (BOB, "b")], 3):
        times[number] = (await act(store, person, react(2, emoji, key=f"r{number}"))).at_ms
    page = await store.reactions(BOB, G, 2, None, None, 3)
    assert page.reactions == [
        OneReaction(BOB, "a", 5, times[5]), OneReaction(CID, "b", 3, times[3]), OneReaction(ANN, "b", 4, times[4]),
    ]  # fmt: skip
    assert page.cursor is not None
    rest = await bench.other.reactions(BOB, G, 2, None, page.cursor, 3)
    assert (rest.reactions, rest.cursor) == ([OneReaction(BOB, "b", 6, times[6])], None)
    of_one = await store.reactions(BOB, G, 2, "b", None, 2)
    assert [one.user for one in of_one.reactions] == [CID, ANN]
    assert of_one.cursor is not None
    for bad in ("nonsense", "gaE", "kgAB", "kqIAYQE="):
        with pytest.raises(BadCursor):
            await store.reactions(BOB, G, 2, None, bad, 2)


# --- All of them ------------------------------------------------------------------------------------------------------


async def test_unread_counts_messages_only(bench: Bench) -> None:
    """And none that is deleted."""
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k", "l")
    await act(store, ANN, edit(2, "again"))
    await act(store, ANN, react(3))
    assert (await state(store, BOB, G)).unread == 2
    await act(store, ANN, delete(3))
    assert (await state(store, BOB, G)).unread == 1


async def test_a_key_stands_for_one_action(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k", "l")
    await act(store, ANN, edit(2, "again", "e"))
    for action in (edit(3, "again", "e"), edit(2, "other", "e"), delete(2, "e"), react(2, key="e")):
        with pytest.raises(KeyReused):
            await act(store, ANN, action)
    [answer] = (await store.append(0, [say(G, ANN, "e", "again")], {})).answers
    assert answer.reused


async def test_a_membership_change_is_an_action_too(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    added = await act(store, ANN, ConversationAdd(id=1, conversation=G, key="in", user=CID))
    assert added.entry == (await log(store, G))[1]
    assert (await act(store, ANN, ConversationAdd(id=2, conversation=G, key="in", user=CID))).entry is None
    removed = await act(store, ANN, ConversationRemove(id=3, conversation=G, key="out", user=CID))
    left = await act(store, BOB, ConversationLeave(id=4, conversation=G, key="bye"))
    assert [removed.entry, left.entry] == (await log(store, G))[2:]
    with pytest.raises(Forbidden):
        await group(store, ANN, BOB, CID, conversation=D)
        await act(store, BOB, ConversationRemove(id=5, conversation=D, key="x", user=CID))


async def test_keys_of_both_kinds_are_found_by_one_connection(bench: Bench) -> None:
    """A plan that was made for a key of an entry also serves one of an action that stored none, and the other way."""
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "k")
    await act(store, BOB, react(2, key="new"))
    await act(store, BOB, react(2, key="nothing"))
    for _ in range(10):
        for key in ("new", "nothing"):
            assert (await act(store, BOB, react(2, key=key))).seq == 3
