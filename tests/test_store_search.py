"""Search and places in the past by the contract of every ``Store``: PostgreSQL, and the simulated world's fake."""

import itertools
import random
from typing import Any
from uuid import UUID

import pytest
import trio

from protocol.errors import BadCursor, NotAMember
from protocol.frames import Content, Found, HistoryPage, MessageHide, MessageSend, Search
from protocol.limits import SNIPPET_CHARS
from storage.rows import Rules
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
    PostgresBench,
    bench,
    group,
    place,
    say,
    talk,
    uid,
)
from tests.test_store_messages import act, delete, edit, react

__all__ = ["bench", "place"]  # fixtures


_numbers = itertools.count()


async def indexed(bench: Bench) -> None:
    """Wait until what is stored is in the index; the fake has none."""
    if isinstance(bench, PostgresBench):
        left: list[str] = ["all"]
        while left:
            sql = "select search_behind('00000000-0000-0000-0000-000000000000', 1000)"
            row = bench.control.execute(sql).fetchone()
            assert row is not None
            left = row[0]["behind"]
            bench.control.execute("select search_index(%s::uuid[], '{english}', 3)", (left,))


async def tell(store: Store, conversation: UUID, author: UUID, *texts: str) -> None:
    """Say something, under keys of its own."""
    batch = [say(conversation, author, f"said {next(_numbers)}", text) for text in texts]
    assert all(answer.new for answer in (await store.append(0, batch, {})).answers)


async def find(bench: Bench, person: UUID, query: str = "", **more: Any) -> Found:
    await indexed(bench)
    return await bench.store.search(person, Search(id=1, query=query, **more), ["english"])


async def seqs(bench: Bench, person: UUID, query: str = "", **more: Any) -> list[int]:
    return [hit.seq for hit in (await find(bench, person, query, **more)).hits]


# --- What is found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("dinner ", [4, 2]),
        ("DINNER ", [4, 2]),
        ("dinner tonight ", [2]),
        ("dinner umbrella ", []),
        ("umb", [3]),
        ("umb ", []),
        ("umb* bring ", [3]),
        ('"dinner tonight"', [2]),
        ('"tonight dinner"', []),
        ('"dinner tonight', [2]),
        ('"dinner tonight at eight"', [2]),
        ('"dinner at tonight eight"', []),
        ('"of O\'Neill" straße ', [5]),
        ('"an umbrella" "bring an"', [3]),
        ("dinner -tonight ", [4]),
        ('dinner -"tonight at"', [4]),
        ('dinner -"at tonight"', [4, 2]),
        ("-dinner ", [5, 3]),
        ("straße ", [5]),
        ("O'Neill ", [5]),
        ("nothing ", []),
        ("dinner ' \\ & | ! : * ( ) < > -- ", [4, 2]),
    ],
)
async def test_words_beginnings_phrases_and_what_must_not_be_there(bench: Bench, query: str, found: list[int]) -> None:
    await group(bench.store, ANN, BOB)
    await tell(
        bench.store, G, ANN, "Dinner tonight at eight?", "bring an umbrella", "no dinner for me", "Straße of O'Neill"
    )
    assert await seqs(bench, BOB, query) == found


async def test_a_phrase_is_of_written_words_whether_the_index_knows_them_or_not(bench: Bench) -> None:
    """Stems have no places: "dogs run" is stored with "dog" and "run", which follow one another nowhere."""
    await group(bench.store, ANN)
    await tell(bench.store, G, ANN, "dogs run")
    assert await seqs(bench, ANN, '"dogs run"') == [2]
    assert await seqs(bench, ANN, '"run dog"') == await seqs(bench, ANN, '"dog run"') == []
    await tell(bench.store, G, ANN, "run dog")
    assert await seqs(bench, ANN, '"run dog"') == [3]
    await act(bench.store, ANN, edit(3, "dogs run"))  # the index does not know it yet; the message's row does
    assert (await bench.store.search(ANN, Search(id=1, query='"run dog"'), ["english"])).hits == []
    assert await seqs(bench, ANN, '"dogs run"') == [3, 2]


async def test_a_hit_says_where_the_words_stand_in_code_points(bench: Bench) -> None:
    await group(bench.store, ANN, BOB)
    await tell(bench.store, G, ANN, "𝄞 music & <b>dinner</b> tonight", "x" * 300 + " dinner " + "y " * 200)
    late, early = (await find(bench, BOB, "dinner tonigh*")).hits + (await find(bench, BOB, "dinner ")).hits[:1]
    assert (late.snippet, late.highlights) == ("𝄞 music & <b>dinner</b> tonight", [[13, 6], [24, 7]])
    assert (late.conversation, late.seq, late.author) == (G, 2, ANN)
    [(offset, length)] = early.highlights
    assert early.snippet[offset : offset + length] == "dinner"
    assert early.snippet[0] == early.snippet[-1] == "…"
    assert len(early.snippet) <= SNIPPET_CHARS + 2


