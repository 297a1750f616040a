"""Leaving: a pause, fourteen days to return, and that nothing is left after them. On real servers."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import boto3  # type: ignore[import-untyped]
import pytest
import trio
from msgspec import Raw

from konnect_server.actions import erasure
from konnect_server.ids import uuid7
from konnect_server.people.ground import Asked, Ground, Outcome
from konnect_server.people.rules import RULES
from protocol import closing, frames
from protocol.calls import CALLS
from storage import accounts, leaving
from storage.database import Database, open_database
from tests.client_scene import open_scene
from tests.leaving_kit import PNG, WORD, fetch, files_with, live, places, references, sign_in, until_erased, upload
from tests.moto_s3 import new_bucket, running_s3
from tests.running import LIMIT_S, House, Person, Phone, World, create_group, open_house, open_process
from tests.scenes.test_calls import caller
from tests.scenes.test_messages import Screen, fresh, shown
from tests.scenes.test_search import until_found

# Who is referred to by what, and what becomes of it. What is in neither list has been forgotten.
ERASED = {
    "ban.person", "block.blocked", "block.person", "contact.other", "contact.person", "conversation.owner",
    "creation.author", "device.account", "export.person", "hidden.person", "join_request.person", "last_seen.person",
    "personal.person", "personal_key.person", "poll_vote.person", "privacy.person", "push.account", "reaction.person",
    "receipt.person", "scheduled.author", "sign_in.account", "slowed.person", "upload.owner",
    "comment.author", "contact_asked.person", "contact_request.other", "contact_request.person", "follow.followed",
    "follow.person", "follow_told.followed", "follow_told.person", "one_time_code.person", "opener.author",
    "post.author", "post_reaction.person", "post_reaction_told.person", "profile.person", "profile_photo.person",
    "report.closed_by", "report.reporter",
    "exposure.other", "impression.other", "impression.person", "passed_over.other", "passed_over.person",
}  # fmt: skip
KEPT = {
    "ban.author",  # whom the person barred stays barred; the reason goes
    "direct.high", "direct.low",  # with whom the other one has spoken
    "join_link.author",  # while somebody's request is under way; revoked
    "matched.ended_by", "matched.high", "matched.low",  # the other one's past
    "report.about",  # of a case that is closed, without what was said
    "span.person",  # who was there
}  # fmt: skip
# Where else the bare id may stand.
IDS = {
    "account.id", "account.email", "entry.author", "entry.subject", "entry.detail", "entry.content",
    "thread_message.author", "ban.author", "direct.high", "direct.low", "join_link.author", "span.person",
    "matched.ended_by", "matched.high", "matched.low", "report.about", "opener.receiver",
    "personal.subject",  # of what is gone from another one's devices: without a value, for those that were away
}  # fmt: skip
# Where the texts of somebody who did everything stand before.
TEXTS = {
    "account.email", "account.name", "ban.reason", "conversation.title", "conversation.topic", "device.token",
    "entry.content", "entry.detail", "entry.text", "profile.bio", "profile.words", "opener.text", "post.text",
    "comment.text", "contact_request.note", "mail_tray.recipient", "report.said", "one_time_code.address",
    "personal.value", "scheduled.command", "search_text.terms",
    "sign_in.device", "upload.name", "version.text",
}  # fmt: skip


async def count(world: World, place: str, person: UUID) -> int:
    table, column = place.split(".")
    row = await world.database.fetch_one(f"select count(*) from {table} where {column} = %s", person)
    assert row is not None
    return int(row[0])


async def test_nothing_is_left(world: World) -> None:
    """Of somebody who did everything: no text, name, address, file or index; the id where others need it, and nowhere
    else. It fails for a command that is not done here, and for a table that refers to people and is not listed."""
    assert await references(world.database) == ERASED | KEPT
    async with open_house(world, leaving_days=0, access_s=10) as house:
        life = await live(house, world)
        zed, (ann, bob, _) = life.zed, life.others
        assert life.called >= {call.name for call in CALLS.values() if call.keyed}
        for place in ("block", "contact"):
            one, other = ("blocked", "person") if place == "block" else ("other", "person")
            for low, high in ((zed, bob), (bob, zed)):
                await world.database.execute(
                    f"insert into {place} ({other}, {one}) values (%s, %s) on conflict do nothing", low.id, high.id
                )
        await world.database.execute(
            "insert into last_seen (person, at_ms) values (%s, 1) on conflict do nothing", zed.id
        )  # which comes later
        async with house.phone(ann) as hers:
            await until_found(hers, query=WORD)
            for place in sorted(ERASED - {"push.account"}):
                assert await count(world, place, zed.id), f"there is nothing in {place} that could be erased"
            assert await places(world.database, WORD) >= TEXTS
            async with caller(house, zed) as http:
                assert await http.result("account.delete", "bye") == {}
            await until_erased(world, zed)
            assert (await hers.result("search", query=WORD))["hits"] == []
        for text in (WORD, f"{WORD}@example.com", "Zeddy"):
            assert await places(world.database, text) == set(), text
        for place in sorted(ERASED):
            assert await count(world, place, zed.id) == 0, place
        await world.database.execute("delete from job where kind = 'account.erase'")  # a day later by themselves
        assert await places(world.database, str(zed)) <= IDS
        told = "select 1 from personal where position(%s in subject) > 0 and value is not null"
        assert not await world.database.fetch_all(told, str(zed))
        assert not await world.database.fetch_all("select from search_text where author = %s", zed.id)
        assert await places(world.database, zed.id.hex) == set()
        assert files_with(world.folder / "media", WORD.encode()) == []
        # The others keep what is theirs.
        async with house.phone(ann, "new") as hers, house.phone(bob) as bobs:
            [name] = (await hers.result("user.get", users=[str(zed)]))["users"]
            assert name["name"] == "deleted"
            club = await bobs.result("conversation.get", conversation=life.club)
            assert club["owner"] == str(bob), "the admin's, as when an owner leaves"


async def may_see(world: World, person: Person, other: Person) -> bool:
    row = await world.database.fetch_one("select may_see(%s, %s)", person.id, other.id)
    return row is not None and bool(row[0])


def standing(phone: Phone) -> Any:
    """How the account stands, as the device was told last."""
    rows = [one["account"] for one in phone.of("state") if one["what"] == "account"]
    return rows[-1]["standing"] if rows else None


async def until_gone(database: Database, count: int = 1) -> None:
    """Wait until the first round of so many erasures is done."""
    with trio.fail_after(LIMIT_S):
        while len(await database.fetch_all("select from job where payload ->> 'second' = 'true'")) < count:
            await trio.sleep(0.02)


async def test_a_pause_is_told_to_all_devices_and_a_repeat_undoes_nothing(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(ann, "tablet") as tablet, house.phone(bob) as his:
        assert await hers.result("account.get") == {"standing": "active", "at_ms": 0}
        club = await create_group(hers, bob)
        await hers.result("account.pause", key="p")
        assert standing(hers) == "paused", "told before the answer"
        await tablet.until(lambda: standing(tablet) == "paused")
        assert (await hers.result("account.get"))["standing"] == "paused"
        assert await may_see(world, bob, ann)
        await his.say(club, "k", "conversations go on")
        await hers.has(club, 2)
        await hers.result("account.pause", key="q", on=False)
        await hers.result("account.pause", key="p")
        assert (await hers.result("account.get"))["standing"] == "active", "a repeat"
        assert await hers.error("account.pause", key="p", on=False) == "key_reused"
        async with house.phone(ann, "new") as new:
            assert standing(new) == "active"


async def test_the_answer_comes_before_the_end_whoever_is_faster(
    house: House, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep of sign-ins finds the end between the commit and the answer."""
    (ann,) = await world.people("Ann")
    await sign_in(world, ann)
    delete = RULES[frames.AccountDelete]
    async with house.phone(ann) as hers, house.phone(ann, "tablet") as tablet:

        async def slow(ground: Ground, asked: Asked, command: Any) -> Outcome:
            outcome = await delete(ground, asked, command)
            await tablet.end()  # which nobody but the sweep has closed
            return outcome

        monkeypatch.setitem(RULES, frames.AccountDelete, slow)  # type: ignore[misc]
        assert await hers.result("account.delete", key="d") == {}
        assert (await hers.end())[0] == closing.SIGNED_OUT.code


