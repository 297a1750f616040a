"""What a log says of members, roles, bans and counts: folded by itself, entry by entry, and held against the tables.

The database decides under the conversation's lock, so the log's order is the order of all decisions: whoever came in
was not banned by an entry before, whoever did something had the right to by then, and each count is the number of
members.
"""

from typing import Any, Final
from uuid import UUID

from msgspec import UNSET

from protocol.frames import Entry
from storage import permissions
from storage.permissions import Role
from tests.simulate.database import Conversation, Tables

RIGHTS: Final = {  # kind of entry -> what its author must be allowed
    "member.role": "role", "member.banned": "ban", "member.unbanned": "ban", "conversation.owner": "owner",
    "conversation.title": "title", "conversation.topic": "topic", "conversation.slow_mode": "slow_mode",
    "conversation.retention": "retention", "message.pinned": "pin", "message": "write", "message.edited": "write",
}  # fmt: skip


class Ledger:
    """One conversation's members, as its log tells of them."""

    def __init__(self, tables: Tables, conversation: UUID, most: int) -> None:
        """*most*: members that it may have."""
        self._tables, self._id, self._most = tables, conversation, most
        self._row: Conversation = tables.conversations[conversation]
        self._digests = {
            stored.seq: stored.digest for (place, _, _), stored in tables.keys.items() if place == conversation
        }
        self.members: dict[UUID, Role] = {}  # without "owner"
        self.owner: UUID | None = None
        self.bans: dict[UUID, int | None] = {}
        self.counts: list[int] = []  # members after each entry

    def role(self, person: UUID) -> Role | None:
        """What *person* is there."""
        return "owner" if person == self.owner and person in self.members else self.members.get(person)

    def judge(self) -> str | None:
        """What is wrong; None: nothing."""
        for entry in self._tables.entries[self._id]:
            problem = self._judge(entry)
            if problem:
                return f"entry {entry.seq} of {self._id} {problem}: {entry}"
            self.counts.append(len(self.members))
        tables = self._tables
        seen = {*tables.members(self._id)}
        if {*self.members} != seen or self._row.member_count != len(seen) or self.owner != self._row.owner:
            return (
                f"the log of {self._id} leaves {self.members}, owned by {self.owner}; there are {seen}, "
                f"counted as {self._row.member_count}, owned by {self._row.owner}"
            )
        admins = sorted(one for one, role in self.members.items() if role == "admin")
        if admins != tables.admins(self._id):
            return f"the log of {self._id} leaves the admins {admins}, and there are {tables.admins(self._id)}"
        return self._judge_links()

    def _judge(self, entry: Entry) -> str | None:
        """Check one entry, and apply it."""
        role, author, user = self.role(entry.author), entry.author, entry.user
        right = RIGHTS.get(entry.kind)
        if right is not None and author.int and not permissions.may(self._row.kind, role, right):
            return f"is by somebody who may not ({right}), as {role}"
        match entry.kind:
            case "created":
                assert entry.members is not UNSET
                self.members = dict.fromkeys(entry.members, "member")
                self.owner = None if self._row.kind == "direct" else author
            case "member.added":
                assert isinstance(user, UUID)
                problem = self._judge_coming(entry, user)
                if problem:
                    return problem
                self.members[user] = "member"
            case "member.removed" | "member.banned":
                assert isinstance(user, UUID)
                was = self.members.pop(user, None)
                if was is None and entry.kind == "member.removed":
                    return "removes who is no member"
                if author != user and (
                    user == self.owner or not permissions.may(self._row.kind, role, "remove")
                ):
                    return f"removes whom its author may not, as {role}"
                if entry.kind == "member.banned":
                    self.bans[user] = None if entry.until_ms is UNSET else entry.until_ms
                if user == self.owner:
                    self.owner = None if entry.owner is UNSET else entry.owner
                    if self.owner in self.members:
                        self.members[self.owner] = "member"
                if was is None and entry.count is not UNSET:
                    return "counts anew, and nobody left"
                if was is None:
                    return None
            case "member.unbanned":
                assert isinstance(user, UUID)
                self.bans.pop(user, None)
                return None
            case "member.role":
                assert isinstance(user, UUID)
                if user not in self.members:
                    return "gives a role to who is no member"
                self.members[user] = "admin" if entry.role == "admin" else "member"
                return None
            case "conversation.owner":
                assert isinstance(entry.owner, UUID)
                self.members[author], self.members[entry.owner], self.owner = "admin", "member", entry.owner
                return None
            case _:
                return None
        if self._row.kind in ("room", "channel") and entry.kind != "created" and entry.count != len(self.members):
            return f"counts {entry.count} members, and there are {len(self.members)}"
        return None

    def _judge_coming(self, entry: Entry, user: UUID) -> str | None:
        """What is wrong with *user*'s becoming a member."""
        if user in self.members:
            return "adds who is a member"
        until_ms = self.bans.get(user, 0)
        if until_ms is None or until_ms > entry.at_ms:
            return "lets in who is banned"
        if len(self.members) >= self._most:
            return f"makes more than {self._most} members"
        digest = self._digests[entry.seq]
        match digest[0]:
            case "join":
                return None if entry.author == user and self._row.public else "joins what is not public"
            case "by link":
                return self._judge_by_link(entry, str(digest[1]))
            case "answer":
                return self._judge_answer(entry, user)
        right = permissions.may(self._row.kind, self.role(entry.author), "add")
        return None if right else "adds, and its author may not"

    # --- links and requests ---

    def _settled(self, *digest: Any) -> list[int]:
        """After which entries keys with such a digest were kept that stored none."""
        return [
            stored.seq for (place, _, _), stored in self._tables.settled.items()
            if place == self._id and stored.digest[: len(digest)] == digest
        ]  # fmt: skip

    def _judge_by_link(self, entry: Entry, code: str) -> str | None:
        row = self._tables.links.get(code)
        if row is None or row.name[0] != self._id or row.link.approval:
            return f"came by a link that lets nobody in: {row}"
        if any(seq < entry.seq for seq in self._settled("revoke", code)):
            return f"came by a link that had been revoked: {row}"
        if row.link.expires_at_ms is not UNSET and row.link.expires_at_ms <= entry.at_ms:
            return f"came by a link that was out of time: {row}"
        return None

    def _judge_answer(self, entry: Entry, user: UUID) -> str | None:
        if not permissions.may(self._row.kind, self.role(entry.author), "links"):
            return "lets in, and its author may not"
        log = self._tables.entries[self._id]
        came = [one.seq for one in log[: entry.seq - 1] if one.kind == "member.added" and one.user == user]
        last = max(came, default=0)
        asked = [
            stored.seq for (place, person, _), stored in self._tables.settled.items()
            if (place, person) == (self._id, user) and stored.digest[0] == "by link" and last <= stored.seq < entry.seq
        ]  # fmt: skip
        declined = self._settled("answer", user, False)
        if not any(all(not seq < no < entry.seq for no in declined) for seq in asked):
            return f"lets in who did not ask, or was declined since: asked at {asked}, declined at {declined}"
        return None

    def _judge_links(self) -> str | None:
        """Each link was used as often as it says, and no more than it may be."""
        used: dict[str, int] = {}
        for digest in self._digests.values():
            if digest[0] == "by link":
                used[digest[1]] = used.get(digest[1], 0) + 1
        for row in self._tables.links.values():
            if row.name[0] != self._id:
                continue
            link = row.link
            if not link.approval and link.used != used.get(link.code, 0):
                return f"{used.get(link.code, 0)} came by {row}"
            if link.uses is not UNSET and max(link.used, used.get(link.code, 0)) > link.uses:
                return f"more came than may, {used.get(link.code, 0)}, by {row}"
        return None
