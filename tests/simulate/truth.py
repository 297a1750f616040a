"""What is true: the committed log, and what a client may and must see of it. Judges every frame that a client gets."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from protocol.frames import ConversationState, Entry
from protocol.limits import SEQ_MAX
from storage.rows import shown
from tests.simulate import functions, threads
from tests.simulate.database import FakeDatabase, Tables
from tests.simulate.ledger import Ledger
from tests.simulate.secrecy import Secrecy


class Violation(Exception):
    """A promise was broken. The text says which, by whom and when."""


class Truth:
    """The database seen from above, with ids as they travel."""

    def __init__(self, database: FakeDatabase, group_members: int = SEQ_MAX, room_members: int = SEQ_MAX) -> None:
        """*group_members*, *room_members*: how many a group, a room or a channel may have."""
        self.database = database
        self._group_members, self._room_members = group_members, room_members
        self.secrecy = Secrecy(database)
        self._answers: dict[tuple[UUID, str], Any] = {}  # (person, key) -> what was first answered, of links
        self.acknowledged: dict[tuple[str, str, str], tuple[int, int]] = {}  # (conversation, author, key) -> seq, at_ms
        self.kept: dict[tuple[UUID, str, str], int] = {}  # (person, conversation, key) of what is one's own -> number
        self.schedules: dict[str, tuple[str, str, int, str]] = {}  # acknowledged: id -> conversation, key, at_ms, text
        self.checks = 0
        self._ids: dict[str, UUID] = {}
        self._entries: dict[tuple[str, int], tuple[Entry, dict[str, Any]]] = {}

    @property
    def tables(self) -> Tables:
        """What is committed."""
        return self.database.tables

    def id(self, text: str) -> UUID:
        """The UUID that travels as *text*."""
        found = self._ids.get(text)
        if found is None:
            found = self._ids[text] = UUID(text)
        return found

    def forget(self) -> None:
        """The database was restored: what was acknowledged since the backup is gone, and that is nobody's fault."""
        self._entries.clear()
        for (conversation, author, key), _ in list(self.acknowledged.items()):
            name = (self.id(conversation), self.id(author), key)
            if name not in self.tables.keys and name not in self.tables.settled:
                del self.acknowledged[conversation, author, key]

        self.kept = {name: number for name, number in self.kept.items() if name in self.tables.personal_keys}
        self.secrecy.forget()
        self._answers.clear()
        for one in list(self.schedules):
            if self.id(one) not in self.tables.scheduled:
                del self.schedules[one]

    # --- what is one's own ---

    def personal(self, person: UUID) -> dict[str, Any]:
        """The rows that *person* has now: "what subject" -> value."""
        rows = self.tables.personal.get(person, {})
        return {f"{what} {subject}": row.value for (what, subject), row in rows.items() if row.value is not None}

    def judge_kept(self, person: UUID, conversation: str, key: str, told: int) -> str | None:
        """What is wrong with an ``ok`` to a command that changes what is *person*'s own, given to a device that was
        told up to the number *told*; None: nothing."""
        self.checks += 1
        name = (person, conversation, key)
        kept = self.tables.personal_keys.get(name)
        if kept is None:
            return "was acknowledged and is not kept"
        first = self.kept.setdefault(name, kept.number)
        if first != kept.number:
            return f"was kept as {first} before and as {kept.number} now"
        return f"was acknowledged at {kept.number} before its state, told up to {told}" if told < first else None

    def judge_own_order(self, person: UUID, conversation: str, written: Sequence[str]) -> str | None:
        """What is wrong with the order of one device's drafts, whose keys are *written*; None: nothing."""
        latest: tuple[int, str] | None = None
        for key in written:
            kept = self.tables.personal_keys.get((person, conversation, key))
            if kept is None:
                continue
            if latest is not None and kept.number < latest[0]:
                return f"the draft {key} of {conversation} stands at {kept.number}, one before it at {latest}"
            latest = kept.number, key
        return None

    def hidden_from(self, viewer: UUID, switch: str) -> dict[str, object]:
        """Whom *viewer* must not be told of -> since when; *switch*: ``last_seen`` or ``read_receipts``."""
        secrecy, since = self.secrecy, self.tables.switched
        found: dict[str, object] = {}
        for user in self.tables.accounts if since else ():
            if switch == "last_seen":
                hidden = secrecy.strangers(viewer, user)
            else:
                hidden = user != viewer and (secrecy.hides(user, switch) or secrecy.hides(viewer, switch))
            if hidden:
                found[str(user)] = since.get(viewer, {}).get(switch), since.get(user, {}).get(switch)
        return found

    # --- rooms, links, requests ---

    def shared(self, person: UUID, conversation: str) -> dict[str, Any]:
        """A conversation's state, as a fresh device of *person*'s would be told it, without entries."""
        [state] = functions.conversation_states(self.tables, person, [self.id(conversation)], 0)
        told: dict[str, Any] = msgspec.to_builtins(shown(state, ConversationState))
        return told

    def counts(self, conversation: str, low: int, high: int) -> set[int]:
        """How many members it had after each of the entries *low* to *high*."""
        log, found = self.tables.entries[self.id(conversation)], set[int]()
        for entry in reversed(log[:high]):
            if entry.kind == "created":
                found.add(len(entry.members or ()))
            elif entry.kind in ("member.added", "member.removed", "member.banned") and entry.count is not UNSET:
                found.add(entry.count)
            else:
                continue
            if entry.seq <= low:
                break
        return found

    def judge_room(self, person: UUID, room: dict[str, Any], low: int) -> str | None:
        """What is wrong with a room that was found; *low*: its log's end when it was asked for; None: nothing."""
        self.checks += 1
        place = room["conversation"]
        row = self.tables.conversations.get(self.id(place))
        if row is None or not row.public:
            return f"tells of {place}, which is not public"
        if room["member_count"] not in self.counts(place, low, row.last_seq):
            return f"counts {room['member_count']} in {place}, and should {self.counts(place, low, row.last_seq)}"
        if room["online"] > room["member_count"]:
            return f"has more online than belong to {place}"
        if low == row.last_seq and room["joined"] != (self.member_since(person, place) is not None):
            return f"does not know who belongs to {place}"
        return None

    def judge_members(self, conversation: str, page: dict[str, Any], low: int, all_: bool) -> str | None:
        """What is wrong with the first page of members; *low*: the log's end when it was asked for; None: nothing."""
        self.checks += 1
        users = [one["user"] for one in page["members"]]
        places = [one["joined"] for one in page["members"]]
        if places != sorted(places) or len(dict.fromkeys(users)) < len(users):
            return "is out of order"
        spans = self.tables.spans[self.id(conversation)]
        if any(self.id(user) not in spans for user in users):
            return "names who never was a member"
        members = [*map(str, self.tables.members(self.id(conversation)))]
        if all_ and low == self.last_seq(conversation) and users != members[: len(users)]:
            return f"should be {members}"
        return None

    def _first(self, person: UUID, key: str, answer: Any) -> str | None:
        first = self._answers.setdefault((person, key), answer)
        return None if first == answer else f"was answered with {first} before and with {answer} now"

    def judge_link(self, person: UUID, fields: Mapping[str, Any], link: dict[str, Any]) -> str | None:
        """What is wrong with the answer to ``link.create``; None: nothing."""
        self.checks += 1
        row = self.tables.links.get(link["code"])
        if row is None or row.name != (self.id(fields["conversation"]), person, fields["key"]):
            return f"was acknowledged and is not committed: {row}"
        if (link.get("uses"), link["approval"]) != (fields["uses"], fields["approval"]):
            return "is another one"
        return self._first(person, fields["key"], link)

    def judge_links(self, conversation: str, links: Sequence[dict[str, Any]]) -> str | None:
        """What is wrong with a list of links; None: nothing."""
        for link in links:
            row = self.tables.links.get(link["code"])
            if row is None or row.name[0] != self.id(conversation) or link["used"] > link.get("uses", SEQ_MAX):
                return f"has what is none: {row}"
        return None

    def judge_revoked(self, code: str) -> str | None:
        """What is wrong with the answer to ``link.revoke``; None: nothing."""
        row = self.tables.links.get(code)
        return None if row is not None and row.revoked else f"was acknowledged, and stands: {row}"

    def judge_joined(self, person: UUID, key: str, result: dict[str, Any]) -> str | None:
        """What is wrong with the answer to ``link.join``; None: nothing."""
        self.checks += 1
        name = self.id(result["conversation"]), person, key
        if result.get("requested"):
            if name not in self.tables.settled:
                return "asked to be let in, and it is not committed"
        else:
            stored = self.tables.keys.get(name)
            if stored is None or (stored.seq, stored.at_ms) != (result["seq"], result["at_ms"]):
                return f"was acknowledged and stands as {stored}"
        return self._first(person, key, result)

    def most(self, kind: str) -> int:
        """Members that such a conversation may have."""
        return self._room_members if kind in ("room", "channel") else self._group_members

    # --- entries ---

    def entry(self, conversation: str, seq: int) -> dict[str, Any] | None:
        """Entry *seq* as it travels now; None if it is not committed."""
        log = self.tables.entries.get(self.id(conversation))
        if log is None or not 1 <= seq <= len(log):
            return None
        found = self._entries.get((conversation, seq))
        if found is None or found[0] is not log[seq - 1]:
            found = self._entries[conversation, seq] = log[seq - 1], msgspec.to_builtins(log[seq - 1])
        return found[1]

    def canonical(self, conversation: str, seq: int) -> bytes:
        """Entry *seq* as it travels now, with its fields in order."""
        return msgspec.msgpack.encode(self.entry(conversation, seq), order="sorted")

    def past(self, conversation: str, seq: int) -> Sequence[Entry]:
        """What entry *seq* said before it was changed, the oldest first."""
        return self.tables.past.get((self.id(conversation), seq), ())

    def last_seq(self, conversation: str) -> int:
        """Of the log as committed now."""
        row = self.tables.conversations.get(self.id(conversation))
        return 0 if row is None else row.last_seq

    def judge_entry(self, person: UUID, frame: dict[str, Any]) -> str | None:
        """What is wrong with an entry that *person* was shown; None: nothing."""
        self.checks += 1
        conversation, seq = frame["conversation"], frame["seq"]
        true = self.entry(conversation, seq)
        if true is None:
            return "was shown before it was committed"
        if frame != true and all(frame != msgspec.to_builtins(one) for one in self.past(conversation, seq)):
            return f"is not what the log holds, or held: {true}"
        if not self.visible(person, conversation, seq):
            return "may not be seen by this person"
        return None

    def visible(self, person: UUID, conversation: str, seq: int) -> bool:
        """Whether *person* may see entry *seq*."""
        spans = self.tables.spans.get(self.id(conversation), {}).get(person, ())
        return any(span.shows(seq) for span in spans)

    def next_visible(self, person: UUID, conversation: str, after: int, through: int) -> int | None:
        """The first entry above *after* and up to *through* that *person* may see."""
        for seq in range(after + 1, through + 1):
            if self.visible(person, conversation, seq):
                return seq
        return None

    def unread(self, person: UUID, conversation: str, read: int, head: int) -> range:
        """Messages of others above *read* and up to *head* that *person* may see and that were not deleted by then:
        from those that are neither hidden nor deleted now (a state that ended before tells of messages as they stand)
        to those that ever were not."""
        count = less = 0
        mine, gone = str(person), self.tables.hidden.get((person, self.id(conversation)), ())
        log = self.tables.entries.get(self.id(conversation), [])
        deleted_at = {one.of: one.seq for one in log if one.kind == "message.deleted"}
        deleted_at |= {seq: one.seq for one in log if one.kind == "messages.expired" for seq in one.messages or ()}
        for entry in log[read:head]:
            at = deleted_at.get(entry.seq, SEQ_MAX)
            if entry.kind == "message" and str(entry.author) != mine and at > head and threads.root_of(entry) is None:
                seen = self.visible(person, conversation, entry.seq)
                count += seen
                less += seen and (entry.seq in gone or at < SEQ_MAX)
        return range(count - less, count + 1)

    # --- membership ---

    def memberships(self, person: UUID) -> dict[str, int]:
        """The conversations that *person* is in now -> the log's end."""
        tables = self.tables
        return {
            str(conversation): tables.conversations[conversation].last_seq
            for conversation in tables.joined.get(person, ())
            if tables.span(conversation, person) is not None
        }

    def member_since(self, person: UUID, conversation: str) -> int | None:
        """The entry that began the person's present membership; None: no member now."""
        span = self.tables.span(self.id(conversation), person)
        return None if span is None else span.joined

    def judge_order(self, author: UUID, conversation: str, written: Sequence[tuple[int, str]]) -> str | None:
        """What is wrong with the order of one device's messages: *written* are the times (ms) and keys in the order of
        writing. An absence may hold some up: who was no member when a message came, had the answer lost, and sends it
        again as a member, sends it late. So does who could only read in a channel, and who names a message of a future
        that a restore undid: it is refused until another message has that place."""
        latest: tuple[int, str] | None = None
        for written_ms, key in reversed(written):
            stored = self.tables.keys.get((self.id(conversation), author, key))
            if stored is None:
                continue
            if latest is not None and stored.seq > latest[0]:
                joined_ms = self.could_write_at_ms(author, conversation, latest[0])
                named_ms = self.named_at_ms(conversation, stored.seq)
                if joined_ms is not None and max(joined_ms, named_ms) <= written_ms:
                    return f"in {conversation} {key} stands at {stored.seq}, what was written later at {latest}"
            else:
                latest = stored.seq, key
        return None

    def untold(self, person: UUID, base: int, heads: Mapping[str, int]) -> str | None:
        """What a client with *heads*, up to date since the person's number was *base*, was not told of the memberships
        that ended; None: nothing."""
        tables = self.tables
        for conversation in tables.joined.get(person, ()):
            last = tables.spans[conversation][person][-1]
            if last.until is not None and last.number > base and heads.get(str(conversation), 0) < last.until:
                return f"head {heads.get(str(conversation))} of {conversation}, which was left at {last.until}"
        return None

    def named_at_ms(self, conversation: str, seq: int) -> int:
        """When the newest message was stored that message *seq* answers; 0 when it answers none."""
        place = self.id(conversation)
        log = self.tables.entries[place]
        said = [row.content for row in [*self.tables.past.get((place, seq), ()), log[seq - 1]] if row.content]
        named = [one for content in said for one in (content.thread, content.reply_to) if one]
        return max((log[one - 1].at_ms for one in named), default=0)

    def could_write_at_ms(self, person: UUID, conversation: str, seq: int) -> int | None:
        """When the membership began in which *person* wrote entry *seq*; or, in a channel, the right to write."""
        place = self.id(conversation)
        for span in self.tables.spans.get(place, {}).get(person, ()):
            if span.joined <= seq and (span.until is None or seq <= span.until):
                log, began = self.tables.entries[place], span.joined
                if self.tables.conversations[place].kind == "channel":
                    given = [
                        one.seq for one in log[span.joined : seq - 1]
                        if one.owner == person or (one.kind == "member.role" and one.user == person)
                    ]  # fmt: skip
                    began = max([began, *given])
                return log[began - 1].at_ms
        return None

    # --- answers ---

    def judge_ack(self, author: UUID, conversation: str, key: str, text: str | None, result: Any) -> str | None:
        """What is wrong with an ``ok`` to something that was to be stored; None: nothing."""
        self.checks += 1
        seq, at_ms = result["seq"], result["at_ms"]
        name = (conversation, str(author), key)
        first = self.acknowledged.setdefault(name, (seq, at_ms))
        if first != (seq, at_ms):
            return f"was answered with {first} before and with {(seq, at_ms)} now"
        stored = self.tables.keys.get((self.id(conversation), author, key))
        settled = self.tables.settled.get((self.id(conversation), author, key))
        if stored is None and settled is None:
            return "was acknowledged and is not committed"
        if all(one is None or (one.seq, one.at_ms) != (seq, at_ms) for one in (stored, settled)):
            return f"was acknowledged as {(seq, at_ms)} and stands as {stored or settled}"
        if stored is None:
            return None  # there was nothing to do
        past = self.past(conversation, seq)
        true = msgspec.to_builtins(past[0]) if past else self.entry(conversation, seq)
        named = true is None or true["author"] == str(author)  # a vote in an anonymous poll is by nobody
        if true is None or (named and true["key"] != key) or (text is not None and true.get("text") != text):
            return f"was acknowledged and the log holds something else: {true}"
        return None

    def judge_schedule(self, author: UUID, fields: Mapping[str, Any], result: Any) -> str | None:
        """What is wrong with the answer to ``message.schedule``; None: nothing."""
        self.checks += 1
        said = fields["conversation"], fields["key"], fields["at_ms"], fields["text"]
        first = self.schedules.setdefault(result["scheduled"], said)
        if first != said:
            return f"has the id of another one: {first}"
        row = self.tables.scheduled.get(self.id(result["scheduled"]))
        if row is None or row.author != author or row.at_ms != result["at_ms"]:
            return f"was acknowledged, and is not committed: {row}"
        return None

    def judge_unschedule(self, scheduled: str) -> str | None:
        """What is wrong with the answer to ``message.unschedule``; None: nothing."""
        row = self.tables.scheduled.get(self.id(scheduled))
        return f"was taken back, and stands as {row}" if row is None or row.state != "gone" else None

    def waits(self) -> str | None:
        """What is still to happen by itself; None: nothing."""
        rows = [one for one in self.tables.scheduled.values() if one.state == "waiting"]
        if rows:
            return f"{len(rows)} scheduled messages wait, first {rows[0]}"
        return f"in {next(iter(self.tables.expiry))} messages are still to disappear" if self.tables.expiry else None

    def judge_scheduled(self) -> str | None:
        """What is wrong with what became of scheduled messages; None: nothing."""
        for text, (conversation, _, _, said) in self.schedules.items():
            row = self.tables.scheduled.get(self.id(text))
            if row is None:
                return f"scheduled message {text} was acknowledged and is lost"
            stored = self.tables.keys.get((row.conversation, row.author, f"scheduled:{text}"))
            if (row.state == "sent") != (stored is not None):
                return f"scheduled message {text} is {row.state}, and the log has {stored}"
            if stored is not None:
                past = self.past(conversation, stored.seq)
                first = past[0] if past else self.tables.entries[row.conversation][stored.seq - 1]
                if stored.seq != row.seq or first.text != said or first.at_ms < row.at_ms:
                    return f"scheduled message {text} was sent as {first}, and should be {row}"
        return None

    def judge_versions(self, conversation: str, seq: int, versions: Sequence[dict[str, Any]]) -> str | None:
        """What is wrong with what a message is told to have said; None: nothing."""
        self.checks += 1
        kinds = []
        for version in versions:
            entry = self.entry(conversation, version["seq"])
            if entry is None or entry["at_ms"] != version["at_ms"]:
                return f"are of no entry: {version}"
            texts = [entry.get("text"), *(one.text for one in self.past(conversation, version["seq"]))]
            if "text" in version and version["text"] not in texts:
                return f"were never said: {version}"
            kinds.append((entry["kind"], entry.get("of", seq)))
        if kinds != [("message", seq), *[("message.edited", seq)] * (len(kinds) - 1)]:
            return f"are of other entries: {kinds}"
        return None

    def judge_logs(self) -> str | None:
        """What is wrong with the logs as they stand at the end; None: nothing."""
        for conversation, log in self.tables.entries.items():
            if [entry.seq for entry in log] != list(range(1, self.tables.conversations[conversation].last_seq + 1)):
                return f"the log of {conversation} has gaps"
            keys = [(entry.author, entry.key) for entry in log]
            if len(keys) != len(dict.fromkeys(keys)):
                return f"the log of {conversation} holds a key twice"
            for entry in log:
                if not entry.kind.startswith("message") or entry.author.int == 0:
                    continue
                spans = self.tables.spans[conversation].get(entry.author, ())
                if not any(
                    span.joined <= entry.seq and (span.until is None or entry.seq < span.until) for span in spans
                ):
                    return f"entry {entry.seq} of {conversation} was written by somebody who was no member then"
        for (conversation_text, author, key), (seq, _) in self.acknowledged.items():
            name = (self.id(conversation_text), self.id(author), key)
            stored = self.tables.keys.get(name) or self.tables.settled.get(name)
            if stored is None or stored.seq != seq:
                return f"{key} of {author} in {conversation_text} was acknowledged as {seq} and stands as {stored}"
        for own, number in self.kept.items():
            kept = self.tables.personal_keys.get(own)
            if kept is None or kept.number != number:
                return f"{own} was acknowledged at {number} and is kept as {kept}"
        for (place, of), rows in self.tables.reactions.items():
            counts: dict[str, int] = {}
            for emoji, _ in sorted(rows):
                counts[emoji] = counts.get(emoji, 0) + 1
            shown = {one.emoji: one.count for one in self.tables.entries[place][of - 1].reactions}
            if list(shown.items()) != list(counts.items()):
                return f"message {of} of {place} shows the reactions {shown}, and has {counts}"
        for place, log in self.tables.entries.items():
            said: dict[int, list[Entry]] = {}
            for one in log:
                root = threads.root_of(one)
                if root is not None and not one.deleted:
                    said.setdefault(root, []).append(one)
            for one in log:
                has = [] if one.deleted else said.get(one.seq, [])
                seen = (0, 0) if one.replies is UNSET else (one.replies.count, one.replies.last_seq)
                if seen != (len(has), has[-1].seq if has else 0):
                    return f"message {one.seq} of {place} shows the thread {one.replies}, and has {len(has)} messages"
        for (place, of), votes in self.tables.votes.items():
            poll = self.tables.entries[place][of - 1].poll
            assert poll is not UNSET
            chosen = [sum(place in one.options for one in votes.values()) for place in range(len(poll.options))]
            if [one.count for one in poll.options] != chosen or poll.voters != len(votes):
                return f"message {of} of {place} shows {poll}, and has {chosen}"
        for place, row in self.tables.conversations.items():
            problem = Ledger(self.tables, place, self.most(row.kind)).judge()
            if problem:
                return problem
        if self.database.deadlocks:
            return f"transactions locked each other out: {self.database.deadlocks}"
        return None
