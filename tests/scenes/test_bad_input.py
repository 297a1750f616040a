"""Bad input gets a clear error with a stable code, and costs nobody else anything."""

from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from protocol import limits
from tests.running import House, Phone, World, create_group, open_house

A_UUID = "01900000-0000-7000-8000-000000000001"


async def raw(phone: Phone, payload: bytes | str) -> dict[str, Any]:
    """Send *payload* and wait for the error that answers it."""
    before = len(phone.of("error"))
    await phone.socket.send_message(payload)
    return (await phone.saw("error", before + 1))[-1]


BROKEN = [
    b"",
    b"\x00",
    b"\xc1",
    b"\x81\xa1t",
    b"\x93\x01\x02\x03",
    msgpack.packb("hello"),
    b"\x82\xa1t\xa4ping",
    msgpack.packb({1: 2}),
    b"\x81\xa1t\xa2\xff\xfe",
    b"\x91" * 5_000,
    b"\xdf\xff\xff\xff\xff",
    b"\xc4\xff" * 50,
]


async def test_what_is_no_messagepack_map_is_a_bad_frame(house: House, world: World) -> None:
    [ann] = await world.people("Ann")
    async with house.phone(ann) as hers:
        for payload in BROKEN:
            error = await raw(hers, payload)
            assert error["code"] in ("bad_frame", "invalid"), payload
            assert error["id"] is None
            assert error["message"]
        await hers.result("ping")


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"t": "ping", "id": -1}, "id"),
    ({"t": "ping", "id": 2**53}, "id"),
    ({"t": "ping", "id": "7"}, "id"),
    ({"t": "ping", "id": 1.5}, "id"),
    ({"t": "ping"}, "id"),
    ({"t": 5, "id": 9001}, ""),
    ({"id": 9001}, ""),
    ({"t": "ping", "id": 9001, "data": "x" * 5_000}, "data"),
    ({"t": "message.send", "id": 9001, "conversation": A_UUID, "key": "k"}, "text"),
    ({"t": "message.send", "id": 9001, "conversation": A_UUID, "key": "k", "text": ""}, "text"),
    ({"t": "message.send", "id": 9001, "conversation": A_UUID, "key": "k", "text": "x" * 8_193}, "text"),
    ({"t": "message.send", "id": 9001, "conversation": A_UUID, "key": "k", "text": "a\0b"}, "text"),
    ({"t": "message.send", "id": 9001, "conversation": A_UUID, "key": "k", "text": b"bytes"}, "text"),
    ({"t": "message.send", "id": 9001, "conversation": A_UUID, "key": "", "text": "x"}, "key"),
    ({"t": "message.send", "id": 9001, "conversation": A_UUID, "key": "k" * 65, "text": "x"}, "key"),
    ({"t": "message.send", "id": 9001, "conversation": "no uuid", "key": "k", "text": "x"}, "conversation"),
    ({"t": "conversation.create", "id": 9001, "key": "k", "title": "", "members": []}, "title"),
    ({"t": "conversation.create", "id": 9001, "key": "k", "title": "t" * 201, "members": []}, "title"),
    ({"t": "conversation.create", "id": 9001, "key": "k", "title": "t", "members": [A_UUID] * 1_001}, "members"),
    ({"t": "conversation.create", "id": 9001, "key": "k", "title": "t", "members": [], "kind": "direct"}, "kind"),
    ({"t": "conversation.create", "id": 9001, "key": "k", "title": "t", "members": [], "history": "some"}, "history"),
    ({"t": "history", "id": 9001, "conversation": A_UUID, "limit": 0}, "limit"),
    ({"t": "history", "id": 9001, "conversation": A_UUID, "limit": 101}, "limit"),
    ({"t": "history", "id": 9001, "conversation": A_UUID, "before": 0}, "before"),
    ({"t": "receipt", "id": 9001, "conversation": A_UUID, "read": -1}, "read"),
    ({"t": "receipt", "id": 9001, "conversation": A_UUID, "read": 2**63}, "read"),
    ({"t": "user.get", "id": 9001, "users": []}, "users"),
    ({"t": "user.get", "id": 9001, "users": [A_UUID] * 101}, "users"),
    ({"t": "presence.watch", "id": 9001, "users": [A_UUID] * 1_001}, "users"),
    ({"t": "conversation.list", "id": 9001, "cursor": "c" * 513}, "cursor"),
]


async def test_a_field_out_of_bounds_is_named(house: House, world: World) -> None:
    [ann] = await world.people("Ann")
    for frame, field in INVALID:
        async with house.phone(ann) as hers:
            error = await raw(hers, msgpack.packb(frame))
            assert error["code"] == "invalid", frame
            assert field in error["message"], frame
            claimed = frame.get("id")
            assert error["id"] == (claimed if type(claimed) is int and 0 <= claimed < 2**53 else None), frame
            await hers.result("ping")


async def test_an_unknown_command_says_so(house: House, world: World) -> None:
    [ann] = await world.people("Ann")
    async with house.phone(ann) as hers:
        assert await hers.error("dance", style="tango") == "unknown_command"
        assert await hers.error("entry") == "unknown_command"
        assert await hers.error("x" * 10_000) == "unknown_command"


async def test_unknown_fields_are_passed_over(house: House, world: World) -> None:
    """New clients keep working with old servers."""
    [ann] = await world.people("Ann")
    async with house.phone(ann) as hers:
        assert (await hers.ask("ping", colour="blue", more={"a": [1]}))["t"] == "ok"


