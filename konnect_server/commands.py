"""What each command does, whoever gives it: a session on its socket, or a call over HTTP.

The handlers are plain functions in one table, ``HANDLERS``. None of them waits: what changes a conversation is posted
to that conversation's inbox, what needs the database is given to the asker, which runs it as it runs such things.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias, get_args
from uuid import UUID

import trio
from msgspec import UNSET

from konnect_server.actions import conversations as actions, links, rooms, scheduled, search, threads
from konnect_server.actions.office import Office
from konnect_server.conversation import Acting, Author, Posting
from konnect_server.people.ground import Asked, Ground, Outcome
from konnect_server.people.rules import RULES
from konnect_server.presence import Presence
from konnect_server.receipts import Receipts
from konnect_server.registry import Registry
from protocol import frames
from protocol.errors import Invalid, Unavailable
from protocol.frames.content import NOTHING, needs_a_look
from protocol.limits import TYPING_MEMBERS
from storage.errors import StorageRefused, StorageUnavailable
from storage.rows import Kept, Made, MemberPage, Rules, Seen
from storage.scheduled import Filed
from storage.store import Store

RETRY_S: Final = 0.25
GIVE_UP_S: Final = 10.0  # how long a question to storage is repeated before its asker is told "unavailable"

_RULES: Final = Rules()  # of what is one's own a server has no rules beside the protocol's

Ask: TypeAlias = Callable[[], Awaitable[Any]]
Then: TypeAlias = Callable[[Any], Awaitable[Any]]


class Desk(Protocol):
    """What commands stand on; the same for everybody in a process."""

    @property
    def store(self) -> Store: ...
    @property
    def registry(self) -> Registry: ...
    @property
    def presence(self) -> Presence: ...
    @property
    def receipts(self) -> Receipts: ...
    @property
    def new_id(self) -> Callable[[], UUID]: ...
    @property
    def typing(self) -> Callable[[frames.TypingEvent], None]: ...
    @property
    def sooner(self) -> Callable[[int], None]: ...
    @property
    def group_members(self) -> int: ...
    @property
    def room_members(self) -> int: ...
    @property
    def office(self) -> Office | None: ...
    @property
    def people(self) -> Ground | None: ...
    @property
    def signed_out(self) -> Callable[[UUID, UUID], None]: ...
    @property
    def search_languages(self) -> Sequence[str]: ...


class Asker(Author, Protocol):
    """Who gives commands and gets one answer to each. None of the plain calls waits or raises."""

    user: UUID

    @property
    def sign_in(self) -> UUID | None: ...  # by which the person came; None where nobody knows
    @property
    def desk(self) -> Desk: ...

    def push(self, data: bytes) -> None:
        """Send *data* (whole wire frames): an answer that nothing has to precede."""

    def post(self, conversation: UUID, piece: Posting | Acting) -> None:
        """Put *piece* into the conversation's inbox, now or once there is room."""

    def read(self, command: frames.Command, ask: Ask, then: Then | None = None) -> None:
        """Answer *command* with what *ask* finds, put through *then*."""

    def read_in_order(self, command: frames.Command, ask: Ask, then: Then | None = None) -> None:
        """The same, after all that the asker gave so before it. Without an answer from storage there is none at all:
        what follows must not overtake it."""

    async def told_up_to(self, number: int) -> None:
        """Wait until what is the person's own up to *number* has reached this very device."""

    async def told_of(self, conversation: UUID, seq: int = 0) -> None:
        """Wait until what the person just opened, or joined by the entry *seq*, has reached this very device."""


# --- messages and actions ---


def sending(asker: Author, user: UUID, command: frames.MessageSend) -> Posting | Acting:
    """What a message is on its way into the log; nearly all are postings, which many share a commit."""
    content = command.content
    if content is None:
        return Posting(asker, command.id, user, command.key, command.text)
    if needs_a_look(content):
        return Acting(asker, user, command)
    return Posting(asker, command.id, user, command.key, command.text, None if content == NOTHING else content)


def _send(asker: Asker, command: frames.MessageSend) -> None:
    asker.post(command.conversation, sending(asker, asker.user, command))


def _act(asker: Asker, command: frames.AnyAction) -> None:
    asker.post(command.conversation, Acting(asker, asker.user, command))


def _receipt(asker: Asker, command: frames.ReceiptMove) -> None:
    asker.desk.receipts.move(asker, command.id, command.conversation, command.delivered, command.read)


