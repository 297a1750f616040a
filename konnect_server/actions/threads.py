"""Reading threads."""

from uuid import UUID

from protocol.frames import HistoryPage, ThreadHistory, ThreadList, Threads
from storage.store import Store


async def listing(store: Store, user: UUID, command: ThreadList) -> Threads:
    """A page of a conversation's threads.

    Raises:
        NotAMember, BadCursor
    """
    return await store.threads(user, command.conversation, command.cursor, command.limit)


async def history(store: Store, user: UUID, command: ThreadHistory) -> HistoryPage:
    """A page of a thread's messages.

    Raises:
        NotAMember, UnknownMessage, InAThread
    """
    return await store.thread(user, command.conversation, command.seq, command.before, command.limit)