async def test_a_text_message_says_binary_only(house: House, world: World) -> None:
    [ann] = await world.people("Ann")
    async with house.phone(ann) as hers:
        assert (await raw(hers, '{"t": "ping", "id": 1}'))["code"] == "binary_only"
        await hers.result("ping")
    async with house.call() as stranger:
        assert (await raw(stranger, "hello"))["code"] == "binary_only"
        assert await stranger.end() == (4505, "bad_hello")


async def test_a_frame_over_the_limit_closes_with_1009(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        fits = limits.FRAME_BYTES - len(msgpack.packb({"t": "ping", "id": 77, "colour": ""})) - 4
        await hers.socket.send_message(msgpack.packb({"t": "ping", "id": 77, "colour": "x" * fits}))
        assert (await hers.answer(77))["t"] == "ok"
        await hers.socket.send_message(b"x" * (limits.FRAME_BYTES + 1))
        assert (await hers.end())[0] == 1009
        await his.result("ping")


async def test_a_smaller_frame_limit_is_kept(world: World) -> None:
    [ann] = await world.people("Ann")
    async with open_house(world, frame_bytes=1024) as house, house.phone(ann) as hers:
        await hers.socket.send_message(b"x" * 1025)
        assert (await hers.end())[0] == 1009


# --- before hello ---


@pytest.mark.parametrize(
    ("frame", "code", "close"),
    [
        ({"t": "ping", "id": 3}, "hello_first", (4503, "hello_first")),
        ({"t": "hello", "id": 3, "token": "not a token", "device": "d"}, "unauthorized", (4501, "unauthorized")),
        ({"t": "hello", "id": 3, "device": "d"}, "invalid", (4505, "bad_hello")),
        ({"t": "hello", "id": 3, "token": "t", "device": ""}, "invalid", (4505, "bad_hello")),
        ({"t": "hello", "id": 3, "token": "t", "device": "d", "heads": {"x": 1}}, "invalid", (4505, "bad_hello")),
        ({"t": "hello", "id": 3, "token": "t", "device": "d", "heads": {A_UUID: -1}}, "invalid", (4505, "bad_hello")),
        ({"t": "hello", "id": 3, "token": "t", "device": "d", "recent": 21}, "invalid", (4505, "bad_hello")),
        ({"t": "unheard_of", "id": 3}, "unknown_command", (4505, "bad_hello")),
    ],
)
async def test_a_first_frame_that_is_no_good_hello_is_answered_and_closed(
    house: House, frame: dict[str, Any], code: str, close: tuple[int, str]
) -> None:
    async with house.call() as stranger:
        error = await raw(stranger, msgpack.packb(frame))
        assert (error["id"], error["code"]) == (3, code)
        assert await stranger.end() == close


async def test_a_hello_with_too_many_heads_is_invalid(house: House, world: World) -> None:
    [ann] = await world.people("Ann")
    async with house.call() as stranger:
        heads = {f"01900000-0000-7000-8000-{n:012x}": 1 for n in range(limits.HEADS + 1)}
        number = await stranger.send("hello", token=ann.token, device="d", heads=heads)
        assert (await stranger.answer(number))["code"] == "invalid"
        assert await stranger.end() == (4505, "bad_hello")


async def test_a_hello_with_as_many_heads_as_allowed_is_heard(house: House, world: World) -> None:
    [ann] = await world.people("Ann")
    heads = {f"01900000-0000-7000-8000-{n:012x}": 2**62 for n in range(limits.HEADS)}
    async with house.phone(ann, heads=heads, device="d" * limits.DEVICE_CHARS) as hers:
        assert len(hers.of("rewound")) == limits.HEADS, "places where one never was"


async def test_a_bad_cursor_is_answered_and_closed(house: House, world: World) -> None:
    [ann] = await world.people("Ann")
    async with house.call() as hers:
        number = await hers.send("hello", token=ann.token, device="d", cursor="!!!")
        assert (await hers.answer(number))["code"] == "bad_cursor"
        assert await hers.end() == (4505, "bad_hello")


async def test_a_second_hello_is_an_error_and_no_more(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers:
        assert await hers.error("hello", token=bob.token, device="d") == "hello_twice"
        club = await create_group(hers, bob)
        assert await hers.say(club, "k") == 2


async def test_no_hello_is_closed(world: World) -> None:
    async with open_house(world, hello_timeout_s=0.2) as house, house.call() as stranger:
        assert await stranger.end() == (4005, "hello_timeout")


async def test_somebody_who_has_a_token_and_no_account_is_sent_away(house: House, world: World) -> None:
    [ann] = await world.people("Ann")
    await world.database.execute("delete from account where id = %s", ann.id)
    async with house.phone(ann, synced=False) as hers:
        assert await hers.end() == (4501, "unauthorized")


async def test_any_noise_before_and_after_costs_the_others_nothing(house: House, world: World) -> None:
    """Strangers send noise while two people talk."""
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as hers, house.phone(bob) as his:
        club = await create_group(hers, bob)
        for n, payload in enumerate([*BROKEN, *(msgpack.packb(frame) for frame, _ in INVALID)]):
            async with house.call() as stranger:
                await stranger.socket.send_message(payload)
                assert (await stranger.end())[0] in (4505, 4503)
            await hers.say(club, f"k{n}")
        await his.has(club, 1 + len(BROKEN) + len(INVALID))
