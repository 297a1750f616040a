"""What people send each other besides words, with the real server, its folder of media, and the real client."""

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from konnect_client import Attachment, Contact, Content, Entity, Entry, Location, ServerRefused
from tests import samples
from tests.client_scene import Cast, Person, open_scene
from tests.scenes.test_messages import fresh, shown, snapshot

PNG = samples.png()


async def ask(cast: Cast, person: Person, method: str, path: str, **more: Any) -> httpx.Response:
    """A request of *person*'s."""
    token = (await person.account()).text
    async with httpx.AsyncClient(base_url=cast.server.url, trust_env=False, timeout=30) as http:
        return await http.request(method, path, headers={"Authorization": f"Bearer {token}"}, **more)


async def upload(
    cast: Cast, person: Person, data: bytes = PNG, kind: str = "photo", content_type: str = "image/png"
) -> str:
    """Announce a file, send it, say so; its id."""
    wanted = {
        "kind": kind, "size_bytes": len(data), "content_type": content_type, "name": "it",
        "sha256": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip
    ticket = (await ask(cast, person, "POST", "/v1/uploads", json=wanted)).json()
    async with httpx.AsyncClient(base_url=cast.server.url, trust_env=False, timeout=30) as http:
        sent = await http.request(ticket["method"], ticket["url"], headers=ticket["headers"], content=data)
    assert sent.is_success
    done = await ask(cast, person, "POST", f"/v1/uploads/{ticket['id']}/done")
    assert done.status_code == 200, done.text
    return str(ticket["id"])


async def download(cast: Cast, person: Person, medium: str) -> bytes | str:
    """The file that *person* gets, or the code of why not."""
    found = (await ask(cast, person, "GET", f"/v1/media/{medium}")).json()
    if "code" in found:
        return str(found["code"])
    async with httpx.AsyncClient(base_url=cast.server.url, trust_env=False, timeout=30) as http:
        return (await http.get(found["url"])).content


async def test_a_photo_is_for_the_members_and_goes_with_its_message(dsn: str, folder: Path) -> None:
    """Uploaded, sent, looked at by a member, by nobody else, and by nobody once it is deleted."""
    async with open_scene(dsn, folder) as cast:
        ann, bob, cid = [await cast.person(name) for name in ("ann", "bob", "cid")]
        room = await ann.client.create("Holiday", [bob.id])
        medium = await upload(cast, ann)
        assert await download(cast, bob, medium) == "unknown_medium", "not sent yet"
        with pytest.raises(ServerRefused, match="unknown_medium"):
            await bob.client.send(room, content=Content(media=(Attachment(medium, "photo"),)))
        with pytest.raises(ServerRefused, match="wrong_use"):
            await ann.client.send(room, content=Content(media=(Attachment(medium, "file"),)))
        photo = Attachment(medium, "photo", width=1, height=1, blurhash="LEHV6nWB2yk8pyo0adR*.7kCMdnj")
        sent = await ann.client.send(room, content=Content(media=(photo,)))
        [seen] = [
            event
            for event in await bob.until(lambda event: isinstance(event, Entry) and event.seq == sent.seq)
            if isinstance(event, Entry) and event.seq == sent.seq
        ]
        assert (seen.text, seen.content) == (None, Content(media=(photo,)))
        assert await download(cast, bob, medium) == PNG
        assert await download(cast, cid, medium) == "unknown_medium", "no member"
        added = await ann.client.add(room, cid.id)
        assert await download(cast, cid, medium) == PNG
        await ann.client.remove(room, cid.id)
        assert await download(cast, cid, medium) == "unknown_medium", f"none since entry {added.seq + 1}"
        await ann.client.delete(room, sent.seq)
        assert await download(cast, bob, medium) == "unknown_medium"
        assert await download(cast, ann, medium) == PNG, "her own, for a while"
        again = await ann.client.send(room, "once more", content=Content(media=(photo,)))
        assert await download(cast, bob, medium) == PNG
        async with fresh(cast, bob, room) as messages:
            assert shown(messages, room) == snapshot(dsn, room)
            message = messages.get(room, again.seq)
            assert message is not None
            assert message.content == Content(media=(photo,))


async def test_a_voice_note_and_what_is_forwarded_of_it(dsn: str, folder: Path) -> None:
    """Cid hears what Ann said to Bob, for Bob forwards it; also when Ann takes hers back."""
    async with open_scene(dsn, folder) as cast:
        ann, bob, cid = [await cast.person(name) for name in ("ann", "bob", "cid")]
        hers, his = await ann.client.direct(bob.id), await bob.client.direct(cid.id)
        medium = await upload(cast, ann, samples.OGG, "voice", "audio/ogg")
        note = Attachment(medium, "voice", duration_ms=1_800, waveform=(0, 128, 255))
        sent = await ann.client.send(hers, content=Content(media=(note,)))
        with pytest.raises(ServerRefused, match="unknown_message"):
            await cid.client.forward(his, hers, sent.seq)
        copy = await bob.client.forward(his, hers, sent.seq)
        await ann.client.delete(hers, sent.seq)
        assert await download(cast, cid, medium) == samples.OGG
        [message] = [one for one in (await cid.client.history(his)).entries if one.seq == copy.seq]
        assert message.author == bob.id
        assert message.content == Content(media=(note,), forwarded_from=ann.id)
        await bob.client.delete(his, copy.seq)
        assert await download(cast, cid, medium) == "unknown_medium"


async def test_ann_answers_mentions_and_shows_the_way(dsn: str, folder: Path) -> None:
    async with open_scene(dsn, folder) as cast:
        ann, bob = await cast.person("ann"), await cast.person("bob")
        room = await ann.client.create("Tea", [bob.id])
        asked = await bob.client.send(room, "where?")
        place = Content(
            reply_to=asked.seq,
            entities=(Entity("mention", 0, 4, user=bob.id), Entity("link", 6, 4, url="https://example.com")),
            location=Location(48.2082, 16.3738, "Café", 5.0), contact=Contact("The café", "+43 1 234"),
        )  # fmt: skip
        told = await ann.client.send(room, "@bob, here", content=place)
        await ann.client.pin(room, told.seq)
        await bob.client.react(room, told.seq, "👍")
        corrected = await ann.client.edit(room, told.seq, "here, all of you", mention_all="here")
        [event] = [
            event
            for event in await bob.until(lambda event: isinstance(event, Entry) and event.seq == corrected.seq)
            if isinstance(event, Entry) and event.seq == corrected.seq
        ]
        now = Content(reply_to=asked.seq, mention_all="here", location=place.location, contact=place.contact)
        assert (event.kind, event.of, event.content) == ("message.edited", told.seq, now)
        state = await bob.client.conversation(room)
        assert state.pins == (told.seq,)
        [message] = [one for one in (await bob.client.history(room)).entries if one.seq == told.seq]
        assert (message.content, message.pinned, len(message.reactions)) == (now, True, 1)
        assert [one.content for one in await bob.client.edits(room, told.seq)] == [place, now]
        with pytest.raises(ServerRefused, match="forbidden"):
            await bob.client.pin(room, asked.seq)
        await ann.client.delete(room, told.seq)
        assert (await bob.client.conversation(room)).pins == ()
        async with fresh(cast, bob, room) as messages:
            assert shown(messages, room) == snapshot(dsn, room)


async def test_answers_and_plain_messages_keep_the_order_of_sending(dsn: str, folder: Path) -> None:
    """An answer goes into the log another way than a plain message; what one device sends stays in order."""
    async with open_scene(dsn, folder, messages_per_s=1_000, messages_burst=1_000) as cast:
        ann, bob = await cast.person("ann"), await cast.person("bob")
        room = await ann.client.create("Tea", [bob.id])
        first = await ann.client.send(room, "first")
        kinds = [None, Content(reply_to=first.seq), Content(mention_all="all")]
        waiting = [ann.client.send_nowait(room, f"{n}", content=kinds[n % 3]) for n in range(60)]
        seqs = [(await message.wait()).seq for message in waiting]
        assert seqs == list(range(first.seq + 1, first.seq + 61))
        await bob.hears("59")
        assert bob.texts(room)[-60:] == [f"{n}" for n in range(60)]
