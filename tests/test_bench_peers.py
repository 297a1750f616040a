"""The benchmarks' peers keep the promises that they are measured for, and the comparison says what it saw."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trio
from click.testing import CliRunner
from msgspec.structs import replace
from trio_websocket import WebSocketConnection, open_websocket_url

from bench.loadgen import Load, LoadFailed, Mode, Seat, build, run_load
from bench.options import Common
from bench.peers import ejabberd, install, run, socketio, table
from bench.peers.__main__ import cli
from bench.peers.host import Host
from bench.peers.kinds import KONNECT, PEERS, TITLES, Kind
from bench.peers.peer import PeerFailed, free_port, open_folder, open_peer
from bench.peers.postgres import open_postgres
from bench.peers.run import Clock, Job, Outcome, jobs_of, run_jobs, servers_of, show
from bench.peers.table import AIMS, as_json, as_markdown, as_text, judge
from bench.peers.workloads import FULL, QUICK, Workload, measure
from bench.processes import MEASURABLE
from bench.report import Report

SHORT = {"seconds": 0.3, "warmup": 0.1, "bytes": 100, "drain": 20}
CLEAN = {"lost": 0, "wrong": 0, "errors": 0, "closes": 0}
BY_NAME = {kind.name: kind for kind in PEERS}


def installed(name: str) -> Kind:
    """The peer, or the test is skipped with what is missing."""
    if sentence := BY_NAME[name].missing():
        pytest.skip(sentence)
    try:
        build()
    except LoadFailed as problem:
        pytest.skip(str(problem))
    return BY_NAME[name]


async def load(host: Host, mode: Mode, seats: list[Seat], **options: float) -> Load:
    return await run_load(host.peer, mode, seats, SHORT | options, proto=host.proto, generator="c")


def faults(made: Load) -> dict[str, int]:
    return {name: made.counts[name] for name in CLEAN}


def counted(made: Load) -> int:
    deliveries: int = made.counts["deliveries"]
    return deliveries


# --- The peers themselves --------------------------------------------------------------------------------------------

BENCHES: list[tuple[str, str]] = [(kind.name, bench) for kind in PEERS for bench in sorted(kind.workloads)]


@pytest.mark.parametrize(("name", "bench"), BENCHES)
async def test_a_peer_does_what_it_is_measured_for(name: str, bench: str) -> None:
    """Each workload that a peer takes part in, small and real: nothing lost, doubled, reordered or refused."""
    kind = installed(name)
    async with kind.open(None, None) as host:
        match bench:
            case "roundtrip":
                made = await load(host, "ping", host.people(4), flight=3)
                assert made.counts["acks"] == made.counts["sent"] >= 20
            case "fanout":
                made = await load(host, "fanout", host.group(8), flight=4)
                assert counted(made) == 8 * made.counts["sent"] >= 8
            case "direct":
                made = await load(host, "direct", host.pairs(3), flight=4)
                assert counted(made) == made.counts["acks"] == made.counts["sent"] >= 3
            case "idle":
                made = await load(host, "idle", host.pairs(5))
                assert made.counts["sockets"] == 10
            case _:
                made = await load(host, "storm", host.returning(2, 5, 7, 100))
                assert counted(made) == 10 * 7
        assert faults(made) == CLEAN
        cost = host.peer.cost()
        assert cost is None or cost.server_rss > 0


@pytest.mark.parametrize("name", ["socketio", "ejabberd"])
async def test_what_a_peer_acknowledged_is_in_its_durable_database(name: str) -> None:
    """What makes the comparison fair: ``fsync`` and ``synchronous_commit`` are on, every message is a row."""
    installed(name)
    rows = {"socketio": "select count(*) from entry", "ejabberd": "select count(*) from archive where kind = 'chat'"}
    copies = {"socketio": 1, "ejabberd": 2}  # XMPP's archive belongs to a person
    async with BY_NAME[name].open(None, None) as host:
        assert isinstance(host, socketio.SocketIo | ejabberd.Ejabberd)
        made = await load(host, "direct", host.pairs(2), flight=2)
        with psycopg.connect(host.dsn) as connection:
            assert connection.execute("show fsync").fetchone() == ("on",)
            assert connection.execute("show synchronous_commit").fetchone() == ("on",)
            assert connection.execute(rows[name]).fetchone() == (copies[name] * made.counts["acks"],)


@pytest.mark.skipif(not MEASURABLE, reason="needs /proc")
@pytest.mark.parametrize("name", list(BY_NAME))
async def test_a_peer_leaves_nothing_behind(name: str) -> None:
    """Neither processes nor files."""
    kind = installed(name)
    async with kind.open(None, None) as host:
        group, folder = os.getpgid(host.peer.pid), host.peer.folder
        assert group == host.peer.pid
        assert members_of(group)
        assert folder.exists()
    assert not folder.exists()
    await until_gone(group)


def members_of(group: int) -> list[int]:
    """The living processes of a group; a zombie that nobody has reaped is none."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


