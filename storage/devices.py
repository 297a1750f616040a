"""Devices that take pushes: table ``device``. Times are the database's clock, Unix milliseconds."""

from collections.abc import Sequence
from typing import Final, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.errors import UnknownUser
from protocol.frames import Platform, PushDevice
from protocol.limits import PUSH_DEVICES
from storage.database import Queries

_json: Final = msgspec.json.Encoder(uuid_format="canonical").encode


class Seated(Struct, frozen=True, rename={"account": "a", "device": "d"}):
    """Whether a device's socket is open in this process."""

    account: UUID
    device: str
    here: bool


_REGISTER: Final[LiteralString] = "select register_device(%s, %s, %s, %s, %s, %s)"


async def register_device(
    db: Queries, account: UUID, device: str, platform: Platform, token: str, sign_in: UUID | None
) -> None:
    """Send pushes for *account* to *device* by *token*, and to nobody else by that. Repeating it does no harm.

    Raises:
        UnknownUser
    """
    if await db.fetch_one(_REGISTER, account, device, platform, token, sign_in, PUSH_DEVICES) != (True,):
        raise UnknownUser(account)


_UNREGISTER: Final[LiteralString] = "delete from device where account = %s and device = %s"


async def unregister_device(db: Queries, account: UUID, device: str) -> None:
    """Send no more pushes to *device*."""
    await db.execute(_UNREGISTER, account, device)


_LIST: Final[LiteralString] = """
select device, platform, at_ms, is_connected(node) from device where account = %s order by at_ms desc, device
limit %s
"""


async def devices_of(db: Queries, account: UUID, limit: int) -> list[PushDevice]:
    """The devices of *account*, at most so many, registered last first."""
    return [PushDevice(*row) for row in await db.fetch_all(_LIST, account, limit)]


_SEAT: Final[LiteralString] = "select seat_devices(%s, %s::json)"


async def seat_devices(db: Queries, node: UUID, seats: Sequence[Seated]) -> None:
    """Say which sockets are open at process *node* now; devices that take no pushes are passed over."""
    await db.fetch_one(_SEAT, node, _json(seats).decode())


_UNSEAT: Final[LiteralString] = "update device set node = null where node = %s"


async def unseat_all(db: Queries, node: UUID) -> None:
    """Say that no socket is open at process *node*."""
    await db.execute(_UNSEAT, node)


_FORGET: Final[LiteralString] = "delete from device where account = %s and device = %s and token = %s"


async def forget_token(db: Queries, account: UUID, device: str, token: str) -> bool:
    """*token* reaches nobody any more; False: the device has another one by now, or none."""
    return await db.execute(_FORGET, account, device, token) > 0
