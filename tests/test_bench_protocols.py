"""The load generator's protocols and its storm, each with a scripted peer that keeps its word, and ones that do not."""

import pytest
import trio

from bench.loadgen import Load, LoadFailed, Mode, Proto, Seat, build, need_files, run_load
from tests.bench_peers import (
    FAULTS,
    BarePeer,
    CuriousXmppPeer,
    Fault,
    KonnectPeer,
    NatsPeer,
    OldXmppPeer,
    Peer,
    SocketIoPeer,
    XmppPeer,
    open_peer,
)

SHORT = {"seconds": 0.3, "warmup": 0.1, "bytes": 100, "drain": 0.5, "sample": 1}
CLEAN = {"lost": 0, "wrong": 0, "errors": 0, "closes": 0}
FOUND: dict[Fault, str] = {
    "loses": "lost",
    "doubles": "wrong",
    "reorders": "wrong",
    "alters": "wrong",
    "forgets to answer": "lost",
    "misroutes": "wrong",
}
PEERS: dict[Proto, type[Peer]] = {
    "konnect": KonnectPeer,
    "socketio": SocketIoPeer,
    "xmpp": XmppPeer,
    "nats": NatsPeer,
    "bare": BarePeer,
}
GROUP: list[Proto] = ["socketio", "xmpp", "nats", "bare"]
STORM: list[Proto] = ["konnect", "socketio", "xmpp"]


@pytest.fixture(autouse=True, scope="module")
def generator() -> None:
    """These are the C generator's alone."""
    try:
        build()
    except LoadFailed as problem:
        pytest.skip(str(problem))


def faults(load: Load) -> dict[str, int]:
    return {name: load.counts[name] for name in CLEAN}


def check(load: Load, fault: Fault) -> None:
    """The fault is counted as what it is; an honest peer has none."""
    found = faults(load)
    assert found == CLEAN if fault == "none" else found[FOUND[fault]] > 0, (found, load.counts)


def seats(proto: Proto, mode: Mode, missed: int = 0, head: int = 0) -> list[Seat]:
    """An author and a reader."""
    if proto == "xmpp":
        where = ("bob", "ann") if mode == "direct" else ("room", "room")
        names = ("ann:secret", "bob:secret")
    else:
        where, names = ("room", "room"), ("-", "-") if proto == "nats" else ("one", "two")
    return [Seat(names[0], where[0], "a", missed, head), Seat(names[1], where[1], "r", missed, head)]


async def run(peer: Peer, proto: Proto, mode: Mode, **options: float) -> Load:
    # The drain ends when nothing is owed: only who waits for what never comes waits for all of it.
    drain = SHORT["drain"] if peer.fault != "none" else 10
    async with open_peer(peer):
        return await run_load(
            peer, mode, seats(proto, mode), SHORT | {"drain": drain} | options, proto=proto, generator="c"
        )


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("proto", GROUP)
async def test_a_group_by_the_clock(proto: Proto, fault: Fault) -> None:
    load = await run(PEERS[proto](fault), proto, "fanout", rate=200)
    check(load, fault)
    assert load.counts["sent"] >= 60
    if fault == "none":
        assert load.counts["acks"] == load.counts["sent"] == load.counts["deliveries"] / 2
        assert load.counts["decoded"] == load.counts["deliveries"]


@pytest.mark.parametrize("proto", GROUP)
async def test_a_group_as_fast_as_it_goes(proto: Proto) -> None:
    load = await run(PEERS[proto](), proto, "fanout", flight=8)
    check(load, "none")
    assert load.counts["deliveries"] == 2 * load.counts["sent"] >= 100


@pytest.mark.parametrize("fault", ["none", "alters"])
@pytest.mark.parametrize("proto", ["socketio", "xmpp", "bare"])
async def test_round_trips(proto: Proto, fault: Fault) -> None:
    load = await run(PEERS[proto](fault), proto, "ping", flight=3)
    check(load, fault)
    assert load.counts["acks"] == load.counts["sent"] >= 50
    assert load.counts["decoded"] == load.counts["acks"]


@pytest.mark.parametrize("piece", [1, 3, 50])
@pytest.mark.parametrize("proto", GROUP)
async def test_bytes_may_come_in_any_pieces(proto: Proto, piece: int) -> None:
    load = await run(PEERS[proto](piece=piece), proto, "fanout", rate=20)
    check(load, "none")
    assert load.counts["decoded"] == load.counts["deliveries"] == 2 * load.counts["sent"] > 0


@pytest.mark.parametrize("proto", ["socketio", "xmpp", "bare"])
async def test_large_messages(proto: Proto) -> None:
    load = await run(PEERS[proto](), proto, "ping", bytes=8000)
    check(load, "none")
    assert load.counts["decoded"] == load.counts["acks"] > 0


@pytest.mark.parametrize("fault", [*FAULTS, "forgets to answer"])
@pytest.mark.parametrize("proto", ["socketio", "xmpp"])
async def test_pairs(proto: Proto, fault: Fault) -> None:
    load = await run(PEERS[proto](fault), proto, "direct", flight=4)
    check(load, fault)
    if fault == "none":
        assert load.counts["acks"] == load.counts["sent"] == load.counts["deliveries"] >= 20


@pytest.mark.parametrize("proto", ["socketio", "xmpp"])
async def test_the_idle_are_held(proto: Proto) -> None:
    load = await run(PEERS[proto](), proto, "idle")
    check(load, "none")
    assert load.counts["sockets"] == load.phases[0].counts["synced"]["count"] == 2
    assert load.phases[0].counts["seconds"] >= SHORT["seconds"]


