"""Two and three server processes on one database: what holds on one, holds across all."""

import itertools
from uuid import UUID

import psycopg
import pytest
import trio
from trio_websocket import ConnectionClosed

from protocol import closing
from tests.processes import Line, open_scene
from tests.running import Person, Phone, World, create_group

SILENT = pytest.mark.parametrize("mute", [False, True], ids=["by the bell", "by the sweep"])


def order(phone: Phone, club: str) -> list[tuple[int, str, str]]:
    """What a phone saw of a log, in its order: (seq, author, key)."""
    return [(frame["seq"], frame["author"], frame["key"]) for frame in phone.of("entry", club)]


def texts(phone: Phone, club: str) -> list[str]:
    """What a phone heard said."""
    return [frame["text"] for frame in phone.of("entry", club) if "text" in frame]


async def stored(world: World, club: str) -> list[tuple[int, str, str]]:
    """A log as it lies in the database, above its first entry: (seq, author, key)."""
    sql = "select seq, author, key from entry where conversation = %s and seq > 1 order by seq"
    return [(row[0], str(row[1]), row[2]) for row in await world.database.fetch_all(sql, UUID(club))]


async def everybody_has_the_log(world: World, club: str, *phones: Phone) -> None:
    """Wait for the end of the log on each phone; all of them, which were there from the first entry on, saw it whole
    and in one order. (A phone itself fails on a gap or a repeat.)"""
    log = await stored(world, club)
    assert [seq for seq, _, _ in log] == list(range(2, len(log) + 2)), "the log has no gap"
    for phone in phones:
        await phone.has(club, log[-1][0])
        assert [entry for entry in order(phone, club) if entry[0] > 1] == log


def oks_follow_entries(phone: Phone, club: str) -> None:
    """No ``ok`` came before the entry that it speaks of (A4)."""
    head = 0
    for frame in phone.frames:
        if frame["t"] == "entry" and frame["conversation"] == club:
            head = frame["seq"]
        elif frame["t"] == "ok" and "seq" in frame["result"]:
            assert frame["result"]["seq"] <= head, "ok overtook its entry"


