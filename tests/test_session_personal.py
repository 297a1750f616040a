"""One connection's commands that change what is one's own: told to all devices before the answer, and in order."""

import trio
from trio.testing import MockClock

from protocol import closing
from storage.errors import StorageUnavailable
from tests.deck import until
from tests.fakes import ANN, BOB, CID, ROOM
from tests.test_session import Phone, open_stage


def drafts(phone: Phone) -> list[str | None]:
    """The drafts that it was told, in order; None for one that is gone."""
    return [frame.get("draft", {}).get("text") for frame in phone.of("state")]


async def test_all_devices_are_told_the_one_that_asked_before_its_answer(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        phone, laptop, bob = await stage.phone(ANN), await stage.phone(ANN, "laptop"), await stage.phone(BOB)
        answer = await phone.ask("draft.set", conversation=ROOM, key="1", text="See you")
        assert answer["result"] == {}
        assert phone.frames.index(phone.of("state")[0]) < phone.frames.index(answer)
        await until(lambda: drafts(laptop) == ["See you"])
        [state] = laptop.of("state")
        assert (state["what"], state["subject"]) == ("draft", str(ROOM))
        await laptop.ask("draft.clear", conversation=ROOM, key="2")
        await until(lambda: drafts(phone) == ["See you", None])
        assert bob.of("state") == []


async def test_they_are_carried_out_in_the_order_of_coming(autojump_clock: MockClock) -> None:
    """Reads run four at a time, and would overtake each other."""
    async with open_stage(commands_burst=100) as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann = await stage.phone(ANN)
        door = stage.store.shut("keep")
        numbers = [ann.send("draft.set", conversation=ROOM, key=f"{n}", text=f"{n}") for n in range(20)]
        history = ann.send("history", conversation=ROOM)
        await door.reached.wait()
        assert (await ann.answer(history))["t"] == "ok", "what reads does not wait behind them"
        assert stage.store.calls.count("keep") == 1
        door.open()
        for number in numbers:
            assert (await ann.answer(number))["t"] == "ok"
        answered = [frame["id"] for frame in ann.of("ok") if frame["id"] in numbers]
        assert answered == numbers
        assert drafts(ann) == [f"{n}" for n in range(20)]


async def test_too_fast_ones_are_not_refused_but_read_later(autojump_clock: MockClock) -> None:
    """Refused, one would be repeated after those behind it, and an old draft would stand."""
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann = await stage.phone(ANN)
        await trio.sleep(60)
        numbers = [ann.send("draft.set", conversation=ROOM, key=f"{n}", text=f"{n}") for n in range(60)]
        await until(lambda: ann.paused)
        for number in numbers:
            assert (await ann.answer(number))["t"] == "ok"
        assert drafts(ann)[-1] == "59"
        assert not ann.paused


async def test_when_storage_stays_away_the_connection_ends_and_nothing_behind_is_done(
    autojump_clock: MockClock,
) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann = await stage.phone(ANN)
        stage.store.failing["keep"] = StorageUnavailable("away")
        numbers = [ann.send("draft.set", conversation=ROOM, key=f"{n}", text=f"{n}") for n in range(3)]
        await until(lambda: ann.ended)
        assert ann.ended == closing.UNAVAILABLE[:2]
        del stage.store.failing["keep"]
        await trio.sleep(30)
        assert [ann.reply(number) for number in numbers] == [None] * 3
        assert stage.deck.database.tables.personal == {}
        ann.hang_up()


async def test_a_lost_answer_is_asked_for_again_and_changes_nothing(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann = await stage.phone(ANN)
        stage.store.lost["keep"] = 1
        assert (await ann.ask("conversation.pin", conversation=ROOM, key="p"))["t"] == "ok"
        assert stage.store.calls.count("keep") == 2
        assert len(ann.of("state")) == 1


async def test_refusals_are_told_by_their_codes(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.group(ROOM, ANN, BOB)
        ann, cid = await stage.phone(ANN), await stage.phone(CID)
        assert await cid.error("draft.set", conversation=ROOM, key="1", text="x") == "not_a_member"
        assert await ann.error("message.hide", conversation=ROOM, key="1", seqs=[9]) == "unknown_message"
        assert await ann.error("message.hide", conversation=ROOM, key="2", seqs=[]) == "invalid"
        assert await ann.error("draft.set", conversation=ROOM, key="3", text="") == "invalid"
        await ann.ask("conversation.mute", conversation=ROOM, key="4")
        assert await ann.error("conversation.mute", conversation=ROOM, key="4", on=False) == "key_reused"
        assert ann.open


async def test_a_device_that_comes_back_is_told_what_the_other_did(autojump_clock: MockClock) -> None:
    async with open_stage() as stage:
        await stage.deck.other.add_lineage(stage.desk.lineage())
        await stage.deck.group(ROOM, ANN, BOB)
        phone, laptop = await stage.phone(ANN), await stage.phone(ANN, "laptop")
        cursor = laptop.of("synced")[0]["cursor"]
        laptop.hang_up()
        await phone.ask("draft.set", conversation=ROOM, key="1", text="See")
        await phone.ask("draft.set", conversation=ROOM, key="2", text="See you")
        back = await stage.phone(ANN, "laptop", cursor=cursor, heads={str(ROOM): 1})
        assert [frame["t"] for frame in back.frames] == ["ok", "progress", "state", "synced"]
        assert drafts(back) == ["See you"]
