"""Opening, listing and reading conversations: rules that need the database but no live state."""

from uuid import UUID

from protocol.errors import Invalid, NotAMember
from protocol.frames import (
    Bans,
    ConversationCreate,
    ConversationDirect,
    ConversationGet,
    ConversationList,
    Conversations,
    ConversationState,
    HistoryGet,
    HistoryPage,
    MemberBans,
    MessageEdits,
    MessageReactions,
    MessageReaders,
    PollVoters,
    Reactions,
    Readers,
    Unread,
    UserGet,
    Users,
    Versions,
    Votes,
)
from storage.rows import Made, NewKind, shown
from storage.store import Store


async def create(
    store: Store, user: UUID, new_id: UUID, command: ConversationCreate, most: int, room_most: int
) -> tuple[Made, list[UUID]]:
    """Create a group, a room or a channel; it, and its members with the owner first.

    Raises:
        UnknownUser, ConversationFull, KeyReused
    """
    # By their text: hash(UUID) is not seeded, and a thousand ids made to collide would hold everybody up.
    members = list({str(one): one for one in [user, *command.members]}.values())
    more = NewKind(command.kind, command.topic, command.tags, command.public or command.kind == "room")
    bound = most if command.kind == "group" else room_most
    made = await store.create_group(
        new_id, user, command.key, command.title, command.history, members, bound, more
    )
    return made, members


async def direct(store: Store, user: UUID, new_id: UUID, command: ConversationDirect) -> tuple[Made, list[UUID]]:
    """Open the direct conversation with somebody; it, and its members.

    Raises:
        Invalid: With oneself.
        UnknownUser, NotAllowedToWrite
    """
    if command.user == user:
        raise Invalid("a direct conversation needs somebody else - at `$.user`")
    return await store.open_direct(new_id, user, command.user), [user, command.user]


async def listing(store: Store, user: UUID, command: ConversationList) -> Conversations:
    """A page of one's conversations, last active first."""
    return await store.listing(user, command.cursor, command.limit)


async def get(store: Store, user: UUID, command: ConversationGet) -> ConversationState:
    """One conversation's present state.

    Raises:
        NotAMember: Now; a former member reads the past by ``history``.
    """
    for state in await store.states(user, [command.conversation], command.recent):
        if state.until is None:
            return shown(state, ConversationState)
    raise NotAMember(user, command.conversation)


async def history(store: Store, user: UUID, command: HistoryGet) -> HistoryPage:
    """A page of the past.

    Raises:
        Invalid: More than one place is named.
        NotAMember: Never was one.
    """
    if [command.before, command.around, command.after].count(None) < 2:
        raise Invalid("a page has one of `before`, `around` and `after` - at `$`")
    if command.around is not None:
        older = command.limit // 2
        return await store.around(user, command.conversation, command.around, older, command.limit - older)
    if command.after is not None:
        return await store.around(user, command.conversation, command.after + 1, 0, command.limit)
    return await store.history(user, command.conversation, command.before, command.limit)


async def edits(store: Store, user: UUID, command: MessageEdits) -> Versions:
    """A page of what a message has said.

    Raises:
        NotAMember, UnknownMessage
    """
    return await store.edits(user, command.conversation, command.seq, command.after)


async def reactions(store: Store, user: UUID, command: MessageReactions) -> Reactions:
    """A page of who reacted to a message.

    Raises:
        NotAMember, UnknownMessage, BadCursor
    """
    return await store.reactions(
        user, command.conversation, command.seq, command.emoji, command.cursor, command.limit
    )


async def votes(store: Store, user: UUID, command: PollVoters) -> Votes:
    """A page of who chose what.

    Raises:
        NotAMember, UnknownMessage, UnknownPoll
    """
    return await store.votes(user, command.conversation, command.seq, command.after, command.limit)


async def bans(store: Store, user: UUID, command: MemberBans) -> Bans:
    """A page of who is banned.

    Raises:
        NotAMember, Forbidden
    """
    return await store.bans(user, command.conversation, command.before, command.limit)


async def readers(store: Store, user: UUID, command: MessageReaders) -> Readers:
    """A page of those whom a message has reached.

    Raises:
        NotAMember, UnknownMessage, BadCursor
    """
    return await store.readers(user, command.conversation, command.seq, command.cursor, command.limit)


async def users(store: Store, user: UUID, command: UserGet) -> Users:
    """Names of people."""
    return Users(await store.users(user, command.users))


async def unread(store: Store, user: UUID) -> Unread:
    """What a badge shows."""
    return await store.unread_total(user)
