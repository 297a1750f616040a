"""Rows of one's own by the contract of every ``Store``: PostgreSQL, and the simulated world's fake."""

import itertools
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import pytest
import trio
from hypothesis import HealthCheck, given, settings, strategies as st
from msgspec import UNSET

from protocol.errors import KeyReused, NotAMember, Refused, TooManyOfOnesOwn, UnknownMessage
from protocol.frames import (
    AnyPersonal,
    ConversationArchive,
    ConversationFolder,
    ConversationMarkUnread,
    ConversationMute,
    ConversationNickname,
    ConversationNotify,
    ConversationPin,
    Draft,
    DraftClear,
    DraftSet,
    MessageHide,
    Settings,
    StateEvent,
)
from storage.rows import Kept, Personal, Raise, Rules
from storage.store import Store
from tests.test_store_contract import (
    ANN,
    BOB,
    CID,
    DAN,
    MOST,
    Bench,
    G,
    H,
    bench,
    fake_bench,
    group,
    place,
    postgres_bench,
    state,
    talk,
    uid,
)

__all__ = ["bench", "place"]  # fixtures

ALL = 2**63 - 1
PAGE = 1_000_000


def draft(text: str, **more: Any) -> dict[str, Any]:
    return {"text": text, "at_ms": 5, **more}


async def rows(store: Store, above: int = 0, through: int = ALL, gone: bool = True) -> list[Personal]:
    """Ann's."""
    page = await store.personal(ANN, above, through, gone, 500, PAGE)
    assert not page.cut
    return page.rows


async def subjects(store: Store, above: int = 0, through: int = ALL, gone: bool = True) -> list[str]:
    return [row.state.subject for row in await rows(store, above, through, gone)]


async def test_a_row_of_ones_own_raises_ones_number_and_carries_it(bench: Bench) -> None:
    before = (await bench.store.standing(ANN, None)).number or 0
    first = await bench.set_personal(ANN, "draft", str(G), draft("grüße 𝄞", reply_to=3))
    second = await bench.set_personal(ANN, "draft", str(H), draft("b"))
    assert before < first < second == (await bench.other.standing(ANN, None)).number
    assert await rows(bench.other) == [
        Personal(first, StateEvent(what="draft", subject=str(G), draft=Draft("grüße 𝄞", 5, 3))),
        Personal(second, StateEvent(what="draft", subject=str(H), draft=Draft("b", 5))),
    ]
    assert (await bench.store.personal(BOB, 0, ALL, True, 500, PAGE)).rows == []


async def test_a_row_that_changes_is_told_once_at_its_new_place(bench: Bench) -> None:
    first = await bench.set_personal(ANN, "draft", str(G), draft("a"))
    await bench.set_personal(ANN, "draft", str(H), draft("b"))
    third = await bench.set_personal(ANN, "draft", str(G), draft("c"))
    assert await subjects(bench.store) == [str(H), str(G)]
    assert await subjects(bench.store, above=first) == [str(H), str(G)]
    assert await subjects(bench.store, through=third - 1) == [str(H)], "what changed since comes by the next look"
    assert await subjects(bench.store, above=third) == []


async def test_what_stands_so_already_is_no_change(bench: Bench) -> None:
    assert await bench.set_personal(ANN, "draft", str(G), None) == 0, "it was never there"
    first = await bench.set_personal(ANN, "draft", str(G), draft("a"))
    assert await bench.set_personal(ANN, "draft", str(G), draft("a")) == first
    gone = await bench.set_personal(ANN, "draft", str(G), None)
    assert await bench.set_personal(ANN, "draft", str(G), None) == gone > first
    assert (await bench.store.standing(ANN, None)).number == gone


async def test_what_is_gone_is_told_to_who_may_know_of_it(bench: Bench) -> None:
    first = await bench.set_personal(ANN, "draft", str(G), draft("a"))
    await bench.set_personal(ANN, "draft", str(H), draft("b"))
    gone = await bench.set_personal(ANN, "draft", str(G), None)
    [row] = await rows(bench.store, above=gone - 1)
    assert row == Personal(gone, StateEvent(what="draft", subject=str(G)))
    assert row.state.draft is UNSET
    assert await subjects(bench.store, gone=False) == [str(H)]
    assert await subjects(bench.store, above=first) == [str(H), str(G)]


