"""Messages that are sent later: keeping them, taking them back, reading which ones wait."""

from uuid import UUID

import msgspec

from protocol.frames import Done, MessageSchedule, MessageScheduled, MessageUnschedule, Scheduled, ScheduledPage
from protocol.frames.content import NOTHING
from storage.store import Store


async def schedule(store: Store, user: UUID, new_id: UUID, command: MessageSchedule) -> Scheduled:
    """Keep a message until its time.

    Raises:
        NotAMember, TooManyScheduled, KeyReused, UnknownMedium, NotReady, WrongUse
        Invalid: Its time is too far ahead.
    """
    if command.content == NOTHING:
        command = msgspec.structs.replace(command, content=None)  # as message.send has it
    return await store.schedule(new_id, user, command)


async def unschedule(store: Store, user: UUID, command: MessageUnschedule) -> Done:
    """Take a scheduled message back.

    Raises:
        UnknownScheduled
        TooLate: It was sent.
    """
    await store.unschedule(user, command.scheduled)
    return Done()


async def listing(store: Store, user: UUID, command: MessageScheduled) -> ScheduledPage:
    """A page of one's scheduled messages.

    Raises:
        BadCursor
    """
    return await store.scheduled(user, command)
