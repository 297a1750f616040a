"""Installing the peers, from Debian's packages and npm's, and saying in one sentence what is missing.

Nothing runs as a service: while Debian's packages are unpacked, ``policy-rc.d`` forbids to start any, and what they
would start at the next boot is switched off again. Our servers are processes of ours, with configurations of ours.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

NODE_FOLDER: Final = Path(__file__).resolve().parent / "socketio"
_POLICY: Final = Path("/usr/sbin/policy-rc.d")
_NO_SERVICES: Final = "#!/bin/sh\nexit 101\n"
_ERLANG: Final = Path("/usr/lib/erlang/lib")
_SERVICES: Final = ("ejabberd", "nats-server", "epmd.socket", "epmd")


class NotInstalled(Exception):
    """A peer cannot run here; the text says in one sentence what is missing."""


def missing_socketio() -> str | None:
    """What Socket.IO lacks here, as one sentence; None when it can run."""
    if shutil.which("node") is None:
        return "Node.js is missing (Debian: nodejs)"
    if not (NODE_FOLDER / "node_modules" / "socket.io" / "package.json").exists():
        return "Socket.IO's packages are missing (npm ci)"
    return None


def missing_ejabberd() -> str | None:
    """What ejabberd lacks here, as one sentence; None when it can run."""
    if shutil.which("erl") is None or ejabberd_folder() is None:
        return "ejabberd is missing (Debian: ejabberd)"
    if not any(_ERLANG.glob("p1_pgsql-*")):
        return "ejabberd's PostgreSQL driver is missing (Debian: erlang-p1-pgsql)"
    return None


def missing_nats() -> str | None:
    """What NATS lacks here, as one sentence; None when it can run."""
    return None if nats_program() else "nats-server is missing (Debian: nats-server)"


def missing_bare() -> str | None:
    """What the reference in C lacks here, as one sentence; None when it can run."""
    if not Path("/proc/self/stat").exists():
        return "the reference in C needs Linux (epoll)"
    return None if compiler() else "a C compiler is missing (Debian: gcc and libc6-dev)"


MISSING: Final[dict[str, Callable[[], str | None]]] = {
    "socketio": missing_socketio,
    "ejabberd": missing_ejabberd,
    "nats": missing_nats,
    "bare": missing_bare,
}


def ejabberd_folder() -> Path | None:
    """ejabberd's own programs, as Debian lays them out."""
    found = sorted(Path("/usr/lib").glob("*/ejabberd*/ebin/ejabberd_app.beam"))
    found += sorted(_ERLANG.glob("ejabberd-*/ebin/ejabberd_app.beam"))
    return found[-1].parent if found else None


def nats_program() -> str | None:
    """The path of nats-server; Debian puts it where only root looks."""
    return shutil.which("nats-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def compiler() -> str | None:
    """The path of a C compiler."""
    return os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def install(say: Callable[[str], None]) -> list[str]:
    """Install whatever is missing; the sentences about what still is. Blocking, needs the network, a minute or two."""
    packages = [package for package, wanted in _debian() if wanted]
    if packages:
        _install_debian(packages, say)
    if missing_socketio() == "Socket.IO's packages are missing (npm ci)":
        _install_node(say)
    return [sentence for missing in MISSING.values() if (sentence := missing())]


def _debian() -> list[tuple[str, bool]]:
    ejabberd, node = missing_ejabberd() is not None, shutil.which("node") is None
    return [
        ("ejabberd", ejabberd),
        ("erlang-p1-pgsql", ejabberd),
        ("nats-server", missing_nats() is not None),
        ("nodejs", node),
        ("npm", shutil.which("npm") is None),
        ("gcc", compiler() is None),
        ("libc6-dev", compiler() is None),
    ]


def _install_debian(packages: list[str], say: Callable[[str], None]) -> None:
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if shutil.which("apt-get") is None:
        say("There is no apt-get here: install them in this system's own way, and stop the services it starts.")
        return
    if os.geteuid() != 0:
        say(f"Only root may install Debian's packages; run this as root, or: {' '.join(command)}")
        return
    say(" ".join(command))
    with _no_services():
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        say(f"apt-get ended with {done.returncode}; perhaps its lists are old: apt-get update")


@contextmanager
def _no_services() -> Iterator[None]:
    """Packages that come meanwhile start nothing, neither now nor at the next boot; older ones stay as they are."""
    before = {service for service in _SERVICES if _is_enabled(service)}
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text(_NO_SERVICES)
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            _POLICY.unlink(missing_ok=True)
        for service in _SERVICES:
            if service not in before and _is_enabled(service):
                subprocess.run(["systemctl", "disable", "--now", service], capture_output=True, check=False)


def _is_enabled(service: str) -> bool:
    with suppress(OSError):
        return subprocess.run(["systemctl", "is-enabled", service], capture_output=True, check=False).returncode == 0
    return False


def _install_node(say: Callable[[str], None]) -> None:
    npm = shutil.which("npm")
    if npm is None:
        say("npm is missing (Debian: npm)")
        return
    command = [npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"]
    say(f"npm ci in {NODE_FOLDER.name}")
    done = subprocess.run(command, cwd=NODE_FOLDER, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        say(f"npm ended with {done.returncode}")