def _typing(asker: Asker, command: frames.Typing) -> None:
    """Asks the database who is a member; a session knows it, and has a shorter way."""

    async def tell(page: MemberPage) -> frames.Done:
        shown = await insist(lambda: asker.desk.store.privacy(asker.user), trio.current_time)
        if shown.typing and not page.more:
            event = frames.TypingEvent(
                conversation=command.conversation, user=asker.user, what=command.what, on=command.on
            )
            asker.desk.typing(event)
        return frames.Done()

    store, first = asker.desk.store, (0, 0)
    asker.read(command, lambda: store.members(asker.user, command.conversation, first, TYPING_MEMBERS), tell)


# --- what is one's own ---


def _keep(asker: Asker, command: frames.AnyPersonal) -> None:
    """The state's event reaches the asker's device before the answer."""
    desk = asker.desk

    async def tell(kept: Kept) -> frames.Done:
        if kept.new:
            desk.registry.changed(asker.user)
        await asker.told_up_to(kept.number)
        return frames.Done()

    asker.read_in_order(command, lambda: desk.store.keep(asker.user, command, _RULES), tell)


# --- what asks the database ---


def _create(asker: Asker, command: frames.ConversationCreate) -> None:
    desk, new_id = asker.desk, asker.desk.new_id()  # one for all repeats of this command
    asker.read(
        command,
        lambda: actions.create(desk.store, asker.user, new_id, command, desk.group_members, desk.room_members),
        lambda outcome: _opened(asker, outcome),
    )


def _direct(asker: Asker, command: frames.ConversationDirect) -> None:
    desk, new_id = asker.desk, asker.desk.new_id()
    asker.read(
        command,
        lambda: actions.direct(desk.store, asker.user, new_id, command),
        lambda outcome: _opened(asker, outcome),
    )


async def _opened(asker: Asker, outcome: tuple[Made, Sequence[UUID]]) -> frames.Opened:
    """The conversation's event and first entry reach the asker's device before the answer."""
    made, members = outcome
    if made.new:
        for member in members:
            asker.desk.registry.joined(made.conversation, member)
    await asker.told_of(made.conversation)
    return frames.Opened(made.conversation)


def _list(asker: Asker, command: frames.ConversationList) -> None:
    asker.read(command, lambda: actions.listing(asker.desk.store, asker.user, command))


def _get(asker: Asker, command: frames.ConversationGet) -> None:
    asker.read(command, lambda: actions.get(asker.desk.store, asker.user, command))


def _history(asker: Asker, command: frames.HistoryGet) -> None:
    asker.read(command, lambda: actions.history(asker.desk.store, asker.user, command))


def _edits(asker: Asker, command: frames.MessageEdits) -> None:
    asker.read(command, lambda: actions.edits(asker.desk.store, asker.user, command))


def _reactions(asker: Asker, command: frames.MessageReactions) -> None:
    asker.read(command, lambda: actions.reactions(asker.desk.store, asker.user, command))


def _votes(asker: Asker, command: frames.PollVoters) -> None:
    asker.read(command, lambda: actions.votes(asker.desk.store, asker.user, command))


def _threads(asker: Asker, command: frames.ThreadList) -> None:
    asker.read(command, lambda: threads.listing(asker.desk.store, asker.user, command))


def _thread(asker: Asker, command: frames.ThreadHistory) -> None:
    asker.read(command, lambda: threads.history(asker.desk.store, asker.user, command))


def _schedule(asker: Asker, command: frames.MessageSchedule) -> None:
    desk, new_id = asker.desk, asker.desk.new_id()

    async def tell(filed: Filed) -> frames.Scheduled:
        desk.sooner(filed.at_ms)
        desk.registry.changed(asker.user)
        await asker.told_up_to(filed.number)
        return frames.Scheduled(filed.scheduled, filed.at_ms)

    asker.read(command, lambda: scheduled.schedule(desk.store, asker.user, new_id, command), tell)


def _unschedule(asker: Asker, command: frames.MessageUnschedule) -> None:
    desk = asker.desk

    async def tell(number: int) -> frames.Done:
        desk.registry.changed(asker.user)
        await asker.told_up_to(number)
        return frames.Done()

    asker.read(command, lambda: desk.store.unschedule(asker.user, command.scheduled), tell)


def _scheduled(asker: Asker, command: frames.MessageScheduled) -> None:
    asker.read(command, lambda: scheduled.listing(asker.desk.store, asker.user, command))


