"""Messages that are sent later: keeping them, reading which ones wait."""

from uuid import UUID

import msgspec

from protocol.frames import MessageSchedule, MessageScheduled, ScheduledPage
from protocol.frames.content import NOTHING
from storage.scheduled import Filed
from storage.store import Store


async def schedule(store: Store, user: UUID, new_id: UUID, command: MessageSchedule) -> Filed:
    """Keep a message until its time.

    Raises:
        NotAMember, TooManyScheduled, KeyReused, UnknownMedium, NotReady, WrongUse
        Invalid: Its time is too far ahead.
    """
    if command.content == NOTHING:
        command = msgspec.structs.replace(command, content=None)  # as message.send has it
    return await store.schedule(new_id, user, command)


async def listing(store: Store, user: UUID, command: MessageScheduled) -> ScheduledPage:
    """A page of one's scheduled messages.

    Raises:
        BadCursor
    """
    return await store.scheduled(user, command)
