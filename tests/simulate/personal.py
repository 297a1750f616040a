"""The SQL functions of ``storage/migrations/0006_personal.sql`` once more, over the fake's tables."""

import json
from typing import Any, Final
from uuid import UUID

import msgspec

from protocol.frames import StateEvent
from storage.rows import Personal as PersonalRow, PersonalPage
from tests.simulate.database import Personal, Tables

ROW_OVERHEAD: Final = 100


def set_personal(tables: Tables, at_ms: int, person: UUID, what: str, subject: str, value: Any) -> int:
    """Set a row, within a commit whose transaction holds the account's lock. The number that a device has to reach."""
    rows = tables.personal.setdefault(person, {})
    old = rows.get((what, subject))
    if (None if old is None else old.value) == value:
        return 0 if old is None else old.number
    number = tables.accounts[person].raise_number(at_ms)
    rows[what, subject] = Personal(value, number)
    return number


def newest(tables: Tables, person: UUID, told: int) -> int:
    """The number of the person's newest row above *told*; 0 for none."""
    return max((row.number for row in tables.personal.get(person, {}).values() if row.number > told), default=0)


def personal_rows(
    tables: Tables, person: UUID, above: int, through: int, gone: bool, limit: int, size_bytes: int
) -> PersonalPage:
    """Rows of one's own, in the order of their last change."""
    found = sorted(
        (row.number, what, subject, row.value)
        for (what, subject), row in tables.personal.get(person, {}).items()
        if above < row.number <= through and (gone or row.value is not None)
    )
    fitting: list[PersonalRow] = []
    total = 0
    for number, what, subject, value in found[:limit]:
        total += ROW_OVERHEAD + len(subject.encode()) + (0 if value is None else len(_json(value)))
        if fitting and total > size_bytes:
            break
        shown = {"what": what, "subject": subject} | ({} if value is None else {what: value})
        fitting.append(PersonalRow(number, msgspec.convert(shown, StateEvent)))
    return PersonalPage(fitting, len(fitting) < len(found))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
