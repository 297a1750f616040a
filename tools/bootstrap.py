"""From a fresh clone to a running Konnect: ``python3 -m tools.bootstrap run`` (or ``make run``).

Makes ``.venv`` with what the lock file names, once; later runs take a moment and need no network.
Written so that Pythons that are too old can still read it, and say so.
"""

from __future__ import print_function

import hashlib
import os
import shutil
import subprocess
import sys

NEEDED = (3, 11)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
TOOLS = os.path.join(ROOT, ".tools")
LOCKS = {"run": "requirements-run.lock", "test": "requirements.lock"}
TASKS = {  # task -> what must be installed, and what then runs
    "run": ("run", ["-m", "konnect_server", "dev"]),
    "test": ("test", ["-m", "tools.check"]),
    "simulate": ("test", ["-m", "tests.simulate", "--seeds", "10000"]),
    "bench": ("run", ["-m", "bench.peers", "run"]),
    "bench-list": ("run", ["-m", "bench"]),
    "bench-peers": ("run", ["-m", "bench.peers", "install"]),
    "install": ("test", None),
}


def main(arguments):
    # type: (list[str]) -> None
    """Run the task that *arguments* name; what follows it is handed on. Ends with a plain sentence when it cannot."""
    if sys.version_info < NEEDED:
        have = ".".join(str(part) for part in sys.version_info[:3])
        stop("Konnect needs Python 3.11 or newer, and this is %s; try: make run PY=python3.13" % have)
    if not arguments or arguments[0] not in TASKS:
        stop("Say what to do: python3 -m tools.bootstrap %s" % "|".join(TASKS))
    level, command = TASKS[arguments[0]]
    try:
        install(level)
    except (OSError, subprocess.CalledProcessError) as problem:
        stop("Konnect could not be set up in %s: %s" % (VENV, problem))
    if command is not None:
        os.chdir(ROOT)
        os.execv(python_of(VENV), [python_of(VENV)] + command + arguments[1:])


def install(level, venv=VENV, python=sys.executable):
    # type: (str, str, str) -> None
    """Make *venv* hold what *level* needs, unless it does already; two that try at once take turns.

    Raises OSError or CalledProcessError when it cannot.
    """
    if is_installed(level, venv):
        return
    import fcntl

    if not os.path.isdir(TOOLS):
        os.mkdir(TOOLS)
    with open(os.path.join(TOOLS, "bootstrap.lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_installed(level, venv):
            return
        say("Setting up %s (once; needs the network) ..." % os.path.relpath(venv, ROOT))
        if not is_usable(venv):
            make_venv(venv, python)
        pip = [python_of(venv), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        quietly(pip + ["--requirement", os.path.join(ROOT, LOCKS[level])])
        quietly(pip + ["--no-deps", "--no-build-isolation", "--editable", ROOT])
        for done in {"run", level}:
            with open(stamp(done, venv), "w") as file:
                file.write(fingerprint(done, venv))


def is_installed(level, venv):
    # type: (str, str) -> bool
    """True when what *level* needs was installed from the files as they are now."""
    try:
        with open(stamp(level, venv)) as file:
            return file.read() == fingerprint(level, venv)
    except (IOError, OSError):
        return False


def stamp(level, venv):
    # type: (str, str) -> str
    return os.path.join(venv, "konnect-%s.ok" % level)


def python_of(venv):
    # type: (str) -> str
    return os.path.join(venv, "bin", "python")


def fingerprint(level, venv):
    # type: (str, str) -> str
    """What the installation depends on: the lock, the project's own file, where it all lies, and the interpreter."""
    seen = hashlib.sha256(ROOT.encode("utf-8", "surrogateescape"))
    for name in (LOCKS[level], "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as file:
            seen.update(file.read())
    seen.update(os.path.realpath(python_of(venv)).encode("utf-8", "surrogateescape"))
    return seen.hexdigest()


def is_usable(venv):
    # type: (str) -> bool
    """True when *venv* holds a Python that is new enough and has pip; a set-up that was cut off does not."""
    check = "import sys, pip; sys.exit(sys.version_info < (3, 11) or sys.prefix != sys.argv[1])"
    try:
        return subprocess.call([python_of(venv), "-c", check, os.path.realpath(venv)], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def make_venv(venv, python):
    # type: (str, str) -> None
    """Make *venv* with ``venv``, or with ``virtualenv`` where Debian and Ubuntu split the former out."""
    if os.path.isdir(venv):
        shutil.rmtree(venv)
    if subprocess.call([python, "-m", "venv", venv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0:
        return
    shutil.rmtree(venv, ignore_errors=True)
    quietly([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", TOOLS, "virtualenv"])
    quietly([python, "-m", "virtualenv", "--quiet", venv], dict(os.environ, PYTHONPATH=TOOLS))


def quietly(command, environment=None):
    # type: (list[str], dict[str, str] | None) -> None
    """Run *command*; what it says is shown only when it fails."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, cwd=ROOT)
    said = process.communicate()[0].decode("utf-8", "replace")
    if process.returncode:
        sys.stderr.write(said)
        raise subprocess.CalledProcessError(process.returncode, " ".join(command))


def say(text):
    # type: (str) -> None
    print(text)
    sys.stdout.flush()


def stop(sentence):
    # type: (str) -> None
    sys.exit(sentence)


if __name__ == "__main__":
    main(sys.argv[1:])