async def test_a_standing_says_whether_there_are_rows_that_one_was_not_told(bench: Bench) -> None:
    assert (await bench.store.standing(ANN, None)).rows == 0
    first = await bench.set_personal(ANN, "draft", str(G), draft("a"))
    assert (await bench.store.standing(ANN, None)).rows == first
    assert (await bench.store.standing(ANN, None, first - 1)).rows == first
    assert (await bench.store.standing(ANN, None, first)).rows == 0
    await group(bench.store, ANN, BOB)
    standing = await bench.store.standing(ANN, None, first)
    assert (standing.number or 0) > first
    assert standing.rows == 0, "a membership is none"
    assert (await bench.store.standing(uid(99), None)).rows == 0


async def test_rows_come_in_pages(bench: Bench) -> None:
    numbers = [await bench.set_personal(ANN, "draft", str(uid(200 + n)), draft("x" * 300)) for n in range(7)]
    told, pages = 0, []
    while True:
        page = await bench.store.personal(ANN, told, ALL, True, 3, PAGE)
        pages.append([row.number for row in page.rows])
        told = page.rows[-1].number
        if not page.cut:
            break
    assert pages == [numbers[:3], numbers[3:6], numbers[6:]]
    page = await bench.store.personal(ANN, 0, ALL, True, 500, 1_100)
    assert ([row.number for row in page.rows], page.cut) == (numbers[:2], True)
    page = await bench.store.personal(ANN, 0, ALL, True, 500, 1)
    assert ([row.number for row in page.rows], page.cut) == (numbers[:1], True)


# --- Drafts -----------------------------------------------------------------------------------------------------------


def set_draft(text: str, key: str = "d", reply_to: int | None = None, conversation: UUID = G) -> DraftSet:
    return DraftSet(id=1, conversation=conversation, key=key, text=text, reply_to=reply_to)


def clear_draft(key: str = "c", conversation: UUID = G) -> DraftClear:
    return DraftClear(id=1, conversation=conversation, key=key)


async def keep(store: Store, command: AnyPersonal, person: UUID = ANN, rules: Rules = Rules()) -> Kept:  # noqa: B008
    return await store.keep(person, command, rules)


async def drafts(store: Store) -> dict[str, str | None]:
    """Ann's, conversation -> text; None where it is gone."""
    states = [row.state for row in await rows(store)]
    return {one.subject: None if one.draft is UNSET else one.draft.text for one in states if one.what == "draft"}


