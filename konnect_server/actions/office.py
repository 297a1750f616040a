"""Who is told of what while away: devices, and what else asks the database beside the store of conversations."""

from collections.abc import Callable
from uuid import UUID

from protocol.frames import (
    DeviceList,
    DeviceRegister,
    Devices,
    DeviceUnregister,
    Done,
    NotificationList,
    Notifications,
)
from protocol.http import NoticeState, SendNotification
from storage import devices, notices, notifications
from storage.database import Database


class Office:
    """The rules, over one database."""

    def __init__(self, database: Database, new_id: Callable[[], UUID]) -> None:
        self._database, self._new_id = database, new_id
        self.wake: Callable[[], None] | None = None  # told that there is a job
        self.seat: Callable[[UUID, str], None] | None = None  # told of devices that may have a socket here

    async def register(self, user: UUID, sign_in: UUID | None, command: DeviceRegister) -> Done:
        """Let a device take pushes.

        Raises:
            UnknownUser
        """
        await devices.register_device(
            self._database, user, command.device, command.platform, command.token, sign_in
        )
        if self.seat is not None:
            self.seat(user, command.device)
        return Done()

    async def unregister(self, user: UUID, command: DeviceUnregister) -> Done:
        """Send it no more pushes."""
        await devices.unregister_device(self._database, user, command.device)
        return Done()

    async def notifications(self, user: UUID, command: NotificationList) -> Notifications:
        """A page of what one was told in the app.

        Raises:
            BadCursor
        """
        return await notifications.list_notifications(
            self._database, user, command.cursor, command.limit, command.unread_only
        )

    async def notify(self, wanted: SendNotification) -> NoticeState:
        """Make word from the operator, to be told by jobs; a repeat gets it as it stands.

        Raises:
            KeyReused
        """
        made = await notices.make_notice(self._database, self._new_id(), wanted)
        self.there_is_a_job()
        return made

    def there_is_a_job(self) -> None:
        """A job was made; it would be found without this, a little later. A plain call."""
        if self.wake is not None:
            self.wake()

    async def devices(self, user: UUID, command: DeviceList) -> Devices:
        """Those that take pushes."""
        return Devices(await devices.devices_of(self._database, user, command.limit))
