"""What people do with their devices, and what their devices suffer, drawn from the seed."""

from random import Random
from typing import Any, Final, Protocol
from uuid import UUID

from tests.simulate.client import Device, Town
from tests.simulate.kept import Kept

_ACTS: Final = (
    ("send", 50), ("burst", 4), ("receipt", 10), ("typing", 3), ("history", 4), ("list", 2), ("get", 4), ("ping", 1),
    ("create", 3), ("direct", 4), ("add", 5), ("remove", 4), ("leave", 2), ("watch", 1), ("users", 1), ("intrude", 1),
    ("draft", 7), ("settings", 4), ("hide", 2),
    ("edit", 6), ("delete", 3), ("react", 9), ("about", 2), ("forward", 3), ("pin", 4),
    ("schedule", 4), ("unschedule", 2), ("scheduled", 1), ("retention", 1), ("poll", 2), ("vote", 5), ("close", 1),
    ("thread", 3), ("threads", 2),
    ("role", 3), ("hand_over", 1), ("ban", 2), ("unban", 2), ("set", 3), ("slow", 1),
    ("find", 3), ("join", 8), ("members", 1), ("link", 3), ("by_link", 3), ("revoke", 1), ("request", 3),
    ("switch", 4), ("look", 2),
    ("drop", 7), ("stall", 5), ("restart", 4), ("save", 5), ("renew", 1), ("sign_out", 1),
)  # fmt: skip
_NAMES: Final = [name for name, _ in _ACTS]
_WEIGHTS: Final = [weight for _, weight in _ACTS]


class Neighbourhood(Town, Protocol):
    """What behaviour needs of the world."""

    active: bool
    people: list[UUID]
    codes: list[str]  # of links that were made
    secretive: bool  # people turn their privacy's switches

    def key(self) -> str:
        """A key that nobody has used."""

    def provoke(self, user: str, place: str) -> None:
        """*user* is about to be sent away from *place*."""

    def turns(self, device: Device) -> None:
        """*device* turns a switch of its person's privacy."""

    def sign_out(self, device: Device) -> None:
        """End the device's sign-in at some process."""