async def test_conditions_narrow_a_search(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await group(store, ANN, CID, conversation=H)
    await tell(store, G, ANN, "tea", "tea: see https://example.com/ ")
    await tell(store, G, BOB, "more tea")
    await tell(store, H, CID, "tea")
    await bench.age(G, 2, 10_000)
    assert [(hit.conversation, hit.seq) for hit in (await find(bench, ANN, "tea ")).hits] == [
        (H, 2), (G, 4), (G, 3), (G, 2),
    ]  # fmt: skip
    assert await seqs(bench, ANN, "tea ", conversation=G) == [4, 3, 2]
    assert await seqs(bench, ANN, "tea ", author=BOB) == [4]
    assert await seqs(bench, ANN, author=BOB) == [4]
    assert await seqs(bench, ANN, kind="link") == [3]
    assert await seqs(bench, ANN, "more ", kind="text", author=BOB, conversation=G) == [4]
    assert await seqs(bench, BOB, "tea ", author=CID) == []
    [first] = (await find(bench, ANN, "tea ", conversation=G, to_ms=(await at_ms(store, 3)) - 5_000)).hits
    assert first.seq == 2
    assert await seqs(bench, ANN, "tea ", conversation=G, from_ms=await at_ms(store, 3)) == [4, 3]


async def test_phrases_and_times_find_what_reading_every_message_finds(bench: Bench) -> None:
    """Short words, whose pairs are indexed, longer ones, and one too long for the index; times on both sides of where a
    spell of the index ends, and windows of fewer and more spells than a query names."""
    chance = random.Random(6)
    words = ["a", "in", "the", "dog", "ends", "eight", "umbrella", "tonight", "straße", "x" * 300]
    said = [[chance.choice(words) for _ in range(chance.randrange(1, 12))] for _ in range(150)]
    await group(bench.store, ANN, BOB)
    await tell(bench.store, G, ANN, *(" ".join(line) for line in said))
    times: dict[int, int] = {}
    for seq in range(1, len(said) + 2):  # fifteen about each spell's end, to the millisecond and less close
        stored = await at_ms(bench.store, seq)
        ends = ((stored >> 29) - 10 + seq // 15) << 29
        times[seq] = ends + (-40_000, -1000, -2, -1, -1, -1, 0, 0, 0, 1, 1, 2, 3, 1000, 40_000)[seq % 15]
        await bench.age(G, seq, stored - times[seq])
    for _ in range(200):
        line = chance.choice(said)
        place = chance.randrange(len(line))
        phrase = [word for word in line[place : place + chance.randrange(1, 4)] if len(word) < 256] or ["dog"]
        window: dict[str, int] = {}
        if chance.random() < 0.7:
            begin = times[chance.randrange(2, len(said) + 2)] + chance.choice([-1, 0, 1])
            window = {"from_ms": begin, "to_ms": begin + chance.choice([1, 1 << 28, 3 << 29, 5 << 29, 9 << 29])}
        expected = [
            (at, seq) for seq, at in times.items() if seq > 1
            and window.get("from_ms", 0) <= at < window.get("to_ms", 1 << 62)
            and any(said[seq - 2][k : k + len(phrase)] == phrase for k in range(len(said[seq - 2])))
        ]  # fmt: skip
        found = await find(bench, BOB, f'"{" ".join(phrase)}"', **window, limit=50)
        assert [hit.seq for hit in found.hits] == [seq for _, seq in sorted(expected, reverse=True)][:50]


async def at_ms(store: Store, seq: int) -> int:
    [entry] = (await store.history(ANN, G, seq + 1, 1)).entries
    return entry.at_ms


async def test_an_edited_message_is_found_by_what_it_says_now(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await tell(store, G, ANN, "see you at eihgt", "unchanged eihgt")
    assert await seqs(bench, BOB, "eihgt ") == [3, 2]
    await act(store, ANN, edit(2, "see you at eight"))
    # The index does not know it yet; the message's row does.
    assert [hit.seq for hit in (await store.search(BOB, Search(id=1, query="eihgt "), ["english"])).hits] == [3]
    assert await seqs(bench, BOB, "eihgt ") == [3]
    assert await seqs(bench, BOB, "eight ") == [2]
    assert await seqs(bench, BOB, '"at eight"') == [2]
    await act(store, BOB, react(2))
    assert await seqs(bench, BOB, "eight ") == [2]


async def test_a_deleted_message_is_not_found(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await tell(store, G, ANN, "secret", "another secret")
    await act(store, ANN, edit(2, "secret plan"))
    assert await seqs(bench, BOB, "secret ") == [3, 2]
    await act(store, ANN, delete(2))
    assert [hit.seq for hit in (await store.search(BOB, Search(id=1, query="secret "), ["english"])).hits] == [3]
    assert await seqs(bench, BOB, "secret ") == [3]
    assert await seqs(bench, BOB, author=ANN) == [3]


async def test_what_one_has_deleted_for_oneself_is_found_by_others_alone(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await tell(store, G, ANN, "secret", "another secret")
    await store.keep(BOB, MessageHide(id=1, conversation=G, key="h", seqs=[2]), Rules(MOST))
    assert await seqs(bench, BOB, "secret ") == [3]
    assert await seqs(bench, ANN, "secret ") == [3, 2]


async def test_only_what_one_may_see_is_found(bench: Bench) -> None:
    """As in ``history``: one's spans, before and after an absence, and nothing of what was said in it."""
    store = bench.store
    await group(store, ANN, BOB, history="from_join")
    await tell(store, G, ANN, "word one")  # 2
    await store.change_member(0, "add", G, ANN, "in", CID, MOST)  # 3
    await store.change_member(0, "remove", G, ANN, "out", BOB, MOST)  # 4
    await tell(store, G, ANN, "word two")  # 5
    assert await seqs(bench, ANN, "word ") == [5, 2]
    assert await seqs(bench, BOB, "word ") == [2]
    assert await seqs(bench, BOB, "word ", conversation=G) == [2]
    assert await seqs(bench, CID, "word ") == [5]
    assert await seqs(bench, DAN, "word ") == []
    await store.change_member(0, "add", G, ANN, "back", BOB, MOST)  # 6
    await tell(store, G, ANN, "word three")  # 7
    assert await seqs(bench, BOB, "word ") == [7, 2]
    for conversation in (G, D):
        with pytest.raises(NotAMember):
            await store.search(DAN, Search(id=1, query="word", conversation=conversation), [])


# --- Pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["newest", "rank"])
async def test_pages_hold_each_hit_once_while_more_is_said(bench: Bench, order: str) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await group(store, ANN, BOB, conversation=H)
    for n in range(12):
        await tell(store, G if n % 3 else H, ANN, "tea " * (1 + n % 4) + f"number {n}")
    whole = [(hit.conversation, hit.seq) for hit in (await find(bench, BOB, "tea ", order=order, limit=50)).hits]
    assert len(whole) == 12
    seen: list[tuple[UUID, int]] = []
    cursor = None
    for n in range(20):
        page = await find(bench, BOB, "tea ", order=order, limit=5, cursor=cursor)
        seen += [(hit.conversation, hit.seq) for hit in page.hits]
        cursor = page.cursor
        if cursor is None:
            break
        await tell(store, G, ANN, f"tea tea tea tea tea {n}")
    assert seen == whole
    assert n == 2


async def test_by_rank_the_best_come_first(bench: Bench) -> None:
    await group(bench.store, ANN)
    await tell(bench.store, G, ANN, "tea tea tea", "some tea with many other words beside it", "tea and tea, tea")
    found = await seqs(bench, ANN, "tea ", order="rank")
    assert found[-1] == 3
    assert found[0] == 2


async def test_cursors_that_are_none(bench: Bench) -> None:
    await group(bench.store, ANN)
    await tell(bench.store, G, ANN, "tea", "tea")
    newest = (await find(bench, ANN, "tea ", limit=1)).cursor
    ranked = (await find(bench, ANN, "tea ", limit=1, order="rank")).cursor
    assert newest
    assert ranked
    for cursor, order in ((newest, "rank"), (ranked, "newest"), ("nonsense", "newest"), ("", "rank"), ("é", "newest")):
        with pytest.raises(BadCursor):
            await find(bench, ANN, "tea ", cursor=cursor, order=order)


# --- Places in the past -----------------------------------------------------------------------------------------------


def shape(page: HistoryPage) -> tuple[list[int], bool, Any]:
    return [entry.seq for entry in page.entries], page.more, page.newer


async def test_a_page_around_a_place_goes_both_ways(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN)
    await talk(store, G, ANN, *map(str, range(20)))  # 2 to 21
    assert shape(await store.around(ANN, G, 10, 3, 3)) == ([7, 8, 9, 10, 11, 12], True, True)
    assert shape(await store.around(ANN, G, 1, 3, 3)) == ([1, 2, 3], False, True)
    assert shape(await store.around(ANN, G, 21, 3, 3)) == ([18, 19, 20, 21], True, False)
    assert shape(await store.around(ANN, G, 99, 3, 3)) == ([19, 20, 21], True, False)
    assert shape(await store.around(ANN, G, 20, 0, 5)) == ([20, 21], True, False)
    assert shape(await store.around(ANN, G, 10, 20, 20)) == (list(range(1, 22)), False, False)
    with pytest.raises(NotAMember):
        await store.around(BOB, G, 10, 3, 3)


async def test_a_page_around_a_place_in_an_absence(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB)
    await talk(store, G, ANN, "a", "b")  # 2, 3
    await store.change_member(0, "remove", G, ANN, "out", BOB, MOST)  # 4
    await talk(store, G, ANN, "c", "d")  # 5, 6
    await store.change_member(0, "add", G, ANN, "in", BOB, MOST)  # 7
    await talk(store, G, ANN, "e", "f")  # 8, 9
    assert shape(await store.around(BOB, G, 5, 2, 2)) == ([3, 4, 7, 8], True, True)
    assert shape(await store.around(BOB, G, 6, 10, 10)) == ([1, 2, 3, 4, 7, 8, 9], False, False)


async def test_each_half_of_such_a_page_is_bounded(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN)
    for n in range(30):
        await tell(store, G, ANN, f"{n}" + "𝄞" * 8_000)
    found, more, newer = shape(await store.around(ANN, G, 15, 50, 50))
    assert (found, more, newer) == (list(range(11, 19)), True, True), "128 KiB each"


# --- What a list shows ------------------------------------------------------------------------------------------------


async def shown(bench: Bench, person: UUID) -> tuple[str, list[int]]:
    page = await bench.store.listing(person, None, 10)
    [one] = page.conversations
    return one.recent[-1].kind, [entry.seq for entry in page.last_messages]


async def test_a_list_shows_no_answer_in_a_thread_and_nothing_hidden(bench: Bench) -> None:
    """As it shows nothing that one has hidden: the last message before. It moves up by such an answer, all the same,
    and has nothing unread by it."""
    store = bench.store
    await group(store, ANN, BOB)
    other = uid(180)
    await tell(store, G, ANN, "tea")  # 2
    await tell(store, G, ANN, "cake")  # 3
    await group(store, ANN, BOB, conversation=other)
    assert [one.conversation for one in (await store.listing(BOB, None, 10)).conversations] == [other, G]
    await trio.sleep(0.01)

    async def listed(person: UUID) -> tuple[list[UUID], int, list[int]]:
        page = await store.listing(person, None, 10)
        [club] = [one for one in page.conversations if one.conversation == G]
        shows = [entry.seq for entry in page.last_messages if entry.conversation == G]
        return [one.conversation for one in page.conversations], club.unread, shows

    answer = MessageSend(id=1, conversation=G, key="a", text="yes", content=Content(thread=2))
    assert (await store.act(0, ANN, answer, Rules(MOST))).seq == 4
    assert await listed(BOB) == ([G, other], 2, [3])
    assert await listed(ANN) == ([G, other], 0, [3])
    await act(store, BOB, react(4))
    assert await listed(BOB) == ([G, other], 2, [3]), "nor what is done to one"
    await store.keep(BOB, MessageHide(id=1, conversation=G, key="h", seqs=[3]), Rules())
    assert await listed(BOB) == ([G, other], 1, [2])
    assert (await listed(ANN))[2] == [3]
    await tell(store, G, ANN, "more")  # 6
    assert await listed(BOB) == ([G, other], 2, []), "its last entry is what it shows"
    await store.keep(BOB, MessageHide(id=1, conversation=G, key="h2", seqs=[6]), Rules())
    assert (await listed(BOB))[2] == [2]


async def test_a_list_shows_the_last_message_whatever_came_after_it(bench: Bench) -> None:
    store = bench.store
    await group(store, ANN, BOB, history="from_join")
    assert await shown(bench, BOB) == ("created", [])
    await tell(store, G, ANN, "tea")  # 2
    assert await shown(bench, BOB) == ("message", [])
    await act(store, BOB, react(2))
    await act(store, ANN, edit(2, "more tea"))
    assert await shown(bench, BOB) == ("message.edited", [2])
    assert (await store.listing(BOB, None, 10)).last_messages[0].text == "more tea"
    await store.change_member(0, "add", G, ANN, "in", CID, MOST)  # 5
    assert await shown(bench, CID) == ("member.added", []), "what was said before does not concern a newcomer"
    assert await shown(bench, BOB) == ("member.added", [2])
    for n in range(98):
        await act(store, BOB, react(2, "👍", n % 2 == 1, f"r{n}"))
    assert await shown(bench, BOB) == ("message.reacted", []), "further back it is not sought"
