"""Profiles over sockets and HTTP: a photo by the signed walk, one's devices, and what others are shown."""

import hashlib
from functools import partial
from typing import Any

import httpx

from tests import samples
from tests.processes import open_scene
from tests.running import House, Person, Phone, Place, World
from tests.scenes.test_calls import caller


async def upload(place: Place, person: Person, data: bytes) -> str:
    """A profile photo by announcing it, sending it to the signed address, and saying so; the medium's id."""
    headers = {"Authorization": f"Bearer {person.token}"}
    async with httpx.AsyncClient(base_url=place.url, trust_env=False, timeout=20) as http:
        wanted = {
            "kind": "profile_photo", "size_bytes": len(data), "content_type": "image/png",
            "sha256": hashlib.sha256(data).hexdigest(),
        }  # fmt: skip
        ticket = (await http.post("/v1/uploads", json=wanted, headers=headers)).json()
        assert (await http.put(ticket["url"], content=data, headers=ticket["headers"])).is_success
        done = await http.post(f"/v1/uploads/{ticket['id']}/done", headers=headers)
        assert done.status_code == 200, done.text
        return str(done.json()["id"])


async def test_a_profile_with_a_photo_is_made_over_http_and_seen_by_others(house: House, world: World) -> None:
    """The photo's address is public: anybody gets these very bytes from it, under a name that stays."""
    ann, bob = await world.people("Ann", "Bob")
    pictures = [samples.png(1), samples.png(2)]
    photos = [await upload(house, ann, picture) for picture in pictures]
    filled: dict[str, Any] = {
        "handle": "ann.m", "first_name": "Ann", "last_name": "Mayer", "birthday": "1999-05-17", "bio": "Up early.",
        "location": {"city": "Vienna", "latitude": 48.2082, "longitude": 16.3738}, "interests": ["hiking"],
        "languages": ["de"], "links": ["https://ann.example"], "prompts": [{"question": "Why?", "answer": "So."}],
        "experience": [{"title": "Guide", "from_year": 2019}], "photos": photos,
    }  # fmt: skip
    async with caller(house, ann) as hers, caller(house, bob) as his, httpx.AsyncClient(trust_env=False) as anybody:
        made = await hers.result("profile.update", "k", **filled)
        assert made["own"]["complete"] is True
        assert made["own"]["photos"] == photos
        assert await hers.result("profile.update", "k", **filled) == made
        await his.result("profile.update", "k", location={"latitude": 47.0707, "longitude": 15.4395})

        found = await his.result("profile.get", handle="ann.m")
        assert found == await his.result("profile.get", user=str(ann))
        assert "own" not in found
        shown = found["profile"]
        assert [one["id"] for one in shown["photos"]] == photos
        for photo, picture in zip(shown["photos"], pictures, strict=True):
            got = await anybody.get(photo["url"])
            assert (got.content, got.headers["cache-control"]) == (picture, "public, max-age=31536000, immutable")
        age = shown.pop("age")
        assert age >= 27
        assert shown.pop("photos")
        assert shown == {
            "user": str(ann), "name": "Ann", "handle": "ann.m", "first_name": "Ann", "bio": "Up early.",
            "city": "Vienna", "distance_km": 150, "interests": ["hiking"], "languages": ["de"],
            "links": ["https://ann.example"], "prompts": [{"question": "Why?", "answer": "So."}],
            "experience": [{"title": "Guide", "from_year": 2019}],
        }  # fmt: skip

        assert await his.error("profile.update", "l", handle="ann.m") == "handle_taken"
        assert await his.error("profile.update", "l", handle="support") == "handle_taken"
        assert await his.error("profile.update", "l", birthday="2024-05-17") == "too_young"
        assert await his.error("profile.update", "l", birthday="2024-02-30") == "invalid"
        assert await his.error("profile.update", "l", links=["http://plain.example"]) == "invalid"
        assert await his.error("profile.update", "l", location={"latitude": 1}) == "invalid"
        assert await his.error("profile.update", "l", photos=[photos[0]]) == "unknown_medium"
        assert await his.error("profile.update", "l", photos=photos[:1] * 2) == "invalid"
        assert await his.error("profile.get", handle="nobody") == "unknown_user"
        assert await hers.error("profile.update", "k", bio="other") == "key_reused"
        await world.database.execute("insert into block (person, blocked) values (%s, %s)", ann.id, bob.id)
        assert await his.error("profile.get", handle="ann.m") == "unknown_user"
        assert await his.error("profile.get", user=str(ann)) == "unknown_user"


async def test_all_of_ones_devices_have_ones_profile(house: House, world: World) -> None:
    """Before the answer; who comes back or starts afresh, too. Others are told nothing."""
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as phone, house.phone(ann, "tablet") as tablet, house.phone(bob) as his:
        await phone.result("conversation.direct", user=bob.id)
        before = len(phone.frames)
        made = await phone.result("profile.update", key="k", first_name="Anna", visibility={"city": "contacts"})
        kinds = [frame["t"] for frame in phone.frames[before:]]
        assert kinds.index("state") < kinds.index("ok")
        [state] = await tablet.saw("state")
        assert (state["what"], state["subject"], state["profile"]) == ("profile", "", made["own"])
        assert made["own"]["visibility"]["city"] == "contacts"
        assert set(made["own"]["visibility"].values()) == {"everyone", "contacts"}
        await phone.result("profile.update", key="l", first_name="Anna")
        assert his.of("state") == []
        assert (await his.result("user.get", users=[str(ann)]))["users"] == [{"id": str(ann), "name": "Anna"}]
        cursor = phone.cursor
    async with house.phone(ann, "laptop") as laptop:
        assert [frame["profile"] for frame in laptop.of("state")] == [made["own"]]
    async with house.phone(ann, "phone", cursor=cursor) as phone:
        assert phone.of("state") == []


def newest_is(device: Phone, own: dict[str, Any]) -> bool:
    """Whether *device* was told of *own* last."""
    return [one["profile"] for one in device.of("state")[-1:]] == [own]


async def test_two_devices_on_two_processes_change_one_profile(world: World) -> None:
    """All that either has changed is there, and both show the same at the end."""
    [ann] = await world.people("Ann")
    async with open_scene(world) as scene:
        one, two = await scene.processes(2)
        phone, tablet = await scene.phone(one, ann), await scene.phone(two, ann, "tablet")
        asked = []
        for turn in range(5):
            asked.append((phone, await phone.send("profile.update", key=f"p{turn}", bio=f"bio {turn}")))
            asked.append((tablet, await tablet.send("profile.update", key=f"t{turn}", goals=[f"goal {turn}"])))
        for device, number in asked:
            assert (await device.answer(number))["t"] == "ok"
        last = (await phone.result("profile.get"))["own"]
        assert (last["bio"], last["goals"]) == ("bio 4", ["goal 4"])
        for device in (phone, tablet):
            await device.until(partial(newest_is, device, last))
