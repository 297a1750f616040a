"""What the Dockerfile does, done in an empty folder where no container engine runs: ``python -m tools.image``.

Runs its steps in order, with the image's ``/app`` as a temporary folder, then starts the image's command, waits until
its health check passes, and ends it with SIGTERM. What needs root in a real image (the system user) is left out.
Exit code 77 when no package index can be reached.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
LEFT_OUT: Final = 77
HEALTHY_WITHIN_S: Final = 60.0
_UNREACHABLE: Final = re.compile("No matching distribution|Could not find a version|Temporary failure|NewConnection")


class Instruction(NamedTuple):
    """One line of a Dockerfile, continued lines joined."""

    word: str  # RUN, COPY ...
    rest: str


class StepFailedError(Exception):
    """A step did not work; the text is what it said."""


def main() -> int:
    """Do it all; returns the exit code."""
    instructions = read(ROOT / "Dockerfile")
    folder = Path(tempfile.mkdtemp(prefix="konnect-image-"))
    folder.chmod(0o755)  # PostgreSQL's system user must get through, when root runs this
    app = folder / "app"
    app.mkdir()
    try:
        for instruction in instructions:
            _do(instruction, app)
        environment = environment_of(instructions, app)
        print(_output(["konnect", "version"], environment, folder).strip())
        _serve(instructions, environment, folder)
    except StepFailedError as problem:
        print(problem)
        return LEFT_OUT if _UNREACHABLE.search(str(problem)) else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("the Dockerfile's steps work, its command starts, is healthy, and ends with 0")
    return 0


def read(path: Path) -> list[Instruction]:
    """The instructions of a Dockerfile, comments left out."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def environment_of(instructions: list[Instruction], app: Path) -> dict[str, str]:
    """Ours without any setting of Konnect, and the image's on top."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("KONNECT_")}
    for word, rest in instructions:
        if word == "ENV":
            for part in shlex.split(rest):
                name, value = part.split("=", 1)
                found[name] = value.replace("/app", str(app)).replace("$PATH", found["PATH"])
    return found


def command_of(instructions: list[Instruction], word: str) -> list[str]:
    """The list that *word* (ENTRYPOINT, CMD, HEALTHCHECK) gives."""
    rest = next(rest for found, rest in instructions if found == word)
    command: list[str] = json.loads(rest[rest.index("[") :])
    return command


def _do(instruction: Instruction, app: Path) -> None:
    word, rest = instruction
    if word == "RUN" and not rest.startswith("useradd"):
        command = rest.replace("/app", str(app)).replace("python -m venv", f"{sys.executable} -m venv")
        print(f"RUN {rest}", flush=True)
        _output(["/bin/sh", "-ec", command], dict(os.environ), app)
    elif word == "COPY" and not rest.startswith("--from"):
        *sources, target = shlex.split(rest)
        for source in sources:
            _copy(ROOT / source, app / target)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target if target.is_dir() else target.parent)


def _serve(instructions: list[Instruction], environment: dict[str, str], folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {**environment, "KONNECT_PORT": str(port), "KONNECT_DATA": str(folder / "data")}
    environment["KONNECT_HOST"] = "127.0.0.1"  # the image listens to all, for it has a network of its own
    with tempfile.TemporaryFile() as output:
        server = subprocess.Popen(
            [*command_of(instructions, "ENTRYPOINT"), *command_of(instructions, "CMD")],
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_healthy(server, command_of(instructions, "HEALTHCHECK"), environment)
            server.send_signal(signal.SIGTERM)
            code = server.wait(timeout=30)
        except (StepFailedError, subprocess.TimeoutExpired) as problem:
            server.kill()
            server.wait()
            output.seek(0)
            raise StepFailedError(f"{problem}\n{output.read().decode(errors='replace')}") from problem
    if code:
        raise StepFailedError(f"the server ended with {code} after SIGTERM")


def _wait_until_healthy(server: subprocess.Popen[bytes], check: list[str], environment: dict[str, str]) -> None:
    until = time.monotonic() + HEALTHY_WITHIN_S
    while time.monotonic() < until:
        if server.poll() is not None:
            raise StepFailedError(f"the server ended by itself with {server.returncode}")
        if subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.2)
    raise StepFailedError(f"not healthy within {HEALTHY_WITHIN_S:g} s")


def _output(command: list[str], environment: dict[str, str], folder: Path = ROOT) -> str:
    done = subprocess.run(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise StepFailedError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
