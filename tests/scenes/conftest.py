"""What every scene may ask for: a world (database, keys), and a house (a real server on it)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.running import House, World, open_house, open_world


@pytest.fixture
async def world(dsn: str, folder: Path) -> AsyncIterator[World]:
    """A migrated database of the test's own, and a keys folder."""
    async with open_world(dsn, folder) as made:
        yield made


@pytest.fixture
async def house(world: World) -> AsyncIterator[House]:
    """A server on it, in this process."""
    async with open_house(world) as made:
        yield made