async def test_who_leaves_is_hidden_and_signed_out_and_may_return(house: House, world: World) -> None:
    """At once, on all devices; who signs in again is told so, and finds everything as it was."""
    ann, bob = await world.people("Ann", "Bob")
    await sign_in(world, ann)
    async with house.phone(ann) as hers, house.phone(bob) as his:
        club = await create_group(hers, bob)
        await hers.result("account.pause", key="p")
        async with house.phone(ann, "tablet") as tablet:
            await hers.result("device.register", device="phone", platform="web", token="t")
            assert await hers.result("account.delete", key="d") == {}, "the answer comes before the end"
            assert (await hers.end())[0] == (await tablet.end())[0] == closing.SIGNED_OUT.code
        assert not await may_see(world, bob, ann)
        open_ = "select 1 from sign_in where account = %s and ended_at_ms is null"
        assert await world.database.fetch_one(open_, ann.id) is None
        await his.say(club, "k", "where is she?")
    again = Person(world.tokens, "Ann")
    again.id = ann.id
    async with house.phone(again) as hers:
        row = hers.of("state")[-1]["account"]
        assert (row["standing"], row["leaving_until_ms"] - row["at_ms"]) == ("leaving", 14 * 86_400_000)
        assert await hers.error("account.pause", key="x") == "leaving"
        await hers.result("account.delete", key="once more")
        assert (await hers.result("account.get"))["leaving_until_ms"] == row["leaving_until_ms"], "the first day counts"
        await hers.result("account.return", key="r")
        assert standing(hers) == "paused", "as before"
        assert await may_see(world, bob, ann)
        await hers.has(club, 2)
        assert await world.database.fetch_all("select from job where kind = 'account.erase'") == []
        await hers.result("account.return", key="r")
        assert await hers.result("account.return", key="nothing to do") == {}