def _bans(asker: Asker, command: frames.MemberBans) -> None:
    asker.read(command, lambda: actions.bans(asker.desk.store, asker.user, command))


# --- finding rooms, and who is in them ---


def _rooms(asker: Asker, command: frames.RoomList) -> None:
    asker.read(command, lambda: rooms.rooms(asker.desk.store, asker.user, command))


def _members(asker: Asker, command: frames.MemberList) -> None:
    asker.read(command, lambda: rooms.members(asker.desk.store, asker.user, command))


def _online(asker: Asker, command: frames.RoomOnline) -> None:
    desk = asker.desk
    asker.read(command, lambda: rooms.online(desk.store, asker.user, command, desk.presence.online))


# --- links and requests ---


def _rules(desk: Desk) -> Rules:
    return Rules(desk.group_members, room_members=desk.room_members)


def _create_link(asker: Asker, command: frames.LinkCreate) -> None:
    asker.read(command, lambda: links.create(asker.desk.store, asker.user, command, _rules(asker.desk)))


def _links(asker: Asker, command: frames.LinkList) -> None:
    asker.read(command, lambda: links.listing(asker.desk.store, asker.user, command))


def _revoke_link(asker: Asker, command: frames.LinkRevoke) -> None:
    asker.read(command, lambda: links.revoke(asker.desk.store, asker.user, command))


def _preview_link(asker: Asker, command: frames.LinkPreview) -> None:
    asker.read(command, lambda: links.preview(asker.desk.store, asker.user, command))


def _join_by_link(asker: Asker, command: frames.LinkJoin) -> None:
    asker.read(
        command,
        lambda: links.join(asker.desk.store, asker.user, command, _rules(asker.desk)),
        lambda joined: _let_in(asker, joined),
    )


async def _let_in(asker: Asker, joined: frames.Joined) -> frames.Joined:
    """Only the database knew which conversation it would be, so its actor did not store the entry: it reads it now."""
    if joined.seq is not UNSET:
        asker.desk.registry.stored_elsewhere(joined.conversation, joined.seq)
        asker.desk.registry.joined(joined.conversation, asker.user)
        await asker.told_of(joined.conversation, joined.seq)
    elif asker.desk.office is not None:
        asker.desk.office.there_is_a_job()  # that tells who may answer
    return joined


def _requests(asker: Asker, command: frames.RequestList) -> None:
    asker.read(command, lambda: links.requests(asker.desk.store, asker.user, command))


def _users(asker: Asker, command: frames.UserGet) -> None:
    asker.read(command, lambda: actions.users(asker.desk.store, asker.user, command))


# --- devices and notifications ---


def _office(asker: Asker) -> Office:
    """Raises Unavailable where there is none: on a store that is no database."""
    if asker.desk.office is None:
        raise Unavailable("this server keeps neither devices nor notifications")
    return asker.desk.office


def _register(asker: Asker, command: frames.DeviceRegister) -> None:
    async def ask() -> frames.Done:
        return await _office(asker).register(asker.user, asker.sign_in, command)

    asker.read(command, ask)


def _unregister(asker: Asker, command: frames.DeviceUnregister) -> None:
    async def ask() -> frames.Done:
        return await _office(asker).unregister(asker.user, command)

    asker.read(command, ask)


def _devices(asker: Asker, command: frames.DeviceList) -> None:
    async def ask() -> frames.Devices:
        return await _office(asker).devices(asker.user, command)

    asker.read(command, ask)


def _notifications(asker: Asker, command: frames.NotificationList) -> None:
    async def ask() -> frames.Notifications:
        return await _office(asker).notifications(asker.user, command)

    asker.read(command, ask)


def _search(asker: Asker, command: frames.Search) -> None:
    desk = asker.desk
    asker.read(command, lambda: search.search(desk.store, asker.user, command, desk.search_languages))


def _privacy_set(asker: Asker, command: frames.PrivacySet) -> None:
    """Takes effect for the asker's own sessions here before the answer, elsewhere when they hear of it."""
    desk = asker.desk

    async def tell(number: int) -> frames.Done:
        desk.registry.changed(asker.user)
        await asker.told_up_to(number)
        return frames.Done()

    asker.read_in_order(command, lambda: desk.store.set_privacy(asker.user, command), tell)


def _privacy_get(asker: Asker, command: frames.PrivacyGet) -> None:
    asker.read(command, lambda: asker.desk.store.privacy(asker.user))


