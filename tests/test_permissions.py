"""Who may do what: the database's table, its copy in Python, and the document say the same."""

import re
from pathlib import Path
from uuid import UUID

import psycopg

from storage.permissions import PERMISSIONS, may

ROOT = Path(__file__).resolve().parent.parent
CELL = re.compile(r"^\| [^|]+ \| `(\w+)` \|(.*)\|$", re.MULTILINE)


def test_the_database_and_the_copy_say_the_same(dsn: str) -> None:
    with psycopg.connect(dsn) as control:
        rows = control.execute("select kind, role, what from permission").fetchall()
    assert set(rows) == {(kind, role, what) for (kind, role), rights in PERMISSIONS.items() for what in rights}


def test_the_document_says_the_same() -> None:
    kinds = ("direct", "group", "room", "channel")
    told = {
        (kind, role, what)
        for what, cells in CELL.findall((ROOT / "docs" / "roles.md").read_text("utf-8"))
        for kind, cell in zip(kinds, cells.split("|"), strict=True)
        for role in re.findall(r"\w+", cell)
    }
    assert told == {(kind, role, what) for (kind, role), rights in PERMISSIONS.items() for what in rights}


def test_may_asks_for_the_role_that_one_has_now(dsn: str) -> None:
    """The owner by the conversation's row, an admin by the membership; nobody after leaving, nobody elsewhere."""
    ann, bob, cid, dan, club, pair = (UUID(int=n + (1 << 120)) for n in range(6))
    with psycopg.connect(dsn) as control:
        for person in (ann, bob, cid, dan):
            control.execute(
                "insert into account (id, email, name, password_hash, created_at_ms) values (%s, %s, 'x', '-', 0)",
                (person, f"{person}@example.com"),
            )
        members = f'["{ann}", "{bob}", "{cid}"]'
        control.execute("select create_group(%s, %s, 'k', 'club', 'all', %s, 10)", (club, ann, members))
        control.execute("select open_direct(%s, %s, %s)", (pair, ann, bob))
        control.execute("update span set role = 'admin' where conversation = %s and person = %s", (club, bob))

        def asked(where: UUID, who: UUID, what: str) -> bool:
            [found] = control.execute("select may(%s, %s, %s)", (where, who, what)).fetchone() or ()
            return bool(found)

        roles = {ann: "owner", bob: "admin", cid: "member"}
        for what in ("write", "add", "ban", "owner", "pin", "nothing"):
            for who, role in roles.items():
                assert asked(club, who, what) == may("group", role, what), (what, role)  # type: ignore[arg-type]
            assert not asked(club, dan, what)
            assert not asked(UUID(int=7), ann, what)
            assert asked(pair, bob, what) == may("direct", "member", what)
        control.execute("update span set until = 2 where conversation = %s and person = %s", (club, ann))
        assert not asked(club, ann, "owner")
