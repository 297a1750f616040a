"""PostgreSQL as the house sees it: a pool, transactions, connections of one's own, a deadline on every query.

Every connection is in autocommit, in READ COMMITTED, never in pipeline mode (an answer there comes before the commit),
and carries what makes the *server* give up soon after we did: ``statement_timeout``, a check for closed sockets each
second, TCP keepalives. A connection whose query was cancelled or timed out is closed, never used again.

Driver errors stop here and become those of ``storage.errors``; a bug of ours (wrong SQL) goes on as psycopg's own.
"""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Final, LiteralString, TypeAlias

import psycopg
import trio
from psycopg import generators
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ExecStatus, TransactionStatus

from storage.errors import StorageConflict, StorageError, StorageRefused, StorageUnavailable
from storage.trio_psycopg import TrioConnection, connect, drive, notifications, poll

Row: TypeAlias = tuple[Any, ...]
Cursor: TypeAlias = psycopg.AsyncCursor[Row]

TIMEOUT_S: Final = 5.0
CONNECT_TIMEOUT_S: Final = 5.0
POOL_SIZE: Final = 8
_GRACE_S: Final = 1.0  # the server gives a statement up this much after we did, so that its answer to us wins
_CHECK_MS: Final = 1_000

# Answers after which the same call may succeed: connection lost, out of resources, shut down or starting, deadlock,
# serialization, statement timeout, lock timeout, idle in transaction, disk trouble, a replica after a failover,
# and PostgreSQL's own "this should not happen".
_UNAVAILABLE: Final = ("08", "53", "57", "58", "40", "55P03", "25P03", "25P04", "25006", "XX")
# Answers that the same data gets for ever: data exceptions, and values too large for an index or a row.
_REFUSED: Final = ("22", "54")


class Queries:
    """The small set of calls that a pool, a transaction and an own connection have in common."""

    async def fetch_all(self, sql: LiteralString, *values: object, timeout_s: float | None = None) -> list[Row]:
        """Run *sql* (values at ``%s``) and return all its rows as tuples.

        Args:
            sql: One statement.
            values: One per ``%s``.
            timeout_s: Deadline in seconds, waiting for a free connection included; the database's own when None.

        Raises:
            StorageUnavailable: No answer in time, or the connection was lost; the outcome is unknown.
            StorageRefused: The data can never be stored.
            StorageConflict: A constraint said no.
        """
        with _TRANSLATED:  # reading a value may fail too
            return await (await self._run(sql, values, timeout_s)).fetchall()

    async def fetch_one(self, sql: LiteralString, *values: object, timeout_s: float | None = None) -> Row | None:
        """Like :meth:`fetch_all`, but the first row only; None when there is none."""
        with _TRANSLATED:
            return await (await self._run(sql, values, timeout_s)).fetchone()

    async def execute(self, sql: LiteralString, *values: object, timeout_s: float | None = None) -> int:
        """Like :meth:`fetch_all`, but returns how many rows the statement touched."""
        return (await self._run(sql, values, timeout_s)).rowcount

    async def _run(self, sql: LiteralString, values: tuple[object, ...], timeout_s: float | None) -> Cursor:
        raise NotImplementedError


class Transaction(Queries):
    """One open transaction; made by ``Database.transaction()``, whose deadline covers all of it."""

    def __init__(self, connection: TrioConnection) -> None:
        self._connection = connection

    async def _run(self, sql: LiteralString, values: tuple[object, ...], timeout_s: float | None) -> Cursor:
        with _Deadline(timeout_s), _TRANSLATED:
            return await _execute(self._connection, sql, values)


