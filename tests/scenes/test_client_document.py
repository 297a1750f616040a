"""The program in docs/client.md, run as it stands."""

import re
import sys
from pathlib import Path

import trio

from tests.client_scene import open_house

DOCUMENT = Path(__file__).parents[2] / "docs" / "client.md"


async def test_the_program_of_the_document_runs_twice(dsn: str, folder: Path, tmp_path: Path) -> None:
    """The first time it makes the account and the group; the second time it goes on with both."""
    (program,) = re.findall(r"```python\n(import .*?)```", DOCUMENT.read_text(), re.DOTALL)
    root = str(DOCUMENT.parents[1])
    async with open_house(dsn, folder) as server:
        (tmp_path / "program.py").write_text(program.replace("http://127.0.0.1:8080", server.url))
        for seq in (2, 3):
            with trio.fail_after(60):
                done = await trio.run_process(
                    [sys.executable, "-W", "error", "program.py"],
                    cwd=tmp_path, env={"PYTHONPATH": root}, capture_stdout=True,
                )  # fmt: skip
            first, *_, last = done.stdout.decode().splitlines()
            assert first == f"on the server's disk as entry {seq}"
            assert last.startswith(f"{seq} ")
            assert last.endswith("'Carol'} remember the milk")
