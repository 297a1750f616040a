"""Somebody who did everything, and what is looked through for what is left of them."""

import hashlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import trio

from storage.database import Database
from tests.running import LIMIT_S, House, Person, Phone, World, create_group

WORD = "quixotlmark"  # stands in every text that the one who leaves has ever entered, and in nothing else
PNG = b"\x89PNG\r\n\x1a\n" + WORD.encode() * 20


class Life:
    """What somebody did, and with whom."""

    def __init__(self, world: World, zed: Person, others: list[Person]) -> None:
        self.world, self.zed, self.others = world, zed, others
        self.called: set[str] = set()
        self.club = self.direct = self.alone = ""


async def sign_in(world: World, person: Person, device: str = "") -> None:
    """Let the person's sign-in stand in the database, as if by a password."""
    await world.database.execute(
        "insert into sign_in (id, account, device, basis, token_hash, created_at_ms, used_at_ms) "
        "values (%s, %s, %s, %s, %s, 1, 1)",
        person.sign_in, person.id, device, bytes(32), bytes(32),
    )  # fmt: skip


async def upload(house: House, person: Person, kind: str, body: bytes, content_type: str, name: str) -> str:
    """A medium of *person*'s."""
    headers = {"Authorization": f"Bearer {person.token}"}
    async with httpx.AsyncClient(base_url=house.url, trust_env=False, timeout=60) as http:
        wanted = {
            "kind": kind, "size_bytes": len(body), "content_type": content_type,
            "sha256": hashlib.sha256(body).hexdigest(), "name": name,
        }  # fmt: skip
        ticket = (await http.post("/v1/uploads", json=wanted, headers=headers)).json()
        assert (await http.put(ticket["url"], content=body, headers=ticket["headers"])).is_success
        done = await http.post(f"/v1/uploads/{ticket['id']}/done", headers=headers)
        assert done.status_code == 200, done.text
        return str(ticket["id"])


async def fetch(house: House, person: Person, medium: str) -> bytes | int:
    """A medium's bytes as *person* gets them, or the status of the refusal."""
    headers = {"Authorization": f"Bearer {person.token}"}
    async with httpx.AsyncClient(base_url=house.url, trust_env=False, timeout=60) as http:
        found = await http.get(f"/v1/media/{medium}", headers=headers)
        if found.status_code != 200:
            return found.status_code
        return (await http.get(found.json()["url"])).content


async def live(house: House, world: World) -> Life:
    """Zed does everything that can be done, the word in each text, and others do something to Zed."""
    zed, ann, bob, cid = await world.people(f"Zed {WORD}", "Ann", "Bob", "Cid")
    await world.database.execute("update account set email = %s where id = %s", f"{WORD}@example.com", zed.id)
    await sign_in(world, zed, WORD)
    life = Life(world, zed, [ann, bob, cid])
    async with house.phone(zed) as his, house.phone(ann) as hers, house.phone(bob) as bobs:
        await _live(life, house, his, hers, bobs)
    return life


