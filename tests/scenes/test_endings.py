"""How connections end, and that each end says what to do next."""

import httpx
import pytest
import trio

from konnect_server.tokens import Tokens
from protocol import closing
from tests.running import LIMIT_S, House, Person, World, create_group, open_house, open_process

PASSWORD = "correct horse battery"


async def test_the_same_device_twice_the_newest_stays(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(ann) as old, house.phone(ann, "laptop") as laptop:
        club = await create_group(old, bob)
        await laptop.has(club, 1)
        async with house.phone(ann, heads={club: 1}) as new:
            assert await old.end() == (4500, "replaced")
            await new.say(club, "k")
            await laptop.has(club, 2)


async def test_logging_out_closes_that_sign_ins_sockets(house: House, world: World) -> None:
    """Over HTTP, on the same port. Another sign-in of the same person stays."""
    async with httpx.AsyncClient(base_url=house.url, timeout=LIMIT_S) as http:
        account = {"email": "ann@example.com", "password": PASSWORD}
        first = (await http.post("/v1/auth/register", json={**account, "name": "Ann"})).json()
        second = (await http.post("/v1/auth/login", json=account)).json()
        async with house.call() as phone, house.call() as laptop:
            await phone.send("hello", token=first["access_token"], device="phone")
            await laptop.send("hello", token=second["access_token"], device="laptop")
            await phone.saw("synced")
            await laptop.saw("synced")
            done = await http.post(
                "/v1/auth/logout",
                json={"refresh_token": first["refresh_token"]},
                headers={"authorization": f"Bearer {first['access_token']}"},
            )
            assert done.status_code == 204
            assert await phone.end() == (4502, "signed_out")
            await laptop.result("ping")
        async with house.call() as phone:
            number = await phone.send("hello", token=first["access_token"], device="phone")
            assert (await phone.answer(number))["code"] == "unauthorized"
            assert await phone.end() == (4501, "unauthorized")


async def test_a_socket_ends_with_its_token_and_a_renewed_one_does_not(house: House, world: World) -> None:
    short = Tokens(world.folder / "keys", lifetime_s=1)
    ann, bob = await world.people("Ann", "Bob")
    async with house.call() as hers, house.call() as his:
        for phone, person in ((hers, ann), (his, bob)):
            await phone.send("hello", token=short.sign(person.id, person.sign_in), device="d")
            await phone.saw("synced")
        assert (await his.result("auth.renew", token=bob.token))["expires_in_s"] > 800
        assert await his.error("auth.renew", token=ann.token) == "unauthorized"
        assert await his.error("auth.renew", token="no token") == "unauthorized"
        assert await hers.end() == (4006, "token_expired")
        await his.result("ping")
    async with house.call() as late:
        number = await late.send("hello", token=short.sign(ann.id, ann.sign_in), device="d")
        await late.answer(number)
        assert (await late.end())[0] == 4006


async def test_an_expired_token_is_refused(house: House, world: World) -> None:
    [ann] = await world.people("Ann")
    past = Tokens(world.folder / "keys", lifetime_s=1, clock=lambda: 1_700_000_000.0)
    async with house.call() as hers:
        number = await hers.send("hello", token=past.sign(ann.id, ann.sign_in), device="d")
        assert (await hers.answer(number))["code"] == "unauthorized"
        assert await hers.end() == (4501, "unauthorized")


async def test_somebody_elses_key_signs_nothing(house: House, world: World) -> None:
    other = Tokens(world.folder / "other keys")
    [ann] = await world.people("Ann")
    async with house.call() as hers:
        await hers.send("hello", token=other.sign(ann.id, ann.sign_in), device="d")
        assert await hers.end() == (4501, "unauthorized")


async def test_a_client_that_says_goodbye_is_answered(house: House, world: World) -> None:
    ann, bob = await world.people("Ann", "Bob")
    async with house.phone(bob) as his:
        await his.result("conversation.direct", user=str(ann))  # partners see each other
        async with house.phone(ann) as hers:
            await his.until(lambda: his.of("presence"))
            await hers.socket.aclose(1000, "bye")
            assert (await hers.end())[0] == 1000
        await his.until(lambda: his.of("presence") and his.of("presence")[-1]["state"] == "offline")


async def test_every_close_says_whether_to_come_back() -> None:
    assert [close for close in closing.ALL if close.come_back != (close.code < 4500)] == []


# --- going down ---


async def test_a_drain_answers_what_it_took_and_tells_everybody_to_come_back(world: World) -> None:
    """SIGTERM to a real process with messages in flight: 4000 "draining", exit 0 within 10 s, nothing acknowledged is
    lost, and what was not acknowledged may be repeated with the same keys."""
    ann, bob = await world.people("Ann", "Bob")
    async with open_process(world, drain_s=1.0) as process:
        async with process.phone(ann) as hers, process.phone(bob) as his:
            club = await create_group(hers, bob)
            numbers = [
                await hers.send("message.send", conversation=club, key=f"k{n}", text=f"line {n}") for n in range(200)
            ]
            await hers.answer(numbers[0])
            began = trio.current_time()
            code = await process.stop()
            assert code == 0
            assert trio.current_time() - began < 10
            assert await hers.end() == (4000, "draining")
            assert await his.end() == (4000, "draining")
            acknowledged = {n: reply for n, number in enumerate(numbers) if (reply := hers.reply(number))}
        log = dict(await world.log(club))
        assert acknowledged
        for n, reply in acknowledged.items():
            assert log[reply["result"]["seq"]] == f"line {n}"
    async with open_process(world) as process, process.phone(ann, heads=hers.heads) as again:
        for n in range(200):
            await again.say(club, f"k{n}", f"line {n}")
        assert [text for _, text in await world.log(club)][1:] == [f"line {n}" for n in range(200)]


async def test_a_drain_sends_all_away_and_lets_nobody_in(world: World) -> None:
    async with open_house(world, drain_s=1.0) as house:
        people = await world.people(*map(str, range(5)))
        async with trio.open_nursery() as nursery:
            ended: list[tuple[int, str]] = []

            async def stays(person: Person) -> None:
                async with house.call() as phone:
                    await phone.send("hello", token=person.token, device="d")
                    ended.append(await phone.end())

            for person in people:
                nursery.start_soon(stays, person)
            with trio.fail_after(LIMIT_S):
                while len(house.core.registry.users) < 5:
                    await trio.sleep(0.01)
            await house.server.drain()
        assert ended == [(4000, "draining")] * 5
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", house.port)


async def test_a_server_that_is_killed_loses_nothing_it_acknowledged(world: World) -> None:
    """SIGKILL in the middle of a conversation; the next process knows everything that had its ok."""
    ann, bob = await world.people("Ann", "Bob")
    acknowledged: dict[str, int] = {}
    heads: dict[str, int] = {}
    club = ""
    for life in range(3):
        async with open_process(world) as process, process.phone(ann, heads=heads) as hers:
            club = club or await create_group(hers, bob)
            numbers = {
                f"{life}.{n}": await hers.send("message.send", conversation=club, key=f"{life}.{n}", text=f"{life}.{n}")
                for n in range(300)
            }
            await hers.answer(numbers[f"{life}.{50 * life}"])
            process.kill()
            await hers.end()
            for text, number in numbers.items():
                reply = hers.reply(number)
                if reply is not None:
                    acknowledged[text] = reply["result"]["seq"]
            heads = dict(hers.heads)
    log = await world.log(club)
    assert [seq for seq, _ in log] == list(range(1, len(log) + 1)), "no gap"
    by_text = {text: seq for seq, text in log}
    assert all(by_text[text] == seq for text, seq in acknowledged.items())
    assert len(acknowledged) >= 3