async def test_an_operator_ends_an_account_the_same_way(world: World) -> None:
    """It is erased when as many days have passed as the servers say; a repeat moves nothing."""
    (ann,) = await world.people("Ann")
    await sign_in(world, ann)
    async with open_house(world, leaving_days=3):
        pass
    stood = await accounts.stand_account(world.database, ann.id, "leaving")
    assert (stood.error, stood.standing, list(stood.ended)) == (None, "leaving", [ann.sign_in])
    sql: LiteralString = "select leaving_until_ms - standing_at_ms, leaving_until_ms from account where id = %s"
    [(days_ms, until_ms)] = await world.database.fetch_all(sql, ann.id)
    assert days_ms == 3 * 86_400_000
    again = await accounts.stand_account(world.database, ann.id, "leaving")
    assert (again.standing, list(again.ended)) == ("leaving", [])
    assert await world.database.fetch_all(sql, ann.id) == [(days_ms, until_ms)]
    jobs = await world.database.fetch_all("select due_at_ms from job where kind = 'account.erase'")
    assert jobs == [(until_ms,)]
    assert await world.database.fetch_one("select begin_leaving(%s)::text", uuid7()) == ('{"error" : "unknown_user"}',)
    assert await leaving.begin_erasing(world.database, ann.id, until_ms) is None, "not yet"


async def test_who_was_suspended_does_not_get_in_by_leaving(house: House, world: World) -> None:
    """Deleted by the operator while suspended: who then returns is suspended as before, and signed out. And who is
    suspended while leaving leaves no more."""
    ann, bob = await world.people("Ann", "Bob")
    for person in (ann, bob):
        await accounts.stand_account(world.database, person.id, "suspended")
        await accounts.stand_account(world.database, person.id, "leaving")
    await sign_in(world, ann)
    async with house.phone(ann) as hers:
        assert await hers.result("account.return", key="r") == {}
        assert (await hers.end())[0] == closing.SIGNED_OUT.code
    await accounts.stand_account(world.database, bob.id, "suspended")
    sql: LiteralString = "select standing, leaving_until_ms, leaving_from from account where id = any (%s)"
    rows = await world.database.fetch_all(sql, [ann.id, bob.id])
    assert rows == [("suspended", None, None)] * 2
    assert await world.database.fetch_all("select from job where kind = 'account.erase'") == []
    await accounts.stand_account(world.database, bob.id, "active")
    async with house.phone(bob) as his:
        assert (await his.result("account.get"))["standing"] == "active"