async def _live(life: Life, house: House, his: Phone, hers: Phone, bobs: Phone) -> None:
    zed, (ann, bob, cid) = life.zed, life.others
    number = 0

    async def do(command: str, /, **body: Any) -> dict[str, Any]:
        nonlocal number
        number += 1
        life.called.add(command)
        keyed = command not in UNKEYED
        return await his.result(command, **({"key": f"key {number}"} if keyed else {}), **body)

    async def say(conversation: str, **content: Any) -> int:
        return int((await do("message.send", conversation=conversation, text=f"{WORD} says", **content))["seq"])

    photo = await upload(house, zed, "photo", PNG, "image/png", f"{WORD}.png")
    file = await upload(house, zed, "file", WORD.encode() * 9, "application/x-thing", f"{WORD}.bin")
    face = await upload(house, zed, "photo", PNG + b"face", "image/png", f"{WORD}-face.png")
    portrait = await upload(house, zed, "profile_photo", PNG + b"me", "image/png", "")
    post_photo = await upload(house, zed, "photo", PNG + b"post", "image/png", f"{WORD}-post.png")

    club = life.club = (await do("conversation.create", title="Club", members=[str(ann), str(bob)]))["conversation"]
    diary = await do("conversation.create", title=f"{WORD} diary", topic=f"{WORD} topic", members=[])
    life.alone = diary["conversation"]
    life.direct = (await do("conversation.direct", user=ann.id))["conversation"]
    await his.until(lambda: {club, life.alone, life.direct} <= set(his.heads))
    first = await say(club)
    await say(life.alone)
    await say(life.direct)
    hello = await hers.say(club, "hello", "hello everybody")
    await do("message.edit", conversation=club, seq=first, text=f"{WORD} says otherwise")
    media = [{"id": photo, "kind": "photo"}, {"id": file, "kind": "file"}]
    await say(club, content={"media": media, "contact": {"name": WORD, "email": f"{WORD}@example.com"}})
    await say(club, content={"location": {"lat": 1.0, "lon": 2.0, "label": f"{WORD} place"}})
    gone = await say(club)
    await do("message.delete", conversation=club, seq=gone)
    await do("message.react", conversation=club, seq=hello, emoji="👍")
    await bobs.result("message.react", conversation=club, key="r", seq=hello, emoji="👍")
    await do("message.forward", conversation=life.direct, source={"conversation": club, "seq": first})
    await do("message.pin", conversation=club, seq=first)
    root = await say(club)
    await say(club, content={"thread": root})
    reply = await hers.result("message.send", conversation=club, key="t", text="mine", content={"thread": root})
    await say(club, content={"thread": hello, "reply_to": hello})
    await do("thread.follow", conversation=club, seq=hello)
    await do("thread.read", conversation=club, seq=root, read=reply["seq"])
    poll = (await do("poll.create", conversation=club, question=f"{WORD}?", options=[f"{WORD} a", "b"]))["seq"]
    await do("poll.vote", conversation=club, seq=poll, options=[1])
    await do("poll.close", conversation=club, seq=poll)
    asked = (await hers.result("poll.create", conversation=club, key="p", question="?", options=["a", "b"]))["seq"]
    await his.has(club, asked)
    await do("poll.vote", conversation=club, seq=asked, options=[0])
    secret = await hers.result(
        "poll.create", conversation=club, key="q", question="?", options=["a", "b"], anonymous=True
    )
    await his.has(club, secret["seq"])
    await do("poll.vote", conversation=club, seq=secret["seq"], options=[0])
    await do("draft.clear", conversation=life.direct)
    await do("draft.set", conversation=club, text=f"{WORD} begins")
    await do("conversation.mute", conversation=club)
    await do("conversation.archive", conversation=life.direct)
    await do("conversation.pin", conversation=club)
    await do("conversation.mark_unread", conversation=life.direct)
    await do("conversation.nickname", conversation=club, name=f"{WORD} club")
    await do("conversation.nickname", conversation=club, user=ann.id, name=f"{WORD} Ann")
    await do("conversation.folder", conversation=club, folder=WORD)
    await do("conversation.notify", conversation=club, level="mentions")
    await do("message.hide", conversation=club, seqs=[hello])
    in_a_day = int(time.time() * 1000) + 86_400_000
    await do("message.schedule", conversation=club, at_ms=in_a_day, text=f"{WORD} later")
    await do("conversation.retention", conversation=club, seconds=1_000_000)
    await do("conversation.retention", conversation=club, seconds=0)
    await do("privacy.set", last_seen="contacts")
    await do("notification.settings", hide_content=True)
    await do("device.register", device="phone", platform="web", token=WORD)
    await do("receipt", conversation=club, delivered=2, read=2)
    await do("conversation.title", conversation=life.alone, title=f"{WORD} book")
    await do("conversation.topic", conversation=life.alone, topic=f"{WORD} thoughts")
    await do("conversation.photo", conversation=club, photo=face)
    await do("conversation.slow_mode", conversation=club, seconds=1)
    await do("conversation.slow_mode", conversation=club, seconds=0)
    await do("conversation.add", conversation=club, user=cid.id)
    await do("conversation.remove", conversation=club, user=cid.id)
    await do("member.ban", conversation=club, user=cid.id, reason=f"{WORD} is why")
    await do("member.unban", conversation=club, user=cid.id)
    await do("member.ban", conversation=club, user=cid.id, reason=f"{WORD} is why")
    await do("member.role", conversation=club, user=bob.id, role="admin")
    code = (await do("link.create", conversation=club, approval=True))["link"]["code"]
    await do("link.revoke", conversation=club, code=code)

    # Elsewhere: rooms, requests, other owners.
    made = await hers.result("conversation.create", key="h", kind="room", title="Hall", members=[], public=True)
    hall = made["conversation"]
    await do("room.join", conversation=hall)
    await his.until(lambda: hall in his.heads)
    await say(hall)
    await hers.result("conversation.slow_mode", conversation=hall, key="sm", seconds=1000)
    await his.until(lambda: any(one["kind"] == "conversation.slow_mode" for one in his.of("entry", hall)))
    await say(hall)
    await do("room.leave", conversation=hall)
    other = await create_group(hers, bob, key="other")
    invited = (await hers.result("link.create", conversation=other, key="l", approval=True))["link"]["code"]
    await do("link.join", code=invited)
    await hers.until(lambda: any(one.get("notification", {}).get("kind") == "request" for one in hers.of("state")))
    mine = (await do("conversation.create", title="Mine", members=[str(ann)]))["conversation"]
    await do("conversation.handover", conversation=mine, user=ann.id)
    await do("conversation.leave", conversation=mine)
    wanted = (await do("link.create", conversation=club, approval=True))["link"]["code"]
    async with house.phone(cid) as cids:
        await do("member.unban", conversation=club, user=cid.id)
        await cids.result("link.join", code=wanted, key="j")
        await his.until(lambda: any(one.get("notification", {}).get("kind") == "request" for one in his.of("state")))
        await do("request.answer", conversation=club, user=cid.id, accept=False)
    await hers.result("member.ban", conversation=other, key="zb", user=zed.id)
    await do("member.ban", conversation=club, user=cid.id, reason=f"{WORD} is why")

    # What others do about Zed.
    await hers.result("conversation.nickname", conversation=club, key="nn", user=zed.id, name="Zeddy")
    await hers.result("conversation.nickname", conversation=club, key="nb", user=bob.id, name="Bobby")
    at = await hers.say(club, "at", "Zed, look")
    await hers.result(
        "message.edit", conversation=club, key="ed", seq=at, text="Zed, look",
        entities=[{"kind": "mention", "offset": 0, "length": 3, "user": str(zed)}],
    )  # fmt: skip
    await _meet(life, house, hers, bobs, do, portrait, post_photo)
    await do("account.pause")
    await do("account.pause", on=False)
    await do("account.return")
    await do("account.export")
    await do("notification.read", through=str(UUID(int=2**128 - 1)))
    life.called.add("account.delete")


