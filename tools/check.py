"""Every check and test, each with its time and one summary: ``make test``.

All of them run, whatever fails before; two at a time where there are two cores. The second Python
(3.13 where this one is older and a 3.13 is installed) runs the tests of the house only.
"""

import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tools import bootstrap, image

ROOT: Final = Path(__file__).resolve().parent.parent
PYTHON: Final = sys.executable
OTHER: Final = (3, 13)
CORES: Final = max(1, min(os.cpu_count() or 1, 8))
HEARTBEAT_S: Final = 60.0
SECOND_PYTHONS: Final = ROOT / ".test-pythons"

# On the second Python: the house itself, not its tools, nor all of its scenes, which are the same code at work.
_TOOLS: Final = (
    "--ignore-glob=tests/test_bench*", "--ignore=tests/test_replay.py", "--ignore=tests/test_simulate.py",
    "--ignore-glob=tests/test_store_*",  # PostgreSQL at work, not Python
    *(f"--ignore=tests/test_{one}.py" for one in (
        "feed", "profiles", "posts", "contacts", "opener_leaks", "by_mail", "suggestions", "recommend_training",
        "http_media", "embedded", "cli",  # a minute and a half, and the same code
    )),
)  # fmt: skip
_SCENES: Final = ("test_talk.py", "test_coming_back.py")

_COUNTS: Final = re.compile(r"(\d+) (passed|failed|skipped|error|errors|xfailed|xpassed|deselected|warnings?)\b")


def python(*arguments: str) -> Callable[[], Sequence[str]]:
    """The command of a step that is a module of ours."""
    return lambda: [PYTHON, "-m", *arguments]


class Step(NamedTuple):
    """One check. ``command`` gives the arguments, or says in one line why it is left out."""

    name: str
    limit_s: float
    command: Callable[[], Sequence[str] | str]


class Outcome(NamedTuple):
    """How one check went. ``counts``: pytest's words and numbers; for other checks one "passed" or "failed"."""

    name: str
    counts: dict[str, int]
    took_s: float
    said: str

    @property
    def good(self) -> bool:
        """Nothing failed."""
        return not self.counts.get("failed")

    @property
    def mark(self) -> str:
        """One word for it."""
        if not self.good:
            return "FAILED"
        return "ok" if self.counts.get("passed") else "left out"


