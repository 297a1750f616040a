"""Rows of one's own, and how to add a kind of them.

Table ``personal`` (migrations/0006_personal.sql) holds what concerns one person alone: a row for each person, kind
(``what``) and subject, with a value, or null once it is gone. A change raises the person's number, which the row keeps;
that is what ``hello``'s cursor and the sweep go by, so a row that is set is told to all of the person's devices,
whatever breaks in between, by the event ``state``. Nothing between the table and the event knows one kind from another.

To add a kind:

1. ``protocol/frames/states.py``: its name in ``StateKind``, a Struct for its value, a field of that very name in
   ``StateEvent``, and what its subject is. Values are absolute (never "one more"), bounded, and hold no nulls.
2. Its value in ``RECORDS`` of ``protocol/schema/catalogue.py`` and ``examples.py``; the docs are made from these.
3. A function of the database, in a new migration, that calls ``set_personal(person, what, subject, value)`` for each
   row, within the transaction of what caused it: after the locks of conversations; of several people in id order. Of a
   command of the person's own, ``begin_personal`` comes first and ``end_personal`` last: these keep its key.
4. Whoever called that function tells ``Registry.changed(person)`` once it is committed.
5. A command of the person's own: its Struct in ``protocol/frames/`` (also in ``AnyPersonal``), a row in ``FUNCTIONS``.
6. Its twin in ``tests/simulate/personal.py``, its fold in ``konnect_client/personal.py``, its rows in the docs.
"""

from typing import Final, LiteralString
from uuid import UUID

from protocol.errors import InAThread, Invalid, KeyReused, NotAMember, Refused, TooManyOfOnesOwn, UnknownMessage
from protocol.frames import (
    AnyPersonal,
    Command,
    ConversationArchive,
    ConversationFolder,
    ConversationMarkUnread,
    ConversationMute,
    ConversationNickname,
    ConversationNotify,
    ConversationPin,
    DraftClear,
    DraftSet,
    MessageHide,
    NotificationRead,
    NotificationSettings,
    ThreadFollow,
    ThreadRead,
)
from storage.database import Queries

KEYS_KEPT_MS: Final = 30 * 86_400_000  # so long a repeat of such a command is known; later it counts as a new one
KEYS_AT_ONCE: Final = 1_000

_FORGET_KEYS: Final[LiteralString] = """
delete from personal_key where (key_hash, person) in (
  select key_hash, person from personal_key where at_ms < now_ms() - %s
  order by at_ms limit %s for update skip locked)
"""


async def forget_keys(db: Queries) -> int:
    """Delete up to :data:`KEYS_AT_ONCE` keys of what is one's own that are older than :data:`KEYS_KEPT_MS`, the oldest
    first; how many. Processes share them."""
    return await db.execute(_FORGET_KEYS, KEYS_KEPT_MS, KEYS_AT_ONCE)


_DRAFT: Final = "select set_draft(%s, %s::json, %s::json)::text"
_THREAD: Final = "select mark_thread(%s, %s::json, %s::json)::text"
_SETTINGS: Final = "select change_settings(%s, %s::json, %s::json)::text"

FUNCTIONS: Final[dict[type[Command], LiteralString]] = {
    DraftSet: _DRAFT,
    DraftClear: _DRAFT,
    ConversationMute: _SETTINGS,
    ConversationArchive: _SETTINGS,
    ConversationPin: _SETTINGS,
    ConversationMarkUnread: _SETTINGS,
    ConversationNickname: _SETTINGS,
    ConversationFolder: _SETTINGS,
    ConversationNotify: _SETTINGS,
    MessageHide: "select hide_messages(%s, %s::json, %s::json)::text",
    ThreadFollow: _THREAD,
    ThreadRead: _THREAD,
    NotificationRead: "select read_notifications(%s, %s::json, %s::json)::text",
    NotificationSettings: "select change_notifying(%s, %s::json, %s::json)::text",
}


def refusal(code: str, missing: UUID, seq: int, command: AnyPersonal) -> Refused:
    """What the *code* that a function of ``FUNCTIONS`` answered with stands for; *missing*, *seq*: who, what."""
    match code:
        case "unknown_timezone":
            return Invalid("there is no such time zone - at `$.timezone`")
        case "key_reused":
            return KeyReused(command.key)
    assert not isinstance(command, NotificationRead | NotificationSettings), code
    match code:
        case "not_a_member":
            return NotAMember(missing, command.conversation)
        case "unknown_message":
            return UnknownMessage(command.conversation, seq)
        case "in_a_thread":
            return InAThread(f"message {seq} is in a thread itself")
        case "too_many":
            return TooManyOfOnesOwn("you have as many of these as one may have")
    raise AssertionError(f"the database answered {code!r}")
