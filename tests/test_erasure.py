from storage.database import Database


async def test_migrates(database: Database) -> None:
    assert await database.fetch_one("select 1")