def _presence(asker: Asker, command: frames.PresenceGet) -> None:
    async def tell(people: Sequence[Seen]) -> frames.Presences:
        presence = asker.desk.presence
        return frames.Presences([
            frames.PersonPresence(one.user, "online") if presence.online(one.user, one.contact)
            else frames.PersonPresence(one.user, "offline", one.last_seen_ms or UNSET)
            for one in people
        ])  # fmt: skip

    asker.read(command, lambda: asker.desk.store.presences(asker.user, command.users), tell)


def _readers(asker: Asker, command: frames.MessageReaders) -> None:
    asker.read(command, lambda: actions.readers(asker.desk.store, asker.user, command))


def _unread(asker: Asker, command: frames.UnreadGet) -> None:
    asker.read(command, lambda: actions.unread(asker.desk.store, asker.user))


# --- people ---


def _people(asker: Asker, command: frames.Command) -> None:
    """One of the rules about people (konnect_server/people). What is their own reaches the asker's device before the
    answer; what changes something, which carries a key, keeps the order of coming."""
    desk, rule = asker.desk, RULES[type(command)]
    asked = Asked(asker.user, asker.sign_in, desk.new_id())

    async def ask() -> Outcome:
        if desk.people is None:
            raise Unavailable("this server knows nothing of people")  # its storage is no database
        return await rule(desk.people, asked, command)

    async def tell(outcome: Outcome) -> Any:
        for conversation, seq in outcome.stored:
            desk.registry.stored_elsewhere(conversation, seq)
        for conversation, person in outcome.joined:
            desk.registry.joined(conversation, person)
        for person in outcome.changed:
            desk.registry.changed(person)
        for sign_in, person in outcome.ended:
            desk.signed_out(sign_in, person)
        await asker.told_up_to(outcome.number)
        if outcome.jobs and desk.office is not None:
            desk.office.there_is_a_job()
        return outcome.result

    if "key" in command.__struct_fields__:
        asker.read_in_order(command, ask, tell)
    else:
        asker.read(command, ask, tell)


HANDLERS: Final[dict[type[frames.Command], Callable[[Asker, Any], None]]] = {
    frames.ConversationDirect: _direct,
    frames.ConversationCreate: _create,
    frames.ConversationList: _list,
    frames.ConversationGet: _get,
    **dict.fromkeys(get_args(frames.AnyAction), _act),
    frames.MessageSend: _send,
    frames.MessageEdits: _edits,
    frames.MessageReactions: _reactions,
    frames.HistoryGet: _history,
    frames.ReceiptMove: _receipt,
    frames.Typing: _typing,
    frames.UserGet: _users,
    frames.DeviceRegister: _register,
    frames.DeviceUnregister: _unregister,
    frames.DeviceList: _devices,
    frames.NotificationList: _notifications,
    frames.UnreadGet: _unread,
    frames.MessageReaders: _readers,
    frames.PrivacySet: _privacy_set,
    frames.PrivacyGet: _privacy_get,
    frames.PresenceGet: _presence,
    **dict.fromkeys(get_args(frames.AnyPersonal), _keep),
    frames.MessageSchedule: _schedule,
    frames.PollVoters: _votes,
    frames.ThreadList: _threads,
    frames.ThreadHistory: _thread,
    frames.MessageUnschedule: _unschedule,
    frames.MessageScheduled: _scheduled,
    frames.MemberBans: _bans,
    # finding rooms, and who is in them
    frames.RoomList: _rooms,
    frames.RoomOnline: _online,
    frames.MemberList: _members,
    # links and requests
    frames.LinkCreate: _create_link,
    frames.LinkList: _links,
    frames.LinkRevoke: _revoke_link,
    frames.LinkPreview: _preview_link,
    frames.LinkJoin: _join_by_link,
    frames.RequestList: _requests,
    frames.Search: _search,
    **dict.fromkeys(RULES, _people),
}


async def insist(ask: Ask, now: Callable[[], float]) -> Any:
    """Ask until storage answers.

    Raises:
        Invalid: Storage can never take this.
        Unavailable: It did not answer for GIVE_UP_S; the outcome is unknown.
        KonnectError: As *ask* does.
    """
    give_up_at = now() + GIVE_UP_S
    while True:
        try:
            return await ask()
        except StorageRefused as problem:
            raise Invalid("this cannot be stored") from problem
        except StorageUnavailable as problem:
            if now() > give_up_at:
                raise Unavailable("storage does not answer") from problem
            await trio.sleep(RETRY_S)