async def _meet(
    life: Life, house: House, hers: Phone, bobs: Phone, do: Callable[..., Awaitable[dict[str, Any]]], portrait: str,
    post_photo: str,
) -> None:  # fmt: skip
    """Zed shows himself, meets the others, and says things about them and they about him."""
    zed, (ann, bob, cid) = life.zed, life.others
    await do(
        "profile.update", handle=WORD, first_name=f"Zed {WORD}", last_name=WORD, bio=f"{WORD} lives", photos=[portrait],
        birthday="1999-01-02", gender=WORD, location={"city": WORD, "latitude": 48.2, "longitude": 16.4},
        interests=[WORD], skills=[WORD], goals=[WORD], languages=["de"], links=[f"https://{WORD}.example"],
        experience=[{"title": WORD, "organisation": WORD, "text": WORD}], prompts=[{"question": WORD, "answer": WORD}],
    )  # fmt: skip
    async with httpx.AsyncClient(base_url=house.url, trust_env=False, timeout=60) as http:
        assert (await http.post("/v1/auth/code", json={"email": f"{WORD}@example.com"})).status_code == 202
    await life.world.database.execute(
        "insert into one_time_code (address, purpose, person, ticket) values (%s, 'email_new', %s, gen_random_uuid())",
        f"new-{WORD}@example.com", zed.id,
    )  # fmt: skip
    # First messages, one of which makes a match that ends, and another one that stands.
    await do("opener.send", user=str(bob), text=f"{WORD} to Bob")
    await do("opener.send", user=str(cid), text=f"{WORD} to Cid")
    async with house.phone(cid, "meeting") as cids:
        match = (await cids.result("opener.send", key="o", user=str(zed), text="Hello Zed"))["match"]
    await do("match.unmatch", match=match)
    await hers.result("opener.send", key="o", user=str(zed), text="Hello you")
    await do("opener.ignore", opener=str(UUID(int=5)))
    # Who was suggested, and passed over; what others' suggestions go by.
    await do("match.pass", user=str(bob))
    await life.world.database.execute(
        "insert into impression (person, other, at_ms, version, source, place, score) "
        "select a.id, b.id, 1, 1, 'feed', 1, 0.5 from account a, account b where a.id <> b.id and %s in (a.id, b.id)",
        zed.id,
    )
    await life.world.database.execute("insert into exposure values (%s, current_date, 3)", zed.id)
    await life.world.database.execute(
        "insert into passed_over (person, other) values (%s, %s) on conflict do nothing", bob.id, zed.id
    )
    await life.world.database.execute(
        "insert into suggest_key select (suggest_row(1, p)).* from profile p where person = %s on conflict do nothing",
        zed.id,
    )
    # Contacts and follows.
    await do("contact.request", user=str(bob), note=f"{WORD} asks")
    await do("contact.withdraw", user=str(bob))
    await do("contact.request", user=str(bob), note=f"{WORD} asks again", interested=True)
    await hers.result("contact.request", key="c", user=str(zed), note="shall we?")
    await do("contact.answer", user=str(ann), accept=True)
    await do("contact.remove", user=str(ann))
    await hers.result("contact.request", key="c2", user=str(zed), note="once more")
    await do("contact.answer", user=str(ann), accept=True)
    [dan] = await life.world.people("Dan")
    async with house.phone(dan) as dans:
        await dans.result("contact.request", key="c", user=str(zed), note="from Dan")
    await do("follow", user=str(ann))
    await do("unfollow", user=str(ann))
    await do("follow", user=str(ann))
    await hers.result("follow", key="f", user=str(zed))
    # Posts.
    post = (await do("post.create", text=f"{WORD} #{WORD}", photos=[post_photo], audience="everyone"))["post"]
    await do("post.edit", post=post, text=f"{WORD} otherwise #{WORD}")
    await do("post.delete", post=(await do("post.create", text=f"{WORD} gone", audience="everyone"))["post"])
    hers_post = (await hers.result("post.create", key="po", text="What a day", audience="everyone"))["post"]
    await do("post.react", post=hers_post, emoji="👍")
    comment = (await do("comment.create", post=hers_post, text=f"{WORD} comments"))["comment"]
    await do("comment.edit", comment=comment, text=f"{WORD} comments otherwise")
    again = (await do("comment.create", post=hers_post, text=f"{WORD} too much"))["comment"]
    await do("comment.delete", comment=again)
    await hers.result("comment.create", key="co", post=post, text="Well said")
    # Reports: by Zed, about Zed, and one that Zed closed.
    for person in (zed, bob):
        await life.world.database.execute("update account set role = 'moderator' where id = %s", person.id)
    await do("report", what={"user": str(cid)}, reason="spam", text=f"{WORD} is why")
    about = (await hers.result("report", key="r1", what={"post": post}, reason="spam"))["report"]
    await bobs.result("report.close", key="rc", report=about, verdict="dismissed", note="it is fine")
    other = (await hers.result("report", key="r2", what={"user": str(cid)}, reason="other"))["report"]
    await do("report.close", report=other, verdict="warned", note="be kind")
    await do("block", user=str(cid))
    await do("unblock", user=str(cid))
    await do("block", user=str(cid))