class Behaviour:
    """One device's owner."""

    def __init__(self, world: Neighbourhood, device: Device) -> None:
        self.world, self.device = world, device
        self.rng: Random = device.rng
        self.pace_s = self.rng.choice((0.15, 0.3, 0.6))
        self._saved: Kept | None = None
        weights = list(_WEIGHTS)
        trait = self.rng.choice(("steady", "steady", "flaky", "slow", "political", "restless"))
        if trait == "steady":
            for name in ("drop", "stall", "restart"):
                weights[_NAMES.index(name)] //= 3
        elif trait == "flaky":
            weights[_NAMES.index("drop")] = 25
        elif trait == "slow":
            weights[_NAMES.index("stall")] = 20
        elif trait == "political":
            for name in ("add", "remove", "leave", "role", "ban", "unban", "join", "link", "request"):
                weights[_NAMES.index(name)] *= 4
        elif trait == "restless":
            weights[_NAMES.index("restart")] = 15
        if not world.secretive:
            weights[_NAMES.index("switch")] = 0
        self._weights = weights
        if self.rng.random() < 0.1:
            device.token_s = self.rng.uniform(1.0, 6.0)

    def start(self) -> None:
        """Begin to act."""
        self._next()

    def _next(self) -> None:
        self.world.agenda.after(self.rng.expovariate(1 / self.pace_s), self._act)

    def _act(self) -> None:
        if not self.world.active:
            return
        [name] = self.rng.choices(_NAMES, self._weights)
        getattr(self, f"_{name}")()
        self._next()

    # --- helpers ---

    def _place(self) -> str | None:
        """A conversation that the device believes its person to be in."""
        places = [conversation for conversation, known in self.device.kept.conversations.items() if not known.left]
        return self.rng.choice(places) if places else None

    def _office(self) -> str | None:
        """Mostly a conversation whose owner or admin the device's person is."""
        mine = [
            conversation for conversation, known in self.device.kept.conversations.items()
            if not known.left and (known.owner == self.device.me or self.device.me in known.admins)
        ]  # fmt: skip
        return self.rng.choice(mine) if mine and self.rng.random() < 0.8 else self._place()

    def _person(self) -> str:
        return str(self.rng.choice(self.world.people))

    def _text(self) -> str:
        draw = self.rng.random()
        if draw < 0.03:
            return "long " * self.rng.randrange(200, 1200)
        return f"hello {self.rng.randrange(1000)}" if draw < 0.9 else "grüße 𝄞\x01"

    def _now(self, t: str, **fields: Any) -> None:
        if self.device.state in ("walking", "live"):
            self.device.command(t, fields)

    # --- acts ---

    def _send(self) -> None:
        place = self._place()
        if place is not None and len(self.device.kept.outbox) < 30:
            said: dict[str, Any] = {"text": self._text()}
            if self.rng.random() < 0.3:
                said["content"] = self._content(place, said)
            self.device.queue("message.send", conversation=place, key=self.world.key(), **said)

    def _content(self, place: str, said: dict[str, Any]) -> dict[str, Any]:
        """What a message is beside its text, which a place may do without."""
        draw, messages = self.rng.random(), [*self.device.kept.conversations[place].messages][-6:]
        if draw < 0.4:
            return {"entities": [{"kind": "bold", "offset": 0, "length": 2}], "mention_all": "here"}
        if draw < 0.6 or not messages:
            if self.rng.random() < 0.5:
                del said["text"]
            return {"location": {"lat": 48.2, "lon": 16.37, "label": "the café"}}
        if draw < 0.75:
            return {"reply_to": self.rng.choice(messages)}
        seq = self.rng.choice(messages)
        root = self.device.kept.conversations[place].messages[seq].get("content", {}).get("thread", seq)
        return {"thread": root if self.rng.random() < 0.95 else seq}

    def _burst(self) -> None:
        for _ in range(self.rng.randrange(3, 14)):
            self._send()

    def _receipt(self) -> None:
        place = self._place()
        if place is not None:
            head = self.device.kept.conversations[place].head
            delivered, read = self.rng.randint(0, head + 2), self.rng.randint(0, head + 1)
            self._now("receipt", conversation=place, delivered=delivered, read=read)

    def _typing(self) -> None:
        if (place := self._place()) is not None:
            self._now("typing", conversation=place)

    def _history(self) -> None:
        if (place := self._place()) is not None:
            before = self.rng.choice((None, self.device.kept.conversations[place].head or 1))
            self._now("history", conversation=place, before=before, limit=self.rng.choice((1, 3, 50)))

    def _list(self) -> None:
        self._now("conversation.list", limit=self.rng.choice((1, 3, 50)))

    def _get(self) -> None:
        if (place := self._place()) is not None:
            self._now("conversation.get", conversation=place, recent=self.rng.choice((0, 1, 4)))

    def _ping(self) -> None:
        self._now("ping", data=[1, "x"])

    def _create(self) -> None:
        members = [str(one) for one in self.rng.sample(self.world.people, self.rng.randint(1, 3))]
        history = self.rng.choice(("all", "from_join"))
        self.device.queue("conversation.create", key=self.world.key(), title="group", members=members, history=history)

    def _direct(self) -> None:
        other = self._person()
        if other != self.device.me:
            self.device.queue("conversation.direct", user=other)

    def _add(self) -> None:
        if (place := self._place()) is not None:
            self.device.queue("conversation.add", conversation=place, key=self.world.key(), user=self._person())

    def _remove(self) -> None:
        if (place := self._office()) is not None:
            user = self._person()
            self.device.queue("conversation.remove", conversation=place, key=self.world.key(), user=user)
            self.world.provoke(user, place)

    def _leave(self) -> None:
        if (place := self._place()) is not None:
            t = "conversation.leave" if self.rng.random() < 0.5 else "room.leave"
            self.device.queue(t, conversation=place, key=self.world.key())

    def _find(self) -> None:
        """Look for rooms."""
        query = self.rng.choice((None, None, "ro", "hall chan", "tea"))
        tags: list[str] = self.rng.choice(([], ["Chess"], ["go", "x"]))
        self._now("room.list", query=query, tags=tags, limit=self.rng.choice((1, 50, 50)))

    def _join(self) -> None:
        """Join a room that was found, or come back to one, or try what is none."""
        if not self.device.rooms:
            self._find()
            return
        place = self.rng.choice(self.device.rooms)
        if self.rng.random() < 0.05:
            place = str(self.rng.choice([*self.world.truth.tables.conversations]))
        known = self.device.kept.conversations.get(place)
        if (known is None or known.left or self.rng.random() < 0.05) and len(self.device.kept.outbox) < 30:
            self.device.queue("room.join", conversation=place, key=self.world.key())

    def _members(self) -> None:
        if (place := self._place()) is not None:
            self._now(self.rng.choice(("member.list", "room.online")), conversation=place, limit=50)

    def _link(self) -> None:
        """Make a link; a few hear of it (``try_link``)."""
        if (place := self._office()) is not None:
            soon_ms = self.world.truth.database.now_ms() + self.rng.randrange(-99, 3_000)
            ends = self.rng.choice((None, None, None, soon_ms))
            self.device.queue(
                "link.create", conversation=place, key=self.world.key(), uses=self.rng.choice((None, 1, 1, 2)),
                approval=self.rng.random() < 0.4, expires_at_ms=ends,
            )  # fmt: skip
            self._now("link.list", conversation=place)

    def try_link(self, code: str) -> None:
        """Hear of a link, and come by it unless one belongs there."""
        row = self.world.truth.tables.links.get(code)
        known = None if row is None else self.device.kept.conversations.get(str(row.name[0]))
        if self.world.active and (known is None or known.left or self.rng.random() < 0.1):
            self.device.queue("link.join", code=code, key=self.world.key())

    def echo(self) -> None:
        """Some device has just been told that a switch was turned: type there and then."""
        if self.world.active:
            for place, known in self.device.kept.conversations.items():
                if not known.left:
                    self._now("typing", conversation=place)

    def come_back(self, place: str) -> None:
        """Somebody is about to send one away from *place*: come in again, in whatever way, perhaps too early."""
        links = [code for code, row in self.world.truth.tables.links.items() if str(row.name[0]) == place]
        if not self.world.active or len(self.device.kept.outbox) >= 30:
            return
        if links and self.rng.random() < 0.5:
            self.device.queue("link.join", code=self.rng.choice(links), key=self.world.key())
        elif place in self.device.rooms:
            self.device.queue("room.join", conversation=place, key=self.world.key())

    def _by_link(self) -> None:
        if self.world.codes and len(self.device.kept.outbox) < 30:
            code = self.rng.choice(self.world.codes[-6:])
            if self.rng.random() < 0.3:
                self._now("link.preview", code=code)
            self.try_link(code)

    def _revoke(self) -> None:
        if self.world.codes and len(self.device.kept.outbox) < 30:
            code = self.rng.choice(self.world.codes[-4:])
            row = self.world.truth.tables.links.get(code)
            place = self._place() if row is None or self.rng.random() < 0.05 else str(row.name[0])
            if place is not None:
                self.device.queue("link.revoke", conversation=place, key=self.world.key(), code=code)

    def _request(self) -> None:
        """Answer somebody who asks to be let in."""
        asking = [(str(place), str(person)) for place, person in self.world.truth.tables.requests]
        mine = [one for one in asking if one[0] in self.device.kept.conversations]
        if mine and len(self.device.kept.outbox) < 30:
            place, person = self.rng.choice(mine)
            accept = self.rng.random() < 0.8
            self.device.queue("request.answer", conversation=place, key=self.world.key(), user=person, accept=accept)
            self._now("request.list", conversation=place)

    def _switch(self) -> None:
        """Turn a switch of one's privacy."""
        if len(self.device.kept.outbox) < 30:
            switch, value = self.rng.choice((
                ("read_receipts", self.rng.random() < 0.4), ("typing", self.rng.random() < 0.4),
                ("last_seen", self.rng.choice(("everyone", "contacts", "nobody", "nobody"))),
            ))  # fmt: skip
            self.world.turns(self.device)
            self.device.queue("privacy.set", key=self.world.key(), **{switch: value})

    def _look(self) -> None:
        """See who is there, and who has read what."""
        people = [str(one) for one in self.world.people]
        self._now("presence.get", users=people)
        if self.rng.random() < 0.5:
            self._now("presence.watch", users=people)
        if (found := self._message(mine=True)) is not None:
            self._now("message.readers", conversation=found[0], seq=found[1])

    def _role(self) -> None:
        if (place := self._place()) is not None:
            role = self.rng.choice(("admin", "admin", "member"))
            self.device.queue(
                "member.role", conversation=place, key=self.world.key(), user=self._person(), role=role
            )

    def _hand_over(self) -> None:
        if (place := self._place()) is not None:
            self.device.queue("conversation.handover", conversation=place, key=self.world.key(), user=self._person())

    def _ban(self) -> None:
        if (place := self._office()) is not None:
            user = self._person()
            self.device.queue("member.ban", conversation=place, key=self.world.key(), user=user)
            self.world.provoke(user, place)
            self._now("member.bans", conversation=place)

    def _unban(self) -> None:
        if (place := self._office()) is not None:
            self.device.queue("member.unban", conversation=place, key=self.world.key(), user=self._person())

    def _set(self) -> None:
        if (place := self._place()) is not None:
            what, value = self.rng.choice((("title", "Tea"), ("title", "Club"), ("topic", "hot"), ("topic", None)))
            self.device.queue(
                f"conversation.{what}", conversation=place, key=self.world.key(), **{what: value}
            )

    def _slow(self) -> None:
        if (place := self._place()) is not None:
            seconds = self.rng.choice((0, 0, 1))
            self.device.queue(
                "conversation.slow_mode", conversation=place, key=self.world.key(), seconds=seconds
            )

    def _message(self, mine: bool) -> tuple[str, int] | None:
        """A message that the device knows, mostly one of its person's own if *mine*; sometimes what is none."""
        place = self._place()
        if place is None or len(self.device.kept.outbox) >= 30:
            return None
        known = self.device.kept.conversations[place]
        if self.rng.random() < 0.05:
            return place, self.rng.randint(1, known.head + 2)
        seqs = [
            seq for seq, message in known.messages.items() if not mine or (message["author"] == self.device.me)
        ] or [*known.messages]  # fmt: skip
        return (place, self.rng.choice(seqs[-6:])) if seqs else None

    def _edit(self) -> None:
        if (found := self._message(mine=True)) is not None:
            place, seq = found
            said: dict[str, Any] = {"text": self._text()}
            if self.rng.random() < 0.3:
                said["entities"] = [{"kind": "mention", "offset": 0, "length": 1, "user": self._person()}]
            self.device.queue("message.edit", conversation=place, key=self.world.key(), seq=seq, **said)

    def _delete(self) -> None:
        if (found := self._message(mine=True)) is not None:
            place, seq = found
            self.device.queue("message.delete", conversation=place, key=self.world.key(), seq=seq)

    def _react(self) -> None:
        if (found := self._message(mine=False)) is not None:
            place, seq = found
            emoji, on = self.rng.choice("👍🦉é"), self.rng.random() < 0.7
            self.device.queue("message.react", conversation=place, key=self.world.key(), seq=seq, emoji=emoji, on=on)

    def _forward(self) -> None:
        if (found := self._message(mine=False)) is not None and (to := self._place()) is not None:
            source = {"conversation": found[0], "seq": found[1]}
            self.device.queue("message.forward", conversation=to, key=self.world.key(), source=source)

    def _pin(self) -> None:
        if (found := self._message(mine=False)) is not None:
            place, seq = found
            on = self.rng.random() < 0.7
            self.device.queue("message.pin", conversation=place, key=self.world.key(), seq=seq, on=on)

    def _about(self) -> None:
        if (found := self._message(mine=False)) is not None:
            place, seq = found
            self._now("message.edits", conversation=place, seq=seq)
            self._now("message.reactions", conversation=place, seq=seq)

    def _own(self, t: str, place: str | None, **fields: Any) -> None:
        if place is not None and len(self.device.kept.outbox) < 30:
            self.device.queue(t, conversation=place, key=self.world.key(), **fields)

    def _draft(self) -> None:
        """A few letters more, or it is thrown away."""
        place = self._place()
        for _ in range(self.rng.randrange(1, 4)):
            if self.rng.random() < 0.25:
                self._own("draft.clear", place)
            else:
                more = {"reply_to": self.rng.randint(1, 9)} if self.rng.random() < 0.3 else {}
                self._own("draft.set", place, text=self._text(), **more)

    def _settings(self) -> None:
        on = self.rng.random() < 0.6
        name = self.rng.choice((None, "Bobby", "grüße"))
        t, fields = self.rng.choice((
            ("mute", {"on": on, "until_ms": self.rng.choice((None, 5))}), ("archive", {"on": on}), ("pin", {"on": on}),
            ("mark_unread", {"on": on}), ("nickname", {"name": name}), ("folder", {"folder": name}),
            ("nickname", {"name": name, "user": self._person()}),
            ("notify", {"level": self.rng.choice(("all", "mentions", "none"))}),
        ))  # fmt: skip
        self._own(f"conversation.{t}", self._place(), **fields)

    def _hide(self) -> None:
        if (found := self._message(mine=False)) is not None:
            place, seq = found
            self._own("message.hide", place, seqs=[seq, max(1, seq - self.rng.randrange(3))])

    def _thread(self) -> None:
        """Say what one makes of a thread, or of what may become one."""
        if (found := self._message(mine=False)) is not None:
            place, seq = found
            root = self.device.kept.conversations[place].messages.get(seq, {}).get("content", {}).get("thread", seq)
            if self.rng.random() < 0.5:
                self._own("thread.follow", place, seq=root, on=self.rng.random() < 0.5)
            else:
                self._own("thread.read", place, seq=root, read=seq + self.rng.randrange(3))

    def _threads(self) -> None:
        if (found := self._message(mine=False)) is not None:
            place, seq = found
            self._now("thread.list", conversation=place, limit=self.rng.choice((1, 50)))
            self._now("thread.history", conversation=place, seq=seq, limit=self.rng.choice((1, 50)))

    def _schedule(self) -> None:
        if (place := self._place()) is not None and len(self.device.kept.outbox) < 30:
            at_ms = self.world.truth.database.now_ms() + self.rng.randrange(-200, 4_000)
            self.device.queue(
                "message.schedule", conversation=place, key=self.world.key(), at_ms=at_ms, text=self._text()
            )

    def _poll(self) -> None:
        if (place := self._place()) is not None and len(self.device.kept.outbox) < 30:
            self.device.queue(
                "poll.create", conversation=place, key=self.world.key(), question="Which?", options=["a", "b", "é"],
                multiple=self.rng.random() < 0.5, anonymous=self.rng.random() < 0.5,
            )  # fmt: skip

    def _asked(self) -> tuple[str, int] | None:
        """A poll that the device knows."""
        if (place := self._place()) is None or len(self.device.kept.outbox) >= 30:
            return None
        seqs = [seq for seq, one in self.device.kept.conversations[place].messages.items() if "poll" in one]
        return (place, self.rng.choice(seqs[-3:])) if seqs else None

    def _vote(self) -> None:
        if (found := self._asked()) is not None:
            place, seq = found
            options = self.rng.sample(range(3), self.rng.choice((0, 1, 1, 2)))
            self.device.queue("poll.vote", conversation=place, key=self.world.key(), seq=seq, options=options)

    def _close(self) -> None:
        if (found := self._asked()) is not None:
            place, seq = found
            self.device.queue("poll.close", conversation=place, key=self.world.key(), seq=seq)
            self._now("poll.voters", conversation=place, seq=seq)

    def _retention(self) -> None:
        if (place := self._place()) is not None and len(self.device.kept.outbox) < 30:
            seconds = self.rng.choice((0, 1, 3))
            self.device.queue("conversation.retention", conversation=place, key=self.world.key(), seconds=seconds)

    def _unschedule(self) -> None:
        if self.device.scheduled:
            self._now("message.unschedule", scheduled=self.rng.choice(self.device.scheduled[-4:]))

    def _scheduled(self) -> None:
        self._now("message.scheduled", limit=self.rng.choice((1, 50)))

    def _watch(self) -> None:
        if (place := self._place()) is not None and self.rng.random() < 0.5:
            self._now("presence.watch", conversation=place)
        else:
            self._now("presence.watch", users=[self._person(), self._person()])

    def _users(self) -> None:
        self._now("user.get", users=[self._person()])

    def _intrude(self) -> None:
        """Write to a conversation that one does not know, or was removed from."""
        places = [str(one) for one in self.world.truth.tables.conversations]
        place = self.rng.choice(places)
        known = self.device.kept.conversations.get(place)
        if known is None or known.left:
            self._now("message.send", conversation=place, key=self.world.key(), text="let me in")
            self._now("history", conversation=place, limit=5)
            self._now("typing", conversation=place)

    def _drop(self) -> None:
        if self.device.pipe is not None:
            self.device.drop(self.rng.choice(("reset", "reset", "close", "vanish")))

    def _stall(self) -> None:
        pipe = self.device.pipe
        if pipe is not None:
            if self.rng.random() < 0.2:
                pipe.blackhole()
            else:
                pipe.stall(True)
                self.world.agenda.after(self.rng.uniform(0.2, 6.0), pipe.stall, False)

    def _save(self) -> None:
        self._saved = self.device.kept.copy()

    def _restart(self) -> None:
        draw = self.rng.random()
        if draw < 0.5:
            self.device.restart(self.device.kept)
        elif draw < 0.8 and self._saved is not None:
            self.device.restart(self._saved)
        else:
            self._saved = None
            self.device.restart(None)

    def _renew(self) -> None:
        self._now("auth.renew", token=self.world.token(self.device))

    def _sign_out(self) -> None:
        if self.rng.random() < 0.3:
            self.world.sign_out(self.device)
