"""Konnect and its peers under the same loads, in turns, so that what the machine does meanwhile meets all alike."""

import functools
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import psycopg
import trio
from msgspec import Struct
from rich.console import Console

from bench.machine import busy, commit, machine
from bench.options import Common, plainly
from bench.peers.install import NotInstalled
from bench.peers.kinds import KONNECT, PEERS, TITLES
from bench.peers.peer import PeerFailed
from bench.peers.table import Line, as_json, as_markdown, as_text, faults, judge
from bench.peers.workloads import Workload, measure
from bench.progress import Silence, open_display, part
from bench.report import Report

JOB_WITHIN_S: Final = 300.0  # one workload against one server; what takes longer hangs
_START_S: Final = {"konnect": 4.0, "socketio": 3.0, "ejabberd": 7.0}  # guesses, until the first round has been seen
_SIGN_INS_PER_S: Final = 1500.0

Measure = Callable[[Workload, str, Common], Any]


class Job(NamedTuple):
    """One workload against one server, once."""

    workload: Workload
    server: str


class Outcome(Struct):
    """What all jobs gave."""

    reports: dict[Job, list[Report]]
    problems: dict[Job, list[str]]  # sentences, one for each repetition that could not be measured

    def medians(self) -> dict[Job, Report]:
        """For each job the median of its good repetitions; of all, where none is good."""
        return {
            job: Report.of_repetitions([report for report in reports if report.good] or reports)
            for job, reports in self.reports.items()
            if reports
        }


def jobs_of(workloads: Iterable[Workload], servers: Sequence[str]) -> list[Job]:
    """One round: workload by workload, one server right after the other."""
    return [Job(workload, server) for workload in workloads for server in workload.servers() if server in servers]


def run_jobs(jobs: Sequence[Job], options: Common, run: Measure = measure) -> Outcome:
    """All *jobs*, ``options.reps`` times, round by round; what fails is told and stops nothing."""
    outcome = Outcome({job: [] for job in jobs}, {job: [] for job in jobs})
    absent = {kind.name: sentence for kind in PEERS if (sentence := kind.missing())}
    clock = Clock(jobs, options, absent)
    with open_display(options.stages, Silence()):
        for number in range(options.reps):
            for job in jobs:
                words = clock.begin(job, number)
                if job.server in absent:
                    outcome.problems[job].append(absent[job.server])
                    continue
                _tell(words)
                part(words)
                try:
                    work = functools.partial(_within, run, job, options)
                    outcome.reports[job].append(plainly(work, PeerFailed, NotInstalled, psycopg.Error))
                except click.ClickException as problem:
                    outcome.problems[job].append(problem.message)
                    _tell(f"  could not be measured: {problem.message}")
                clock.end(job)
    return outcome


async def _within(run: Measure, job: Job, options: Common) -> Report:
    with trio.move_on_after(JOB_WITHIN_S):
        report: Report = await run(job.workload, job.server, options)
        return report
    raise PeerFailed(f"it was not through within {JOB_WITHIN_S:g} s")


class Clock:
    """How long what is left will take: as long as it took before, or a guess."""

    def __init__(self, jobs: Sequence[Job], options: Common, absent: Iterable[str]) -> None:
        self._jobs, self._options, self._absent = jobs, options, set(absent)
        self._took_s = {job: self._guess(job) for job in jobs}
        self._began = 0.0
        self._done = 0

    def begin(self, job: Job, repetition: int) -> str:
        """The progress line of a job that begins."""
        self._began = time.monotonic()
        self._done += 1
        total = len(self._jobs) * self._options.reps
        left = self.left_s(job, repetition)
        about = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
        round_of = f", round {repetition + 1} of {self._options.reps}" if self._options.reps > 1 else ""
        return f"[{self._done}/{total}{round_of}, about {about} left] {job.workload.title}: {TITLES[job.server]}"

    def end(self, job: Job) -> None:
        """The job has ended."""
        self._took_s[job] = time.monotonic() - self._began

    def left_s(self, job: Job, repetition: int) -> float:
        """From the beginning of *job* in this repetition to the end of all, in seconds."""
        place = self._jobs.index(job)
        rounds = self._options.reps - repetition - 1
        return sum(self._took_s[later] for later in self._jobs[place:]) + rounds * sum(self._took_s.values())

    def _guess(self, job: Job) -> float:
        if job.server in self._absent:
            return 0.0
        workload, options = job.workload, self._options
        runs = 2 if workload.bench in ("roundtrip", "direct") else 1
        sign_in = max(workload.members, workload.sockets) / _SIGN_INS_PER_S
        return _START_S.get(job.server, 1.0) + runs * (options.warmup + options.seconds + sign_in + 0.5)


def show(outcome: Outcome, options: Common, markdown: Path | None, small: bool = False) -> int:
    """Print every report and the table; the exit code.

    Args:
        outcome: Of :func:`run_jobs`.
        options: Of them ``out`` is used: the file to append all lines of JSON to.
        markdown: Where to write the table for docs/performance.md.
        small: It was a run that only shows that everything works.

    Returns:
        0 when everything was measured and every gate that was looked at holds, 1 when one does not, 2 when something
        could not be measured or failed.
    """
    medians = outcome.medians()
    for report in medians.values():
        report.show(options.out)
    lines = judge({(job.workload.name, job.server): report.runs for job, report in medians.items()})
    wanted = {(job.workload.name, job.server) for job in outcome.reports}
    lines = [line for line in lines if (line.aim.workload, line.aim.against or KONNECT) in wanted]
    problems = _problems(outcome)
    _print_result(lines, problems, options.out, small)
    if markdown is not None:
        markdown.write_text(as_markdown(lines))
    if problems:
        return 2
    return 0 if all(line.gate for line in lines) else 1


def _problems(outcome: Outcome) -> list[str]:
    """A sentence for each job and reason: not measured, or failed in a repetition."""
    told = [
        f"{TITLES[job.server]}, {job.workload.title}: {sentence}"
        for job, sentences in outcome.problems.items()
        for sentence in sentences
    ]
    told += [
        f"{TITLES[job.server]}, {job.workload.title}, {run['name']}: failed, {faults(run)}"
        for job, reports in outcome.reports.items()
        for report in reports
        for run in report.runs
        if not run["ok"]
    ]
    return list(dict.fromkeys(told))


def _print_result(lines: Sequence[Line], problems: Sequence[str], out: Path | None, small: bool) -> None:
    told = {
        "bench": "peers",
        "small": small,
        "table": as_json(lines),
        "problems": problems,
        "runs": [],
        "machine": machine(),
        "commit": commit(),
        "busy_after": busy(),
    }
    text = json.dumps(told)
    print(text, flush=True)
    if out is not None:
        with out.open("a") as file:
            file.write(text + "\n")
    console = Console(file=sys.stderr, width=None if sys.stderr.isatty() else 160)
    console.print(as_text(lines, small))
    for problem in problems:
        console.print(f"problem: {problem}", style="red", markup=False, highlight=False)


def servers_of(only: Sequence[str]) -> list[str]:
    """*only* and Konnect, or everybody when it is empty."""
    return [name for name in TITLES if not only or name in only or name == KONNECT]


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
