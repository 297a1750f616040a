"""The SQL functions of ``storage/migrations/0012_privacy.sql`` that write, over the fake's tables."""

from uuid import UUID

import msgspec

from protocol.frames import Privacy, PrivacySet
from tests.simulate.database import Body, FakeDatabase, KeptKey, Personal
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
        if changes:
            tables.accounts[person].number = number
            tables.personal.setdefault(person, {})["privacy", ""] = Personal(after, number)
        tables.personal_keys[name] = KeptKey(number, digest)

    return number, commit