async def until_gone(group: int) -> None:
    """A killed process takes a moment."""
    with trio.fail_after(60):
        while members_of(group):
            await trio.sleep(0.02)


# --- Socket.IO's server: it promises what Konnect promises -----------------------------------------------------------


class Talk:
    """One client of Socket.IO, by hand."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket
        self._next = 0
        self.events: list[list[Any]] = []

    async def enter(self, token: str, **more: Any) -> str:
        """CONNECT; the packet that answers it."""
        assert str(await self._socket.get_message()).startswith("0{")
        await self._socket.send_message("40" + json.dumps({"token": token, **more}))
        return str(await self._socket.get_message())

    async def synced(self) -> list[dict[str, Any]]:
        """The entries that came before "synced"."""
        while ["synced"] not in self.events:
            await self._hear()
        return self.entries()

    def entries(self) -> list[dict[str, Any]]:
        return [event[1] for event in self.events if event[0] == "entry"]

    async def ask(self, event: str, what: object) -> Any:
        """Emit with an acknowledgement; what it says."""
        self._next += 1
        number = str(self._next)
        await self._socket.send_message(f"42{number}{json.dumps([event, what])}")
        while True:
            packet = await self._hear()
            if packet.startswith(f"43{number}["):
                return json.loads(packet[2 + len(number) :])[0]

    async def _hear(self) -> str:
        packet = str(await self._socket.get_message())
        if packet.startswith("42"):
            self.events.append(json.loads(packet[2:]))
        return packet


@asynccontextmanager
async def talk(host: Host) -> AsyncIterator[Talk]:
    url = f"ws://127.0.0.1:{host.peer.port}/socket.io/?EIO=4&transport=websocket"
    async with open_websocket_url(url) as socket:
        yield Talk(socket)


def message(room: str, key: str, text: str = "hello") -> dict[str, str]:
    return {"room": room, "key": key, "text": text}


async def test_socketio_stores_a_key_once_and_numbers_without_gaps() -> None:
    installed("socketio")
    async with socketio.open_socketio(None, None) as host:
        author, _ = host.pairs(1)
        async with talk(host) as one:
            await one.enter(author.token)
            assert await one.synced() == []
            first = await one.ask("send", message(author.conversation, "a"))
            assert first["seq"] == 1
            assert await one.ask("send", message(author.conversation, "a", "something else")) == first
            assert (await one.ask("send", message(author.conversation, "b")))["seq"] == 2
            assert await one.ask("ping", "x") == "x"
            assert [(entry["seq"], entry["text"]) for entry in one.entries()] == [(1, "hello"), (2, "hello")]


async def test_socketio_takes_messages_from_members_with_good_tokens_alone() -> None:
    installed("socketio")
    async with socketio.open_socketio(None, None) as host:
        one, _, other, _ = host.pairs(2)
        async with talk(host) as client:
            await client.enter(one.token)
            await client.synced()
            assert await client.ask("send", message(other.conversation, "a")) == {"error": "not_a_member"}
            assert await client.ask("send", message("nowhere", "a")) == {"error": "not_a_member"}
            assert await client.ask("send", message(one.conversation, "")) == {"error": "bad_request"}
            assert await client.ask("send", message(one.conversation, "a", "x" * 8193)) == {"error": "bad_request"}
        head, body, signature = one.token.split(".")
        for token in (
            f"{head}.{body}.{signature[:-8]}AAAAAAAA",
            f"{head}.{other.token.split('.')[1]}.{signature}",
            "x",
        ):
            async with talk(host) as client:
                assert (await client.enter(token)).startswith("44")


async def test_socketio_gives_what_lies_above_the_heads() -> None:
    installed("socketio")
    async with socketio.open_socketio(None, None) as host:
        seat = host.returning(1, 2, 5, 100)[0]
        for heads, expected in (({seat.conversation: 3}, [4, 5]), ({seat.conversation: 0}, [1, 2, 3, 4, 5]), ({}, [])):
            async with talk(host) as client:
                await client.enter(seat.token, heads=heads)
                assert [entry["seq"] for entry in await client.synced()] == expected


# --- Starting and stopping -------------------------------------------------------------------------------------------


async def test_a_peer_that_does_not_start_says_its_last_words() -> None:
    async with open_folder() as folder:
        with pytest.raises(PeerFailed, match="thing ended with 3: no luck"):
            async with open_peer("thing", free_port(), ["sh", "-c", "echo no luck; exit 3"], folder=folder, core=None):
                pass
        with pytest.raises(PeerFailed, match="could not be started"):
            async with open_peer("thing", free_port(), ["/no/such/program"], folder=folder, core=None):
                pass


@pytest.mark.skipif(not MEASURABLE, reason="needs /proc")
async def test_what_a_peer_starts_ends_with_it() -> None:
    """A child is in its process group."""
    port = free_port()
    script = f"sleep 60 & exec python3 -m http.server --bind 127.0.0.1 {port}"
    async with open_folder() as folder:
        async with open_peer("thing", port, ["sh", "-c", script], folder=folder, core=None) as peer:
            group = os.getpgid(peer.pid)
            peer.check()
            assert len(members_of(group)) == 2
        await until_gone(group)


async def test_a_database_listens_on_tcp_only_where_it_is_asked_to() -> None:
    async with open_folder() as folder, open_postgres(folder, core=None) as database:
        assert database.address is None
        with psycopg.connect(database.dsn) as connection:
            assert connection.execute("show listen_addresses").fetchone() == ("",)
    async with open_folder() as folder, open_postgres(folder, core=None, tcp=True) as database:
        assert database.address is not None
        assert database.address.startswith("127.")
        dsn = f"host={database.address} user=konnect dbname=konnect"
        with psycopg.connect(dsn) as connection:
            assert connection.execute("show fsync").fetchone() == ("on",)


# --- Installing ------------------------------------------------------------------------------------------------------


def test_what_is_missing_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.delenv("CC", raising=False)
    said = {name: missing() for name, missing in install.MISSING.items()}
    assert set(said) == set(BY_NAME)
    for sentence in said.values():
        assert sentence is not None
        assert "missing" in sentence or "needs" in sentence
    monkeypatch.undo()
    monkeypatch.setattr(install, "NODE_FOLDER", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/bin/true")
    assert install.missing_socketio() == "Socket.IO's packages are missing (npm ci)"


def test_nobody_but_root_is_asked_to_install_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are told the command."""
    said: list[str] = []
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name == "nats-server" else "/bin/true")
    left = install.install(said.append)
    assert "nats-server is missing (Debian: nats-server)" in left
    assert any("apt-get install -y --no-install-recommends" in words and "nats-server" in words for words in said)


