"""Who is online, and who hears of it; on a clock that the test turns."""

from uuid import UUID

import pytest

from konnect_server import presence as room
from konnect_server.presence import Change, Presence
from tests.fakes import ANN, BOB, CID, DAN, FakeReader, uid

GRACE_S = 10.0
HERE, THERE = uid(501), uid(502)


class Stage:
    """A process's presence, with its clock and what it rang."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rung: list[tuple[UUID, bool]] = []
        self.changes: list[Change] = []
        self.presence = Presence(
            GRACE_S, lambda: self.now, lambda change: self.rung.append((change.user, change.online))
        )

    def follower(self, *users: UUID) -> FakeReader:
        """Somebody who follows these people."""
        one = FakeReader(DAN)
        self.presence.follow(one, users)
        return one

    def after(self, seconds: float) -> None:
        """So much later, a sweep."""
        self.now += seconds
        self.presence.sweep()


def told(one: FakeReader) -> list[tuple[str, str]]:
    assert all(frame["t"] == "presence" for frame in one.frames)
    return [(frame["user"], frame["state"]) for frame in one.frames]


def test_only_followers_hear_of_a_person() -> None:
    stage = Stage()
    follower, stranger = stage.follower(ANN), stage.follower(BOB)
    stage.presence.came(ANN)
    assert told(follower) == [(str(ANN), "online")]
    assert told(stranger) == []
    assert stage.rung == [(ANN, True)]
    assert stage.presence.roster() == [ANN]


def test_a_short_absence_is_not_seen() -> None:
    stage = Stage()
    stage.presence.came(ANN)
    follower = stage.follower(ANN)
    stage.presence.went(ANN)
    stage.after(GRACE_S - 0.1)
    stage.presence.came(ANN)
    stage.after(GRACE_S * 2)
    assert told(follower) == []
    assert stage.rung == [(ANN, True)]


def test_a_long_absence_is() -> None:
    stage = Stage()
    stage.presence.came(ANN)
    stage.presence.came(BOB)
    follower = stage.follower(ANN, BOB)
    stage.presence.went(ANN)
    stage.now += 1
    stage.presence.went(BOB)
    stage.after(GRACE_S - 1)
    assert told(follower) == [(str(ANN), "offline")], "the other's grace has not ended"
    stage.after(1)
    assert told(follower) == [(str(ANN), "offline"), (str(BOB), "offline")]
    assert stage.rung == [(ANN, True), (BOB, True), (ANN, False), (BOB, False)]
    assert stage.presence.roster() == []


def test_who_begins_to_follow_learns_who_is_online_now() -> None:
    stage = Stage()
    stage.presence.came(ANN)
    stage.presence.heard(THERE, Change(BOB, True))
    assert stage.presence.follow(FakeReader(DAN), [ANN, BOB, CID]) == [ANN, BOB]


def test_who_stops_following_hears_nothing_and_is_forgotten() -> None:
    stage = Stage()
    follower, other = stage.follower(ANN, BOB), stage.follower(ANN)
    stage.presence.unfollow(follower, [ANN, CID])
    stage.presence.came(ANN)
    stage.presence.came(BOB)
    assert told(follower) == [(str(BOB), "online")]
    assert told(other) == [(str(ANN), "online")]
    stage.presence.unfollow(follower, [BOB])
    stage.presence.unfollow(other, [ANN])
    assert stage.presence._followers == {}


def test_presence_may_be_dropped_for_a_slow_follower() -> None:
    stage = Stage()
    follower = stage.follower(ANN)
    follower.slow = True
    stage.presence.came(ANN)
    assert told(follower) == []


def test_a_person_of_several_processes_is_online_until_the_last_is_left() -> None:
    stage = Stage()
    follower = stage.follower(ANN)
    stage.presence.heard(THERE, Change(ANN, True))
    stage.presence.came(ANN)
    stage.presence.heard(THERE, Change(ANN, False))
    assert told(follower) == [(str(ANN), "online")]
    stage.presence.heard(THERE, Change(ANN, True))
    stage.presence.went(ANN)
    stage.after(GRACE_S)
    assert told(follower) == [(str(ANN), "online")]
    stage.presence.heard(THERE, Change(ANN, False))
    assert told(follower) == [(str(ANN), "online"), (str(ANN), "offline")]


def test_a_process_that_is_gone_takes_its_people_along() -> None:
    stage = Stage()
    follower = stage.follower(ANN, BOB, CID)
    for process, user in ((THERE, ANN), (THERE, BOB), (HERE, BOB), (HERE, CID)):
        stage.presence.heard(process, Change(user, True))
    stage.presence.gone([HERE])
    assert told(follower)[3:] == [(str(ANN), "offline")]
    stage.presence.gone([HERE])
    assert len(told(follower)) == 4


def test_a_person_whose_going_was_not_heard_goes_with_the_rosters() -> None:
    """A roster only ever added: when the bell that told of a person's going was lost, the person stayed online there
    for as long as the other process lived."""
    stage = Stage()
    follower = stage.follower(ANN, BOB)
    stage.presence.listed(THERE, 1, [ANN])
    stage.presence.listed(THERE, 1, [BOB])
    for roster in (2, 3):
        stage.presence.listed(THERE, roster, [BOB])
        assert told(follower) == [(str(ANN), "online"), (str(BOB), "online")], "perhaps a part was lost"
    stage.presence.listed(THERE, 4, [BOB])
    assert told(follower)[2:] == [(str(ANN), "offline")]
    for roster in (5, 6, 7):
        stage.presence.listed(THERE, roster, [])
    assert told(follower)[3:] == [(str(BOB), "offline")]


def test_a_late_part_of_an_old_roster_sends_nobody_away() -> None:
    stage = Stage()
    follower = stage.follower(ANN, BOB)
    for roster in (1, 2, 3):
        stage.presence.listed(THERE, roster, [ANN])
    stage.presence.listed(THERE, 1, [BOB])
    assert told(follower) == [(str(ANN), "online"), (str(BOB), "online")]


def test_a_process_that_comes_back_begins_its_rosters_anew() -> None:
    stage = Stage()
    stage.presence.listed(THERE, 9, [ANN])
    stage.presence.gone([])
    follower = stage.follower(ANN)
    stage.presence.listed(THERE, 1, [ANN])
    for roster in (2, 3, 4):
        stage.presence.listed(THERE, roster, [])
    assert told(follower) == [(str(ANN), "online"), (str(ANN), "offline")]


# --- who may see whom -------------------------------------------------------------------------------------------------


def test_who_hides_from_everybody_is_not_here_for_anybody() -> None:
    """No follower, no other process, no roster hears of them; nor how long they were gone."""
    stage = Stage()
    follower = stage.follower(ANN)
    stage.presence.came(ANN, "nobody")
    assert (told(follower), stage.rung, stage.presence.roster(), stage.presence.online(ANN)) == ([], [], [], False)
    stage.presence.came(ANN, "everyone")
    stage.presence.came(ANN, "nobody")
    assert told(follower) == [(str(ANN), "online"), (str(ANN), "offline")]
    assert "last_seen_ms" not in follower.frames[-1]
    stage.presence.went(ANN)
    stage.after(GRACE_S)
    assert len(follower.frames) == 2


def test_who_is_shown_to_contacts_is_told_to_contacts() -> None:
    stage = Stage()
    contact, other = FakeReader(DAN), FakeReader(CID)
    stage.presence.follow(contact, [ANN], contacts=True)
    stage.presence.follow(other, [ANN], contacts=False)
    stage.presence.came(ANN, "contacts")
    assert (told(contact), told(other)) == ([(str(ANN), "online")], [])
    assert (stage.presence.roster(), stage.presence.roster(contacts=True)) == ([], [ANN])
    stage.presence.came(ANN, "everyone")
    assert (len(contact.frames), told(other)) == (1, [(str(ANN), "online")])
    stage.presence.came(ANN, "contacts")
    assert (len(contact.frames), told(other)[1:]) == (1, [(str(ANN), "offline")])
    assert stage.presence.follow(FakeReader(BOB), [ANN]) == [ANN]
    assert stage.presence.follow(other, [ANN], contacts=False) == []


def test_other_processes_people_are_shown_as_these_say() -> None:
    """In doubt, when two differ, to contacts only."""
    stage = Stage()
    contact, other = FakeReader(DAN), FakeReader(CID)
    stage.presence.follow(contact, [ANN], contacts=True)
    stage.presence.follow(other, [ANN], contacts=False)
    stage.presence.listed(THERE, 1, [ANN], contacts=True)
    assert (told(contact), told(other)) == ([(str(ANN), "online")], [])
    stage.presence.came(ANN)
    assert told(other) == []
    stage.presence.listed(THERE, 2, [ANN])
    assert told(other) == [(str(ANN), "online")]


def test_who_went_is_shown_with_the_minute() -> None:
    stage = Stage()
    wall = [10 * 60_000 + 59_999]
    presence = Presence(GRACE_S, lambda: stage.now, stage.changes.append, lambda: wall[0])
    follower = FakeReader(DAN)
    presence.follow(follower, [ANN])
    presence.came(ANN)
    presence.went(ANN)
    stage.now += GRACE_S
    wall[0] += int(GRACE_S * 1000)
    presence.sweep()
    assert follower.frames[-1] == {"t": "presence", "user": str(ANN), "state": "offline", "last_seen_ms": 600_000}
    assert stage.changes[-1] == Change(ANN, False, last_seen_ms=600_000)
    stage.presence.follow(follower, [BOB])
    stage.presence.heard(THERE, Change(BOB, True))
    stage.presence.heard(THERE, Change(BOB, False, last_seen_ms=120_000))
    assert follower.frames[-1]["last_seen_ms"] == 120_000


def test_who_leaves_a_conversation_is_followed_by_contacts_alone() -> None:
    stage = Stage()
    contact, other, stranger = FakeReader(DAN), FakeReader(CID), FakeReader(BOB)
    stage.presence.follow(contact, [ANN], contacts=True)
    stage.presence.follow(other, [ANN], contacts=False)
    stage.presence.part(ANN, [contact, other, stranger])
    stage.presence.came(ANN)
    assert (told(contact), told(other)) == ([(str(ANN), "online")], [])


# --- at full load -----------------------------------------------------------------------------------------------------


def test_pushes_between_two_sweeps_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A town comes back at once: all of it is shown, in parts; what changes back meanwhile is told to nobody."""
    monkeypatch.setattr(room, "PUSHES", 20)
    stage = Stage()
    stage.presence.sweep()
    town = [uid(3000 + n) for n in range(30)]
    followers = [stage.follower(*town) for _ in range(5)]

    def pushed() -> int:
        return sum(len(one.frames) for one in followers)

    for one in town:
        stage.presence.heard(THERE, Change(one, True))
    assert pushed() == 20, "four people, each to five followers"
    for one in town[20:]:
        stage.presence.heard(THERE, Change(one, False))
    counts = []
    for _ in range(6):
        before = pushed()
        stage.after(1)
        counts.append(pushed() - before)
    assert counts == [20, 20, 20, 20, 0, 0]
    for follower in followers:
        assert told(follower) == [(str(one), "online") for one in town[:20]]


def test_who_begins_to_follow_while_a_change_waits_is_not_left_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """He was told what the others were not yet; when it changes back, all are told how it stands."""
    monkeypatch.setattr(room, "PUSHES", 0)
    stage = Stage()
    stage.presence.sweep()
    early = stage.follower(ANN)
    stage.presence.came(ANN)
    late = FakeReader(CID)
    assert stage.presence.follow(late, [ANN]) == [ANN]
    stage.presence.came(ANN, "nobody")
    monkeypatch.setattr(room, "PUSHES", 20)
    stage.after(1)
    assert told(late) == told(early) == [(str(ANN), "offline")]


def test_nobody_who_is_not_looked_at_costs_a_push() -> None:
    stage = Stage()
    for n in range(1_000):
        stage.presence.came(uid(3000 + n))
    assert (stage.presence._due, stage.presence._pushes) == ({}, room.PUSHES)