@pytest.mark.parametrize("texts", ["blank", "keep"])
async def test_who_stays_sees_the_same_whenever_one_looks(dsn: str, folder: Path, texts: str) -> None:
    """A device that was there applies the entries and ends where one that starts afresh begins: texts blanked or kept,
    reactions and pins gone, counts of polls as they were."""
    settings: dict[str, Any] = {"leaving_days": 0, "erased_texts": texts}
    async with open_scene(dsn, folder, **settings) as cast, trio.open_nursery() as devices:
        ann, zed = await cast.person("ann"), await cast.person("zed")
        room = await zed.client.create("Tea", [ann.id])
        screen = Screen(ann.client)
        devices.start_soon(screen.run)
        hers = await ann.client.send(room, "hello")
        for n in range(250):
            last = await zed.client.send(room, f"{WORD} {n}")
        await zed.client.edit(room, last.seq, f"{WORD} edited")
        await ann.client.react(room, last.seq, "👍")
        await zed.client.react(room, hers.seq, "👍")
        await ann.client.react(room, hers.seq, "👍")
        await zed.client.pin(room, last.seq)
        await zed.client.delete_account()
        async with open_database(dsn) as database:
            await until_gone(database)
        end = (await ann.client.send(room, "the end")).seq
        await screen.has(end)
        async with fresh(cast, ann, room) as messages:
            assert shown(screen.messages, room) == shown(messages, room)
        said = [one.text for one in screen.messages.of(room) if one.author == zed.id]
        assert len(said) == 250
        assert all((text is None) == (texts == "blank") for text in said)
        kept = screen.messages.get(room, hers.seq)
        assert kept is not None
        assert [(one.emoji, one.count, one.users) for one in kept.reactions] == [("👍", 1, (ann.id,))]
        state = await ann.client.conversation(room)
        assert (state.owner, state.members) == (ann.id, (ann.id,))
        devices.cancel_scope.cancel()


async def test_nothing_is_left_in_a_bucket(world: World) -> None:
    """Where an S3 store holds media: photo, file, portrait and the copy of everything, which is complete before."""
    (zed,) = await world.people("Zed")
    with running_s3() as endpoint:
        bucket = new_bucket(endpoint)
        settings: dict[str, Any] = {
            "s3_bucket": bucket.name, "s3_endpoint": endpoint, "s3_access_key": "test", "s3_secret_key": "test",
        }  # fmt: skip
        client = boto3.client(
            "s3", endpoint_url=endpoint, region_name=bucket.region, aws_access_key_id="test",
            aws_secret_access_key="test",
        )  # fmt: skip
        async with open_house(world, **settings) as house, house.phone(zed) as his:
            await upload(house, zed, "photo", PNG, "image/png", "a.png")
            await upload(house, zed, "file", WORD.encode(), "application/x-thing", "b")
            await upload(house, zed, "profile_photo", PNG + b"me", "image/png", "")
            _, made = await exported(house, his, zed)
            media = {name: made.read(name) for name in made.namelist() if name.startswith("media/")}
            assert sorted(map(len, media.values())) == sorted([len(PNG), len(WORD), len(PNG) + 2])
            listed = await trio.to_thread.run_sync(lambda: client.list_objects_v2(Bucket=bucket.name))
            assert listed["KeyCount"] == 4
            await leave(world, zed)
            await until_erased(world, zed)
            listed = await trio.to_thread.run_sync(lambda: client.list_objects_v2(Bucket=bucket.name))
            assert listed["KeyCount"] == 0
        client.close()


async def leave(world: World, person: Person) -> None:
    """The person's days are over at once."""
    row = await world.database.fetch_one("select begin_leaving(%s, 0)::text", person.id)
    assert row is not None


async def test_a_process_that_is_killed_half_way_leaves_the_rest_to_another(world: World) -> None:
    """Each message is blanked by one entry, however often it was begun; the log has no gap."""
    ann, zed = await world.people("Ann", "Zed")
    async with open_process(world) as first, first.phone(ann) as hers:
        club, later = await create_group(hers, zed), await create_group(hers, zed, key="later")
        await world.long_log(club, zed, 1_000, WORD)
        await world.long_log(later, zed, 10, WORD)
        async with world.database.transaction() as holding:
            await holding.execute("select from conversation where id = %s for update", UUID(later))
            await leave(world, zed)
            while not await world.database.fetch_all("select from pg_stat_activity where wait_event_type = 'Lock'"):
                pass  # it has come to the later one
            first.kill()
    assert await places(world.database, WORD) >= {"entry.text"}, "or it was too late to kill anybody"
    lease_ended = "update job set due_at_ms = 0, attempts = 0 where kind = 'account.erase'"
    await world.database.execute(lease_ended)
    async with open_house(world) as house:
        await until_erased(world, zed)
        async with house.phone(ann, "new") as hers:
            told: list[int] = []
            before = None
            while True:
                place: dict[str, int] = {} if before is None else {"before": before}
                page = await hers.result("history", conversation=club, limit=100, **place)
                told += [seq for one in page["entries"] if one["kind"] == "messages.expired" for seq in one["messages"]]
                if not page["more"]:
                    break
                before = page["entries"][0]["seq"]
            assert sorted(told) == list(range(2, 1_002)), "each once"
    assert await places(world.database, WORD) == set()


