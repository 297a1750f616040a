"""Who blocked whom (migrations/0018_blocks.sql)."""

from typing import Final, LiteralString
from uuid import UUID

import msgspec
from msgspec import Struct

from protocol.errors import Invalid, KeyReused, Refused, TooManyOfOnesOwn, UnknownUser
from protocol.frames import Block, BlockList, Blocks, OneBlock, Unblock
from protocol.limits import BLOCKS
from storage import page_cursor
from storage.database import Queries


class Changed(Struct):
    """What came of a block, or of its end."""

    error: str | None = None
    number: int = 0  # up to which the person has to be told
    new: bool = False  # by this very call
    conversation: UUID | None = None  # that was closed or opened by it,
    seq: int = 0  # with this entry


class _Page(Struct):
    blocks: list[OneBlock]
    more: bool


_json: Final = msgspec.json.Encoder(uuid_format="canonical").encode
_changed: Final = msgspec.json.Decoder(Changed).decode
_page: Final = msgspec.json.Decoder(_Page).decode
_CHANGE: Final[LiteralString] = "select json_strip_nulls(change_block(%s, %s, %s::json, %s))::text"


async def change_block(db: Queries, person: UUID, command: Block | Unblock) -> Changed:
    """Block somebody, or take it back.

    Raises:
        UnknownUser, Invalid, TooManyOfOnesOwn, KeyReused
    """
    row = await db.fetch_one(_CHANGE, isinstance(command, Block), person, _json(command).decode(), BLOCKS)
    assert row is not None
    found = _changed(row[0])
    if found.error is not None:
        raise _refusal(found.error, command)
    return found


def _refusal(code: str, command: Block | Unblock) -> Refused:
    match code:
        case "unknown_user":
            return UnknownUser(command.user)
        case "oneself":
            return Invalid("nobody blocks oneself - at `$.user`")
        case "too_many":
            return TooManyOfOnesOwn("you have blocked as many people as one may")
        case "key_reused":
            return KeyReused(command.key)
    raise AssertionError(f"the database answered {code!r}")


_LIST: Final[LiteralString] = "select block_page(%s, %s, %s, %s)::text"


async def list_blocks(db: Queries, person: UUID, command: BlockList) -> Blocks:
    """A page of those whom *person* has blocked.

    Raises:
        BadCursor
    """
    row = await db.fetch_one(_LIST, person, *page_cursor.BLOCKS.place_of(command.cursor), command.limit)
    assert row is not None
    found = _page(row[0])
    if not found.more:
        return Blocks(found.blocks)
    last = found.blocks[-1]
    return Blocks(found.blocks, page_cursor.BLOCKS.text_of((last.at_ms, last.user)))