async def storm(proto: Proto, fault: Fault, missed: int, expected: int, refused: tuple[int, ...] = ()) -> Load:
    peer = PEERS[proto](fault, missed, refused)
    async with open_peer(peer):
        told = seats(proto, "storm", expected, head=7)
        return await run_load(peer, "storm", told, {}, proto=proto, generator="c")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("proto", STORM)
async def test_what_was_missed_comes_after_a_storm_once_and_in_order(proto: Proto, fault: Fault) -> None:
    load = await storm(proto, fault, missed=12, expected=12)
    check(load, fault)
    assert load.counts["expected"] == 24
    if fault == "none":
        assert load.counts["deliveries"] == 24
        assert load.phases[0].counts["synced"]["count"] == 2


@pytest.mark.parametrize("proto", ["konnect", "socketio"])
async def test_what_was_missed_in_another_room_does_not_count(proto: Proto) -> None:
    """Not for XMPP: a person's archive names no room."""
    check(await storm(proto, "misroutes", missed=12, expected=12), "misroutes")


@pytest.mark.parametrize("proto", STORM)
async def test_a_storm_in_which_nothing_was_missed(proto: Proto) -> None:
    load = await storm(proto, "none", missed=0, expected=0)
    check(load, "none")
    assert load.counts["deliveries"] == load.counts["redials"] == 0
    assert load.phases[0].counts["synced"]["count"] == 2


@pytest.mark.parametrize(("missed", "fault"), [(5, "lost"), (14, "wrong")])
@pytest.mark.parametrize("proto", ["konnect", "socketio"])
async def test_the_last_ones_are_not_forgotten_and_none_is_invented(proto: Proto, missed: int, fault: str) -> None:
    load = await storm(proto, "none", missed, expected=12)
    assert faults(load)[fault] > 0


@pytest.mark.parametrize("proto", STORM)
async def test_who_is_refused_in_a_storm_comes_again_at_once(proto: Proto) -> None:
    """The third and fourth connection are the first after the storm: one is ended, one is told to wait."""
    load = await storm(proto, "none", missed=3, expected=3, refused=(2, 3))
    check(load, "none")
    assert load.counts["redials"] == 2
    assert load.counts["deliveries"] == 6


async def test_a_server_that_is_gone_for_a_moment_is_dialled_until_it_is_back() -> None:
    peer, loads = SocketIoPeer(), []

    async def load() -> None:
        people = seats("socketio", "storm")
        loads.append(await run_load(peer, "storm", people, {}, proto="socketio", generator="c"))

    async with trio.open_nursery() as nursery:
        async with open_peer(peer):
            nursery.start_soon(load)
            await peer.deserted.wait()
        await trio.sleep(1)  # so long it is away; whoever dials meanwhile is refused by the kernel
        async with open_peer(peer):
            with trio.fail_after(60):
                while not loads:
                    await trio.sleep(0.01)
    check(loads[0], "none")
    assert loads[0].counts["redials"] >= 2


async def test_an_old_server_demands_a_session() -> None:
    load = await run(OldXmppPeer(), "xmpp", "direct")
    check(load, "none")


@pytest.mark.parametrize("flight", [1, 4])
async def test_a_ping_of_the_server_between_message_and_acknowledgement(flight: int) -> None:
    """Its answer is a stanza as well, but one that the acknowledgement does not count yet."""
    load = await run(CuriousXmppPeer(), "xmpp", "direct", flight=flight)
    check(load, "none")
    assert load.counts["acks"] == load.counts["sent"] == load.counts["deliveries"] >= 20


@pytest.mark.parametrize(
    ("proto", "token"), [("socketio", "bad"), ("xmpp", "ann:bad"), ("nats", "bad")], ids=["socketio", "xmpp", "nats"]
)
async def test_a_refused_sign_in_is_one_sentence(proto: Proto, token: str) -> None:
    async with open_peer(PEERS[proto]()) as peer:
        with pytest.RaisesGroup(pytest.RaisesExc(LoadFailed, match="a sign-in was refused")):
            await run_load(peer, "fanout", [Seat(token, "room", "a")], SHORT, proto=proto, generator="c")


async def test_a_refused_message_is_an_error() -> None:
    async with open_peer(SocketIoPeer()) as peer:
        people = [Seat("one", "forbidden", "a"), Seat("two", "forbidden", "r")]
        load = await run_load(peer, "direct", people, SHORT, proto="socketio", generator="c")
        assert load.counts["errors"] == load.counts["sent"] > 0
        assert load.counts["first_error"] == "not_a_member"


async def test_a_protocol_without_the_mode_says_so() -> None:
    async with open_peer(NatsPeer()) as peer:
        with pytest.RaisesGroup(pytest.RaisesExc(LoadFailed, match="nats has no ping")):
            await run_load(peer, "ping", [Seat("-", "room", "a")], SHORT, proto="nats", generator="c")


@pytest.mark.parametrize(("mode", "proto"), [("idle", "konnect"), ("storm", "konnect"), ("ping", "bare")])
async def test_python_says_what_it_cannot_do(mode: Mode, proto: Proto) -> None:
    with pytest.raises(LoadFailed, match=f"{mode} over {proto} needs the load generator in C"):
        await run_load(NatsPeer(), mode, [Seat("-")], {}, proto=proto, generator="python")


def test_too_many_sockets_are_one_sentence() -> None:
    need_files(10)
    with pytest.raises(LoadFailed, match=r"need a higher limit of open files: it is \d+"):
        need_files(1 << 40)
