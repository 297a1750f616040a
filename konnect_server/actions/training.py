"""Trains the recommender once a day, as a job: in a process of its own, so that the server computes nothing meanwhile.

The process is ``konnect recommend train --background``, which gives way to all others. It commits a version as a whole,
and then that it stands: when it is killed, or this server is, the job is done again, and a version more does no harm.
"""

import os
import sys
from typing import Final

import structlog
import trio
from msgspec import Raw, Struct

from konnect_server.config import PREFIX
from konnect_server.jobs import Jobs
from storage.jobs import NewJob

KIND: Final = "recommend.train"
WORK_S: Final = 7_200.0  # it grows with the answers; docs/matching.md
LEASE_S: Final = WORK_S + 60.0
POLL_S: Final = 60.0
TOLD_CHARS: Final = 300
_THREADS: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")

_log = structlog.get_logger("konnect.suggest")


class Training(Struct, frozen=True):
    """What such a job is given: nothing."""


class Trainer:
    """Does jobs of kind "recommend.train"."""

    def __init__(self, dsn: str) -> None:
        """*dsn*: of the database to learn from."""
        self._dsn = dsn

    async def train(self, payload: Raw) -> None:
        """Train, and let suggestions go by the new version, unless the one that stands does better.

        Raises:
            RuntimeError: The process failed; with the last line that it said.
        """
        # The address goes where other users of the machine do not see it; nothing else of our configuration matters.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        environment |= dict.fromkeys(_THREADS, "1") | {f"{PREFIX}DATABASE_URL": self._dsn}
        command = [sys.executable, "-m", "konnect_server", "recommend", "train", "--background", "--json"]
        done = await trio.run_process(
            command, env=environment, capture_stdout=True, capture_stderr=True, check=False, stdin=b""
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:TOLD_CHARS]
            raise RuntimeError(f"the training ended with {done.returncode}: {said}")
        _log.info("the recommender was trained", told=done.stdout.decode(errors="replace").strip()[:TOLD_CHARS])


async def add_training(jobs: Jobs, day: int) -> None:
    """Make the job of *day* (days since 1970), unless it was made."""
    await jobs.add(NewJob(KIND, str(day), Training()))