class OwnConnection(Queries):
    """A connection of one's own, for one task at a time; opened by its first call, and again after a loss.

    ``call_json`` is the hot path. What a session holds (LISTEN, advisory locks) is gone after a loss; the call that
    met it raised StorageUnavailable.
    """

    def __init__(self, database: "Database", name: str) -> None:
        self._database = database
        self._name = name
        self._connection: TrioConnection | None = None
        self._statements: dict[str, bytes] = {}  # SQL -> name of the statement that this session has prepared
        self._busy = _Busy()

    async def call_json(self, sql: LiteralString, *texts: str | bytes, timeout_s: float | None = None) -> bytes | None:
        """Run *sql* (texts at ``$1``, ``$2``, ...) and return the one value of its one row as the server wrote it.

        The statement is prepared once per connection. All that is spared against :meth:`fetch_one` is ours: adapting
        types, a cursor, a lock (docs/decisions/0004).

        Args:
            sql: One statement that gives one row of one column, such as ``select append($1, $2)``.
            texts: UTF-8 text, one per placeholder; what is meant as JSON must be JSON.
            timeout_s: Deadline in seconds; the database's own when None.

        Returns:
            The value's text, UTF-8; None for NULL.

        Raises:
            StorageUnavailable: No answer in time, or the connection was lost; the outcome is unknown.
            StorageRefused: The data can never be stored.
            StorageConflict: A constraint said no.
        """
        values = [_encoded(text) for text in texts]
        limit_s = self._database.timeout_s if timeout_s is None else timeout_s
        with self._busy, _Deadline(limit_s), _TRANSLATED:
            connection = await self._ready(timeout_s)
            pgconn = connection.pgconn
            try:
                name = self._statements.get(sql)
                if name is None:
                    name = b"k%d" % len(self._statements)
                    pgconn.send_prepare(name, sql.encode())
                    _checked(await drive(generators.execute(pgconn), pgconn.socket), ExecStatus.COMMAND_OK)
                    self._statements[sql] = name
                pgconn.send_query_prepared(name, values)
                results = await drive(generators.execute(pgconn), pgconn.socket)
            except trio.Cancelled:
                pgconn.finish()
                raise
            value: bytes | None = _checked(results, ExecStatus.TUPLES_OK).get_value(0, 0)
            return value

    async def listen(self, *channels: str) -> None:
        """LISTEN on *channels* (plain names: letters, digits, underscores)."""
        for channel in channels:
            if not channel.replace("_", "a").isalnum() or not channel.isascii():
                raise ValueError(f"not a plain channel name: {channel!r}")
            await self.execute("listen " + channel)  # not literal, but checked just above

    async def notifies(self) -> list[tuple[str, str]]:
        """Wait, without a deadline, for the next notifications as (channel, payload); cancelling loses none.

        Raises:
            StorageUnavailable: The connection was lost: listen again, and look up what was missed.
        """
        connection = self._connection
        if connection is None or connection.closed:
            raise StorageUnavailable("the connection that listened was lost")
        backlog = connection._notifies_backlog
        if backlog:
            found = [(note.channel, note.payload) for note in backlog]
            backlog.clear()
            return found
        with self._busy, _TRANSLATED:
            found = await notifications(connection)
            if backlog is not None:
                backlog.clear()  # psycopg keeps there what comes during any other call, and what we have just read
            return found

    def close(self) -> None:
        """Close the connection; never waits. The next call would open another."""
        if self._connection is not None:
            self._connection.pgconn.finish()
            self._connection = None

    async def _run(self, sql: LiteralString, values: tuple[object, ...], timeout_s: float | None) -> Cursor:
        limit_s = self._database.timeout_s if timeout_s is None else timeout_s
        with self._busy, _Deadline(limit_s), _TRANSLATED:
            return await _execute(await self._ready(timeout_s), sql, values)

    async def _ready(self, timeout_s: float | None = None) -> TrioConnection:
        connection = self._connection
        if connection is None or connection.closed:
            self._statements.clear()
            self._connection = connection = await self._database._connect(self._name)
        if timeout_s is not None and timeout_s > self._database.timeout_s:
            await connection.execute(_statement_timeout(timeout_s))
        return connection


