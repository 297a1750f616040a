"""Two people talk, a group lives: the real server, a real PostgreSQL, real sockets."""

import pytest

from tests.running import House, World, create_group

# --- messages ---


async def test_two_people_talk(house: House, world: World) -> None:
    """Ann opens a conversation with Bob, says something, and he answers."""
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        pair = (await hers.result("conversation.direct", user=bob.id))["conversation"]
        assert (await his.result("conversation.direct", user=ann.id))["conversation"] == pair
        assert await hers.say(pair, "k1", "Hello Bob, it's me 👋") == 2
        await his.has(pair, 2)
        assert await his.say(pair, "k1", "Ann!") == 3
        await hers.has(pair, 3)
        talk = [(frame["seq"], frame["author"], frame.get("text"), frame["key"]) for frame in hers.of("entry")][1:]
        assert talk == [(2, str(ann), "Hello Bob, it's me 👋", "k1"), (3, str(bob), "Ann!", "k1")]
        assert hers.of("entry") == his.of("entry")
        ok, entry = next(f for f in hers.frames if f.get("result", {}).get("seq") == 2), hers.of("entry")[1]
        assert hers.frames.index(entry) == hers.frames.index(ok) - 1, "one's own entry, then the ok"
        assert ok["result"] == {"seq": 2, "at_ms": entry["at_ms"]}


