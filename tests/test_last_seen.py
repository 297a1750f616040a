"""When people were last here, on its way to disk: a part of it at once, and nothing of it lost by a failure."""

from collections.abc import Mapping, Sequence
from typing import cast
from uuid import UUID

import pytest

from konnect_server import last_seen as room
from konnect_server.last_seen import LastSeenWriter
from storage.errors import StorageUnavailable
from storage.store import Store
from tests.fakes import ANN, BOB, CID, uid

NODE = uid(501)


class Stage:
    """A writer, its clock, and what it wrote."""

    def __init__(self) -> None:
        self.now = 100.0
        self.here: list[UUID] = []
        self.wrote: list[tuple[list[UUID], dict[UUID, int]]] = []
        self.away = False
        self.writer = LastSeenWriter(cast(Store, self), NODE, lambda: self.now, lambda: self.here)

    async def take_seats(self, node: UUID, came: Sequence[UUID], went: Mapping[UUID, int]) -> None:
        """As a store."""
        assert node == NODE
        if self.away:
            raise StorageUnavailable("away")
        self.wrote.append((list(came), dict(went)))

    async def write(self) -> list[tuple[list[UUID], dict[UUID, int]]]:
        before = len(self.wrote)
        await self.writer.write(self.now)
        return self.wrote[before:]


async def test_who_came_and_who_went_is_written_once() -> None:
    stage = Stage()
    stage.writer.came(ANN)
    stage.writer.came(BOB)
    assert await stage.write() == [([ANN, BOB], {})]
    assert await stage.write() == []
    stage.writer.went(ANN)
    stage.now += 2
    assert await stage.write() == [([], {ANN: 2000})]
    stage.writer.came(ANN)
    assert await stage.write() == [([ANN], {})]


async def test_who_comes_back_between_two_writes_never_went() -> None:
    stage = Stage()
    stage.writer.came(ANN)
    await stage.write()
    stage.writer.went(ANN)
    stage.writer.came(ANN)
    assert await stage.write() == []
    stage.writer.came(BOB)
    stage.writer.went(BOB)
    assert await stage.write() == [([], {BOB: 0})], "here and gone"


async def test_a_write_is_bounded_and_what_waits_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come at once, one statement a second takes so many of them."""
    monkeypatch.setattr(room, "ROWS", 10)
    monkeypatch.setattr(room, "WAITING", 25)
    stage = Stage()
    crowd = [uid(2000 + n) for n in range(40)]
    for one in crowd:
        stage.writer.came(one)
    written = [one for _ in range(4) for came, _ in await stage.write() for one in came]
    assert [len(came) for came, _ in stage.wrote] == [10, 10, 5]
    assert written == crowd[15:]


async def test_a_failed_write_is_repeated() -> None:
    stage = Stage()
    stage.writer.came(ANN)
    stage.writer.went(BOB)
    stage.away = True
    with pytest.raises(StorageUnavailable):
        await stage.write()
    stage.away = False
    stage.now += 1
    assert await stage.write() == [([ANN], {BOB: 1000})]


async def test_who_was_taken_for_dead_says_anew_who_is_here() -> None:
    stage = Stage()
    stage.here = [ANN, CID]
    stage.writer.came(ANN)
    stage.writer.came(CID)
    await stage.write()
    stage.now += room.DEAD_S - 1
    assert await stage.write() == []
    stage.now += room.DEAD_S + 1
    assert await stage.write() == [([ANN, CID], {})]
