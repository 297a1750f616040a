"""Socket.IO on Node.js, every message in PostgreSQL before it is acknowledged; see ``server.js``."""

import json
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, LiteralString

import jwt
import psycopg
import trio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.loadgen import Seat
from bench.peers.host import Host, name
from bench.peers.install import NODE_FOLDER, NotInstalled, missing_socketio
from bench.peers.peer import Peer, free_port, open_folder, open_peer
from bench.peers.postgres import PORT, USER, open_postgres, writing

TOKEN_S: Final = 86_400

_ROOMS: Final[LiteralString] = "insert into room (id) select distinct unnest(%s::text[])"
_MEMBERS: Final[LiteralString] = "insert into member (room, account) select * from unnest(%s::text[], %s::text[])"
_MISSED: Final[LiteralString] = """
with raised as (update room set last_seq = %(count)s returning id)
insert into entry (room, seq, author, key, text, at_ms)
select id, n, (select min(account) from member where room = id), 'missed-' || n,
       lpad(to_hex(n), 16, '0') || repeat('x', %(bytes)s - 16), (extract(epoch from now()) * 1000)::bigint
from raised, generate_series(1, %(count)s) n
"""


class SocketIo(Host):
    """A running server; people are let in with tokens signed by *key* (JWT, EdDSA, as Konnect's)."""

    proto = "socketio"

    def __init__(self, peer: Peer, dsn: str, key: Ed25519PrivateKey) -> None:
        super().__init__(peer)
        self.dsn, self._key = dsn, key

    def people(self, count: int) -> list[Seat]:
        return [Seat(self._sign(name(number))) for number in range(count)]

    def group(self, members: int) -> list[Seat]:
        return self._seat([("room", name(number)) for number in range(members)])

    def pairs(self, pairs: int) -> list[Seat]:
        return self._seat([(f"room{number // 2}", name(number)) for number in range(2 * pairs)])

    def returning(self, groups: int, members: int, missed: int, size_bytes: int) -> list[Seat]:
        seats = self._seat([(f"room{number % groups}", name(number)) for number in range(groups * members)])
        with writing(self.dsn) as connection:
            connection.execute(_MISSED, {"count": missed, "bytes": size_bytes})
        return [seat._replace(role="r", missed=missed) for seat in seats]

    def _seat(self, places: list[tuple[str, str]]) -> list[Seat]:
        """Write who belongs to which room; the first of each room is its author."""
        with writing(self.dsn) as connection:
            connection.execute(_ROOMS, ([room for room, _ in places],))
            connection.execute(_MEMBERS, ([room for room, _ in places], [who for _, who in places]))
        authors: set[str] = set()
        seats = []
        for room, who in places:
            seats.append(Seat(self._sign(who), room, "r" if room in authors else "a"))
            authors.add(room)
        return seats

    def _sign(self, who: str) -> str:
        claims = {"sub": who, "exp": int(time.time()) + TOKEN_S}
        return jwt.encode(claims, self._key, algorithm="EdDSA")


def version() -> str:
    """The versions of Socket.IO and Node.js.

    Raises:
        NotInstalled: One of them is missing.
    """
    if sentence := missing_socketio():
        raise NotInstalled(sentence)
    package = json.loads((NODE_FOLDER / "node_modules" / "socket.io" / "package.json").read_text())
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return f"{package['version']} on Node.js {node.removeprefix('v')}"


@asynccontextmanager
async def open_socketio(core: int | None, database_core: int | None) -> AsyncIterator[SocketIo]:
    """A fresh server with a fresh database, for the length of a block.

    Raises:
        NotInstalled: Node.js or its packages are missing.
        PeerFailed: It did not start.
    """
    if sentence := missing_socketio():
        raise NotInstalled(sentence)
    async with open_folder() as folder, open_postgres(folder, core=database_core) as database:
        await trio.to_thread.run_sync(_prepare, database.dsn)
        key, port = Ed25519PrivateKey.generate(), free_port()
        (folder / "public.pem").write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )  # fmt: skip
        environment = {
            "NODE_ENV": "production",
            "PORT": str(port),
            "PUBLIC_KEY": str(folder / "public.pem"),
            "DATABASE_HOST": str(database.folder),
            "DATABASE_PORT": str(PORT),
            "DATABASE_USER": USER,
            "DATABASE_NAME": USER,
        }
        async with open_peer(
            "socketio", port, ["node", str(NODE_FOLDER / "server.js")],
            folder=folder, core=core, environment=environment, postgres=database.pid,
        ) as peer:  # fmt: skip
            yield SocketIo(peer, database.dsn, key)


def _prepare(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute((NODE_FOLDER / "schema.sql").read_bytes())