@pytest.mark.parametrize("there", [False, True])
def test_no_service_starts_while_packages_come(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: bool) -> None:
    """Debian's way to say so is a program that refuses; one that was there before is left alone."""
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(install, "_POLICY", policy)
    monkeypatch.setattr(install, "_is_enabled", lambda _: False)
    if there:
        policy.write_text("#!/bin/sh\nexit 0\n")
    with install._no_services():
        if not there:
            assert subprocess.run([policy], check=False).returncode == 101
    assert policy.exists() == there
    assert not there or policy.read_text() == "#!/bin/sh\nexit 0\n"


def test_npm_packages_have_exact_versions_and_no_registry() -> None:
    package = json.loads((install.NODE_FOLDER / "package.json").read_text())
    wanted = package["dependencies"] | package["optionalDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    locked = json.loads((install.NODE_FOLDER / "package-lock.json").read_text())["packages"]
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    for name, entry in locked.items():
        assert "resolved" not in entry
        assert not name or entry["integrity"].startswith("sha512-")


# --- The run ---------------------------------------------------------------------------------------------------------


def report_of(*runs: dict[str, Any], bench: str = "roundtrip", server: str = KONNECT) -> Report:
    report = Report(bench, "thing", {}, server=server)
    plain = {"lower_bound": False, "failures": CLEAN, "ok": True, "name": "run"}
    report.runs = [plain | one for one in runs]
    return report


ROUND = Workload("roundtrip", "roundtrip", "W1", sockets=2)
ROOM = Workload("fanout", "fanout", "W2", members=2)
Made = Callable[[Workload, str, Common], Awaitable[Report]]


@pytest.fixture
def all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in install.MISSING:
        monkeypatch.setitem(install.MISSING, name, lambda: None)


@pytest.mark.usefixtures("all_installed")
def test_servers_take_turns_round_by_round(capsys: pytest.CaptureFixture[str]) -> None:
    """One workload goes through all servers before the next begins, and all of it before the next round."""
    seen: list[tuple[str, str]] = []

    async def made(workload: Workload, server: str, options: Common) -> Report:
        seen.append((workload.name, server))
        return report_of({"rate_per_s": float(len(seen))}, server=server)

    jobs = jobs_of([ROUND, ROOM], servers_of(()))
    outcome = run_jobs(jobs, Common(reps=2), made)
    one_round = [("roundtrip", name) for name in ("konnect", "socketio", "ejabberd", "bare")]
    one_round += [("fanout", name) for name in ("konnect", "socketio", "ejabberd", "nats", "bare")]
    assert seen == one_round * 2
    assert outcome.medians()[Job(ROUND, KONNECT)].runs[0]["rate_per_s"] == (1 + 10) / 2
    told = capsys.readouterr().err
    assert "[1/18, round 1 of 2, about" in told
    assert "[18/18, round 2 of 2, about" in told


@pytest.mark.usefixtures("all_installed")
def test_a_peer_that_fails_or_is_not_there_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It is named at the end, and the exit code says so."""
    monkeypatch.setitem(install.MISSING, "socketio", lambda: "Node.js is missing")

    async def made(workload: Workload, server: str, options: Common) -> Report:
        if server == "ejabberd":
            raise PeerFailed("ejabberd ended with 1")
        return report_of({"rate_per_s": 100.0}, {"rate_per_s": 200.0}, server=server)

    options = Common(out=tmp_path / "out.json")
    outcome = run_jobs(jobs_of([ROUND], servers_of(())), options, made)
    assert [job.server for job in outcome.medians()] == ["konnect", "bare"]
    assert show(outcome, options, tmp_path / "table.md") == 2
    told = capsys.readouterr()
    assert "Node.js is missing" in told.err
    assert "ejabberd ended with 1" in told.err
    last = json.loads((tmp_path / "out.json").read_text().splitlines()[-1])
    assert last == json.loads(told.out.splitlines()[-1])
    assert len(last["problems"]) == 2
    assert [line["ratio"] for line in last["table"]] == [None, None, 1.0, None, None]
    assert "Socket.IO: not measured" in (tmp_path / "table.md").read_text()


@pytest.mark.usefixtures("all_installed")
@pytest.mark.parametrize(("ours", "code"), [(100.0, 0), (69.0, 1)])
def test_the_exit_code_says_whether_every_gate_holds(ours: float, code: int) -> None:
    def outcome(job: Job) -> Report:
        rate = ours if job.server == KONNECT else 100.0 if job.server == "socketio" else 10.0
        return report_of({"rate_per_s": rate}, {"rate_per_s": rate * 2}, server=job.server)

    jobs = jobs_of([ROUND], ["konnect", "socketio"])
    reports = {job: [outcome(job)] for job in jobs}
    reports[jobs[0]][0].runs[1]["rate_per_s"] = 1000.0
    assert show(Outcome(reports, {job: [] for job in jobs}), Common(), None) == code


@pytest.mark.usefixtures("all_installed")
def test_a_repetition_that_failed_is_left_out_and_told() -> None:
    good, bad = report_of({"rate_per_s": 5.0}), report_of({"rate_per_s": 900.0, "ok": False, "failures": {"lost": 3}})
    job = Job(ROUND, KONNECT)
    outcome = Outcome({job: [bad, good]}, {job: []})
    assert outcome.medians()[job].runs[0]["rate_per_s"] == 5.0
    assert show(outcome, Common(), None) == 2
    assert run._problems(outcome) == ["Konnect, W1, run: failed, 3 lost"]


def test_what_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "JOB_WITHIN_S", 0.01)

    async def hangs(workload: Workload, server: str, options: Common) -> Report:
        await trio.sleep_forever()
        raise AssertionError

    outcome = run_jobs([Job(ROUND, KONNECT)], Common(), hangs)
    assert outcome.problems[Job(ROUND, KONNECT)] == ["it was not through within 0.01 s"]


def test_the_estimate_learns_from_what_a_job_took(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("bench.peers.run.time.monotonic", lambda: now[0])
    jobs = [Job(ROUND, "socketio"), Job(ROUND, "bare")]
    clock = Clock(jobs, Common(reps=3), absent=["bare"])
    guess = clock.left_s(jobs[0], 0)
    assert guess > 0
    clock.begin(jobs[0], 0)
    now[0] = 40.0
    clock.end(jobs[0])
    assert clock.left_s(jobs[1], 0) == 80.0  # what is absent takes no time
    assert clock.left_s(jobs[1], 2) == 0.0


@pytest.mark.parametrize("server", ["konnect", "bare"])
async def test_konnect_and_a_peer_are_measured_alike(server: str) -> None:
    """The same runs with the same names, sizes and fields, so that the one can stand beside the other."""
    if server != KONNECT:
        installed(server)
    options = Common(seconds=0.2, warmup=0.1)
    made = await measure(replace(ROOM, members=5), server, options)
    assert made.good
    told = json.loads(made.line())
    assert told.get("server", KONNECT) == server
    assert told["bench"] == "fanout"
    assert told["settings"]["members"] == 5
    assert {"rate_per_s", "p99_ms", "server_cpu_us", "messages_per_s", "rss_mib"} <= set(told["runs"][0])


def test_the_command_line_explains_itself() -> None:
    for words in ([], ["install"], ["check"], ["run"]):
        result = CliRunner().invoke(cli, [*words, "--help"])
        assert result.exit_code == 0
        assert "Usage" in result.output


# --- The table -------------------------------------------------------------------------------------------------------


def test_every_aim_is_of_a_workload_that_is_measured() -> None:
    for workloads in (FULL, QUICK):
        by_name = {workload.name: workload for workload in workloads}
        for aim in AIMS:
            servers = by_name[aim.workload].servers()
            assert aim.against is None or aim.against in servers
            assert servers[0] == KONNECT
    assert set(TITLES) == {KONNECT, *BY_NAME}


def test_gates_and_goals_are_told_apart() -> None:
    """Rates must be above, latencies and memory below; the bound itself is good enough."""
    (more,) = (aim for aim in AIMS if aim.row == "W1, 1 in flight" and aim.against == "ejabberd")
    (less,) = (aim for aim in AIMS if aim.row == "W4, RSS of an idle user" and aim.against == "socketio")
    for ours, theirs, aim, gate, goal in (
        (19.0, 10.0, more, False, False),
        (20.0, 10.0, more, True, False),
        (30.0, 10.0, more, True, True),
        (7.1, 10.0, less, False, False),
        (7.0, 10.0, less, True, False),
        (3.0, 10.0, less, True, True),
        (5.1, 100.0, less, True, False),  # the goal is also 5 KiB at most
    ):
        results = {
            (aim.workload, KONNECT): report_of({aim.figure: ours}).runs,
            (aim.workload, aim.against or ""): report_of({aim.figure: theirs}).runs,
        }
        (line,) = judge(results, [aim])
        assert (line.gate, line.goal) == (gate, goal), line


def test_a_run_that_failed_is_no_figure_on_either_side() -> None:
    aim = AIMS[0]
    good, bad = {"rate_per_s": 100.0}, {"rate_per_s": 100.0, "ok": False, "failures": {"lost": 2, "wrong": 0}}
    for ours, theirs in ((good, bad), (bad, good)):
        results = {("roundtrip", KONNECT): report_of(ours).runs, ("roundtrip", "socketio"): report_of(theirs).runs}
        (line,) = judge(results, [aim])
        assert (line.ratio, line.gate, line.goal) == (None, False, False)
        assert any("failed, 2 lost" in remark for remark in line.remarks)


def test_a_figure_that_the_generator_bounded_is_remarked() -> None:
    results = {
        ("roundtrip", KONNECT): report_of({"rate_per_s": 50.0}).runs,
        ("roundtrip", "bare"): report_of({"rate_per_s": 100.0, "lower_bound": True}).runs,
    }
    (line,) = judge(results, [AIMS[2]])
    assert line.remarks == ("C: at least; the generator was the limit",)


def test_the_table_is_the_same_in_all_three_forms() -> None:
    lines = judge({})
    assert len(lines) == len(AIMS) == as_text(lines).row_count == len(as_json(lines))
    written = as_markdown(lines).splitlines()
    assert len(written) == len(AIMS) + 2
    assert all(row.count("|") == written[0].count("|") for row in written)
    assert json.loads(json.dumps(as_json(lines)))[0]["aim"]["gate"] == 0.7
    assert [table.figure(value) for value in (None, 0.1234, 12.34, 1234567.0)] == ["-", "0.123", "12.3", "1,234,567"]
