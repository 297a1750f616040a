"""ejabberd: XMPP over WebSocket, the archive (XEP-0313) in PostgreSQL; docs/peers.md says what is acknowledged when."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, LiteralString

import psycopg
import trio

from bench.loadgen import Seat
from bench.peers.host import Host, name
from bench.peers.install import NotInstalled, ejabberd_folder, missing_ejabberd
from bench.peers.peer import Peer, free_port, open_folder, open_peer
from bench.peers.postgres import PORT, USER, Database, open_postgres, writing

HERE: Final = Path(__file__).resolve().parent
SCHEMAS: Final = (Path("/usr/share/ejabberd/sql/pg.sql"), Path("/usr/share/doc/ejabberd/examples/pg.sql"))
PASSWORD: Final = "bench"
ROOM_HOST: Final = "conference.localhost"
# As ejabberdctl starts it, but as no node of a cluster, so that no epmd is started and left behind.
_MACHINE: Final = (
    "+K",
    "true",
    "+P",
    "250000",
    "+Q",
    "65536",
    "-noinput",
    "-kernel",
    "inet_default_connect_options",
    "[{nodelay,true}]",
)

_PEOPLE: Final[LiteralString] = "insert into users (username, password) select name, %s from unnest(%s::text[]) name"
_ROOM: Final[LiteralString] = "insert into muc_room (name, host, opts) values (%s, %s, %s)"
# What ejabberd itself writes into a person's archive for a message that comes in; its time is its number.
_MISSED: Final[LiteralString] = """
insert into archive (username, timestamp, peer, bare_peer, xml, txt, kind, nick)
select username, (extract(epoch from now()) * 1e6)::bigint - 1000 + n, author || '/bench', author,
       format('<message xmlns=''jabber:client'' to=''%%s@localhost'' from=''%%s/bench'' type=''chat'' id=''%%s''>'
              '<body>%%s</body></message>', username, author, n, text), text, 'chat', ''
from users, generate_series(1, %(count)s) n,
     lateral (select lpad(to_hex(n), 16, '0') || repeat('x', %(bytes)s - 16) as text, 'author@localhost' as author) one
"""


class Ejabberd(Host):
    """A running ejabberd; people sign in with SASL PLAIN."""

    proto = "xmpp"

    def __init__(self, peer: Peer, dsn: str) -> None:
        super().__init__(peer)
        self.dsn = dsn

    def people(self, count: int) -> list[Seat]:
        names = [name(number) for number in range(count)]
        with writing(self.dsn) as connection:
            connection.execute(_PEOPLE, (PASSWORD, names))
        return [Seat(f"{who}:{PASSWORD}") for who in names]

    def group(self, members: int) -> list[Seat]:
        """A persistent, archived room for members only, the first its owner."""
        seats = self.people(members)
        ranks = ["owner", *["member"] * (members - 1)]
        affiliations = ",".join(
            f'{{{{<<"{name(number)}">>,<<"localhost">>,<<>>}},{{{rank},<<>>}}}}' for number, rank in enumerate(ranks)
        )
        options = (
            "[{persistent,true},{mam,true},{members_only,true},{public,false},{max_users,50000},"
            f"{{presence_broadcast,[]}},{{affiliations,[{affiliations}]}}]"
        )
        with writing(self.dsn) as connection:
            connection.execute(_ROOM, ("room", ROOM_HOST, options))
        return [seat._replace(conversation="room", role="r" if place else "a") for place, seat in enumerate(seats)]

    def pairs(self, pairs: int) -> list[Seat]:
        """Each line names the other's account; no rooms and no roster are needed."""
        return [
            seat._replace(conversation=name(place ^ 1), role="r" if place % 2 else "a")
            for place, seat in enumerate(self.people(2 * pairs))
        ]

    def returning(self, groups: int, members: int, missed: int, size_bytes: int) -> list[Seat]:
        """Everybody has messages in the archive that is their own: XMPP's has no shared one to read from."""
        seats = self.people(groups * members)
        with writing(self.dsn) as connection:
            connection.execute(_MISSED, {"count": missed, "bytes": size_bytes})
        return [seat._replace(missed=missed) for seat in seats]


def version() -> str:
    """Its version, as its own files tell it.

    Raises:
        NotInstalled: There is none.
    """
    folder = ejabberd_folder()
    if folder is None:
        raise NotInstalled(missing_ejabberd() or "ejabberd is missing")
    found = re.search(r'\{vsn,\s*"([^"]+)"', (folder / "ejabberd.app").read_text())
    return found[1] if found else "unknown"


@asynccontextmanager
async def open_ejabberd(core: int | None, database_core: int | None) -> AsyncIterator[Ejabberd]:
    """A fresh ejabberd with a fresh database, for the length of a block.

    Raises:
        NotInstalled: It is not there.
        PeerFailed: It did not start.
    """
    if sentence := missing_ejabberd():
        raise NotInstalled(sentence)
    async with open_folder() as folder, open_postgres(folder, core=database_core, tcp=True) as database:
        await trio.to_thread.run_sync(_prepare, database.dsn)
        port = free_port()
        (folder / "ejabberd.yml").write_text(_configuration(database, port))
        command = ["erl", *_MACHINE, "-pa", str(ejabberd_folder()), "-mnesia", "dir", f'"{folder / "mnesia"}"']
        command += ["-s", "ejabberd"]
        environment = {
            "EJABBERD_CONFIG_PATH": str(folder / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(folder / "ejabberd.log"),
            "ERL_CRASH_DUMP_BYTES": "0",
            "HOME": str(folder),  # no cookie file in anybody's home
        }
        async with open_peer(
            "ejabberd", port, command, folder=folder, core=core, environment=environment, postgres=database.pid
        ) as peer:
            yield Ejabberd(peer, database.dsn)


def _prepare(dsn: str) -> None:
    schema = next((path for path in SCHEMAS if path.exists()), None)
    if schema is None:
        raise NotInstalled("ejabberd's schema for PostgreSQL is missing (pg.sql)")
    with psycopg.connect(dsn) as connection:
        connection.execute(schema.read_bytes())


def _configuration(database: Database, port: int) -> str:
    text = (HERE / "ejabberd.yml").read_text()
    words = {"ADDRESS": database.address, "SQL_PORT": PORT, "USER": USER, "PORT": port}
    return re.sub(r"@@(\w+)@@", lambda found: str(words[found[1]]), text)
