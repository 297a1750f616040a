"""``python -m tests.simulate``: run worlds by the thousand, or one of them again with its trace.

Each batch of seeds runs in a fresh process with PYTHONHASHSEED=0, so that a seed means the same whenever and wherever it
runs. A time box (``--seconds``) that fits fewer seeds than ``--seeds`` asks for fails.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tests.simulate.plants import PLANTS, planted
from tests.simulate.world import Options, Result, run_seed

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
    with planted(plant):
        for seed in range(first, first + count):
            result = run_seed(seed)
            print(json.dumps({"seed": seed, "problem": result.problem, "checks": result.checks}), flush=True)
    return 0


def batch(first: int, count: int, plant: str | None = None) -> subprocess.Popen[str]:
    """Start a process that runs *count* seeds from *first* on, one JSON line each."""
    command = [sys.executable, "-m", "tests.simulate", "--child", "--from", str(first), "--seeds", str(count)]
    if plant is not None:
        command += ["--plant", plant]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment(), cwd=ROOT)


def results(process: "subprocess.Popen[str]") -> Iterator[dict[str, Any]]:
    """What a batch says, as it says it."""
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)
    if process.wait() not in (0, -15):
        raise RuntimeError(f"a batch of seeds died with exit code {process.returncode}")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONHASHSEED": "0"}


# --- many -------------------------------------------------------------------------------------------------------------


def _many(options: argparse.Namespace) -> int:
    began = time.monotonic()
    ends = None if options.seconds is None else began + options.seconds
    batches = deque(
        (first, min(BATCH, options.first + options.seeds - first))
        for first in range(options.first, options.first + options.seeds, BATCH)
    )
    running: list[subprocess.Popen[str]] = []
    done = checks = 0
    problems: list[Result] = []
    out_of_time = False
    told = began
    try:
        while batches or running:
            while batches and len(running) < options.workers:
                running.append(batch(*batches.popleft(), options.plant))
                os.set_blocking(running[-1].stdout.fileno(), False)  # type: ignore[union-attr]  # a pipe
            for process in list(running):
                over = process.poll() is not None
                for line in process.stdout or ():
                    result = json.loads(line)
                    done, checks = done + 1, checks + result["checks"]
                    if result["problem"]:
                        problems.append(Result(result["seed"], result["problem"], 0, "", []))
                if over:
                    running.remove(process)
                    if process.returncode:
                        print(f"a batch of seeds died with exit code {process.returncode}")
                        return 2
            now = time.monotonic()
            if now - told >= 1 and sys.stderr.isatty():
                told = now
                print(f"\r{done} of {options.seeds} seeds, {done / (now - began):.1f}/s ", end="", file=sys.stderr)
            if ends is not None and now > ends:
                out_of_time = True
                break
            if problems and not options.keep_going:
                break
            time.sleep(0.05)
    finally:
        for process in running:
            process.kill()
            process.wait()
    took = time.monotonic() - began
    if sys.stderr.isatty():
        print("\r", end="", file=sys.stderr)
    for result in problems[: None if options.keep_going else SHOWN]:
        print(f"seed {result.seed}: {result.problem}\n  again: python -m tests.simulate --seed {result.seed} --trace")
    print(f"{done} seeds in {took:.1f} s ({done / took:.1f}/s), {checks} checks, {len(problems)} with a violation")
    if out_of_time and done < options.seeds:
        print(f"the time box of {options.seconds:g} s fitted {done} seeds, not {options.seeds}")
        return 1
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