async def test_a_draft_is_kept_replaced_and_thrown_away(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    first = await keep(bench.store, set_draft("grüße", "1", reply_to=1))
    [row] = await rows(bench.other)
    assert row.number == first.number
    assert row.state.draft == Draft("grüße", row.state.draft.at_ms, 1)  # type: ignore[union-attr]  # it is set
    second = await keep(bench.other, set_draft("grüße dich", "2"))
    assert first.new
    assert second.new
    assert await drafts(bench.store) == {str(G): "grüße dich"}
    gone = await keep(bench.store, clear_draft())
    assert await drafts(bench.store) == {str(G): None}
    assert first.number < second.number < gone.number == (await bench.store.standing(ANN, None)).number


async def test_a_late_repeat_of_an_older_draft_undoes_no_newer_one(bench: Bench) -> None:
    """docs/hazards.md, A11; also when nobody knows the answer to it, and from another process."""
    await group(bench.store, ANN, BOB)
    first = await keep(bench.store, set_draft("a", "1"))
    await keep(bench.store, set_draft("b", "2"))
    assert await keep(bench.other, set_draft("a", "1")) == Kept(first.number, False)
    assert await drafts(bench.store) == {str(G): "b"}
    gone = await keep(bench.store, clear_draft("3"))
    assert await keep(bench.store, set_draft("b", "2")) != gone
    assert await drafts(bench.store) == {str(G): None}


async def test_a_key_stands_for_one_thing_of_ones_own(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await group(bench.store, BOB, ANN, conversation=H)
    await keep(bench.store, set_draft("a", "k"))
    for other in (set_draft("b", "k"), set_draft("a", "k", reply_to=1), clear_draft("k"), pin(True, "k")):
        with pytest.raises(KeyReused):
            await keep(bench.other, other)
    await keep(bench.store, set_draft("b", "k", conversation=H))
    await keep(bench.store, set_draft("c", "k"), BOB)
    assert await drafts(bench.store) == {str(G): "a", str(H): "b"}


async def test_what_is_ones_own_is_kept_of_places_that_one_is_or_was_in(bench: Bench) -> None:
    await group(bench.store, ANN, BOB, CID)
    await keep(bench.store, set_draft("a", "1"), CID)
    await bench.store.change_member(0, "remove", G, ANN, "r", CID, MOST)
    await keep(bench.store, clear_draft("2"), CID)
    for command in (set_draft("a"), clear_draft(), pin(), mute(), hide(1)):
        with pytest.raises(NotAMember):
            await keep(bench.store, command, DAN)
    with pytest.raises(NotAMember):
        await keep(bench.store, set_draft("a", conversation=H))
    assert (await bench.store.standing(DAN, None)).number == 0


async def test_two_devices_that_set_a_draft_at_once_leave_one(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    async with trio.open_nursery() as both:
        for number in range(8):
            store = bench.other if number % 2 else bench.store
            both.start_soon(keep, store, set_draft(f"{number}", f"{number}"))
            both.start_soon(keep, store, set_draft(f"{number}", f"{number}"))
    [row] = await rows(bench.store)
    assert row.number == (await bench.store.standing(ANN, None)).number


# --- Settings ---------------------------------------------------------------------------------------------------------


def pin(on: bool = True, key: str = "p", conversation: UUID = G) -> ConversationPin:
    return ConversationPin(id=1, conversation=conversation, key=key, on=on)


def mute(on: bool = True, until_ms: int | None = None, key: str = "m") -> ConversationMute:
    return ConversationMute(id=1, conversation=G, key=key, on=on, until_ms=until_ms)


def name(called: str | None, user: UUID | None = None, key: str = "n") -> ConversationNickname:
    return ConversationNickname(id=1, conversation=G, key=key, name=called, user=user)


async def ones_settings(store: Store, person: UUID = ANN, conversation: UUID = G) -> Settings | None:
    page = await store.personal(person, 0, ALL, True, 500, PAGE)
    for row in page.rows:
        if (row.state.what, row.state.subject) == ("settings", str(conversation)):
            return None if row.state.settings is UNSET else row.state.settings
    return None


async def test_one_row_has_all_settings_of_a_conversation(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    more: dict[str, Any] = {"id": 1, "conversation": G}
    await keep(bench.store, mute(until_ms=77))
    await keep(bench.store, ConversationArchive(**more, key="a"))
    await keep(bench.other, ConversationMarkUnread(**more, key="u"))
    await keep(bench.store, ConversationFolder(**more, key="f", folder="Grüße"))
    await keep(bench.store, ConversationNotify(**more, key="l", level="mentions"))
    await keep(bench.store, name("the club"))
    await keep(bench.other, name("Bobby", BOB, "n2"))
    await keep(bench.other, name("me", ANN, "n3"))
    await keep(bench.store, pin())
    found = await ones_settings(bench.store)
    assert found is not None
    assert found == Settings(
        muted=True, muted_until_ms=77, archived=True, unread=True, folder="Grüße", notify="mentions",
        nickname="the club", nicknames={ANN: "me", BOB: "Bobby"}, pinned_at_ms=found.pinned_at_ms,
    )  # fmt: skip
    assert found.pinned_at_ms is not UNSET
    assert len(await rows(bench.store)) == 1

    await keep(bench.store, mute(key="m2"))
    found = await ones_settings(bench.store)
    assert found is not None
    assert (found.muted, found.muted_until_ms) == (True, UNSET), "for ever"
    for command in (
        mute(False, 99, "m3"), ConversationArchive(**more, key="a2", on=False), name(None, key="n4"),
        ConversationMarkUnread(**more, key="u2", on=False), ConversationFolder(**more, key="f2", folder=None),
        ConversationNotify(**more, key="l2", level="all"), name(None, BOB, "n5"), pin(False, "p2"),
    ):  # fmt: skip
        await keep(bench.store, command)
    assert await ones_settings(bench.store) == Settings(nicknames={ANN: "me"})
    await keep(bench.store, name(None, ANN, "n6"))
    assert await ones_settings(bench.store) is None
    [row] = await rows(bench.store)
    assert row.state == StateEvent(what="settings", subject=str(G)), "it is gone, and that is told"


async def test_a_setting_that_is_so_already_changes_nothing_and_keeps_its_key(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    first = await keep(bench.store, pin())
    again = await keep(bench.store, pin(key="p2"))
    assert again == first
    await keep(bench.store, pin(False, "p3"))
    assert await keep(bench.other, pin(key="p2")) == Kept(first.number, False)
    assert await ones_settings(bench.store) is None
    assert await keep(bench.store, mute(False)) == Kept((await bench.store.standing(ANN, None)).number or 0, True)


async def test_what_is_pinned_is_bounded(bench: Bench) -> None:
    places = [uid(400 + n) for n in range(3)]
    for place_id in places:
        await group(bench.store, ANN, BOB, conversation=place_id)
    rules = Rules(pinned=2)
    await keep(bench.store, pin(conversation=places[0]), rules=rules)
    await keep(bench.store, pin(conversation=places[1]), rules=rules)
    with pytest.raises(TooManyOfOnesOwn):
        await keep(bench.store, pin(conversation=places[2]), rules=rules)
    await keep(bench.store, pin(conversation=places[1], key="again"), rules=rules)
    await keep(bench.store, pin(False, "off", places[0]), rules=rules)
    await keep(bench.store, pin(conversation=places[2]), rules=rules)
    await keep(bench.store, pin(conversation=places[0]), BOB, rules)


async def test_names_for_people_are_bounded_and_for_people_of_the_place(bench: Bench) -> None:
    await group(bench.store, ANN, BOB, CID)
    await bench.store.change_member(0, "remove", G, ANN, "r", CID, MOST)
    rules = Rules(nicknames=2)
    await keep(bench.store, name("b", BOB, "1"), rules=rules)
    await keep(bench.store, name("c", CID, "2"), rules=rules)
    with pytest.raises(TooManyOfOnesOwn):
        await keep(bench.store, name("a", ANN, "3"), rules=rules)
    await keep(bench.store, name("b2", BOB, "4"), rules=rules)
    await keep(bench.store, name("the place", None, "5"), rules=rules)
    with pytest.raises(NotAMember):
        await keep(bench.store, name("d", DAN, "6"))


# --- Hidden messages --------------------------------------------------------------------------------------------------


def hide(*seqs: int, key: str = "h") -> MessageHide:
    return MessageHide(id=1, conversation=G, key=key, seqs=list(seqs))


async def hidden(store: Store) -> dict[str, list[int]]:
    states = [row.state for row in await rows(store)]
    return {one.subject: one.hidden.seqs for one in states if one.hidden is not UNSET}


async def test_hidden_messages_stand_in_rows_of_so_many_numbers(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await talk(bench.store, G, BOB, *[f"k{n}" for n in range(9)])
    rules = Rules(hidden_block=4)
    await keep(bench.store, hide(9, 3, 3), rules=rules)
    assert await hidden(bench.other) == {f"{G}/0": [3], f"{G}/2": [9]}
    before = (await bench.store.standing(ANN, None)).number
    last = await keep(bench.other, hide(2, 3, 5, key="h2"), rules=rules)
    assert await hidden(bench.store) == {f"{G}/0": [2, 3], f"{G}/1": [5], f"{G}/2": [9]}
    assert last.number == (await bench.store.standing(ANN, None)).number
    assert len(await rows(bench.store, above=before or 0)) == 2, "the third row is as it was"
    again = await keep(bench.other, hide(9, key="h3"), rules=rules)
    assert again.number < last.number
    assert (await bench.store.personal(BOB, 0, ALL, True, 500, PAGE)).rows == []


async def test_hidden_messages_do_not_count_as_unread_and_stay_in_the_log(bench: Bench) -> None:
    await group(bench.store, ANN, BOB, CID)
    await talk(bench.store, G, BOB, "2", "3", "4", "5")
    await bench.store.raise_receipts([Raise(G, ANN, 2, 2)])
    assert (await state(bench.store, ANN, G)).unread == 3
    await keep(bench.store, hide(2, 4))
    assert (await state(bench.store, ANN, G)).unread == 2
    assert (await state(bench.store, CID, G)).unread == 4
    assert [entry.seq for entry in (await bench.store.history(ANN, G, None, 10)).entries] == [1, 2, 3, 4, 5]
    assert [entry.seq for entry in (await state(bench.store, ANN, G, recent=2)).recent] == [4, 5]


async def test_only_messages_that_one_may_see_are_hidden(bench: Bench) -> None:
    await group(bench.store, ANN, BOB, CID)
    await talk(bench.store, G, BOB, "2")
    await bench.store.change_member(0, "remove", G, ANN, "r", CID, MOST)
    await talk(bench.store, G, BOB, "4")
    await keep(bench.store, hide(2), CID)
    for person, seqs in ((CID, (2, 4)), (ANN, (1,)), (ANN, (2, 3)), (ANN, (5,))):
        with pytest.raises(UnknownMessage):
            await keep(bench.store, hide(*seqs, key="other"), person)
    assert await hidden(bench.store) == {}, "all of them, or none"


async def test_memberships_that_are_known_are_left_out_of_a_standing(bench: Bench) -> None:
    """Whoever was told of all up to a number is not told again; a change of one of them tells all."""
    await group(bench.store, ANN, BOB)
    first = (await bench.store.standing(ANN, None)).number or 0
    number = await bench.set_personal(ANN, "draft", str(G), draft("a"))
    found = await bench.other.standing(ANN, None, 0, first)
    assert (found.same, found.spans, found.number, found.rows) == (True, [], number, number)
    assert not (await bench.store.standing(ANN, None, 0, first - 1)).same
    await group(bench.store, ANN, BOB, conversation=H)
    found = await bench.store.standing(ANN, None, 0, number)
    assert (found.same, [span.conversation for span in found.spans]) == (False, [G, H])
    known, his = found.number or 0, (await bench.store.standing(BOB, None)).number or 0
    await bench.store.change_member(0, "remove", G, ANN, "r", BOB, MOST)
    assert (await bench.store.standing(ANN, None, 0, known)).same
    assert not (await bench.store.standing(BOB, None, 0, his)).same
    assert (await bench.store.standing(uid(99), None, 0, 1)).same, "nobody: nothing has changed"


# --- the fake, and the real one ---------------------------------------------------------------------------------------

_KEY = st.sampled_from("abcdefgh")
_WHO, _WHERE, _ON = st.integers(0, 2), st.integers(0, 1), st.booleans()
_OPERATION = st.one_of(
    st.tuples(st.just("draft"), _WHO, _WHERE, _KEY, st.sampled_from([None, "a", "𝄞"]), st.sampled_from([None, 3])),
    st.tuples(st.just("mute"), _WHO, _WHERE, _KEY, _ON, st.sampled_from([None, 5])),
    st.tuples(st.just("archive"), _WHO, _WHERE, _KEY, _ON),
    st.tuples(st.just("pin"), _WHO, _WHERE, _KEY, _ON),
    st.tuples(st.just("unread"), _WHO, _WHERE, _KEY, _ON),
    st.tuples(st.just("name"), _WHO, _WHERE, _KEY, st.sampled_from([None, "n", "é"]), st.sampled_from([None, 0, 1, 2])),
    st.tuples(st.just("folder"), _WHO, _WHERE, _KEY, st.sampled_from([None, "f"])),
    st.tuples(st.just("notify"), _WHO, _WHERE, _KEY, st.sampled_from(["all", "none"])),
    st.tuples(st.just("hide"), _WHO, _WHERE, _KEY, st.lists(st.integers(1, 7), min_size=1, max_size=3)),
)  # fmt: skip
_base = itertools.count(20_000, 1_000)  # every example has people and conversations of its own


def _command(base: int, name: str, where: int, key: str, *rest: Any) -> AnyPersonal:
    here: dict[str, Any] = {"id": 1, "conversation": uid(base + 100 + where), "key": key}
    match name, rest:
        case "draft", (None, _):
            return DraftClear(**here)
        case "draft", (text, reply_to):
            # Another key, another text: one text twice within a millisecond would be no change.
            return DraftSet(**here, text=text + key, reply_to=reply_to)
        case "mute", (on, until_ms):
            return ConversationMute(**here, on=on, until_ms=until_ms)
        case "archive", (on,):
            return ConversationArchive(**here, on=on)
        case "pin", (on,):
            return ConversationPin(**here, on=on)
        case "unread", (on,):
            return ConversationMarkUnread(**here, on=on)
        case "name", (called, user):
            return ConversationNickname(**here, name=called, user=None if user is None else uid(base + user))
        case "folder", (folder,):
            return ConversationFolder(**here, folder=folder)
        case "notify", (level,):
            return ConversationNotify(**here, level=level)
        case "hide", (seqs,):
            return MessageHide(**here, seqs=seqs)
    raise AssertionError(name)


async def _outcome(store: Store, base: int, operations: Sequence[tuple[Any, ...]]) -> list[Any]:
    """What came of *operations*, without times; each person's numbers by their order."""
    rules = Rules(pinned=1, nicknames=1, hidden_block=3)
    answers: list[Any] = []
    found: list[Any] = []
    for name_, who, *rest in operations:
        try:
            kept = await store.keep(uid(base + who), _command(base, name_, *rest), rules)
        except Refused as refusal:
            answers.append((type(refusal).__name__, str(refusal)))
        else:
            answers.append((who, kept.number, kept.new))
    for who in range(3):
        person = uid(base + who)
        numbers = {one[1] for one in answers if one[0] == who} | {(await store.standing(person, None)).rows}
        shown: list[Any] = []
        for gone, limit in ((True, 2), (False, 500)):
            told, more = 0, True
            while more:
                page = await store.personal(person, told, ALL, gone, limit, 300)
                shown.append([_timeless(msgspec.to_builtins(row.state)) for row in page.rows])
                numbers |= {row.number for row in page.rows}
                told, more = page.rows[-1].number if page.rows else told, page.cut
        ranks = {number: rank for rank, number in enumerate(sorted(numbers))}
        answers = [(who, ranks[one[1]], one[2]) if one[0] == who else one for one in answers]
        found += [shown, len(ranks)]
        found += [one.unread for one in await store.states(person, [uid(base + 100), uid(base + 101)], 1)]
    return answers + found


def _timeless(value: Any) -> Any:
    """*value* without its times."""
    if isinstance(value, dict):
        return {name_: 0 if name_.endswith("at_ms") else _timeless(one) for name_, one in value.items()}
    return value


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(_OPERATION, min_size=15, max_size=40))
async def test_the_fake_keeps_what_postgresql_does(dsn: str, operations: list[tuple[Any, ...]]) -> None:
    """Whatever the commands: the simulated world is only as true as this."""
    base = next(_base)
    outcomes = []
    async with postgres_bench(dsn) as real, fake_bench() as fake:
        for made in (real, fake):
            for number in range(3):
                await made.add_account(uid(base + number), f"person {number}")
            people = [uid(base + number) for number in range(3)]
            await group(made.store, *people[:2], conversation=uid(base + 100))
            await group(made.store, *people, conversation=uid(base + 101))
            await talk(made.store, uid(base + 100), people[0], "2", "3")
            await talk(made.store, uid(base + 101), people[1], "2", "3", "4")
            await made.store.change_member(0, "remove", uid(base + 101), people[0], "r", people[2], MOST)
            outcomes.append(await _outcome(made.store, base, operations))
    assert outcomes[0] == outcomes[1]