async def test_it_goes_on_from_where_it_was_noted(house: House, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However little is done at once."""
    monkeypatch.setattr(erasure, "BUSY_S", 0.0)
    ann, zed = await world.people("Ann", "Zed")
    async with house.phone(ann) as hers:
        clubs = [await create_group(hers, zed, key=f"g{n}") for n in range(3)]
        for club in clubs:
            await world.long_log(club, zed, 250, WORD)
        await leave(world, zed)
        await until_erased(world, zed)
    assert await places(world.database, WORD) == set()


async def test_a_socket_that_is_still_open_keeps_nothing(world: World) -> None:
    """An access token that nobody called back: in groups it says nothing any more, nothing of its own is kept, and what
    else it does is gone after the second round."""
    ann, zed = await world.people("Ann", "Zed")
    async with open_house(world) as house, house.phone(ann) as hers, house.phone(zed) as his:
        club = await create_group(hers, zed)
        direct = (await hers.result("conversation.direct", user=zed.id))["conversation"]
        await his.until(lambda: {club, direct} <= set(his.heads))
        await leave(world, zed)
        await until_gone(world.database)
        assert await his.error("message.send", conversation=club, key="m", text=WORD) == "not_a_member"
        assert await his.error("draft.set", conversation=club, key="d", text=WORD) == "invalid"
        assert await his.error("account.return", key="r") == "invalid"
        assert await his.error("account.export", key="e") == "invalid"
        await his.say(direct, "m", WORD)
        made = (await his.result("conversation.create", key="c", title=WORD, members=[]))["conversation"]
        await his.say(made, "m", WORD)
        await upload(house, zed, "file", WORD.encode(), "application/x-thing", WORD)
        await until_erased(world, zed)
        await hers.until(lambda: any(one["kind"] == "messages.expired" for one in hers.of("entry", direct)))
    assert await places(world.database, WORD) == set()
    assert files_with(world.folder / "media", WORD.encode()) == []


async def test_nobody_signs_in_once_the_erasure_has_begun(world: World) -> None:
    """Who knew the password a moment before gets a sign-in that is not there."""
    (zed,) = await world.people("Zed")
    await leave(world, zed)
    row = await world.database.fetch_one("select leaving_until_ms from account where id = %s", zed.id)
    assert row is not None
    await sign_in(world, zed)
    async with world.database.transaction() as erasing, trio.open_nursery() as nursery:
        assert await erasing.fetch_one("select begin_erasing(%s, %s)::text", zed.id, row[0]) == (f'["{zed.sign_in}"]',)
        late = Person(world.tokens, "Zed")
        late.id = zed.id
        nursery.start_soon(sign_in, world, late)
        while not await world.database.fetch_all("select from pg_stat_activity where wait_event_type = 'Lock'"):
            pass
        await erasing.execute("commit")
    rows = await world.database.fetch_all("select id from sign_in where account = %s", zed.id)
    assert [one[0] for one in rows] == [zed.sign_in]


async def test_the_last_two_owners_go_at_once(world: World) -> None:
    """Groups that are handed from one to the other while both are erased, by two processes."""
    zed, yan = await world.people("Zed", "Yan")
    async with open_house(world) as house, open_house(world):
        async with house.phone(zed) as his, house.phone(yan) as hers:
            for n in range(5):
                await create_group(his, yan, key=f"z{n}")
                await create_group(hers, zed, key=f"y{n}")
            await his.result("conversation.create", key="r", kind="room", title="Hall", members=[str(yan)], public=True)
        await leave(world, zed)
        await leave(world, yan)
        await until_erased(world, zed)
        await until_erased(world, yan)
    rows = await world.database.fetch_all("select owner, member_count from conversation")
    assert rows == [(None, 0)] * 11
    assert await world.database.fetch_all("select from span where until is null") == []


# --- the copy ---

# In which file of the copy each reference to a person stands, and how its rows are found there.
FILES = {
    "ban.author": "bans", "ban.person": "bans", "creation.author": "made", "device.account": "devices",
    "export.person": "exports", "join_link.author": "links", "join_request.person": "requests",
    "poll_vote.person": "votes", "reaction.person": "reactions", "receipt.person": "receipts",
    "scheduled.author": "scheduled", "sign_in.account": "sign_ins", "span.person": "conversations",
    # list of a file that has several
    "block.person": "blocks/blocks", "report.reporter": "blocks/reports", "contact.person": "contacts/contacts",
    "contact_request.person": "contacts/requests_sent", "contact_request.other": "contacts/requests_received",
    "follow.person": "contacts/following", "follow.followed": "contacts/followers",
    "post.author": "posts/posts", "comment.author": "posts/comments", "post_reaction.person": "posts/reactions",
    "opener.author": "openers/openers_sent",
    "impression.person": "suggestions/shown", "passed_over.person": "suggestions/passed_over",
}  # fmt: skip
# Of others' making, or how the server does its work.
ELSEWHERE = {
    "conversation.owner",  # conversations.json: the role
    "direct.high", "direct.low",  # conversations.json: with whom
    "hidden.person", "personal.person",  # own_rows.json, below
    "last_seen.person", "privacy.person",  # privacy.json, one object
    "upload.owner",  # uploads.json but for copies themselves, below
    "personal_key.person", "push.account", "slowed.person",  # bookkeeping of seconds
    "block.blocked",  # nobody is told by whom
    "contact.other",  # the same two, in the direction of the other one
    "matched.ended_by", "matched.high", "matched.low",  # openers.json: matches, below
    "profile.person", "profile_photo.person",  # profile.json, one object, below
    "report.about", "report.closed_by",  # others' words, and an office
    "contact_asked.person", "follow_told.followed", "follow_told.person", "one_time_code.person",
    "post_reaction_told.person",  # bookkeeping
    "impression.other", "passed_over.other",  # others'
    "exposure.other",  # made of the profile and of what others answered
}  # fmt: skip


async def exported(house: House, phone: Phone, person: Person, key: str = "x") -> tuple[str, zipfile.ZipFile]:
    """A copy, once it is there."""
    export = (await phone.result("account.export", key=key))["export"]
    await phone.until(lambda: any(one.get("notification", {}).get("medium") == export for one in phone.of("state")))
    content = await fetch(house, person, export)
    assert isinstance(content, bytes)
    return export, zipfile.ZipFile(io.BytesIO(content))


async def test_the_copy_is_complete(house: House, world: World) -> None:
    """Against the tables: every row of every table that refers to the person, all that was said, every file. It fails
    for a table that refers to people and is not in it."""
    assert set(FILES) | ELSEWHERE == await references(world.database)
    life = await live(house, world)
    zed = life.zed
    async with house.phone(zed) as his:
        while await world.database.fetch_all("select from export where not done"):
            await trio.sleep(0.02)  # else that one is the answer
        _, made = await exported(house, his, zed)
    assert made.testzip() is None
    names = made.namelist()
    found = {name.removesuffix(".json"): json.loads(made.read(name)) for name in names if name.endswith(".json")}
    for place, file in FILES.items():
        if file != "bans":
            name, _, part = file.partition("/")
            rows = found[name][part] if part else found[name]
            assert len(rows) == await count(world, place, zed.id) > 0, place
    bans = await count(world, "ban.person", zed.id) + await count(world, "ban.author", zed.id)
    assert len(found["bans"]) == bans == 2
    assert len(found["openers"]["matches"]) == 1
    assert (found["profile"]["bio"], len(found["profile"]["photos"])) == (f"{WORD} lives", 1)
    assert found["person"]["email"] == f"{WORD}@example.com"
    assert found["privacy"]["last_seen"] == "contacts"

    async def every(sql: Any, *values: object) -> list[Any]:
        return [json.loads(row[0]) for row in await world.database.fetch_all(sql, *values)]

    entries = await every(
        "select entry_json(e.*)::text from entry e where author = %s order by conversation, seq", zed.id
    )
    assert found["entries"] == entries
    versions = await every(
        "select to_json(text)::text from version v where text is not null and exists "
        "(select from entry e where e.conversation = v.conversation and e.seq = v.message and author = %s)", zed.id,
    )  # fmt: skip
    assert [one["text"] for one in found["versions"]] == versions != []
    own = await every(
        "select json_build_object('what', what, 'subject', subject, 'value', value)::text from personal "
        "where person = %s and value is not null and what <> 'notification' order by what, subject", zed.id,
    )  # fmt: skip
    assert [one for one in found["own_rows"] if one["what"] != "notification"] == own
    assert {one["value"]["kind"] for one in found["own_rows"] if one["what"] == "notification"} >= {"request"}
    rows = await world.database.fetch_all(
        "select id, sha256, size_bytes from upload where owner = %s and kind <> 'export' order by id", zed.id
    )
    assert [one["id"] for one in found["uploads"]] == [str(row[0]) for row in rows]
    media = {name.split("/")[1]: made.read(name) for name in made.namelist() if name.startswith("media/")}
    assert set(media) == {str(row[0]) for row in rows}
    assert {len(one) for one in media.values()} == {row[2] for row in rows}
    assert PNG in media.values()


async def test_one_copy_at_a_time_for_its_person_alone_and_for_some_days(world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with open_house(world, media_quota_bytes=10) as house, house.phone(ann) as hers:
        await world.database.execute("alter table personal rename to elsewhere")  # nothing is made yet
        first = await hers.send("account.export", key="a")
        await world.database.execute("alter table elsewhere rename to personal")
        export = (await hers.answer(first))["result"]["export"]
        again = (await hers.result("account.export", key="a"))["export"]
        assert again == export
        await hers.until(lambda: any(one.get("notification", {}).get("medium") == export for one in hers.of("state")))
        other = (await hers.result("account.export", key="b"))["export"]
        assert other != export
        assert (await hers.result("account.export", key="a"))["export"] == export, "the first answer"
        await hers.until(lambda: any(one.get("notification", {}).get("medium") == other for one in hers.of("state")))
        assert isinstance(await fetch(house, ann, export), bytes)
        assert await fetch(house, bob, export) == 404
        club = await create_group(hers, bob)
        assert await hers.error("conversation.photo", conversation=club, key="p", photo=export) == "wrong_use"
        media = {"media": [{"id": export, "kind": "file"}]}
        assert await hers.error("message.send", conversation=club, key="m", content=media) == "wrong_use"
        [row] = await world.database.fetch_all(
            "select due_at_ms - created_at_ms from upload where id = %s", UUID(export)
        )
        assert 7 * 86_400_000 <= row[0] < 8 * 86_400_000, "then the sweep takes it"
        assert await upload(house, ann, "file", b"x" * 10, "text/plain", "") != "", "copies take no room of one's own"


async def test_two_who_ask_at_once_get_one_copy(house: House, world: World) -> None:
    (ann,) = await world.people("Ann")
    async with world.database.transaction() as holding:
        await holding.execute("select from account where id = %s for no key update", ann.id)
        async with house.phone(ann) as hers, house.phone(ann, "tablet") as tablet:
            one, two = await hers.send("account.export", key="a"), await tablet.send("account.export", key="b")
            await holding.execute("commit")
            answers = [await hers.answer(one), await tablet.answer(two)]
            # Unless the first was there before the second had asked.
            rows = await world.database.fetch_all("select distinct id from export")
            assert {str(row[0]) for row in rows} == {one["result"]["export"] for one in answers}


async def test_a_copy_whose_person_is_erased_meanwhile_is_left_nowhere(world: World) -> None:
    """Whichever comes first: what lies in the store, its row, or the end of the account."""
    (zed,) = await world.people("Zed")
    from konnect_server.actions.export import Export
    from storage.blobs import media_key
    from storage.folder_blobs import FolderBlobs

    class Slow(FolderBlobs):
        async def store(self, key: str, file: Any, content_type: str) -> None:
            await leave(world, zed)
            await until_gone(world.database)  # while it is on its way
            await super().store(key, file, content_type)

    async with open_house(world):
        id_ = uuid7()
        await world.database.execute("insert into export (person, key, id) values (%s, 'k', %s)", zed.id, id_)
        blobs = Slow(world.folder / "media", bytes(32), "http://x")
        export = Export(world.database, blobs, kept_days=1, changed=lambda user: None, wake=lambda: None)
        await export.make(Raw(json.dumps({"export": str(id_), "person": str(zed)}).encode()))
        assert await blobs.head(media_key(id_, 1)) is None
        await until_erased(world, zed)
        assert await world.database.fetch_all("select from upload") == []