def main() -> int:
    """Run everything; returns the exit code."""
    began = time.monotonic()
    outcomes: list[Outcome] = []
    _run_lane(_first(), outcomes)
    lanes = _lanes()
    if CORES < 2:
        lanes = [[step for lane in lanes for step in lane]]
    threads = [threading.Thread(target=_run_lane, args=(lane, outcomes), daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _summary(outcomes, time.monotonic() - began)


def _first() -> list[Step]:
    """What runs with nothing beside it: the quick ones, and the simulated world, whose seeds must fit their time. On
    two quiet cores they take one to two minutes; the box leaves room for a machine that others use, too."""
    box = ["--seeds", "500", "--seconds", "150", "--workers", str(CORES)]
    return [
        Step("ruff", 60, python("ruff", "check", "--quiet")),
        Step("import order", 60, lambda: [str(Path(PYTHON).with_name("lint-imports"))]),
        Step("simulated world", 180, python("tests.simulate", *box)),
    ]


def _lanes() -> list[list[Step]]:
    """What runs beside what, after that."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    tests = [
        Step(f"tests, Python {here}", 1800, python("pytest", "--color=no", "--ignore=tests/scenes")),
        Step("fuzz", 180, python("tests.fuzz", "--seconds", "60")),
    ]
    others = [
        Step(f"scenes, Python {here}", 1200, python("pytest", "--color=no", "tests/scenes")),
    ]
    if sys.version_info[:2] < OTHER:
        name = ".".join(map(str, OTHER))
        others.append(Step(f"tests, Python {name}", 1200, lambda: _on_the_other(name)))
    others += [
        Step("mypy", 600, python("mypy")),
        Step("the Dockerfile's steps", 300, python("tools.image")),
    ]
    return [tests, others]


def _run_lane(steps: Sequence[Step], outcomes: list[Outcome]) -> None:
    for step in steps:
        outcome = _run(step)
        outcomes.append(outcome)
        print(f"{outcome.took_s:7.1f} s  {outcome.mark:8}  {outcome.name}: {_last_line(outcome.said)}", flush=True)
        if not outcome.good:
            print(_framed(outcome), flush=True)


def _run(step: Step) -> Outcome:
    began = time.monotonic()
    command = step.command()
    if isinstance(command, str):
        return Outcome(step.name, {"skipped": 1}, time.monotonic() - began, command)
    process = subprocess.Popen(
        list(command),
        cwd=ROOT,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said, late = _listen(process, step, began)
    counts = _count(said) if "pytest" in command else {}
    if process.returncode == image.LEFT_OUT:
        return Outcome(step.name, {"skipped": 1}, time.monotonic() - began, said + "\nno package index in reach")
    if process.returncode and not counts.get("failed"):
        counts["failed"] = 1
    elif not counts:
        counts = {"passed": 1}
    if late:
        said += f"\nended after {step.limit_s:g} s, its limit"
    return Outcome(step.name, counts, time.monotonic() - began, said)


def _listen(process: subprocess.Popen[bytes], step: Step, began: float) -> tuple[str, bool]:
    """All that *process* says, and whether it had to be ended; on a terminal or not, somebody sees that it is alive."""
    while True:
        left_s = step.limit_s - (time.monotonic() - began)
        try:
            said, _ = process.communicate(timeout=max(0.1, min(HEARTBEAT_S, left_s)))
            return said.decode(errors="replace"), False
        except subprocess.TimeoutExpired:
            if time.monotonic() - began < step.limit_s:
                print(f"{time.monotonic() - began:7.1f} s  ...       {step.name}", flush=True)
                continue
            process.send_signal(signal.SIGINT)  # so that tests stop the servers that they started
            try:
                said, _ = process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                said, _ = process.communicate()
            return said.decode(errors="replace"), True


def _on_the_other(version: str) -> Sequence[str] | str:
    """The tests on another Python, in a folder of its own made from the same lock; or why not."""
    interpreter = next(_interpreters(version), None)
    if interpreter is None:
        return f"no Python {version} found"
    venv = SECOND_PYTHONS / version
    try:
        bootstrap.install("test", str(venv), interpreter)
    except (OSError, subprocess.CalledProcessError):
        return f"Python {version} is here, but its packages could not be installed (is a package index in reach?)"
    scenes = sorted(path for path in ROOT.glob("tests/scenes/test_*.py") if path.name not in _SCENES)
    left_out = [f"--ignore={path.relative_to(ROOT)}" for path in scenes]
    return [str(venv / "bin" / "python"), "-m", "pytest", "--color=no", *_TOOLS, *left_out]


def _interpreters(version: str) -> Iterator[str]:
    """Pythons of that version that really run: a pyenv shim may be there and fail."""
    pyenv = os.environ.get("PYENV_ROOT", "~/.pyenv")
    uv = os.environ.get("UV_PYTHON_INSTALL_DIR", "~/.local/share/uv/python")
    homes = [f"{pyenv}/versions/{version}*/bin/python{version}", f"{uv}/cpython-{version}*/bin/python{version}"]
    named = shutil.which(f"python{version}")
    found = [named] if named else []
    for pattern in homes:
        found += sorted(glob.glob(os.path.expanduser(pattern)), reverse=True)
    ask = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    for path in found:
        try:
            done = subprocess.run([path, "-c", ask], capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0 and done.stdout.strip() == version:
            yield path


def _environment() -> dict[str, str]:
    """Ours, without the settings of a Konnect that the developer runs beside this."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KONNECT_")}


def _count(said: str) -> dict[str, int]:
    """The numbers in pytest's last line."""
    counts: dict[str, int] = {}
    for number, word in _COUNTS.findall(_last_line(said)):
        key = "failed" if word in ("error", "errors") else word
        counts[key] = counts.get(key, 0) + int(number)
    return counts


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "nothing to say"


def _framed(outcome: Outcome) -> str:
    return f"{'-' * 20} {outcome.name} {'-' * 20}\n{outcome.said.rstrip()}\n{'-' * (42 + len(outcome.name))}"


def _summary(outcomes: Sequence[Outcome], took_s: float) -> int:
    bad = [outcome.name for outcome in outcomes if not outcome.good]
    total = {word: sum(outcome.counts.get(word, 0) for outcome in outcomes) for word in ("passed", "failed", "skipped")}
    print()
    for outcome in outcomes:
        numbers = ", ".join(f"{number} {word}" for word, number in outcome.counts.items())
        print(f"{outcome.took_s:7.1f} s  {outcome.name}: {numbers}")
    if bad:
        print(f"\nFAILED: {', '.join(bad)}")
    print(f"\n{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped in {took_s:.1f}s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
