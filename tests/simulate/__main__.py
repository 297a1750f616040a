"""``python -m tests.simulate``: run worlds by the thousand, or one of them again with its trace.

Each batch of seeds runs in a fresh process with PYTHONHASHSEED=0, so that a seed means the same whenever and wherever
it runs. A time box (``--seconds``) that fits fewer seeds than ``--seeds`` asks for fails.
"""

import argparse
import gc
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tests.simulate.plants import PLANTS, planted
from tests.simulate.world import Options, run_seed

BATCH: Final = 100
SHOWN: Final = 3  # problems that are printed whole

ROOT: Final = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulate", description="Simulated worlds of Konnect.")
    parser.add_argument("--seeds", type=int, default=1000, help="how many worlds (default 1000)")
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="N", help="the first seed (default 0)")
    parser.add_argument("--seconds", type=float, help="a time box; fitting fewer seeds than asked for fails")
    parser.add_argument("--seed", type=int, help="run this one seed")
    parser.add_argument("--trace", action="store_true", help="with --seed: print what happened")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time (default 2)")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first violation")
    parser.add_argument("--plant", choices=sorted(PLANTS), help="run with this bug planted")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        return _child(options.first, options.seeds, options.plant)
    if options.seed is not None:
        return _one(options)
    return _many(options)


# --- one seed ---------------------------------------------------------------------------------------------------------


def _one(options: argparse.Namespace) -> int:
    if os.environ.get("PYTHONHASHSEED") != "0":
        again = [sys.executable, "-m", "tests.simulate", "--seed", str(options.seed)]
        again += ["--trace"] * options.trace + (["--plant", options.plant] if options.plant else [])
        return subprocess.run(again, env=_environment(), cwd=ROOT, check=False).returncode
    with planted(options.plant):
        result = run_seed(options.seed, Options(trace=options.trace))
    for line in result.trace:
        print(line)
    print(f"seed {result.seed}: {result.problem or 'no violation'} ({result.checks} checks)")
    return 1 if result.problem else 0


# --- a batch, in a process of its own ---------------------------------------------------------------------------------


def _child(first: int, count: int, plant: str | None) -> int:
    gc.freeze()
    gc.disable()  # worlds are small and many: what one leaves is collected between two of them
    with planted(plant):
        for seed in range(first, first + count):
            result = run_seed(seed)
            if seed % 10 == 9:
                gc.collect()
            print(json.dumps({"seed": seed, "problem": result.problem, "checks": result.checks}), flush=True)
    return 0


def batch(first: int, count: int, plant: str | None = None) -> subprocess.Popen[str]:
    """Start a process that runs *count* seeds from *first* on and prints one JSON line for each."""
    command = [sys.executable, "-m", "tests.simulate", "--child", "--from", str(first), "--seeds", str(count)]
    if plant is not None:
        command += ["--plant", plant]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment(), cwd=ROOT)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONHASHSEED": "0"}


# --- many -------------------------------------------------------------------------------------------------------------


class Crew:
    """A few threads, each with one process after another."""

    def __init__(self, first: int, seeds: int, workers: int, plant: str | None) -> None:
        last = first + seeds
        self._batches = deque((start, min(BATCH, last - start)) for start in range(first, last, BATCH))
        self._plant = plant
        self._running: list[subprocess.Popen[str]] = []
        self._stopped = False
        self.said: queue.Queue[dict[str, Any] | None] = queue.Queue()  # None: a thread has ended
        self._threads = [threading.Thread(target=self._work) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while self._batches and not self._stopped:
            try:
                process = batch(*self._batches.popleft(), self._plant)
            except IndexError:  # another thread was quicker
                break
            self._running.append(process)
            with process:
                assert process.stdout is not None
                for line in process.stdout:
                    if line.endswith("\n"):  # else it was killed in the middle
                        self.said.put(json.loads(line))
            if process.returncode and not self._stopped:
                self.said.put({"died": process.returncode})
        self.said.put(None)

    def stop(self) -> None:
        """End everything now."""
        self._stopped = True
        for process in list(self._running):
            process.kill()
        for thread in self._threads:
            thread.join()


class Tally:
    """What came of the seeds so far."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.seeds = self.checks = 0
        self.problems: list[tuple[int, str]] = []
        self.died: int | None = None

    @property
    def took_s(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began

    def add(self, said: dict[str, Any]) -> None:
        """One line of a batch."""
        if "died" in said:
            self.died = said["died"]
            return
        self.seeds += 1
        self.checks += said["checks"]
        if said["problem"]:
            self.problems.append((said["seed"], said["problem"]))


def run_many(
    first: int, seeds: int, *, workers: int = 2, seconds: float | None = None, keep_going: bool = False,
    plant: str | None = None, tell: Callable[[Tally], None] = lambda tally: None,
) -> Tally:  # fmt: skip
    """Run *seeds* worlds from *first* on.

    Args:
        first: The first seed.
        seeds: How many.
        workers: Processes at a time.
        seconds: Stop after so long.
        keep_going: Do not stop at the first violation.
        plant: A bug to plant.
        tell: Called after each world.
    """
    tally = Tally()
    crew = Crew(first, seeds, workers, plant)
    try:
        while workers and tally.died is None and (keep_going or not tally.problems):
            left_s = None if seconds is None else seconds - tally.took_s
            try:
                said = crew.said.get(timeout=left_s if left_s is None else max(left_s, 0.0))
            except queue.Empty:
                break
            if said is None:
                workers -= 1
            else:
                tally.add(said)
                tell(tally)
    finally:
        crew.stop()
    return tally


def _many(options: argparse.Namespace) -> int:
    told = 0.0

    def progress(tally: Tally) -> None:
        nonlocal told
        if tally.took_s - told >= 1:
            told = tally.took_s
            print(f"\r{tally.seeds} of {options.seeds} seeds, {tally.seeds / told:.1f}/s ", end="", file=sys.stderr)

    on_terminal = sys.stderr.isatty()
    tally = run_many(
        options.first, options.seeds, workers=options.workers, seconds=options.seconds, keep_going=options.keep_going,
        plant=options.plant, tell=progress if on_terminal else lambda tally: None,
    )  # fmt: skip
    if on_terminal:
        print("\r", end="", file=sys.stderr)
    for seed, problem in tally.problems[: None if options.keep_going else SHOWN]:
        print(f"seed {seed}: {problem}\n  again: python -m tests.simulate --seed {seed} --trace")
    rate = tally.seeds / tally.took_s
    violations = len(tally.problems)
    print(f"{tally.seeds} seeds in {tally.took_s:.1f} s ({rate:.1f}/s), {tally.checks} checks, {violations} violations")
    if tally.died is not None:
        print(f"a batch of seeds died with exit code {tally.died}")
        return 2
    if tally.problems:
        return 1
    if tally.seeds < options.seeds:
        print(f"the time box of {options.seconds:g} s fitted {tally.seeds} seeds, not {options.seeds}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
