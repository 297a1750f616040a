"""The bounds that the wire promises; where a server may set its own, these are the defaults."""

from typing import Final

FRAME_BYTES: Final = 65_536  # one message from a client, whole
PAGE_BYTES: Final = 262_144  # one page of history or of a resume
HISTORY_ENTRIES: Final = 100
HEADS: Final = 1_000  # conversations a hello may name
RECENT_ENTRIES: Final = 20  # entries a conversation event may carry
TEXT_CHARS: Final = 8_192  # code points
TITLE_CHARS: Final = 200
KEY_CHARS: Final = 64
DEVICE_CHARS: Final = 64
TOKEN_CHARS: Final = 4_096
CURSOR_CHARS: Final = 512
GROUP_MEMBERS: Final = 1_000
CREATE_MEMBERS: Final = 1_000
PING_BYTES: Final = 4_096
WATCH_USERS: Final = 1_000
LIST_CONVERSATIONS: Final = 100
LOOKUP_USERS: Final = 100
NAMED_MEMBERS: Final = 100  # up to this many members, names and receipts travel with the conversation
REACTION_CHARS: Final = 16  # code points of one emoji: families and flags are several
REACTIONS_OF_ONE: Final = 5  # different emoji of one person on one message
REACTIONS: Final = 20  # different emoji on one message
REACTION_USERS: Final = 5  # of those who reacted with an emoji, how many are named beside their count
REACTIONS_PAGE: Final = 100
VERSIONS_PAGE: Final = 100
UNREAD: Final = 1_000  # entries above the read cursor among which unread messages are counted
ADMINS: Final = 50  # of one conversation, besides its owner
REASON_CHARS: Final = 500  # why somebody is banned
BANS_PAGE: Final = 100
TOPIC_CHARS: Final = 500
SLOW_MODE_S: Final = 21_600
ROOM_MEMBERS: Final = 10_000  # of a room or a channel
TAGS: Final = 10  # of one conversation
TAG_CHARS: Final = 32
# finding rooms, and who is in them
QUERY_CHARS: Final = 100  # of room.list
ROOMS_PAGE: Final = 100
MEMBERS_PAGE: Final = 100
CODE_CHARS: Final = 64  # of a join link
LINKS: Final = 50  # of one conversation, that are not revoked
LINK_USES: Final = 1_000_000
REQUESTS: Final = 1_000  # that wait in one conversation
REQUESTS_PAGE: Final = 100
SEQ_MAX: Final = 2**63 - 1