class Database(Queries):
    """A pool of connections to one PostgreSQL; made by :func:`open_database`."""

    def __init__(self, dsn: str, size: int, timeout_s: float, name: str) -> None:
        self.timeout_s = timeout_s
        self.dsn = dsn
        self._name = name
        self._slots = trio.Semaphore(size)
        self._idle: deque[TrioConnection] = deque()  # the one used last is used next
        self._params = _parameters(dsn, timeout_s)

    @asynccontextmanager
    async def transaction(self, *, timeout_s: float | None = None) -> AsyncIterator[Transaction]:
        """Everything inside commits together, or, when the block raises, not at all.

        Args:
            timeout_s: Deadline in seconds for the whole block; the database's own when None.

        Raises:
            StorageUnavailable: No answer in time, or the connection was lost; whether it committed is unknown.
        """
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        with _Deadline(limit_s):
            async with self._borrowed(limit_s) as connection:
                with _TRANSLATED:
                    await connection.execute("begin")
                done = False
                try:
                    yield Transaction(connection)
                    done = True
                finally:
                    if not done and not connection.closed:
                        with suppress(psycopg.Error):  # then the connection is closed, which rolls back too
                            await connection.execute("rollback")
                with _TRANSLATED:
                    await connection.execute("commit")

    @asynccontextmanager
    async def connect_own(self, name: str = "own") -> AsyncIterator[OwnConnection]:
        """A connection outside the pool, for one task at a time, closed when the block ends.

        Args:
            name: What it is for; shown by the server as the application's name.
        """
        own = OwnConnection(self, f"{self._name} {name}")
        try:
            yield own
        finally:
            own.close()

    def close(self) -> None:
        """Close every idle connection; never waits. Borrowed ones close when they are given back."""
        while self._idle:
            connection = self._idle.pop()  # named, or it would be gone before it is finished, and warn
            connection.pgconn.finish()

    async def _run(self, sql: LiteralString, values: tuple[object, ...], timeout_s: float | None) -> Cursor:
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        with _Deadline(limit_s):
            async with self._borrowed(limit_s) as connection:
                with _TRANSLATED:
                    return await _execute(connection, sql, values)

    @asynccontextmanager
    async def _borrowed(self, limit_s: float) -> AsyncIterator[TrioConnection]:
        async with self._slots:
            connection = self._take_idle()
            if connection is None:
                connection = await self._connect(self._name)
            longer = limit_s > self.timeout_s
            try:
                if longer:
                    await connection.execute(_statement_timeout(limit_s))
                yield connection
            finally:
                # One that is inside a transaction, or was told to wait longer, is closed and not mended:
                # both are rare, and a fresh connection costs a few milliseconds.
                if not connection.closed and not longer and _is_idle(connection):
                    self._idle.append(connection)
                else:
                    connection.pgconn.finish()

    def _take_idle(self) -> TrioConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and not _is_lost(connection):
                return connection
            connection.pgconn.finish()
        return None

    async def _connect(self, name: str) -> TrioConnection:
        with trio.move_on_after(CONNECT_TIMEOUT_S):
            try:
                return await connect({**self._params, "application_name": name})
            except psycopg.Error as problem:
                raise StorageUnavailable(f"no connection to PostgreSQL: {_one_line(problem)}") from problem
        raise StorageUnavailable(f"no connection to PostgreSQL within {CONNECT_TIMEOUT_S:g} s")


@asynccontextmanager
async def open_database(
    dsn: str, *, size: int = POOL_SIZE, timeout_s: float = TIMEOUT_S, name: str = "konnect"
) -> AsyncIterator[Database]:
    """A database with a pool of up to *size* connections, opened when they are needed.

    Args:
        dsn: libpq's connection string or URL.
        size: Connections that may be borrowed at once; who finds none free waits, within its deadline.
        timeout_s: Deadline of a query in seconds, unless the call names its own.
        name: The application's name, as the server shows it.

    Raises:
        StorageError: *dsn* is not a connection string.
    """
    database = Database(dsn, size, timeout_s, name)
    try:
        yield database
    finally:
        database.close()


async def durability(database: Database) -> list[str]:
    """What keeps this server from holding what it committed through a power cut; empty when nothing does."""
    found = []
    for setting, why in _DURABLE.items():
        row = await database.fetch_one("select current_setting(%s)", setting)
        if row is None or row[0] == "off":
            found.append(f"{setting} is off: {why}")
    return found


async def suitability(database: Database) -> list[str]:
    """What keeps this server from carrying Konnect at all; empty when nothing does."""
    row = await database.fetch_one(_VERSION)
    assert row is not None
    version, encoding = row
    found = []
    if version < 180_000:
        found.append(f"PostgreSQL {version // 10_000} is too old: Konnect needs PostgreSQL 18 or newer")
    if encoding != "UTF8":
        found.append(f"the database's encoding is {encoding}: Konnect needs UTF8")
    return found


_VERSION: Final = "select current_setting('server_version_num')::int, current_setting('server_encoding')"
_DURABLE: Final = {
    "fsync": "a power cut may destroy the database",
    "synchronous_commit": "a power cut loses what was acknowledged",
    "full_page_writes": "a power cut may leave torn pages",
}