UNKEYED = frozenset({"conversation.direct", "device.register", "receipt"})


async def until_erased(world: World, person: Person) -> None:
    """Wait for both rounds, the second without the time between them."""
    with trio.fail_after(LIMIT_S):
        while True:
            rows = await world.database.fetch_all(
                "select state, payload ->> 'second' from job "
                "where kind = 'account.erase' and payload ->> 'person' = %s",
                str(person),
            )
            assert all(state != "dead" for state, _ in rows)
            if not any(state == "waiting" for state, _ in rows):
                return
            if any(second for _, second in rows):  # hours pass
                await world.database.execute("update upload set incoming_until_ms = 1 where state = 'doomed'")
                await world.database.execute(
                    "update job set due_at_ms = 0 where kind = 'account.erase' and attempts = 0"
                )
            await trio.sleep(0.05)


async def columns(database: Database) -> list[tuple[str, str, str]]:
    """(table, column, type) of everything that is stored."""
    return [
        (row[0], row[1], row[2]) for row in await database.fetch_all(
            "select c.table_name::text, c.column_name::text, c.data_type::text from information_schema.columns c "
            "join information_schema.tables t using (table_schema, table_name) "
            "where c.table_schema = 'public' and t.table_type = 'BASE TABLE' and t.table_name !~ '^entry_[0-9]' "
            "order by 1, 2"
        )
    ]  # fmt: skip


async def places(database: Database, text: str) -> set[str]:
    """Where *text* stands in the database, as "table.column", whatever type it has: also as bytes in hexadecimal."""
    found = set()
    for table, column, _ in await columns(database):
        hit = await database.fetch_one(
            f'select 1 from "{table}" where "{column}"::text ilike %s or "{column}"::text ilike %s limit 1',
            f"%{text}%", f"%{text.encode().hex()}%",
        )  # fmt: skip
        if hit is not None:
            found.add(f"{table}.{column}")
    return found


async def references(database: Database) -> set[str]:
    """All columns that refer to an account, as "table.column"."""
    rows = await database.fetch_all(
        "select c.conrelid::regclass::text, a.attname::text from pg_constraint c "
        "join unnest(c.conkey) k on true join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k "
        "where c.contype = 'f' and c.confrelid = 'account'::regclass"
    )
    return {f"{table}.{column}" for table, column in rows}


def files_with(folder: Path, data: bytes) -> list[Path]:
    """Files beneath *folder* that hold *data*."""
    return [path for path in folder.rglob("*") if path.is_file() and data in path.read_bytes()]