@pytest.mark.parametrize("backwards", [False, True], ids=["in the same order", "from both ends"])
async def test_the_same_keys_through_two_processes_are_stored_once(world: World, backwards: bool) -> None:
    """One person's phone and tablet send the same 200 messages at once, each through its own process (A2): each message
    has one number and one time, whoever is asked."""
    ann, bob, carol = await world.people("Ann", "Bob", "Carol")
    async with open_scene(world) as scene:
        one, two = await scene.processes(2)
        phone, tablet = await scene.phone(one, ann, "phone"), await scene.phone(two, ann, "tablet")
        his, hers = await scene.phone(one, bob), await scene.phone(two, carol)
        club = await create_group(phone, bob, carol)
        for each in (tablet, his, hers):
            await each.has(club, 1)
        keys = [f"k{n}" for n in range(200)]
        answers: list[dict[str, tuple[int, int]]] = [{}, {}]

        async def send_all(sender: Phone, keys: list[str], answers: dict[str, tuple[int, int]]) -> None:
            numbers = [
                (key, await sender.send("message.send", conversation=club, key=key, text=f"text of {key}"))
                for key in keys
            ]
            for key, number in numbers:
                answer = await sender.answer(number)
                assert answer["t"] == "ok", answer
                answers[key] = (answer["result"]["seq"], answer["result"]["at_ms"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, phone, keys, answers[0])
            nursery.start_soon(send_all, tablet, keys[::-1] if backwards else keys, answers[1])
        assert answers[0] == answers[1]
        assert sorted(seq for seq, _ in answers[0].values()) == list(range(2, 202))
        await everybody_has_the_log(world, club, phone, tablet, his, hers)
        assert [(seq, str(ann), key) for key, (seq, _) in sorted(answers[0].items(), key=lambda i: i[1])] == order(
            his, club
        )[-200:]
        for sender in (phone, tablet):
            oks_follow_entries(sender, club)


async def test_nothing_of_the_removed_is_stored_after_the_removal(world: World) -> None:
    """Ann removes Bob through one process while he sends without pause through the other (A2, A3): his messages are
    acknowledged up to the removal and refused after it, and his phones, on both processes, see it as the last entry."""
    ann, bob, carol = await world.people("Ann", "Bob", "Carol")
    async with open_scene(world) as scene:
        one, two = await scene.processes(2)
        his, his_other = await scene.phone(one, bob, "phone"), await scene.phone(two, bob, "tablet")
        hers = await scene.phone(two, ann)
        near, far = await scene.phone(one, carol, "phone"), await scene.phone(two, carol, "tablet")
        club = await create_group(hers, bob, carol)
        for each in (his, his_other, near, far):
            await each.has(club, 1)
        sent: list[int] = []

        async def talk() -> None:
            for n in itertools.count():
                sent.append(await his.send("message.send", conversation=club, key=f"b{n}", text=f"blah {n}"))
                if n >= 20 and (await his.answer(sent[n - 20]))["t"] == "error":
                    return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            await hers.has(club, 60)
            removal = (await hers.result("conversation.remove", conversation=club, key="out", user=bob.id))["seq"]
        answers = [await his.answer(number) for number in sent]
        oks = [answer["result"]["seq"] for answer in answers if answer["t"] == "ok"]
        assert [answer["t"] for answer in answers] == ["ok"] * len(oks) + ["error"] * (len(answers) - len(oks))
        assert {answer["code"] for answer in answers if answer["t"] == "error"} == {"not_a_member"}
        log = await stored(world, club)
        assert oks == [seq for seq, author, _ in log if author == str(bob)]
        assert oks[-1] < removal == log[-1][0]
        after = await hers.say(club, "after", "he is gone")
        for each in (near, far):
            await each.has(club, after)
        for each in (his, his_other):
            await each.has(club, removal)
            await each.result("ping")
            assert order(each, club)[-1] == (removal, str(ann), "out")
        await everybody_has_the_log(world, club, hers, near, far)


@pytest.mark.parametrize("times", [1, 2])
async def test_a_lost_answer_to_a_commit_costs_nothing(world: World, times: int) -> None:
    """PostgreSQL commits, and the connection breaks before its answer: the same batch goes out again and gets the
    first's numbers (A7). The sender hears of it once."""
    ann, bob = await world.people("Ann", "Bob")
    async with Line(world.dsn).open() as line, open_scene(world) as scene:
        [one] = await scene.processes(1, database_url=line.dsn)
        [two] = await scene.processes(1)
        hers, his = await scene.phone(one, ann), await scene.phone(two, bob)
        club = await create_group(hers, bob)
        await his.has(club, 1)
        line.lose_answers(b"this one's answer is lost", times)
        said = [f"before {n}" for n in range(5)] + ["this one's answer is lost"] + [f"after {n}" for n in range(20)]
        numbers = [
            await hers.send("message.send", conversation=club, key=f"k{n}", text=text) for n, text in enumerate(said)
        ]
        results = [(await hers.answer(number)).get("result", {}) for number in numbers]
        assert line.lost.is_set()
        assert line.asked >= times + 1
        sql = "select seq, at_ms from entry where conversation = %s and seq > 1 order by seq"
        rows = await world.database.fetch_all(sql, UUID(club))
        assert [(result["seq"], result["at_ms"]) for result in results] == rows
        await everybody_has_the_log(world, club, hers, his)
        assert texts(his, club) == texts(hers, club) == said
        oks_follow_entries(hers, club)


async def test_a_retry_that_begins_before_the_first_has_committed_gets_its_answers(world: World) -> None:
    """The connection breaks while PostgreSQL still waits for the conversation's lock (A7): first and retry wait for it
    side by side, and whichever comes first, the message is stored once."""
    ann, bob = await world.people("Ann", "Bob")
    async with Line(world.dsn).open() as line, open_scene(world) as scene:
        [one] = await scene.processes(1, database_url=line.dsn)
        [two] = await scene.processes(1)
        hers, his = await scene.phone(one, ann), await scene.phone(two, bob)
        club = await create_group(hers, bob)
        await his.has(club, 1)
        async with world.database.transaction(timeout_s=60) as lock:
            await lock.execute("select from conversation where id = %s for no key update", UUID(club))
            line.lose_answers(b"twice under way", cut_at_once=True)
            number = await hers.send("message.send", conversation=club, key="k", text="twice under way")
            later = await hers.send("message.send", conversation=club, key="k2", text="later")
            await line.was_asked(2)
        assert (await hers.answer(number))["result"]["seq"] == 2
        assert (await hers.answer(later))["result"]["seq"] == 3
        await everybody_has_the_log(world, club, hers, his)
        assert texts(his, club) == ["twice under way", "later"]


@pytest.mark.parametrize("count", [2, 3])
async def test_all_processes_tell_one_order_while_all_write(world: World, count: int) -> None:
    """Each process finds others' entries before its own (A3), and no ``ok`` overtakes an entry (A4)."""
    writers = await world.people(*(f"Writer {n}" for n in range(count)))
    readers = await world.people(*(f"Reader {n}" for n in range(count)))
    async with open_scene(world) as scene:
        processes = await scene.processes(count)
        phones = [await scene.phone(place, who) for place, who in zip(processes, writers, strict=True)]
        quiet = [await scene.phone(place, who) for place, who in zip(processes, readers, strict=True)]
        club = await create_group(phones[0], *writers[1:], *readers)
        for each in (*phones, *quiet):
            await each.has(club, 1)

        async def write(phone: Phone) -> None:
            waiting: list[int] = []
            for n in range(150):
                waiting.append(await phone.send("message.send", conversation=club, key=f"k{n}", text=f"{n}"))
                if n >= 7:
                    await phone.answer(waiting[n - 7])
            for number in waiting:
                assert (await phone.answer(number))["t"] == "ok"

        async with trio.open_nursery() as nursery:
            for phone in phones:
                nursery.start_soon(write, phone)
        await everybody_has_the_log(world, club, *phones, *quiet)
        log = await stored(world, club)
        assert len(log) == 150 * count
        for writer in writers:
            assert [key for _, author, key in log if author == str(writer)] == [f"k{n}" for n in range(150)]
        for phone in phones:
            oks_follow_entries(phone, club)


async def test_without_a_doorbell_the_sweep_brings_everything(world: World) -> None:
    """A bell may be lost, and nobody notices (A5): once a second each process asks what went on without it."""
    ann, bob = await world.people("Ann", "Bob")
    with psycopg.connect(world.dsn, autocommit=True) as listener:
        listener.execute("listen konnect")
        async with open_scene(world) as scene:
            one, two = await scene.processes(2, mute=True)
            hers, his = await scene.phone(one, ann), await scene.phone(two, bob)
            club = await create_group(hers, bob)
            await his.has(club, 1)
            for n in range(3):
                seq = await hers.say(club, f"a{n}", f"from ann {n}")
                await his.has(club, seq)
            seq = await his.say(club, "b", "from bob")
            await hers.has(club, seq)
            await everybody_has_the_log(world, club, hers, his)
        assert list(listener.notifies(timeout=0)) == [], "nobody rang"


async def test_with_a_doorbell_it_is_rung(world: World) -> None:
    """What makes the scene before this one a scene: there is a bell to be lost, and this is how one hears it."""
    ann, bob = await world.people("Ann", "Bob")
    with psycopg.connect(world.dsn, autocommit=True) as listener:
        listener.execute("listen konnect")
        async with open_scene(world) as scene:
            one, two = await scene.processes(2)
            hers, his = await scene.phone(one, ann), await scene.phone(two, bob)
            club = await create_group(hers, bob)
            await his.has(club, 1)
        assert list(listener.notifies(timeout=0)) != []


async def test_what_was_committed_by_a_killed_process_reaches_the_others(world: World) -> None:
    """Killed right after its commit: it has told nobody, not even the author, and rung for nobody (A5). The others get
    the message by the sweep, and the author, who comes back there and repeats the key, its first number."""
    ann, bob = await world.people("Ann", "Bob")
    async with Line(world.dsn).open() as line, open_scene(world) as scene:
        [one] = await scene.processes(1, database_url=line.dsn)
        [two] = await scene.processes(1)
        his = await scene.phone(two, bob)
        async with one.phone(ann) as hers:
            club = await create_group(hers, bob)
            await hers.say(club, "first", "hello")
            await his.has(club, 2)
            line.lose_answers(b"last words")
            number = await hers.send("message.send", conversation=club, key="last", text="last words")
            await line.lost.wait()
            one.kill()
            await hers.end()
            assert hers.reply(number) is None
            heads, cursor = dict(hers.heads), hers.cursor
        await his.has(club, 3)
        async with two.phone(ann, heads=heads, cursor=cursor) as hers:
            await hers.has(club, 3)
            assert await hers.say(club, "last", "last words") == 3
            assert await hers.say(club, "next", "here again") == 4
            await his.has(club, 4)
        assert texts(his, club) == ["hello", "last words", "here again"]
        await everybody_has_the_log(world, club, his)


@SILENT
async def test_who_is_added_through_another_process_hears_of_it(world: World, mute: bool) -> None:
    """Nobody in Carol's process listens to a group that she was not in (A5): the person is rung, or found by the
    sweep, and told the conversation and then its entries, from her own coming on."""
    ann, bob, carol = await world.people("Ann", "Bob", "Carol")
    async with open_scene(world) as scene:
        one, two = await scene.processes(2, mute=mute)
        hers, carols = await scene.phone(one, ann), await scene.phone(two, carol)
        club = await create_group(hers, bob)
        await hers.say(club, "k1", "before her")
        added = (await hers.result("conversation.add", conversation=club, key="in", user=carol.id))["seq"]
        welcome = await hers.say(club, "k2", "welcome")
        await carols.has(club, welcome)
        [state] = carols.of("conversation", club)
        assert state["head"] == added - 1
        assert str(carol) in state["members"]
        assert carols.seqs(club) == [added, welcome]
        assert carols.frames.index(state) < carols.frames.index(carols.of("entry", club)[0])
        back = await carols.say(club, "k1", "thank you")
        await hers.has(club, back)


@pytest.mark.parametrize("rounds", [1, 2])
async def test_removed_and_added_again_while_away_is_an_absence(world: World, rounds: int) -> None:
    """Carol was away while all of it happened through another process, and comes back on a third side of things: what
    was said up to each removal and after each return is hers, what was said between is not (A10)."""
    ann, carol = await world.people("Ann", "Carol")
    async with open_scene(world) as scene:
        one, two = await scene.processes(2)
        hers = await scene.phone(one, ann)
        async with two.phone(carol) as carols:
            club = await create_group(hers, carol)
            await carols.has(club, 1)
            heads, cursor = dict(carols.heads), carols.cursor
        for n in range(rounds):
            await hers.say(club, f"seen {n}", f"seen {n}")
            await hers.result("conversation.remove", conversation=club, key=f"out {n}", user=carol.id)
            await hers.say(club, f"hidden {n}", f"hidden {n}")
            await hers.result("conversation.add", conversation=club, key=f"in {n}", user=carol.id)
        last = await hers.say(club, "last", "back again")
        async with two.phone(carol, heads=heads, cursor=cursor) as carols:
            await carols.has(club, last)
            assert texts(carols, club) == [f"seen {n}" for n in range(rounds)] + ["back again"]
            assert carols.seqs(club) == [seq for seq in range(2, last + 1) if seq % 4 != 0]
            more = await hers.say(club, "more", "live")
            await carols.has(club, more)


@SILENT
async def test_removed_and_added_again_while_connected_elsewhere(world: World, mute: bool) -> None:
    """The same for one who listens in another process all the while, ten times over: nothing said in an absence is
    ever seen, and at the end everything goes on."""
    ann, carol = await world.people("Ann", "Carol")
    async with open_scene(world) as scene:
        one, two = await scene.processes(2, mute=mute)
        hers, carols = await scene.phone(one, ann), await scene.phone(two, carol)
        club = await create_group(hers, carol)
        await carols.has(club, 1)
        for n in range(10):
            await hers.result("conversation.remove", conversation=club, key=f"out {n}", user=carol.id)
            await hers.say(club, f"hidden {n}", f"hidden {n}")
            await hers.result("conversation.add", conversation=club, key=f"in {n}", user=carol.id)
            await hers.say(club, f"seen {n}", f"seen {n}")
        last = await hers.say(club, "last", "the end")
        await carols.has(club, last)
        heard = texts(carols, club)
        assert [text for text in heard if text.startswith("hidden")] == []
        assert heard[-2:] == ["seen 9", "the end"]


async def test_the_same_device_elsewhere_replaces_the_older_socket(world: World) -> None:
    """A device has one socket, whichever process holds it; another device of the person is left alone."""
    [ann] = await world.people("Ann")
    async with open_scene(world) as scene:
        one, two = await scene.processes(2)
        older, tablet = await scene.phone(one, ann, "phone"), await scene.phone(one, ann, "tablet")
        newer = await scene.phone(two, ann, "phone")
        assert await older.end() == (closing.REPLACED.code, "replaced") == (4500, "replaced")
        await newer.result("ping")
        await tablet.result("ping")


async def test_presence_and_typing_cross_processes_and_a_killed_one_takes_its_people_along(world: World) -> None:
    """Bob sees Ann come, type, go and come back in another process; and be gone when that process is."""
    ann, bob = await world.people("Ann", "Bob")

    def states(phone: Phone) -> list[str]:
        return [frame["state"] for frame in phone.of("presence") if frame["user"] == str(ann)]

    async with open_scene(world) as scene:
        one, two = await scene.processes(2, presence_grace_s=0.2)
        his = await scene.phone(two, bob)
        async with one.phone(ann) as hers:
            room = (await hers.result("conversation.direct", user=bob.id))["conversation"]
            await his.has(room, 1)
            await his.until(lambda: states(his) == ["online"])
            await hers.result("typing", conversation=room)
            [typing] = await his.saw("typing")
            assert (typing["conversation"], typing["user"]) == (room, str(ann))
        await his.until(lambda: states(his) == ["online", "offline"])
        async with one.phone(ann):
            await his.until(lambda: states(his)[2:] == ["online"])
            one.kill()
            await his.until(lambda: states(his)[3:] == ["offline"])
        async with two.phone(ann):
            await his.until(lambda: states(his)[4:] == ["online"])


async def test_sigterm_while_people_write_sends_them_to_the_other(world: World) -> None:
    """A rolling upgrade: who writes in the process that goes is closed with "draining", comes back on the other with
    heads and cursor, and repeats what was not answered. Everything is there once, in each author's order."""
    writers = await world.people(*(f"Writer {n}" for n in range(4)))
    [reader] = await world.people("Reader")
    async with open_scene(world) as scene:
        one, two = await scene.processes(2)
        watching = await scene.phone(two, reader)
        club = await create_group(watching, *writers)
        # All are there before the first writes: whoever signs in later is given the head, not the entries below it.
        phones = [await scene.phone(one, who) for who in writers]
        for phone in phones:
            await phone.has(club, 1)
        acknowledged: dict[str, list[int]] = {}

        async def write(who: Person, phone: Phone) -> None:
            unanswered: dict[str, int] = {}
            seqs: dict[str, int] = {}
            seen: list[tuple[int, str, str]] = []

            def note(phone: Phone) -> None:
                for key, number in list(unanswered.items()):
                    reply = phone.reply(number)
                    if reply is not None:
                        assert reply["t"] == "ok", reply
                        seqs[key] = reply["result"]["seq"]
                        del unanswered[key]

            n = 0
            while phone.closed is None:
                key = f"k{n}"
                try:
                    unanswered[key] = await phone.send("message.send", conversation=club, key=key, text=key)
                    n += 1
                    if n % 5 == 0:
                        await phone.answer(unanswered[key])
                        note(phone)
                except (ConnectionClosed, AssertionError):
                    break
            assert await phone.end() == (closing.DRAINING.code, "draining")
            assert phone.wrong is None
            note(phone)
            heads, cursor = dict(phone.heads), phone.cursor
            seen += order(phone, club)
            async with two.phone(who, heads=heads, cursor=cursor) as phone:
                keys = [*unanswered, *(f"k{more}" for more in range(n, n + 10) if f"k{more}" not in unanswered)]
                for key in keys:
                    unanswered[key] = await phone.send("message.send", conversation=club, key=key, text=key)
                for key in keys:
                    await phone.answer(unanswered[key])
                note(phone)
                assert unanswered == {}
                await phone.has(club, max(seqs.values()))
                seen += order(phone, club)
            acknowledged[str(who)] = [seqs[f"k{m}"] for m in range(len(seqs))]
            log = await stored(world, club)
            assert [entry for entry in seen if entry[0] > 1] == log[: seen[-1][0] - 1]

        async with trio.open_nursery() as nursery:
            for who, phone in zip(writers, phones, strict=True):
                nursery.start_soon(write, who, phone)
            await watching.has(club, 200)
            assert await one.stop() == 0
        await everybody_has_the_log(world, club, watching)
        log = await stored(world, club)
        for who in writers:
            own = [(seq, key) for seq, author, key in log if author == str(who)]
            assert own == [(seq, f"k{n}") for n, seq in enumerate(acknowledged[str(who)])]
