"""Who does what, row by row, in a large conversation; each row is a plain call that does one action and times it."""

import itertools
import random
import time
from collections.abc import Callable
from typing import Any, Final

from bench.accounts import Person
from bench.actions_past import Past
from bench.asker import Asker, Frame

CREW: Final = 50  # members who act
FAR_MS: Final = 4_102_444_800_000  # a time that does not come
COUNTS: Final = {"link.create": 45, "link.revoke": 44, "message.send, all are mentioned": 5}

Row = Callable[[int], float]  # the n-th of its kind -> seconds until its answer


class Play:
    """The sockets of those who act, and what they have to know. Blocking."""

    def __init__(self, port: int, past: Past) -> None:
        self.port, self.past = port, past
        self.place = str(past.conversation)
        self._cursors: list[str] = []
        self.crew = [self._open(one) for one in past.members[:CREW]]
        self.guests = [self._open(one) for one in past.guests]
        self.top = past.last_seq  # a seq that is there
        self.said = past.root  # a message, the newest that is known
        self.codes: list[str] = []
        self.polls: list[int] = []
        self.scheduled: list[bytes] = []
        self._keys = itertools.count(1)
        self._chance = random.Random(4)

    def close(self) -> None:
        """Hang up."""
        for one in (*self.crew, *self.guests):
            one.close()

    def do(self, row: Row, count: int, every_s: float) -> list[float]:
        """*row* so often, one after another, on average no sooner than *every_s* after the one before, at moments that
        keep no step with the ordinary messages; how long each took."""
        took: list[float] = []
        due = time.perf_counter()
        for nth in range(count):
            time.sleep(max(0.0, due - time.perf_counter()))
            due = max(due, time.perf_counter() - every_s) + every_s * self._chance.uniform(0.5, 1.5)
            took.append(row(nth))
        return took

    def ask(self, asker: Asker, command: str, **fields: Any) -> tuple[float, Frame]:
        """Ask as one who has read all that came before."""
        asker.drain()
        took_s, result = asker.ask(command, **fields)
        self.top = max(self.top, result.get("seq", 0))
        if command == "message.send":
            self.said = result["seq"]
        return took_s, result

    def here(self, command: str, who: Callable[[int], Asker], **fields: Any) -> Row:
        """A row of *command* in the conversation; a field that can be called is asked for the n-th value."""

        def row(nth: int) -> float:
            given = {name: value(nth) if callable(value) else value for name, value in fields.items()}
            return self.ask(who(nth), command, conversation=self.place, **given)[0]

        return row

    def there(self, command: str, who: Callable[[int], Asker], **fields: Any) -> Row:
        """The same with a key: it changes something."""
        return self.here(command, who, key=lambda _: f"k{next(self._keys)}", **fields)

    def member(self, nth: int) -> Asker:
        """Any of the crew in turn."""
        return self.crew[nth % CREW]

    def admin(self, nth: int) -> Asker:
        """One of the three admins in turn."""
        return self.crew[1 + nth % 3]

    def first_admin(self, nth: int) -> Asker:
        """Always the same."""
        return self.crew[1]

    def guest(self, nth: int) -> Asker:
        """Who comes and goes."""
        return self.guests[nth]

    def cursor(self, nth: int) -> str:
        """The n-th member's of the crew, of its first sign-in."""
        return self._cursors[nth % CREW]

    def own(self, which: int) -> Callable[[int], int]:
        """The seq of the n-th one's message."""
        return lambda nth: self.past.own[self.past.members[nth % CREW].user][which]

    def _open(self, person: Person) -> Asker:
        asker = Asker(self.port, person.token, "asker")
        _, came = asker.hello(None, {str(self.past.conversation): self.past.last_seq})
        self._cursors.append(came[-1]["cursor"])
        return asker


def rows_of(play: Play, which: str) -> dict[str, Row]:
    """The rows of "changes", of "questions", or "all", in an order in which each finds what it needs."""
    found: dict[str, Row] = {}
    if which != "questions":
        found |= _changes(play)
    if which != "changes":
        found |= _questions(play)
    return found


