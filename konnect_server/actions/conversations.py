"""Opening, listing and reading conversations: rules that need the database but no live state."""

from uuid import UUID

from protocol.errors import Invalid, NotAMember
from protocol.frames import (
    ConversationCreate,
    ConversationDirect,
    ConversationGet,
    ConversationList,
    Conversations,
    ConversationState,
    HistoryGet,
    HistoryPage,
    MessageEdits,
    MessageReactions,
    MessageReaders,
    Reactions,
    Readers,
    Unread,
    UserGet,
    Users,
    Versions,
)
from storage.rows import Made, shown
from storage.store import Store


async def create(
    store: Store, user: UUID, new_id: UUID, command: ConversationCreate, most: int
) -> tuple[Made, list[UUID]]:
    """Create a group; it, and its members with the owner first.

    Raises:
        UnknownUser, ConversationFull, KeyReused
    """
    # By their text: hash(UUID) is not seeded, and a thousand ids made to collide would hold everybody up.
    members = list({str(one): one for one in [user, *command.members]}.values())
    made = await store.create_group(new_id, user, command.key, command.title, command.history, members, most)
    return made, members


async def direct(store: Store, user: UUID, new_id: UUID, command: ConversationDirect) -> tuple[Made, list[UUID]]:
    """Open the direct conversation with somebody; it, and its members.

    Raises:
        Invalid: With oneself.
        UnknownUser
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
        NotAMember: Never was one.
    """
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


async def readers(store: Store, user: UUID, command: MessageReaders) -> Readers:
    """A page of those whom a message has reached.

    Raises:
        NotAMember, UnknownMessage, BadCursor
    """
    return await store.readers(user, command.conversation, command.seq, command.cursor, command.limit)


async def users(store: Store, user: UUID, command: UserGet) -> Users:
    """Names of people."""
    return Users(await store.users(command.users))


async def unread(store: Store, user: UUID) -> Unread:
    """What a badge shows."""
    return await store.unread_total(user)
