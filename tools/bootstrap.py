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
PYTHON = os.path.join(VENV, "bin", "python")
LOCKS = {"run": "requirements-run.lock", "test": "requirements.lock"}
TASKS = {  # task -> what must be installed, and what then runs
    "run": ("run", ["-m", "konnect_server", "dev"]),
    "test": ("test", ["-m", "tools.check"]),
    "simulate": ("test", ["-m", "tests.simulate", "--seeds", "10000"]),
    "bench": ("run", ["-m", "bench"]),
    "install": ("test", None),
}


def main(arguments):
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
        os.execv(PYTHON, [PYTHON] + command + arguments[1:])


def install(level):
    """Make ``.venv`` hold what *level* needs, unless it does already; two that try at once take turns."""
    if is_installed(level):
        return
    import fcntl

    if not os.path.isdir(TOOLS):
        os.mkdir(TOOLS)
    with open(os.path.join(TOOLS, "bootstrap.lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_installed(level):
            return
        say("Setting up .venv (once; needs the network) ...")
        if not is_usable():
            make_venv()
        pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        quietly(pip + ["--requirement", os.path.join(ROOT, LOCKS[level])])
        quietly(pip + ["--no-deps", "--no-build-isolation", "--editable", ROOT])
        for done in ["run", level]:
            with open(stamp(done), "w") as file:
                file.write(fingerprint(done))


def is_installed(level):
    """True when what *level* needs was installed from the files as they are now."""
    try:
        with open(stamp(level)) as file:
            return file.read() == fingerprint(level)
    except (IOError, OSError):
        return False


def stamp(level):
    return os.path.join(VENV, "konnect-%s.ok" % level)


def fingerprint(level):
    """What the installation depends on: the lock, the project's own file, where it all lies, and the interpreter."""
    seen = hashlib.sha256(ROOT.encode("utf-8", "surrogateescape"))
    for name in (LOCKS[level], "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as file:
            seen.update(file.read())
    seen.update(os.path.realpath(PYTHON).encode("utf-8", "surrogateescape"))
    return seen.hexdigest()


def is_usable():
    """True when .venv holds a Python that is new enough and has pip; a set-up that was cut off does not."""
    check = "import sys, pip; sys.exit(sys.version_info < (3, 11) or sys.prefix != sys.argv[1])"
    try:
        return subprocess.call([PYTHON, "-c", check, os.path.realpath(VENV)], stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def make_venv():
    """Make .venv with ``venv``, or with ``virtualenv`` where Debian and Ubuntu split the former out."""
    if os.path.isdir(VENV):
        shutil.rmtree(VENV)
    if subprocess.call([sys.executable, "-m", "venv", VENV], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0:
        return
    shutil.rmtree(VENV, ignore_errors=True)
    quietly([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", TOOLS, "virtualenv"])
    environment = dict(os.environ, PYTHONPATH=TOOLS)
    quietly([sys.executable, "-m", "virtualenv", "--quiet", VENV], environment)


def quietly(command, environment=None):
    """Run *command*; what it says is shown only when it fails."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, cwd=ROOT)
    said = process.communicate()[0].decode("utf-8", "replace")
    if process.returncode:
        sys.stderr.write(said)
        raise subprocess.CalledProcessError(process.returncode, " ".join(command))


def say(text):
    print(text)
    sys.stdout.flush()


def stop(sentence):
    sys.exit(sentence)


if __name__ == "__main__":
    main(sys.argv[1:])