def _changes(play: Play) -> dict[str, Row]:
    """What changes the conversation."""
    past, here, there = play.past, play.here, play.there
    member, admin, guest = play.member, play.admin, play.guest
    users = [str(one.user) for one in past.members]
    guests = [str(one.user) for one in past.guests]

    def even(nth: int) -> bool:
        return nth % 2 == 0

    def handover(nth: int) -> float:
        new = users[1] if even(nth) else users[0]
        return there("conversation.handover", lambda _: play.crew[0 if even(nth) else 1], user=new)(nth)

    def noting(row: str, who: Callable[[int], Asker], note: Callable[[Frame], None], **fields: Any) -> Row:
        def noted(nth: int) -> float:
            key = f"n{next(play._keys)}"
            given = {name: value(nth) if callable(value) else value for name, value in fields.items()}
            took_s, result = play.ask(who(nth), row, conversation=play.place, key=key, **given)
            note(result)
            return took_s

        return noted

    def joining(nth: int) -> float:
        return play.ask(guest(nth), "link.join", code=play.codes[0], key=f"j{next(play._keys)}")[0]

    def unscheduling(nth: int) -> float:
        return play.ask(play.first_admin(nth), "message.unschedule", scheduled=play.scheduled[nth])[0]

    def revoking(nth: int) -> float:
        return there("link.revoke", admin, code=play.codes[-1 - nth])(nth)

    def code(made: Frame) -> None:
        play.codes.append(made["link"]["code"])

    named = past.members[700 % len(users)].user.bytes
    content = {"entities": [{"kind": "mention", "offset": 0, "length": 2, "user": named}]}
    said: dict[str, Any] = {"text": "We say"}
    rows: dict[str, Row] = {
        "message.send": there("message.send", member, **said),
        "message.send, an answer": there("message.send", member, **said, content={"reply_to": past.reacted}),
        "message.send, in a thread": there("message.send", member, **said, content={"thread": past.root}),
        "message.send, one is mentioned": there("message.send", member, **said, content=content),
        "message.edit": there("message.edit", member, seq=play.own(1), text="We meant"),
        "message.delete": there("message.delete", member, seq=play.own(2)),
        "message.delete, in a thread": there(
            "message.delete", member, seq=lambda nth: past.answers[past.members[nth % CREW].user][0]),
        "message.react": there("message.react", member, seq=past.reacted, emoji="\N{PARTY POPPER}"),
        "message.forward": there("message.forward", member, source=lambda nth: {
            "conversation": play.place, "seq": past.own[past.members[100 % len(users)].user][0]}),
        "message.pin": there("message.pin", admin, seq=lambda nth: past.own[past.members[nth // 2].user][1], on=even),
        "poll.create": noting("poll.create", play.first_admin, lambda made: play.polls.append(made["seq"]),
                              question="Again?", options=["yes", "no"]),
        "poll.vote": there("poll.vote", member, seq=past.poll, options=lambda nth: [(nth + 1) % 3]),
        "poll.close": there("poll.close", play.first_admin, seq=lambda nth: play.polls[nth]),
        "message.schedule": noting(
            "message.schedule", play.first_admin, lambda kept: play.scheduled.append(kept["scheduled"]),
            text="We will say", at_ms=FAR_MS),
        "message.unschedule": unscheduling,
        "message.schedule, for now": there("message.schedule", member, text="We say", at_ms=0),
        "conversation.retention": there("conversation.retention", admin, seconds=lambda nth: 0 if nth % 2 else 86_400),
        "conversation.title": there("conversation.title", admin, title=lambda nth: f"Large {nth}"),
        "conversation.topic": there("conversation.topic", admin, topic=lambda nth: f"Size {nth}"),
        "conversation.photo": there("conversation.photo", play.first_admin,
                                    photo=lambda nth: past.photo.bytes if even(nth) else None),
        "conversation.slow_mode": there("conversation.slow_mode", admin, seconds=lambda nth: 0 if nth % 2 else 1),
        "member.role": there("member.role", play.first_admin, user=lambda nth: users[CREW - 1 - nth // 2],
                             role=lambda nth: "admin" if even(nth) else "member"),
        "conversation.handover": handover,
        "conversation.add": there("conversation.add", member if past.kind == "group" else admin,
                                  user=lambda nth: guests[nth]),
        "member.ban": there("member.ban", admin, user=lambda nth: guests[nth]),
        "member.bans": here("member.bans", admin),
        "member.unban": there("member.unban", admin, user=lambda nth: guests[nth]),
        "link.create": noting("link.create", admin, code),
        "link.join": joining,
        "conversation.remove": there("conversation.remove", admin, user=lambda nth: guests[nth]),
        "link.revoke": revoking,
    }  # fmt: skip

    def asking(nth: int) -> float:
        if nth == 0:
            play.codes.clear()
            noting("link.create", admin, code, approval=True)(nth)
        return joining(nth)

    rows |= {
        "link.join, asking": asking,
        "request.answer": there("request.answer", admin, user=lambda nth: guests[nth], accept=True),
        "conversation.leave": there("conversation.leave", guest),
    }
    if past.kind == "room":
        rows |= {"room.join": there("room.join", guest), "room.leave": there("room.leave", guest)}
    rows["message.send, all are mentioned"] = there("message.send", member, **said, content={"mention_all": "all"})
    return rows


def _questions(play: Play) -> dict[str, Row]:
    """What is asked, told, or one's own."""
    past, here, there, member = play.past, play.here, play.there, play.member

    def returning(nth: int) -> float:
        asker = Asker(play.port, past.members[nth % CREW].token, "second")
        try:
            return asker.hello(play.cursor(nth), {play.place: play.top - 20})[0]
        finally:
            asker.close()

    def reading(nth: int) -> float:
        if nth == 0:
            time.sleep(1)  # a person's receipts are written once a second
        return here("receipt", member, read=play.top, delivered=play.top)(nth)

    return {
        "receipt, delivered": here("receipt", member, delivered=lambda _: play.top, read=0),
        "receipt, read": reading,
        "typing": here("typing", member),
        "presence.watch": here("presence.watch", member),
        "message.readers": here("message.readers", member, seq=play.own(0)),
        "message.readers, of a new one": here("message.readers", member, seq=lambda _: play.said),
        "message.reactions": here("message.reactions", member, seq=past.reacted),
        "message.edits": here("message.edits", member, seq=play.own(1)),
        "poll.voters": here("poll.voters", member, seq=past.poll),
        "member.list": here("member.list", member),
        "room.online": here("room.online", member),
        "thread.list": here("thread.list", member),
        "thread.history": here("thread.history", member, seq=past.root),
        "search": lambda nth: play.ask(member(nth), "search", query="said ", conversation=play.place)[0],
        "unread.get": lambda nth: play.ask(member(nth), "unread.get")[0],
        "conversation.get": here("conversation.get", member),
        "conversation.list": lambda nth: play.ask(member(nth), "conversation.list")[0],
        "history": here("history", member),
        "hello, after twenty missed": returning,
        "conversation.mute": there("conversation.mute", member),
        "conversation.pin": there("conversation.pin", member),
        "conversation.archive": there("conversation.archive", member),
        "conversation.mark_unread": there("conversation.mark_unread", member),
        "conversation.nickname": there("conversation.nickname", member, name="Ours"),
        "conversation.folder": there("conversation.folder", member, folder="Large"),
        "conversation.notify": there("conversation.notify", member, level="mentions"),
        "draft.set": there("draft.set", member, text="We would"),
        "draft.clear": there("draft.clear", member),
        "message.hide": there("message.hide", member, seqs=lambda nth: [past.own[past.members[CREW - 1].user][0]]),
        "thread.follow": there("thread.follow", member, seq=past.root),
        "thread.read": there("thread.read", member, seq=past.root, read=lambda _: play.top),
    }