def _parameters(dsn: str, timeout_s: float) -> dict[str, Any]:
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.Error as problem:
        raise StorageError(f"the database address is not a connection string: {_one_line(problem)}") from problem
    settings = {
        "statement_timeout": str(round((timeout_s + _GRACE_S) * 1_000)),
        "client_connection_check_interval": str(_CHECK_MS),
        "default_transaction_isolation": r"read\ committed",
        "idle_in_transaction_session_timeout": "30s",
        "TimeZone": "UTC",
    }
    ours = " ".join(f"-c {key}={value}" for key, value in settings.items())
    defaults = {
        "keepalives": "1",
        "keepalives_idle": "15",
        "keepalives_interval": "5",
        "keepalives_count": "3",
        "tcp_user_timeout": "10000",
        "client_encoding": "UTF8",
    }
    return {**defaults, **given, "options": f"{given.get('options') or ''} {ours}".strip()}


async def _execute(connection: TrioConnection, sql: LiteralString, values: tuple[object, ...]) -> Cursor:
    try:
        return await connection.execute(sql, values or None)
    except psycopg.errors.FeatureNotSupported:
        # Another process changed the table beneath a statement that psycopg prepared here ("cached plan must not
        # change result type"); this session would say so for ever.
        connection.pgconn.finish()
        raise


def _statement_timeout(limit_s: float) -> bytes:
    return b"set statement_timeout = %d" % round((limit_s + _GRACE_S) * 1_000)


def _is_idle(connection: TrioConnection) -> bool:
    return connection.pgconn.transaction_status == TransactionStatus.IDLE


def _is_lost(connection: TrioConnection) -> bool:
    """True when the server hung up while *connection* lay in the pool: an idle one has nothing to say but that."""
    if not poll(connection.pgconn.socket, 1):
        return False
    try:
        connection.pgconn.consume_input()  # a notice or a changed setting is harmless
        return bool(poll(connection.pgconn.socket, 1))
    except psycopg.Error:
        return True


class _Deadline:
    """StorageUnavailable when the block takes longer than so many seconds; None: no deadline of its own.

    A class, as is the next one: made with ``contextmanager`` they would cost a small query a fifth more.
    """

    __slots__ = ("_limit_s", "_scope")

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = limit_s

    def __enter__(self) -> None:
        if self._limit_s is not None:
            self._scope = trio.CancelScope(deadline=trio.current_time() + self._limit_s)
            self._scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if self._limit_s is None:
            return None
        swallowed = self._scope.__exit__(kind, problem, trace)
        if self._scope.cancelled_caught:
            raise StorageUnavailable(f"no answer from PostgreSQL within {self._limit_s:g} s")
        return swallowed


class _Busy:
    """Two tasks on one connection are a bug of ours, and one that libpq would report as a lost connection."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken = False

    def __enter__(self) -> None:
        if self._taken:
            raise RuntimeError("a connection of one's own is for one task at a time")
        self._taken = True

    def __exit__(self, *_: object) -> None:
        self._taken = False


class _Translated:
    """Driver errors become ours on the way out."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(problem, psycopg.Error):
            translated = _translate(problem)
            if translated is not None:
                raise translated from problem
        elif isinstance(problem, UnicodeEncodeError):
            raise StorageRefused(f"a text is not valid Unicode: {problem.reason}") from problem


_TRANSLATED: Final = _Translated()


def _translate(problem: psycopg.Error) -> StorageError | None:
    state = problem.sqlstate or ""
    if state.startswith("23"):
        return StorageConflict(_one_line(problem), problem.diag.constraint_name or "")
    if state.startswith(_REFUSED):
        return StorageRefused(_one_line(problem))
    if state.startswith(_UNAVAILABLE) or (state == "0A000" and "cached plan" in str(problem)):
        return StorageUnavailable(_one_line(problem))
    if not state:  # not the server's words: libpq or psycopg
        if isinstance(problem, psycopg.DataError):
            return StorageRefused(_one_line(problem))
        if isinstance(problem, psycopg.OperationalError):
            return StorageUnavailable(_one_line(problem))
    return None


def _checked(results: list[Any], wanted: ExecStatus) -> Any:
    result = results[-1]
    if result.status != wanted:
        raise psycopg.errors.error_from_result(result)
    return result


def _encoded(text: str | bytes) -> bytes:
    try:
        value = text if isinstance(text, bytes) else text.encode()
    except UnicodeEncodeError as problem:
        raise StorageRefused(f"a text is not valid Unicode: {problem.reason}") from problem
    if b"\0" in value:  # libpq would end the text there
        raise StorageRefused("a text holds a NUL")
    return value


def _one_line(problem: psycopg.Error) -> str:
    """What the server said, without details and context: they quote values, and this ends in logs."""
    return " ".join((problem.diag.message_primary or str(problem)).split())
