"""The SQL functions of ``storage/migrations/0012_privacy.sql`` that write, over the fake's tables."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from protocol.frames import Privacy, PrivacySet
from storage.rows import Seen
from tests.simulate.database import Body, FakeDatabase, KeptKey, Personal, Tables
from tests.simulate.functions import Refusal


def set_privacy(db: FakeDatabase, person: UUID, command: PrivacySet) -> Body[int | Refusal]:
    """Lock the account, look at the key, turn the switches."""
    tables, name = db.tables, (person, "privacy", command.key)
    if person not in tables.accounts:
        return Refusal("unknown_user", person), None
    yield [("account", person)]
    digest = ("privacy", command.read_receipts, command.last_seen, command.typing)
    old = tables.personal_keys.get(name)
    if old is not None:
        return (Refusal("key_reused") if old.digest != digest else old.number), None
    at_ms, given = db.now_ms(), msgspec.to_builtins(command)
    before = msgspec.to_builtins(tables.privacy.get(person, Privacy()))
    after = {switch: on if given[switch] is None else given[switch] for switch, on in before.items()}
    row = tables.personal.get(person, {}).get(("privacy", ""))
    changes = row is None or row.value != after
    number = max(tables.accounts[person].number + 1, at_ms) if changes or row is None else row.number

    def commit() -> None:
        tables.privacy[person] = msgspec.convert(after, Privacy)
        turned = [switch for switch in after if after[switch] != before[switch]]
        tables.switched.setdefault(person, {}).update(dict.fromkeys(turned, number))
        if changes:
            tables.accounts[person].number = number
            tables.personal.setdefault(person, {})["privacy", ""] = Personal(after, number)
        tables.personal_keys[name] = KeptKey(number, digest)

    return number, commit


def presences(tables: Tables, person: UUID, users: Sequence[UUID]) -> list[Seen]:
    """Whose presence a person may see."""
    mine = tables.privacy.get(person, Privacy()).last_seen
    if mine == "nobody":
        return []
    found = []
    for user in dict.fromkeys(users):
        theirs = tables.privacy.get(user, Privacy()).last_seen
        contact = (min(person, user), max(person, user)) in tables.directs
        shared = any(
            tables.span(place, person) is not None and tables.span(place, user) is not None
            for place in tables.joined.get(person, {})
        )
        if user != person and theirs != "nobody" and (contact or (shared and mine == theirs == "everyone")):
            found.append(Seen(user, contact, tables.last_seen.get(user)))
    return found


def take_seats(db: FakeDatabase, node: UUID, came: Sequence[UUID], went: Mapping[UUID, int]) -> Body[None]:
    """Who came to a process and who went from it."""
    yield []
    at_ms = db.now_ms()

    def commit() -> None:
        tables = db.tables
        if node in tables.nodes:
            tables.seats.setdefault(node, {}).update(dict.fromkeys(came))
        for user, ago_ms in went.items():
            tables.seats.get(node, {}).pop(user, None)
            _see(tables, user, at_ms - ago_ms)

    return None, commit


def clear_seats(tables: Tables, node: UUID, at_ms: int) -> None:
    """A process is gone, or goes."""
    tables.nodes.pop(node, None)
    for user in tables.seats.pop(node, {}):
        _see(tables, user, at_ms)


def _see(tables: Tables, user: UUID, at_ms: int) -> None:
    if user in tables.accounts:
        tables.last_seen[user] = max(tables.last_seen.get(user, 0), at_ms // 60_000 * 60_000)
