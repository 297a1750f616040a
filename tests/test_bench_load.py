"""The load generators, in C and in Python: they measure a real server, and see it when a server breaks its word."""

import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import pytest
import trio
from click.testing import CliRunner

from bench import actions, idle, storm
from bench.__main__ import cli
from bench.accounts import write_group, write_pairs, write_people
from bench.loadgen import Generator, Load, LoadFailed, Seat, build, run_load
from bench.options import Common
from bench.processes import MEASURABLE, Cost, Process, tree
from bench.report import Report
from bench.server import LIFTED, ServerFailed, ServerProcess, open_database_of, open_server
from protocol.closing import SLOW
from protocol.codec import message

GENERATORS: tuple[Generator, ...] = ("c", "python")
SHORT = {"seconds": 0.4, "warmup": 0.1, "bytes": 100, "drain": 20}
CLEAN = {"lost": 0, "wrong": 0, "errors": 0, "closes": 0}


@pytest.fixture(params=GENERATORS)
def generator(request: pytest.FixtureRequest) -> Generator:
    """Each generator that this machine can run."""
    name: Generator = request.param
    if name == "c":
        try:
            build()
        except LoadFailed as problem:
            pytest.skip(str(problem))
    return name


def faults(load: Load) -> dict[str, int]:
    return {name: load.counts[name] for name in CLEAN}


