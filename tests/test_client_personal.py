"""What is one's own, as the client keeps it: drafts, settings, hidden messages."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from konnect_client import (
    Client,
    Draft,
    Heads,
    MemoryState,
    Messages,
    OwnThread,
    Personal,
    Settings,
    StateChanged,
    Synced,
)
from konnect_client.errors import ProtocolViolation
from konnect_client.timeline import Timeline
from tests.client_peer import BOB, HALL, ROOM, Frame, Peer, Wire, client_of, numbered_keys


@pytest.fixture
async def peer() -> Peer:
    peer = Peer()
    peer.room()
    return peer


async def until_synced(client: Client) -> list[object]:
    """Read all events up to the newest ``Synced``."""
    seen: list[object] = []
    async for event in client.events:
        seen.append(event)
        if event == Synced() and not len(client.events):
            return seen
    return seen


def state(what: str, subject: str, value: Any) -> Frame:
    return {"t": "state", "what": what, "subject": subject, **({} if value is None else {what: value})}


async def test_the_view_knows_what_the_application_was_shown(peer: Peer, autojump_clock: MockClock) -> None:
    peer.set_own("draft", ROOM, {"text": "See", "at_ms": 7, "reply_to": 3})
    peer.set_own("settings", ROOM, {"muted": True, "nicknames": {BOB: "Bobby"}, "notify": "none", "newer": 1})
    peer.set_own("hidden", f"{ROOM}/0", {"seqs": [2, 5]})
    peer.set_own("hidden", f"{ROOM}/3", {"seqs": [3_007]})
    peer.set_own("thread", f"{ROOM}/2", {"following": False, "read": 9})
    peer.set_own("thread", f"{ROOM}/3", {"read": 4})
    peer.set_own("constellation", "somewhere", {"of": "a newer server"})
    async with client_of(peer) as client:
        mine = client.personal
        assert mine.draft(ROOM) is None
        await until_synced(client)
        assert mine.draft(ROOM) == Draft("See", 7, 3)
        assert mine.settings(ROOM) == Settings(muted=True, nicknames={BOB: "Bobby"}, notify="none")
        assert mine.settings(HALL) == Settings()
        assert sorted(mine.hidden(ROOM)) == [2, 5, 3_007]
        assert [mine.is_hidden(ROOM, seq) for seq in (2, 3, 3_007)] == [True, False, True]
        assert [mine.thread(ROOM, seq) for seq in (2, 3, 4)] == [OwnThread(False, 9), OwnThread(None, 4), OwnThread()]
        assert mine.rows("constellation") == {"somewhere": {"of": "a newer server"}}
        await client.set_draft(ROOM, "See you", reply_to=4)
        async for event in client.events:
            assert event == StateChanged("draft", ROOM, {"text": "See you", "reply_to": 4, "at_ms": 5})
            assert mine.draft(ROOM) == Draft("See you", 5, 4), "who is shown it finds it"
            break
        await client.set_draft(ROOM, "")
        async for event in client.events:
            assert event == StateChanged("draft", ROOM, None)
            break
        assert mine.draft(ROOM) is None


async def test_it_outlasts_a_restart_with_the_cursor_that_speaks_of_it(peer: Peer, autojump_clock: MockClock) -> None:
    stored = MemoryState()
    peer.set_own("draft", ROOM, {"text": "See", "at_ms": 7})
    async with client_of(peer, state=stored) as client:
        await until_synced(client)
    async with client_of(peer, state=stored) as client:
        assert client.personal.draft(ROOM) == Draft("See", 7)
        assert not any(isinstance(event, StateChanged) for event in await until_synced(client))
        peer.broadcast({"t": "rewound"})
        async for _ in client.events:
            break
        client.events.done()
        assert client.personal.draft(ROOM) is None


async def test_it_is_in_the_state_file(peer: Peer, tmp_path: Path, autojump_clock: MockClock) -> None:
    path = tmp_path / "state"
    peer.set_own("draft", ROOM, {"text": "grüße", "at_ms": 7})
    async with client_of(peer, state_path=path) as client:
        await until_synced(client)
        await trio.sleep(5)
    async with client_of(peer, state_path=path) as client:
        assert client.personal.draft(ROOM) == Draft("grüße", 7)


async def test_of_drafts_that_were_never_sent_the_newest_counts(peer: Peer, autojump_clock: MockClock) -> None:
    """Somebody who writes for an hour without a network does not fill the outbox."""
    async with client_of(peer) as client, trio.open_nursery() as nursery:
        await client.wait_synced()
        client.set_online(False)
        await wait_all_tasks_blocked()
        for number in range(50):
            nursery.start_soon(client.set_draft, ROOM, f"{number}")
            await wait_all_tasks_blocked()
        nursery.start_soon(client.set_draft, HALL, "elsewhere")
        await wait_all_tasks_blocked()
        nursery.start_soon(client.mute, ROOM)
        await wait_all_tasks_blocked()
        assert [(one.t, one.text) for one in client.pending] == [
            ("draft.set", "49"), ("draft.set", "elsewhere"), ("conversation.mute", ""),
        ]  # fmt: skip
        client.set_online(True)
        await client.flush()
    assert [frame["text"] for frame in peer.asked("draft.set")] == ["49", "elsewhere"]


async def test_a_draft_that_was_sent_is_repeated_before_the_newer_one(peer: Peer, autojump_clock: MockClock) -> None:
    """Its first sending may still arrive, and must then be known already."""
    lost = 1

    def interfere(wire: Wire, frame: Frame) -> bool:
        nonlocal lost
        if frame["t"] == "draft.set" and lost:
            lost -= 1
            wire.drop()  # not done, as far as the client knows
            return True
        return False

    peer.interfere = interfere
    async with client_of(peer) as client, trio.open_nursery() as nursery:
        await client.wait_synced()
        nursery.start_soon(client.set_draft, ROOM, "a")
        await wait_all_tasks_blocked()
        nursery.start_soon(client.set_draft, ROOM, "b")
    assert [frame["text"] for frame in peer.asked("draft.set")] == ["a", "a", "b"]
    assert len({frame["key"] for frame in peer.asked("draft.set")}) == 2


async def test_what_is_ones_own_keeps_its_place_and_its_key_over_a_restart(
    peer: Peer, tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "outbox"
    peer.frozen = True
    async with client_of(peer, outbox_path=path) as client, trio.open_nursery() as nursery:
        client.send_nowait(ROOM, "mine")
        for call in (
            partial(client.set_draft, ROOM, "more"),
            partial(client.nickname, ROOM, None, user=BOB),
            partial(client.hide, ROOM, [2, 3]),
        ):
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    peer.frozen = False
    peer.thawed.set()
    async with client_of(peer, outbox_path=path, new_key=numbered_keys("other")) as client:
        await client.flush()
    asked = [frame for frame in peer.received if frame["t"] in ("draft.set", "conversation.nickname", "message.hide")]
    assert [(frame["t"], frame["key"]) for frame in asked] == [
        ("draft.set", "k2"), ("conversation.nickname", "k3"), ("message.hide", "k4"),
    ]  # fmt: skip
    assert (asked[1]["name"], asked[1]["user"], asked[2]["seqs"]) == (None, BOB, [2, 3])


def test_hidden_messages_are_not_shown() -> None:
    timeline = Timeline(Heads({ROOM: 1}))
    messages = Messages(personal=Personal(timeline.heads))
    for seq in (2, 3):
        entry = {
            "t": "entry", "conversation": ROOM, "seq": seq, "kind": "message", "author": BOB, "key": str(seq),
            "at_ms": 1, "text": "hi",
        }  # fmt: skip
        for event in timeline.apply(entry):
            messages.note(event)
    assert [one.seq for one in messages.of(ROOM)] == [2, 3]
    timeline.apply(state("hidden", f"{ROOM}/0", {"seqs": [2]}))
    assert [one.seq for one in messages.of(ROOM)] == [3]
    assert messages.get(ROOM, 2) is None


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("draft", "text"), ("draft", {"text": "x"}), ("draft", {"text": "x", "at_ms": 1, "reply_to": "2"}),
        ("settings", {"muted": 1}), ("settings", {"nicknames": {"a": 1}}), ("hidden", {}), ("hidden", {"seqs": ["1"]}),
        ("thread", {"following": 1}), ("thread", {"read": "9"}),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_read_is_a_violation_and_changes_nothing(what: str, value: Any) -> None:
    timeline = Timeline(Heads())
    with pytest.raises(ProtocolViolation):
        timeline.apply(state(what, ROOM, value))
    assert timeline.heads.rows == {}


def test_messages_that_wait_are_kept() -> None:
    """By their time, of one conversation or of all, as they stand."""
    timeline = Timeline(Heads())
    personal = Personal(timeline.heads)
    first, second = "01a1ee56-5e00-7000-8000-000000000001", "01a1ee56-5e00-7000-8000-000000000002"
    timeline.apply(state("scheduled", first, {"conversation": ROOM, "at_ms": 9, "text": "later"}))
    timeline.apply(state("scheduled", second, {"conversation": "elsewhere", "at_ms": 5, "problem": "not_a_member"}))
    assert [(one.id, one.text, one.problem) for one in personal.scheduled()] == [
        (second, "", "not_a_member"), (first, "later", None),
    ]  # fmt: skip
    assert [one.id for one in personal.scheduled(ROOM)] == [first]
    timeline.apply(state("scheduled", second, None))
    assert [one.id for one in personal.scheduled()] == [first]
    with pytest.raises(ProtocolViolation):
        timeline.apply(state("scheduled", first, {"conversation": ROOM}))


def test_notifications_are_kept() -> None:
    """Newest first, as they stand; one that is gone is gone."""
    timeline = Timeline(Heads())
    personal = Personal(timeline.heads)
    first, second = "01a1ee56-5e00-7000-8000-000000000001", "01a1ee56-5e00-7000-8000-000000000002"
    for subject, kind in ((first, "added"), (second, "reaction")):
        timeline.apply(state("notification", subject, {"kind": kind, "at_ms": 5, "conversation": ROOM}))
    timeline.apply(state("notification", first, {"kind": "added", "at_ms": 5, "conversation": ROOM, "read": True}))
    assert [(one.id, one.kind, one.read) for one in personal.notifications()] == [
        (second, "reaction", False), (first, "added", True),
    ]  # fmt: skip
    timeline.apply(state("notification", second, None))
    assert [one.id for one in personal.notifications()] == [first]
    assert personal.notifying.timezone is None
    timeline.apply(state("notifying", "", {"quiet_from": 1350, "quiet_to": 420, "hide_content": True}))
    assert (personal.notifying.quiet_from, personal.notifying.hide_content) == (1350, True)
    for what, value in (("notification", {"kind": "added"}), ("notifying", {"quiet_from": "22:30"}),
                        ("notification", {"kind": "operator", "at_ms": 1, "data": {"a": 1}})):  # fmt: skip
        with pytest.raises(ProtocolViolation):
            timeline.apply(state(what, first, value))


async def test_ones_profile_is_known_from_its_row(peer: Peer, autojump_clock: MockClock) -> None:
    own = {
        "visibility": {"bio": "nobody"}, "percent": 35, "complete": False, "missing": ["photos"], "first_name": "Ann",
        "latitude": 48, "longitude": 16.5, "experience": [{"title": "Guide", "to_year": 2020}], "photos": [BOB],
        "prompts": [{"question": "Why?", "answer": "So."}], "newer": 1,
    }  # fmt: skip
    async with client_of(peer) as client:
        await until_synced(client)
        assert client.personal.profile is None
    peer.set_own("profile", "", own)
    async with client_of(peer) as client:
        await until_synced(client)
        mine = client.personal.profile
    assert mine is not None
    assert (mine.first_name, mine.percent, mine.latitude, mine.photos) == ("Ann", 35, 48.0, (BOB,))
    assert (mine.experience[0].to_year, mine.prompts[0].answer, mine.missing) == (2020, "So.", ("photos",))
    for wrong in ({**own, "photos": [1]}, {**own, "visibility": {"bio": 1}}, {**own, "percent": "35"}):
        with pytest.raises(ProtocolViolation):
            Timeline(Heads()).apply(state("profile", "", wrong))
