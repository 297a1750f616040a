"""A process that works on jobs, for tests that kill it: ``python -m tests.job_worker DSN LEASE_S``.

Each job of kind "note" writes its name into table ``worked``, with this process's id; one whose name starts with "hang"
says so on standard output, and then never ends.
"""

import os
import random
import sys

import msgspec
import trio

from konnect_server.jobs import Jobs
from storage.database import open_database


class Note(msgspec.Struct):
    """What a job of kind "note" is about."""

    name: str


async def main(dsn: str, lease_s: float) -> None:
    """Work until killed."""
    async with open_database(dsn, name="a worker") as database:

        async def note(payload: msgspec.Raw) -> None:
            name = msgspec.json.decode(payload, type=Note).name
            if name.startswith("hang"):
                print("hanging", flush=True)
                await trio.sleep_forever()
            await database.execute("insert into worked (name, process) values (%s, %s)", name, os.getpid())

        await Jobs(
            database, {"note": note}, randomness=random.Random(1), lease_s=lease_s, work_s=lease_s * 100
        ).run()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], float(sys.argv[2]))