async def test_a_real_server_answers_pings_messages_and_groups(generator: Generator) -> None:
    """Every mode against one server: nothing lost, nothing wrong, and figures of the server's processes."""
    async with open_server(LIFTED) as server:
        async with open_database_of(server) as dsn:
            keys = server.folder / "keys"
            people = await trio.to_thread.run_sync(write_people, dsn, keys, 10)
            pairs = await trio.to_thread.run_sync(write_pairs, dsn, people)
            group = str(await trio.to_thread.run_sync(write_group, dsn, people))

        tokens = [person.token for person in people]
        load = await run_load(
            server, "ping", [Seat(token) for token in tokens], SHORT | {"flight": 3}, generator=generator
        )
        assert faults(load) == CLEAN
        assert load.counts["acks"] == load.counts["sent"] >= 30
        assert load.counts["decoded"] > 0

        seats = [Seat(token, str(pairs[n // 2]), "r" if n % 2 else "a") for n, token in enumerate(tokens)]
        load = await run_load(server, "direct", seats, SHORT | {"flight": 2}, generator=generator)
        assert faults(load) == CLEAN
        assert load.counts["deliveries"] == load.counts["acks"] == load.counts["sent"] >= 10

        seats = [Seat(token, group, "r" if n else "a") for n, token in enumerate(tokens)]
        load = await run_load(server, "fanout", seats, SHORT | {"rate": 100}, generator=generator)
        assert faults(load) == CLEAN
        assert load.counts["deliveries"] == 10 * load.counts["sent"]

        report = Report("fanout", "delivery", {})
        run = report.add("all read", load, load.phases[0], "delivery", load.phases[0].counts["deliveries"])
        assert report.good
        assert run["p50_ms"] <= run["p99_ms"] <= run["max_ms"]
        told = json.loads(report.line())
        assert set(told) >= {"bench", "unit", "ok", "settings", "runs", "machine", "commit"}
        assert told["runs"][0]["rate_per_s"] > 0


async def test_idle_people_and_storms_on_a_real_server() -> None:
    """Every entry that was missed is checked by the generator; what is left is that nobody and nothing was skipped."""
    try:
        build()
    except LoadFailed as problem:
        pytest.skip(str(problem))
    report = await idle.measure(Common(seconds=0.3), sockets=21, settle_s=0.1)
    assert report.good
    (run,) = report.runs
    assert run["count"] == 20
    assert run["held_s"] >= 0.3
    assert run["rate_per_s"] > 0
    if MEASURABLE:
        assert run["rss_empty_after_mib"] > 0
        assert run["rss_per_socket_kib"] is not None

    report = await storm.measure(Common(), sockets=25, missed=(0, 20), settle_s=0.1)
    assert report.good
    assert [run["count"] for run in report.runs] == [25, 25]
    assert [run["entries"] for run in report.runs] == [0, 25 * 20]
    assert len(report.remarks) == 2


@pytest.mark.parametrize("kind", ["group", "room"])
async def test_each_action_is_measured_beside_ordinary_messages(kind: str) -> None:
    """Every row of the benchmark, for moments: no action is refused, and no message beside it is lost."""
    try:
        build()
    except LoadFailed as problem:
        pytest.skip(str(problem))
    report = await actions.measure(Common(seconds=0.05, warmup=0.1), kind, 52, 4, "all", baseline_s=0.5)
    assert report.runs[0]["name"] == actions.BASELINE
    assert report.runs[0]["failures"] == CLEAN
    assert all(run["count"] == 4 for run in report.runs[1:])
    assert {"message.edit", "member.ban", "receipt, read", "conversation.mute"} <= {run["name"] for run in report.runs}


async def test_a_reader_that_stops_is_closed_as_slow_and_the_others_get_everything(generator: Generator) -> None:
    """2.4 MB a second against a bound of 4 MiB: the one is over it within two seconds, the others never are, however
    busy the machine."""
    async with open_server(LIFTED | {"outbox_bytes": "4194304"}) as server:
        async with open_database_of(server) as dsn:
            people = await trio.to_thread.run_sync(write_people, dsn, server.folder / "keys", 4)
            group = str(await trio.to_thread.run_sync(write_group, dsn, people))
        seats = [Seat(person.token, group, "r" if place else "a") for place, person in enumerate(people)]
        seats[-1] = seats[-1]._replace(role="s")
        options = SHORT | {"rate": 300, "bytes": 8000, "seconds": 4, "phases": 2}
        load = await run_load(server, "fanout", seats, options, generator=generator)
        assert faults(load) == CLEAN
        assert load.counts["deliveries"] == 3 * load.counts["sent"]
        assert load.counts["slow"] == [[SLOW.code, SLOW.reason]]


async def test_a_refused_sign_in_is_one_sentence(generator: Generator) -> None:
    async with open_server(LIFTED) as server:
        with pytest.RaisesGroup(pytest.RaisesExc(LoadFailed, match="refused|closed before it was live")):
            await run_load(server, "ping", [Seat("no-token")], SHORT, generator=generator)


# --- A server that breaks its word -----------------------------------------------------------------------------------

Answer = Callable[[dict[str, Any], int], list[dict[str, Any]]]  # a command and its number -> what is sent for it


def honest(command: dict[str, Any], number: int) -> list[dict[str, Any]]:
    return [entry(command, number), ok(command, seq=number, at_ms=1)]


def loses_some(command: dict[str, Any], number: int) -> list[dict[str, Any]]:
    return [ok(command, seq=number, at_ms=1)] if number % 5 == 4 else honest(command, number)


def doubles_some(command: dict[str, Any], number: int) -> list[dict[str, Any]]:
    return [entry(command, number), *honest(command, number)] if number % 5 == 4 else honest(command, number)


def forgets_to_answer(command: dict[str, Any], number: int) -> list[dict[str, Any]]:
    return honest(command, number)[:1] if number == 7 else honest(command, number)


def alters_some(command: dict[str, Any], number: int) -> list[dict[str, Any]]:
    return honest(command | {"text": "f" * 100} if number % 5 == 4 else command, number)


def refuses_some(command: dict[str, Any], number: int) -> list[dict[str, Any]]:
    if number % 5 != 4:
        return honest(command, number)
    refusal = {"t": "error", "id": command["id"], "code": "rate_limited", "message": "not so fast"}
    return [entry(command, number), refusal]


def entry(command: dict[str, Any], number: int) -> dict[str, Any]:
    values = {"conversation": command["conversation"], "author": "a", "key": command["key"], "text": command["text"]}
    return {"t": "entry", "seq": number, "kind": "message", "at_ms": 1, **values}


def ok(command: dict[str, Any], **result: int) -> dict[str, Any]:
    return {"t": "ok", "id": command["id"], "result": result}


FAULTS: list[tuple[Answer, str | None]] = [
    (honest, None),
    (loses_some, "lost"),
    (doubles_some, "wrong"),
    (forgets_to_answer, "lost"),
    (alters_some, "wrong"),
    (refuses_some, "errors"),
]


@pytest.mark.parametrize(("answer", "fault"), FAULTS, ids=lambda value: getattr(value, "__name__", None))
async def test_each_broken_promise_is_counted(generator: Generator, answer: Answer, fault: str | None) -> None:
    """A benchmark that cannot fail measures nothing. One member, so that its entry is its delivery."""
    async with stand_in(answer) as server:
        options = SHORT | {"rate": 200, "sample": 1, "drain": 0.5}
        load = await run_load(server, "fanout", [Seat("t", "c", "a")], options, generator=generator)
        assert load.counts["sent"] > 10
        found = faults(load)
        assert found == CLEAN if fault is None else found[fault] > 0


async def test_a_seat_with_a_head_signs_in_as_a_client_that_comes_back(generator: Generator) -> None:
    """So that ten thousand members of one group are not each told of ten thousand; one without starts afresh."""
    hellos: list[dict[str, Any]] = []
    async with stand_in(honest, hellos.append) as server:
        for seat in (Seat("t", "c", "a", head=7), Seat("t", "c", "a")):
            load = await run_load(server, "fanout", [seat], SHORT | {"rate": 50}, generator=generator)
            assert faults(load) == CLEAN
            assert load.counts["deliveries"] == load.counts["sent"] > 0
    back, afresh = hellos
    assert (back["heads"], back["cursor"]) == ({"c": 7}, None)
    assert afresh.keys().isdisjoint({"heads", "cursor"})


@asynccontextmanager
async def stand_in(
    answer: Answer, greeted: Callable[[dict[str, Any]], None] = lambda _: None
) -> AsyncIterator[ServerProcess]:
    """A server of a few lines, in this process: enough WebSocket for the generators, answers of the test's choice;
    *greeted* is told of each hello."""

    async def serve(stream: trio.SocketStream) -> None:
        data = await _until(stream, b"", b"\r\n\r\n")
        assert b"konnect.v1" in data
        await stream.send_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: konnect.v1\r\nSec-WebSocket-Accept: VCUCx0eCwvbuU7KLSJZfGLD8A6o=\r\n\r\n"
        )
        data, number = data.partition(b"\r\n\r\n")[2], 0
        while True:
            while (frame := _unmask(data)) is None:
                more = await stream.receive_some()
                if not more:
                    return
                data += more
            payload, data = frame
            command = msgpack.unpackb(payload)
            if command["t"] == "hello":
                greeted(command)
                frames = [ok(command), {"t": "synced", "cursor": ""}]
            else:
                frames = answer(command, number)
                number += 1
            await stream.send_all(b"".join(message(msgpack.packb(one)) for one in frames))

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield _StandIn(listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()


class _StandIn(ServerProcess):
    """What ``run_load`` asks of a server."""

    def __init__(self, port: int) -> None:
        self.port = port

    def cost(self) -> Cost | None:
        return None


async def _until(stream: trio.SocketStream, data: bytes, end: bytes) -> bytes:
    while end not in data:
        data += await stream.receive_some()
    return data


def _unmask(data: bytes) -> tuple[bytes, bytes] | None:
    """The first frame's payload and the rest; None when it has not come whole."""
    if len(data) < 6:
        return None
    size, head = data[1] & 0x7F, 2
    if size == 126:
        size, head = int.from_bytes(data[2:4], "big"), 4
    if len(data) < head + 4 + size:
        return None
    mask = data[head : head + 4]
    payload = data[head + 4 : head + 4 + size]
    return bytes(byte ^ mask[at & 3] for at, byte in enumerate(payload)), data[head + 4 + size :]


# --- The rest --------------------------------------------------------------------------------------------------------


async def test_a_server_of_the_bench_leaves_nothing_behind() -> None:
    """Neither folder nor process, though it was killed and its PostgreSQL outlived it."""
    async with open_server() as server:
        folder, postgres = server.folder, server.postgres_pid
        assert postgres is not None
        await server.kill()
        assert server.postgres_pid == postgres
        await server.start()
        await server.kill()
    assert not folder.exists()
    assert not runs(postgres)


def runs(pid: int) -> bool:
    """Whether there is such a process, a zombie that nobody has reaped not counted."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


async def test_a_server_that_cannot_start_says_why() -> None:
    with pytest.raises(ServerFailed, match="FRAME_BYTES is"):
        async with open_server({"frame_bytes": "many"}):
            pass


def test_without_a_compiler_the_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("bench.loadgen.BUILT", tmp_path)
    with pytest.raises(LoadFailed, match="no C compiler"):
        build()


def test_every_benchmark_lifts_the_rate_limits() -> None:
    assert float(Common().limits["messages_per_s"]) >= 1e6


def test_the_bench_lists_its_commands() -> None:
    result = CliRunner().invoke(cli, [])
    assert result.exit_code == 0
    for name in ("all", "direct", "fanout", "idle", "replay", "roundtrip", "storm"):
        assert f"  {name} " in result.output
        assert CliRunner().invoke(cli, [name, "--help"]).exit_code == 0


def test_a_tree_of_processes_is_told_from_its_parents() -> None:
    """The database is started by the server and is still not part of its cost."""
    processes = [Process(pid, parent, 1.0) for pid, parent in ((1, 0), (20, 1), (21, 20), (22, 20), (30, 21), (40, 1))]
    assert set(tree(20, processes)) == {20, 21, 22, 30}
    assert set(tree(21, processes)) == {21, 30}
    assert tree(99, processes) == {}
    assert tree(None, processes) == {}