async def test_ones_other_device_sees_ones_own_messages_in_order_with_their_keys(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as phone, house.phone(ann, "laptop") as laptop:
        club = await create_group(phone, bob)
        numbers = [
            await phone.send("message.send", conversation=club, key=f"k{n}", text=f"line {n}") for n in range(50)
        ]
        for number in numbers:
            await phone.answer(number)
        await laptop.has(club, 51)
        assert [frame["key"] for frame in laptop.of("entry", club)[1:]] == [f"k{n}" for n in range(50)]


async def test_a_retry_gets_the_first_answer_and_is_not_sent_again(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        club = await create_group(hers, bob)
        first = await hers.result("message.send", conversation=club, key="k", text="once")
        again = await hers.result("message.send", conversation=club, key="k", text="once")
        assert again == first
        assert await hers.error("message.send", conversation=club, key="k", text="twice") == "key_reused"
        assert await his.say(club, "k", "the same key, another author") == 3
        await hers.has(club, 3)
    async with house.phone(ann, heads={club: 3}) as hers:
        assert await hers.result("message.send", conversation=club, key="k", text="once") == first, "over connections"
        assert hers.seqs(club) == []
    assert [text for _, text in await world.log(club)] == [None, "once", "the same key, another author"]


async def test_many_in_flight_keep_their_order(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        club = await create_group(hers, bob)
        await his.has(club, 1)
        sent = []
        for n in range(300):
            sent.append((hers, await hers.send("message.send", conversation=club, key=f"k{n}", text=f"a{n}")))
            sent.append((his, await his.send("message.send", conversation=club, key=f"k{n}", text=f"b{n}")))
        for phone, number in sent:
            assert (await phone.answer(number))["t"] == "ok"
        await hers.has(club, 601)
        await his.has(club, 601)
        assert hers.of("entry", club) == his.of("entry", club)
        for letter in "ab":
            said = [f["text"] for f in hers.of("entry", club) if f.get("text", "").startswith(letter)]
            assert said == [f"{letter}{n}" for n in range(300)]


@pytest.mark.parametrize("text", ["\x01", "\ud7ff\ue000", "𝄞" * 8192, '"\\', "' or 1=1 --", "\u2028\r\n", "null"])
async def test_any_text_arrives_as_it_was_said(house: House, world: World, text: str) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        club = await create_group(hers, bob)
        await hers.say(club, "k", text)
        await his.has(club, 2)
        assert his.of("entry", club)[-1]["text"] == text


# --- groups ---


async def test_a_group_is_made_once_however_often_it_is_asked_for(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        ids = {await create_group(hers, bob, key="g") for _ in range(3)}
        assert len(ids) == 1
        refused = await hers.error("conversation.create", key="g", title="Another", members=[str(bob)])
        assert refused == "key_reused"
        [club] = ids
        await his.has(club, 1)
        [state] = his.of("conversation", club)
        assert (state["kind"], state["title"], state["members"]) == ("group", "Club", [str(ann), str(bob)])
        assert state["names"] == {str(ann): "Ann", str(bob): "Bob"}
        assert state["owner"] == str(ann)
        assert his.of("entry", club)[0]["kind"] == "created"


async def test_who_is_added_sees_all_of_the_past_or_none_of_it(house: House, world: World) -> None:
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    async with house.phone(ann) as hers, house.phone(cid) as his:
        for history, seen in (("all", [1, 2, 3]), ("from_join", [3])):
            club = await create_group(hers, bob, key=history, history=history)
            await hers.say(club, "k", "before Cid")
            await hers.result("conversation.add", conversation=club, key="add", user=cid.id)
            await his.has(club, 3)
            assert his.of("entry", club)[0]["kind"] == "member.added"
            page = await his.result("history", conversation=club)
            assert [entry["seq"] for entry in page["entries"]] == seen
            assert page["more"] is False


async def test_an_absence_is_invisible(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        club = await create_group(hers, bob)
        await hers.say(club, "k2", "seen")
        await his.result("conversation.leave", conversation=club, key="bye")
        await hers.say(club, "k4", "not seen")
        await hers.result("conversation.add", conversation=club, key="back", user=bob.id)
        await hers.say(club, "k6", "seen again")
        await his.has(club, 6)
        assert his.seqs(club) == [1, 2, 3, 5, 6]
        page = await his.result("history", conversation=club)
        assert [entry["seq"] for entry in page["entries"]] == [1, 2, 3, 5, 6]
        assert not any("not seen" in str(frame) for frame in his.frames)
        [first, second] = his.of("conversation", club)
        assert (first["head"], second["head"], second["first_seq"]) == (0, 4, 5)
    async with house.phone(bob, heads={club: 2}) as his:
        assert his.seqs(club) == [3, 5, 6], "the same after coming back"


async def test_who_is_removed_sees_that_and_nothing_later(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his, house.phone(bob, "laptop") as laptop:
        club = await create_group(hers, bob)
        for phone in (his, laptop):
            await phone.has(club, 1)
        await hers.result("conversation.remove", conversation=club, key="out", user=bob.id)
        for phone in (his, laptop):
            await phone.has(club, 2)
        for n in range(5):
            await hers.say(club, f"k{n}", "secret")
        await hers.result("typing", conversation=club)
        await hers.result("receipt", conversation=club, read=7)
        for phone in (his, laptop):
            assert await phone.error("message.send", conversation=club, key="x", text="hello?") == "not_a_member"
            assert await phone.error("typing", conversation=club) == "not_a_member"
            assert await phone.error("conversation.get", conversation=club) == "not_a_member"
            assert await phone.error("receipt", conversation=club, read=1) == "not_a_member"
            assert phone.seqs(club) == [1, 2]
            page = await phone.result("history", conversation=club)
            assert [entry["seq"] for entry in page["entries"]] == [1, 2], "the past stays"
            assert phone.of("typing") == phone.of("receipt") == []
        assert (await his.result("conversation.list"))["conversations"] == []
    async with house.phone(bob, heads={club: 1}) as his:
        assert his.seqs(club) == [2]
    async with house.phone(bob) as his:
        assert his.of("conversation") == [], "who begins afresh is told of what one is in"


async def test_membership_has_its_rules(house: House, world: World) -> None:
    ann, bob, cid = await world.people("Ann", "Bob", "Cid")
    async with house.phone(ann) as hers, house.phone(bob) as his, house.phone(cid) as theirs:
        club = await create_group(hers, bob)
        await his.has(club, 1)
        assert await theirs.error("conversation.add", conversation=club, key="k", user=cid.id) == "not_a_member"
        assert await his.error("conversation.remove", conversation=club, key="k", user=ann.id) == "forbidden"
        assert await his.error("conversation.add", conversation=club, key="k", user=ann.id) == "already_a_member"
        assert await his.error("conversation.add", conversation=club, key="k", user=club) == "unknown_user"
        assert await hers.error("conversation.remove", conversation=club, key="k", user=cid.id) == "not_a_member"
        pair = (await hers.result("conversation.direct", user=bob.id))["conversation"]
        assert await hers.error("conversation.leave", conversation=pair, key="k") == "wrong_kind"
        assert await hers.error("conversation.add", conversation=pair, key="k", user=cid.id) == "wrong_kind"
        await hers.result("conversation.leave", conversation=club, key="bye")
        await his.has(club, 2)
        await his.result("conversation.add", conversation=club, key="k", user=ann.id)
        assert (await his.result("conversation.get", conversation=club))["owner"] == str(bob), "inherited"


async def test_a_repeated_add_does_not_undo_a_removal(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers:
        club = await create_group(hers)
        added = await hers.result("conversation.add", conversation=club, key="add", user=bob.id)
        await hers.result("conversation.remove", conversation=club, key="out", user=bob.id)
        assert await hers.result("conversation.add", conversation=club, key="add", user=bob.id) == added
        assert (await hers.result("conversation.get", conversation=club))["members"] == [str(ann)]


async def test_two_who_open_a_conversation_at_once_find_the_same(house: House, world: World) -> None:
    for number in range(5):
        ann, bob = await world.people(f"Ann {number}", f"Bob {number}")
        async with house.phone(ann) as hers, house.phone(bob) as his:
            first = await hers.send("conversation.direct", user=bob.id)
            second = await his.send("conversation.direct", user=ann.id)
            one, other = await hers.answer(first), await his.answer(second)
            assert one["result"] == other["result"]
            pair = one["result"]["conversation"]
            await hers.has(pair, 1)
            await his.has(pair, 1)


# --- the past, and lists ---


async def test_the_past_is_read_page_by_page_backwards(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers:
        club = await create_group(hers, bob)
        await world.long_log(club, bob, 249)
        seen: list[int] = []
        before: dict[str, int] = {}
        while True:
            page = await hers.result("history", conversation=club, limit=100, **before)
            seqs = [entry["seq"] for entry in page["entries"]]
            assert seqs == sorted(seqs)
            seen = seqs + seen
            if not page["more"]:
                break
            before = {"before": seqs[0]}
        assert seen == list(range(1, 251))


async def test_a_page_of_the_past_is_bounded_in_bytes(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers:
        club = await create_group(hers, bob)
        await world.long_log(club, bob, 99, "𝄞" * 8000)
        page = await hers.result("history", conversation=club, limit=100)
        size = sum(len(entry["text"].encode()) for entry in page["entries"])
        assert 200_000 < size <= 262_144
        assert page["more"] is True
        rest = await hers.result("history", conversation=club, limit=100, before=page["entries"][0]["seq"])
        assert rest["entries"][-1]["seq"] == page["entries"][0]["seq"] - 1


async def test_conversations_are_listed_last_active_first_page_by_page(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers:
        clubs = [await create_group(hers, bob, key=f"g{n}") for n in range(7)]
        await hers.say(clubs[2], "k")
        listed: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = await hers.result("conversation.list", limit=3, **cursor)
            listed += [state["conversation"] for state in page["conversations"]]
            if "cursor" not in page:
                break
            cursor = {"cursor": page["cursor"]}
        assert listed[0] == clubs[2]
        assert sorted(listed) == sorted(clubs)
        assert await hers.error("conversation.list", cursor="nonsense") == "bad_cursor"
        assert (await hers.result("user.get", users=[str(bob)]))["users"] == [{"id": str(bob), "name": "Bob"}]
