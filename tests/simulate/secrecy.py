"""What people hide, and from when on nobody may be told of it: the judge of privacy's switches.

A switch counts from its answer on, for as long as the database holds it. What was read before may still be on its way
then; what is read later may never arrive. So for each conversation the highest cursor is kept that its person had asked
for when the answer came, and nothing above it may be told until the person shows it again.

What a viewer may see who hides is judged on each device from the cursor on that covers the switch: frames behind it
were sent by who knew. What passes and is gone (typing, presence) is judged where the server sends it, and where one
process has all sockets: to others the news may come a moment late (docs/decisions/0017).
"""

from typing import Any, Final
from uuid import UUID

from msgspec import UNSET

from protocol.frames import Privacy
from tests.simulate.database import FakeDatabase

_HIDES: Final = {"read_receipts": (False,), "last_seen": ("nobody", "contacts"), "typing": (False,)}


class Secrecy:
    """Everybody's switches, as far as they were answered."""

    def __init__(self, database: FakeDatabase) -> None:
        self._database = database
        self._asked: dict[tuple[UUID, UUID], int] = {}  # (conversation, person) -> the highest read cursor asked for
        self._answered: dict[tuple[UUID, str], int] = {}  # (person, switch) -> since which number it stands as answered
        self._frozen: dict[UUID, dict[UUID, int]] = {}  # who hides reading -> conversation -> the last that may be told

    def forget(self) -> None:
        """The database was restored."""
        self._answered.clear()
        self._frozen.clear()

    def asks(self, person: UUID, conversation: UUID, read: int) -> None:
        """*person* sends a read cursor."""
        place = conversation, person
        self._asked[place] = max(read, self._asked.get(place, 0))

    def answered(self, person: UUID, key: str) -> None:
        """A switch of *person*'s was answered."""
        tables = self._database.tables
        kept = tables.personal_keys.get((person, "privacy", key))
        if kept is None:
            return
        for switch, since in tables.switched.get(person, {}).items():
            if since <= kept.number and self._answered.get((person, switch)) != since:
                self._answered[person, switch] = since
                if switch == "read_receipts" and self.hides(person, switch):
                    self._frozen[person] = {
                        place: max(self._asked.get((place, person), 0), rows[person].read if person in rows else 0)
                        for place, rows in tables.receipts.items()
                    }

    def hides(self, person: UUID, switch: str) -> bool:
        """Whether *person* hides that, was told so, and has not turned it since."""
        tables = self._database.tables
        since = tables.switched.get(person, {}).get(switch)
        stands = getattr(tables.privacy.get(person, Privacy()), switch)
        return since is not None and self._answered.get((person, switch)) == since and stands in _HIDES[switch]

    def shown(self, person: UUID) -> Privacy:
        """How *person*'s switches stand now."""
        return self._database.tables.privacy.get(person, Privacy())

    def ever(self, person: UUID, switch: str) -> bool:
        """Whether *person* ever touched that switch."""
        return switch in self._database.tables.switched.get(person, {})

    def covered(self, viewer: UUID, told: int) -> Privacy:
        """The switches that frames to a device of *viewer*'s keep to, which was told up to the number *told*."""
        row = self._database.tables.personal.get(viewer, {}).get(("privacy", ""))
        return self.shown(viewer) if row is not None and row.number <= told else Privacy()

    # --- judging ---

    def judge_read(self, viewer: UUID, told: int, conversation: UUID, user: UUID, read: int) -> str | None:
        """What is wrong when a device of *viewer*'s, told up to *told*, learns that *user* has read up to *read*."""
        if not read or viewer == user:
            return None
        if self.hides(user, "read_receipts") and read > self._frozen[user].get(conversation, 0):
            return f"tells how far {user} has read, who hides it, beyond {self._frozen[user].get(conversation, 0)}"
        if not self.covered(viewer, told).read_receipts:
            return "tells who hides how far others have read"
        return None

    def strangers(self, viewer: UUID, user: UUID, hides: Any = None) -> bool:
        """Whether the switches of either keep *viewer* from seeing whether *user* is there."""
        if viewer == user:
            return False
        hides = hides or self.hides
        contact = (min(viewer, user), max(viewer, user)) in self._database.tables.directs
        for one in (viewer, user):
            if hides(one, "last_seen") and (self.shown(one).last_seen == "nobody" or not contact):
                return True
        return False

    def judge_presence(
        self, viewer: UUID, user: UUID, state: str, last_seen_ms: object = UNSET
    ) -> str | None:
        """What is wrong when *viewer* is told that *user* is here, or when they were last."""
        told = state == "online" or isinstance(last_seen_ms, int)
        return f"tells of {user}, who is hidden" if told and self.strangers(viewer, user) else None

    def judge_typing(self, viewer: UUID, user: UUID) -> str | None:
        """What is wrong when *viewer* is told that *user* is typing."""
        hidden = self.hides(user, "typing") or self.hides(viewer, "typing")
        return f"tells that {user} is typing" if hidden else None
