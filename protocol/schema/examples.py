"""One example of every frame: the same two people throughout, with fixed ids and times."""

from typing import Any, Final
from uuid import UUID

from msgspec import Raw, Struct, msgpack, structs

from protocol import frames, http
from protocol.calls import CALLS
from protocol.errors import (
    AlreadyAMember,
    HandleTaken,
    KeyReused,
    KonnectError,
    NotAMember,
    RateLimited,
    SlowMode,
    UnknownMedium,
    UnknownMessage,
    UnknownUser,
)
from protocol.schema import prose

AT_MS: Final = 1_795_000_000_000  # 2026-11-18 11:06:40 UTC
NEW_YEAR_MS: Final = 2_114_380_800_000  # 2037-01-01 00:00:00 UTC


def _id(number: int, at_ms: int = AT_MS) -> UUID:
    """A UUIDv7 of *at_ms* whose random part is *number* (RFC 9562, section 5.7)."""
    return UUID(int=at_ms << 80 | 7 << 76 | 2 << 62 | number)


ANN: Final = _id(0xA)
BOB: Final = _id(0xB)
CLEO: Final = _id(0xC)
DIRECT: Final = _id(0xD1)
GROUP: Final = _id(0x61)
ROOM: Final = _id(0x71)
POLL_SEQ: Final = 48
SCHEDULED: Final = _id(0x5C)
SESSION: Final = _id(0x5E, AT_MS + 41 * 60_000)
TOKEN: Final = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbm4ifQ.c2ln"  # shortened: a true one has some 400 characters
CODE: Final = "mJ0pQ2kqT3yH1v8sZbXw4A"
CURSOR: Final = "AZ9-2Kx7QmCq"
OPENER: Final = UUID("3f1c8a52-9d0e-4b67-8c21-5ae0d7f94b13")  # random, as all of them are
MATCH: Final = _id(0x3A)
REPORT: Final = _id(0x0F, AT_MS + 47 * 60_000)
NOTICE: Final = _id(0x0E, AT_MS + 46 * 60_000)
POST: Final = _id(0x70, AT_MS + 47 * 60_000)
COMMENT: Final = _id(0x7C, AT_MS + 48 * 60_000)
EXPORT: Final = _id(0x0F, AT_MS + 47 * 60_000)
PUSH_TOKEN: Final = "dGhpcyBpcw:APA91bF2k"  # shortened too

# What a client sends, as it would write it: optional fields that it does not need are left out.
COMMANDS: Final[dict[type[frames.Command], dict[str, Any]]] = {
    frames.Hello: {
        "t": "hello", "id": 1, "token": TOKEN, "device": "ann-phone", "cursor": CURSOR, "heads": {str(DIRECT): 41},
    },
    frames.Ping: {"t": "ping", "id": 2, "data": "are you there?"},
    frames.AuthRenew: {"t": "auth.renew", "id": 3, "token": TOKEN},
    frames.ConversationDirect: {"t": "conversation.direct", "id": 4, "user": str(BOB)},
    frames.ConversationCreate: {
        "t": "conversation.create", "id": 5, "key": "c-5f0d2a", "kind": "group", "title": "Hiking on Sunday",
        "members": [str(BOB), str(CLEO)],
    },
    frames.ConversationList: {"t": "conversation.list", "id": 6, "limit": 20},
    frames.ConversationGet: {"t": "conversation.get", "id": 7, "conversation": str(GROUP)},
    frames.ConversationAdd: {
        "t": "conversation.add", "id": 8, "conversation": str(GROUP), "key": "a-91be07", "user": str(CLEO),
    },
    frames.ConversationRemove: {
        "t": "conversation.remove", "id": 9, "conversation": str(GROUP), "key": "r-22c1d4", "user": str(CLEO),
    },
    frames.ConversationLeave: {"t": "conversation.leave", "id": 10, "conversation": str(GROUP), "key": "l-07aa31"},
    frames.MessageSend: {
        "t": "message.send", "id": 11, "conversation": str(DIRECT), "key": "m-3f9a61", "text": "See you at eight?",
        "content": {"mention_all": "here"},
    },
    frames.HistoryGet: {"t": "history", "id": 12, "conversation": str(DIRECT), "before": 41, "limit": 2},
    frames.ReceiptMove: {"t": "receipt", "id": 13, "conversation": str(DIRECT), "delivered": 42, "read": 42},
    frames.Typing: {"t": "typing", "id": 14, "conversation": str(DIRECT)},
    frames.PresenceWatch: {"t": "presence.watch", "id": 15, "users": [str(BOB), str(CLEO)]},
    frames.UserGet: {"t": "user.get", "id": 16, "users": [str(BOB)]},
    frames.MessageEdit: {
        "t": "message.edit", "id": 17, "conversation": str(DIRECT), "key": "e-70c2f9", "seq": 42,
        "text": "See you at nine?",
    },
    frames.MessageDelete: {
        "t": "message.delete", "id": 18, "conversation": str(DIRECT), "key": "d-18a0b3", "seq": 41,
    },
    frames.MessageReact: {
        "t": "message.react", "id": 19, "conversation": str(DIRECT), "key": "x-5d9e02", "seq": 42, "emoji": "👍",
    },
    frames.MessageEdits: {"t": "message.edits", "id": 20, "conversation": str(DIRECT), "seq": 42},
    frames.MessageReactions: {"t": "message.reactions", "id": 21, "conversation": str(DIRECT), "seq": 42},
    frames.DeviceRegister: {
        "t": "device.register", "id": 80, "device": "ann-phone", "platform": "android", "token": PUSH_TOKEN,
    },
    frames.DeviceUnregister: {"t": "device.unregister", "id": 81, "device": "ann-phone"},
    frames.DeviceList: {"t": "device.list", "id": 82},
    frames.NotificationList: {"t": "notification.list", "id": 83, "unread_only": True},
    frames.NotificationRead: {"t": "notification.read", "id": 84, "key": "n-70b1c2", "ids": [str(NOTICE)]},
    frames.NotificationSettings: {
        "t": "notification.settings", "id": 85, "key": "n-70b1c3", "quiet_from": 1350, "quiet_to": 420,
        "timezone": "Europe/Berlin", "hide_content": True,
    },
    frames.DraftSet: {
        "t": "draft.set", "id": 22, "conversation": str(DIRECT), "key": "p-4c01aa", "text": "Make it nine, the",
        "reply_to": 42,
    },
    frames.DraftClear: {"t": "draft.clear", "id": 23, "conversation": str(DIRECT), "key": "p-4c01ab"},
    frames.ConversationMute: {
        "t": "conversation.mute", "id": 24, "conversation": str(GROUP), "key": "p-4c01ac",
        "on": True, "until_ms": AT_MS + 480 * 60_000,
    },
    frames.ConversationArchive: {
        "t": "conversation.archive", "id": 25, "conversation": str(GROUP), "key": "p-4c01ad", "on": False,
    },
    frames.ConversationPin: {
        "t": "conversation.pin", "id": 26, "conversation": str(GROUP), "key": "p-4c01ae", "on": True,
    },
    frames.ConversationMarkUnread: {
        "t": "conversation.mark_unread", "id": 27, "conversation": str(GROUP), "key": "p-4c01af", "on": True,
    },
    frames.ConversationNickname: {
        "t": "conversation.nickname", "id": 28, "conversation": str(GROUP), "key": "p-4c01b0", "user": str(BOB),
        "name": "Bobby",
    },
    frames.ConversationFolder: {
        "t": "conversation.folder", "id": 29, "conversation": str(GROUP), "key": "p-4c01b1", "folder": "Friends",
    },
    frames.ConversationNotify: {
        "t": "conversation.notify", "id": 30, "conversation": str(GROUP), "key": "p-4c01b2", "level": "mentions",
    },
    frames.MessageHide: {
        "t": "message.hide", "id": 31, "conversation": str(DIRECT), "key": "p-4c01b3", "seqs": [12, 40],
    },
    frames.MessageSchedule: {
        "t": "message.schedule", "id": 22, "conversation": str(DIRECT), "key": "s-2b60d7", "at_ms": NEW_YEAR_MS,
        "text": "Happy New Year!",
    },
    frames.MessageUnschedule: {"t": "message.unschedule", "id": 23, "scheduled": str(SCHEDULED)},
    frames.MessageScheduled: {"t": "message.scheduled", "id": 24},
    frames.PollCreate: {
        "t": "poll.create", "id": 26, "conversation": str(DIRECT), "key": "q-40c1b7", "question": "Which film?",
        "options": ["The Third Man", "Before Sunrise"],
    },
    frames.PollVote: {
        "t": "poll.vote", "id": 27, "conversation": str(DIRECT), "key": "v-8d02aa", "seq": POLL_SEQ, "options": [1],
    },
    frames.PollVoters: {"t": "poll.voters", "id": 28, "conversation": str(DIRECT), "seq": POLL_SEQ},
    frames.PollClose: {"t": "poll.close", "id": 29, "conversation": str(DIRECT), "key": "z-19f3e5", "seq": POLL_SEQ},
    frames.ConversationRetention: {
        "t": "conversation.retention", "id": 25, "conversation": str(DIRECT), "key": "t-3e81c0", "seconds": 604_800,
    },
    frames.MessageForward: {
        "t": "message.forward", "id": 22, "conversation": str(DIRECT), "key": "f-2be7c1",
        "source": {"conversation": str(DIRECT), "seq": 41},
    },
    frames.MessagePin: {
        "t": "message.pin", "id": 23, "conversation": str(DIRECT), "key": "p-90d41e", "seq": 42,
    },
    frames.ThreadList: {"t": "thread.list", "id": 32, "conversation": str(DIRECT), "limit": 20},
    frames.ThreadHistory: {"t": "thread.history", "id": 33, "conversation": str(DIRECT), "seq": 42},
    frames.ThreadFollow: {
        "t": "thread.follow", "id": 34, "conversation": str(DIRECT), "key": "h-6e20c4", "seq": 42, "on": False,
    },
    frames.ThreadRead: {
        "t": "thread.read", "id": 35, "conversation": str(DIRECT), "key": "h-6e20c5", "seq": 42, "read": 52,
    },
    # members and what they may set
    frames.MemberRole: {
        "t": "member.role", "id": 40, "conversation": str(GROUP), "key": "p-6e11c8", "user": str(BOB), "role": "admin",
    },
    frames.ConversationHandover: {
        "t": "conversation.handover", "id": 41, "conversation": str(GROUP), "key": "o-0c53f7", "user": str(BOB),
    },
    frames.MemberBan: {
        "t": "member.ban", "id": 42, "conversation": str(GROUP), "key": "b-3308aa", "user": str(CLEO),
        "reason": "advertising", "until_ms": 4_102_444_800_000,
    },
    frames.MemberUnban: {
        "t": "member.unban", "id": 43, "conversation": str(GROUP), "key": "u-91d02e", "user": str(CLEO),
    },
    frames.MemberBans: {"t": "member.bans", "id": 44, "conversation": str(GROUP)},
    frames.ConversationTitle: {
        "t": "conversation.title", "id": 45, "conversation": str(GROUP), "key": "t-2f00b1", "title": "Hiking on Monday",
    },
    frames.ConversationTopic: {
        "t": "conversation.topic", "id": 46, "conversation": str(GROUP), "key": "t-2f00b2", "topic": "Bring water",
    },
    frames.ConversationPhoto: {
        "t": "conversation.photo", "id": 47, "conversation": str(GROUP), "key": "t-2f00b3", "photo": None,
    },
    frames.RoomJoin: {"t": "room.join", "id": 49, "conversation": str(ROOM), "key": "j-44b10e"},
    frames.RoomList: {"t": "room.list", "id": 51, "query": "hik", "tags": ["hiking", "maps"], "limit": 20},
    frames.RoomOnline: {"t": "room.online", "id": 52, "conversation": str(ROOM)},
    frames.MemberList: {"t": "member.list", "id": 53, "conversation": str(ROOM)},
    frames.LinkCreate: {
        "t": "link.create", "id": 54, "conversation": str(GROUP), "key": "n-61e0a9", "expires_at_ms": 4_102_444_800_000,
        "uses": 10, "approval": True,
    },
    frames.LinkList: {"t": "link.list", "id": 55, "conversation": str(GROUP)},
    frames.LinkRevoke: {
        "t": "link.revoke", "id": 56, "conversation": str(GROUP), "key": "n-61e0b0", "code": CODE,
    },
    frames.LinkPreview: {"t": "link.preview", "id": 57, "code": CODE},
    frames.LinkJoin: {"t": "link.join", "id": 58, "code": CODE, "key": "j-9a03d7"},
    frames.RequestList: {"t": "request.list", "id": 59, "conversation": str(GROUP)},
    frames.RequestAnswer: {
        "t": "request.answer", "id": 60, "conversation": str(GROUP), "key": "q-2b10c4", "user": str(CLEO),
        "accept": True,
    },
    frames.RoomLeave: {"t": "room.leave", "id": 50, "conversation": str(ROOM), "key": "l-8e0c12"},
    frames.ConversationSlowMode: {
        "t": "conversation.slow_mode", "id": 48, "conversation": str(GROUP), "key": "t-2f00b4", "seconds": 30,
    },
    frames.Search: {"t": "search", "id": 60, "query": 'eight "see you" -cinema', "conversation": str(DIRECT)},
    # contacts, follows and posts
    frames.ContactRequest: {
        "t": "contact.request", "id": 200, "key": "q-70c1a0", "user": str(BOB), "note": "We met on the hike.",
        "interested": True,
    },
    frames.ContactAnswer: {"t": "contact.answer", "id": 201, "key": "q-70c1a1", "user": str(CLEO), "accept": True},
    frames.ContactWithdraw: {"t": "contact.withdraw", "id": 202, "key": "q-70c1a2", "user": str(BOB)},
    frames.ContactRemove: {"t": "contact.remove", "id": 203, "key": "q-70c1a3", "user": str(CLEO)},
    frames.ContactRequests: {"t": "contact.requests", "id": 204, "direction": "received"},
    frames.ContactList: {"t": "contact.list", "id": 205},
    frames.Follow: {"t": "follow", "id": 206, "key": "f-70c1a4", "user": str(BOB)},
    frames.Unfollow: {"t": "unfollow", "id": 207, "key": "f-70c1a5", "user": str(BOB)},
    frames.Followers: {"t": "followers", "id": 208},
    frames.Following: {"t": "following", "id": 209, "user": str(BOB)},
    frames.PostCreate: {
        "t": "post.create", "id": 210, "key": "w-70c1a6", "audience": "followers", "text": "Up at last! #hiking",
        "photos": [str(_id(0xF0))],
    },
    frames.PostEdit: {
        "t": "post.edit", "id": 211, "key": "w-70c1a7", "post": str(POST), "audience": "everyone",
    },
    frames.PostDelete: {"t": "post.delete", "id": 212, "key": "w-70c1a8", "post": str(POST)},
    frames.PostGet: {"t": "post.get", "id": 213, "post": str(POST)},
    frames.PostList: {"t": "post.list", "id": 214, "user": str(ANN)},
    frames.PostTagged: {"t": "post.tagged", "id": 215, "tag": "hiking"},
    frames.Timeline: {"t": "timeline", "id": 216},
    frames.PostReact: {"t": "post.react", "id": 217, "key": "w-70c1a9", "post": str(POST), "emoji": "👍"},
    frames.PostReactionList: {"t": "post.reactions", "id": 218, "post": str(POST), "emoji": "👍"},
    frames.CommentCreate: {
        "t": "comment.create", "id": 219, "key": "w-70c1b0", "post": str(POST), "text": "What a view!",
    },
    frames.CommentEdit: {
        "t": "comment.edit", "id": 220, "key": "w-70c1b1", "comment": str(COMMENT), "text": "What a view.",
    },
    frames.CommentDelete: {"t": "comment.delete", "id": 221, "key": "w-70c1b2", "comment": str(COMMENT)},
    frames.CommentList: {"t": "comment.list", "id": 222, "post": str(POST)},
    frames.UnreadGet: {"t": "unread.get", "id": 120},
    frames.PrivacySet: {
        "t": "privacy.set", "id": 122, "key": "p-2be4c1", "read_receipts": False, "last_seen": "contacts",
    },
    frames.PrivacyGet: {"t": "privacy.get", "id": 123},
    frames.PresenceGet: {"t": "presence.get", "id": 124, "users": [str(BOB), str(CLEO)]},
    frames.MessageReaders: {"t": "message.readers", "id": 121, "conversation": str(DIRECT), "seq": 42},
    # people to meet
    frames.FeedList: {
        "t": "feed.list", "id": 205, "limit": 10,
        "filter": {"age_from": 25, "age_to": 40, "within_km": 50, "interests": ["hiking"], "languages": ["de", "en"]},
    },
    frames.ProfileSearch: {"t": "profile.search", "id": 206, "query": "vienna guide", "filter": {"skills": ["piano"]}},
    # profiles
    frames.ProfileGet: {"t": "profile.get", "id": 201, "user": str(BOB)},
    frames.ProfileUpdate: {
        "t": "profile.update", "id": 202, "key": "u-71c0de", "first_name": "Ann",
        "last_name": "Mayer", "birthday": "1999-05-17",
        "location": {"city": "Vienna", "latitude": 48.2082, "longitude": 16.3738},
        "interests": ["hiking", "cinema"], "bio": None, "visibility": {"birthday": "contacts"},
    },
    # accounts
    frames.SessionList: {"t": "session.list", "id": 240},
    frames.SessionRevoke: {"t": "session.revoke", "id": 241, "session": str(SESSION)},
    frames.SessionRevokeAll: {"t": "session.revoke_all", "id": 242},
    # openers and matches
    frames.OpenerSend: {
        "t": "opener.send", "id": 140, "key": "o-77c1d0", "user": str(CLEO),
        "text": "Which of your maps is the oldest?",
    },
    frames.OpenerList: {"t": "opener.list", "id": 141, "limit": 20},
    frames.OpenerSent: {"t": "opener.sent", "id": 142, "limit": 20},
    frames.OpenerIgnore: {"t": "opener.ignore", "id": 143, "key": "o-77c1d1", "opener": str(OPENER)},
    frames.MatchList: {"t": "match.list", "id": 144, "limit": 20},
    frames.MatchUnmatch: {"t": "match.unmatch", "id": 145, "key": "o-77c1d2", "match": str(MATCH)},
    # suggestions
    frames.MatchSuggest: {"t": "match.suggest", "id": 146, "filter": {"age_from": 25, "within_km": 50}, "limit": 10},
    frames.MatchPass: {"t": "match.pass", "id": 147, "key": "o-77c1d3", "user": str(CLEO)},
    frames.MatchHistory: {"t": "match.history", "id": 148, "limit": 20},
    # part E: blocks and reports
    frames.Block: {"t": "block", "id": 201, "key": "b-1", "user": str(CLEO)},
    frames.Unblock: {"t": "unblock", "id": 202, "key": "b-2", "user": str(CLEO)},
    frames.BlockList: {"t": "block.list", "id": 203, "limit": 20},
    frames.Report: {
        "t": "report", "id": 204, "key": "p-1", "what": {"user": str(CLEO)},
        "reason": "spam", "text": "An advertisement.",
    },
    frames.ReportList: {"t": "report.list", "id": 205, "limit": 20},
    frames.ReportClose: {
        "t": "report.close", "id": 206, "key": "p-2", "report": str(REPORT), "verdict": "warned",
        "note": "The first time.",
    },
    # leaving
    frames.AccountGet: {"t": "account.get", "id": 250},
    frames.AccountPause: {"t": "account.pause", "id": 251, "key": "p-10c3f8", "on": False},
    frames.AccountExport: {"t": "account.export", "id": 252, "key": "e-77a1b0"},
    frames.AccountDelete: {"t": "account.delete", "id": 253, "key": "d-5c20e9"},
    frames.AccountReturn: {"t": "account.return", "id": 254, "key": "r-c19d42"},
}  # fmt: skip


def message(seq: int, author: UUID, text: str, key: str = "m-3f9a61", conversation: UUID = DIRECT) -> frames.Entry:
    """An entry of kind ``message``, one minute after the one before."""
    return frames.Entry(
        conversation=conversation,
        seq=seq,
        kind="message",
        author=author,
        key=key,
        at_ms=AT_MS + seq * 60_000,
        text=text,
    )


_GROUP_STATE: Final[dict[str, Any]] = {
    "conversation": GROUP, "kind": "group", "title": "Hiking on Sunday", "members": [ANN, BOB, CLEO], "head": 7,
    "first_seq": 1, "unread": 2, "read": 5, "delivered": 7, "names": {ANN: "Ann", BOB: "Bob", CLEO: "Cleo"},
    "receipts": [frames.Receipt(BOB, 7, 7), frames.Receipt(CLEO, 6, 4)],
    "recent": [message(7, BOB, "I bring the map.", "m-b0b007", GROUP)], "owner": ANN, "admins": [BOB],
}  # fmt: skip
_DIRECT_STATE: Final[dict[str, Any]] = {
    "conversation": DIRECT, "kind": "direct", "title": None, "members": [ANN, BOB], "head": 41, "first_seq": 1,
    "unread": 0, "read": 41, "delivered": 41, "names": {ANN: "Ann", BOB: "Bob"},
    "receipts": [frames.Receipt(BOB, 41, 40)], "recent": [message(41, ANN, "Cinema tonight?", "m-11d0c4")],
}  # fmt: skip

_REPLIES: Final = frames.Replies(2, 52, AT_MS + 52 * 60_000, [BOB, ANN])
_THREAD: Final = frames.OneThread(42, _REPLIES, True, 51, 1)
_MEMBER: Final = frames.Member(BOB, "Bob", "admin", 1)
_ROOM: Final = frames.Room(
    conversation=ROOM, kind="room", title="Hiking", member_count=214, online=12, joined=False, topic="Where to next?",
    tags=["hiking"],
)  # fmt: skip

_LINK: Final = frames.Link(CODE, ANN, AT_MS, 3, True, 4_102_444_800_000, 10)
_REQUEST: Final = frames.Request(CLEO, "Cleo", CODE, AT_MS + 60_000)
_BLOCK: Final = frames.OneBlock(CLEO, "Cleo", AT_MS)
_EVIDENCE: Final = frames.Evidence([message(7, BOB, "Buy boots!", "m-b0b007", GROUP)])
_REPORT: Final = frames.OneReport(
    report=REPORT, reporter=ANN, what="message", target=f"{GROUP}/7", about=BOB, reason="spam",
    text="An advertisement.", at_ms=AT_MS + 47 * 60_000, evidence=_EVIDENCE,
)

# profiles
PORTRAIT: Final = _id(0xF1)
_PROFILE_PHOTO: Final = frames.ProfilePhoto(PORTRAIT, f"https://cdn.example.com/public/9f86d0-{PORTRAIT.hex}.jpg")
_EXPERIENCE: Final = frames.Experience("Guide", "Alpine Club", 2019)
_PROMPT: Final = frames.Prompt("A perfect Sunday?", "Up early, and a lake at noon.")
_PROFILE: Final = frames.Profile(
    user=BOB, name="Bob", handle="bob", first_name="Bob", age=31, city="Vienna", distance_km=5, interests=["hiking"],
    experience=[_EXPERIENCE], prompts=[_PROMPT], photos=[_PROFILE_PHOTO],
)  # fmt: skip
_MET: Final = frames.Met(_PROFILE, ["hiking"], True)
_REASONS: Final = [
    frames.Reason("interests", ["hiking"]), frames.Reason("near", city="Vienna"), frames.Reason("answers"),
]
_SUGGESTION: Final = frames.Suggestion(_PROFILE, ["hiking"], score=0.21, why=_REASONS)
_PAST_ANSWER: Final = frames.PastAnswer(BOB, "pending", AT_MS, 0.21)
_VISIBILITY: Final = frames.Visibility(
    last_name="contacts", photos="everyone", bio="everyone", birthday="contacts", gender="everyone", city="everyone",
    distance="everyone", interests="everyone", skills="everyone", goals="everyone", languages="everyone",
    experience="everyone", links="everyone", prompts="everyone",
)  # fmt: skip
_OWN_PROFILE: Final = frames.OwnProfile(
    visibility=_VISIBILITY, percent=60, complete=True,
    missing=["bio", "gender", "prompts", "skills", "experience", "goals", "languages", "links"],
    handle="ann.m", first_name="Ann", last_name="Mayer", birthday="1999-05-17", city="Vienna", latitude=48.2082,
    longitude=16.3738, interests=["hiking", "cinema"], photos=[PORTRAIT],
)  # fmt: skip
_LISTED_OPENER: Final = frames.ListedOpener(opener=OPENER, text="Do you still play the viola?", day="2026-02-28")
_OWN_OPENER: Final = frames.OwnOpener(CLEO, "Which of your maps is the oldest?", AT_MS)
_LISTED_MATCH: Final = frames.ListedMatch(match=MATCH, user=CLEO, conversation=DIRECT, at_ms=AT_MS)
_POST: Final = frames.Post(
    id=POST, author=ANN, at_ms=AT_MS + 47 * 60_000, audience="followers", text="Up at last! #hiking",
    photos=[_id(0xF0)], comments=1, reactions=[frames.PostReaction("👍", 2, True)],
)  # fmt: skip
_COMMENT: Final = frames.OneComment(id=COMMENT, author=BOB, text="What a view!", at_ms=AT_MS + 48 * 60_000)
_POST_REACTION: Final = frames.OnePostReaction(BOB, "👍", AT_MS + 49 * 60_000)
_WAITING: Final = frames.WaitingRequest(CLEO, AT_MS, "We met on the hike.", True)
_CONTACT: Final = frames.OneContact(CLEO, AT_MS, "offline", AT_MS + 40 * 60_000)
_FOLLOW: Final = frames.OneFollow(BOB, AT_MS)

RESULTS: Final[dict[type[Struct], Struct]] = {
    frames.Welcome: frames.Welcome(ANN, SESSION),
    frames.Pong: frames.Pong(AT_MS + 43 * 60_000, Raw(msgpack.encode("are you there?"))),
    frames.Renewed: frames.Renewed(900),
    frames.Opened: frames.Opened(DIRECT),
    frames.Conversations: frames.Conversations([frames.ConversationState(**_DIRECT_STATE)], CURSOR),
    frames.ConversationState: frames.ConversationState(**_GROUP_STATE),
    frames.Appended: frames.Appended(42, AT_MS + 42 * 60_000),
    frames.HistoryPage: frames.HistoryPage(
        [message(39, BOB, "Yes!", "m-b0b039"), message(40, ANN, "Great.", "m-0aa940")], True
    ),
    frames.Cursors: frames.Cursors(42, 42),
    frames.Done: frames.Done(),
    frames.Online: frames.Online([BOB], {CLEO: AT_MS}),
    frames.Users: frames.Users([frames.User(BOB, "Bob")]),
    frames.Versions: frames.Versions(
        [
            frames.Version(42, AT_MS + 42 * 60_000, "See you at eight?"),
            frames.Version(43, AT_MS + 43 * 60_000, "See you at nine?"),
        ],
        False,
    ),
    frames.Notifications: frames.Notifications(
        [frames.ListedNotification(
            id=NOTICE, kind="reaction", at_ms=AT_MS + 45 * 60_000, conversation=DIRECT, seq=45, of=42, user=BOB,
            emoji="👍",
        )],
        1, frames.Notifying(1350, 420, "Europe/Berlin", True),
    ),
    frames.Devices: frames.Devices([frames.PushDevice("ann-phone", "android", AT_MS, True)]),
    frames.Reactions: frames.Reactions([frames.OneReaction(BOB, "👍", 45, AT_MS + 45 * 60_000)]),
    frames.Threads: frames.Threads([_THREAD]),
    frames.Votes: frames.Votes([frames.OneVote(ANN, [1], 49, AT_MS + 49 * 60_000)], [1], False),
    frames.Scheduled: frames.Scheduled(SCHEDULED, NEW_YEAR_MS),
    frames.ScheduledPage: frames.ScheduledPage(
        [frames.ScheduledMessage(DIRECT, NEW_YEAR_MS, "Happy New Year!", scheduled=SCHEDULED)]
    ),
    frames.Bans: frames.Bans(
        [frames.Ban(CLEO, ANN, 13, AT_MS + 13 * 60_000, "advertising", 4_102_444_800_000)], False
    ),
    frames.LinkMade: frames.LinkMade(_LINK),
    frames.Links: frames.Links([_LINK]),
    frames.Invitation: frames.Invitation(
        conversation=GROUP, kind="group", title="Hiking on Sunday", member_count=3, approval=True, joined=False
    ),
    frames.Joined: frames.Joined(GROUP, False, 21, AT_MS + 21 * 60_000),
    frames.Requests: frames.Requests([_REQUEST], 3, CURSOR),
    frames.Rooms: frames.Rooms([_ROOM], CURSOR),
    frames.MembersOnline: frames.MembersOnline([_MEMBER]),
    frames.Members: frames.Members([frames.Member(ANN, "Ann", "owner", 1), _MEMBER], CURSOR),
    frames.Reactions: frames.Reactions([frames.OneReaction(BOB, "👍", 45, AT_MS + 45 * 60_000)]),
    frames.Found: frames.Found(
        [frames.Hit(DIRECT, 42, ANN, AT_MS + 42 * 60_000, "See you at eight?", [[0, 7], [11, 5]])], CURSOR
    ),
    frames.Unread: frames.Unread(12, 3),
    frames.Presences: frames.Presences(
        [frames.PersonPresence(BOB, "online"), frames.PersonPresence(CLEO, "offline", AT_MS)]
    ),
    frames.Privacy: frames.Privacy(False, "contacts", True),
    frames.Readers: frames.Readers([frames.MessageReader(BOB, True)]),
    # people to meet
    frames.Feed: frames.Feed([_MET], "kwHAwMDAkA=="),
    # profiles
    frames.ProfileFound: frames.ProfileFound(_PROFILE),
    # accounts
    frames.Sessions: frames.Sessions([
        frames.OneSession(SESSION, "Ann's phone", AT_MS, AT_MS + 41 * 60_000, True),
    ]),
    frames.SessionsEnded: frames.SessionsEnded(2),
    # openers and matches
    frames.OpenerAccepted: frames.OpenerAccepted(MATCH, DIRECT),
    frames.Openers: frames.Openers([_LISTED_OPENER], 3, CURSOR),
    frames.SentOpeners: frames.SentOpeners([_OWN_OPENER], 4),
    frames.Matches: frames.Matches([_LISTED_MATCH]),
    # suggestions
    frames.Suggestions: frames.Suggestions([_SUGGESTION], CURSOR),
    frames.AnswerHistory: frames.AnswerHistory([_PAST_ANSWER, frames.PastAnswer(CLEO, "rejected", AT_MS)]),
    # part E: blocks and reports
    frames.Blocks: frames.Blocks([_BLOCK]),
    frames.Reported: frames.Reported(REPORT),
    frames.Reports: frames.Reports([_REPORT]),
    # contacts, follows and posts
    frames.Requested: frames.Requested(False),
    frames.WaitingRequests: frames.WaitingRequests([_WAITING], 1),
    frames.Contacts: frames.Contacts([frames.OneContact(BOB, AT_MS + 60_000, "online"), _CONTACT], 2),
    frames.Follows: frames.Follows([_FOLLOW], 214, CURSOR),
    frames.PostMade: frames.PostMade(POST),
    frames.OnePost: frames.OnePost(_POST),
    frames.Posts: frames.Posts([_POST], CURSOR),
    frames.PostReactions: frames.PostReactions([_POST_REACTION]),
    frames.CommentMade: frames.CommentMade(COMMENT),
    frames.Comments: frames.Comments([_COMMENT], CURSOR),
    # leaving
    frames.AccountStanding: frames.AccountStanding("leaving", AT_MS, AT_MS + 14 * 86_400_000),
    frames.Exporting: frames.Exporting(EXPORT),
}

_DRAFT: Final = frames.Draft("Make it nine, the", AT_MS + 46 * 60_000, 42)
PHOTO: Final = _id(0xF0)
_ENTITY: Final = frames.Entity("bold", 11, 4)
_ATTACHMENT: Final = frames.Attachment(
    PHOTO, "photo", width=1_600, height=1_200, blurhash="LEHV6nWB2yk8pyo0adR*.7kCMdnj"
)

RECORDS: Final[dict[type[Struct], Struct]] = {
    frames.Entry: structs.replace(
        message(42, ANN, "See you at nine?"), edited_at_ms=AT_MS + 43 * 60_000,
        reactions=[frames.Reaction("👍", 1, [BOB])], changed=45,
    ),
    frames.Reaction: frames.Reaction("👍", 1, [BOB]),
    frames.Receipt: frames.Receipt(BOB, 42, 40),
    frames.User: frames.User(BOB, "Bob"),
    frames.Ban: frames.Ban(CLEO, ANN, 13, AT_MS + 13 * 60_000, "advertising", 4_102_444_800_000),
    frames.Member: _MEMBER,
    frames.Link: _LINK,
    frames.Request: _REQUEST,
    frames.Room: _ROOM,
    frames.Version: frames.Version(43, AT_MS + 43 * 60_000, "See you at nine?"),
    frames.OneReaction: frames.OneReaction(BOB, "👍", 45, AT_MS + 45 * 60_000),
    frames.PushDevice: frames.PushDevice("ann-phone", "android", AT_MS, True),
    frames.Notification: frames.Notification(
        kind="reaction", at_ms=AT_MS + 45 * 60_000, conversation=DIRECT, seq=45, of=42, user=BOB, emoji="👍",
    ),
    frames.ListedNotification: frames.ListedNotification(
        id=NOTICE, kind="mention", at_ms=AT_MS + 7 * 60_000, read=True, conversation=GROUP, seq=7, user=BOB,
    ),
    frames.Notifying: frames.Notifying(1350, 420, "Europe/Berlin", True),
    frames.Draft: _DRAFT,
    frames.Settings: frames.Settings(
        muted=True, muted_until_ms=AT_MS + 480 * 60_000, pinned_at_ms=AT_MS, nicknames={BOB: "Bobby"},
        folder="Friends", notify="mentions",
    ),
    frames.Hidden: frames.Hidden([12, 40]),
    frames.OwnThread: frames.OwnThread(False, 52),
    frames.LaterMessage: frames.LaterMessage(DIRECT, NEW_YEAR_MS, "Happy New Year!"),
    frames.Replies: _REPLIES,
    frames.ThreadNow: frames.ThreadNow(42, _REPLIES),
    frames.OneThread: _THREAD,
    frames.Poll: frames.Poll(
        "Which film?", [frames.PollOption("The Third Man", 0), frames.PollOption("Before Sunrise", 1)], 1
    ),
    frames.PollOption: frames.PollOption("Before Sunrise", 1),
    frames.OneVote: frames.OneVote(ANN, [1], 49, AT_MS + 49 * 60_000),
    frames.ScheduledMessage: frames.ScheduledMessage(DIRECT, NEW_YEAR_MS, "Happy New Year!", scheduled=SCHEDULED),
    frames.Content: frames.Content(reply_to=41, entities=[_ENTITY], media=[_ATTACHMENT]),
    frames.Entity: _ENTITY,
    frames.Attachment: _ATTACHMENT,
    frames.Location: frames.Location(48.2082, 16.3738, "Stephansplatz", 10.0),
    frames.Contact: frames.Contact("Cleo", "+43 1 234567", "cleo@example.com", CLEO),
    frames.Forwarded: frames.Forwarded(BOB),
    frames.Source: frames.Source(GROUP, 7),
    frames.Ban: frames.Ban(CLEO, ANN, 13, AT_MS + 13 * 60_000, "advertising", 4_102_444_800_000),
    frames.Hit: frames.Hit(DIRECT, 42, ANN, AT_MS + 42 * 60_000, "See you at eight?", [[0, 7], [11, 5]]),
    frames.MessageReader: frames.MessageReader(BOB, True),
    frames.PersonPresence: frames.PersonPresence(CLEO, "offline", AT_MS),
    # people to meet
    frames.Met: _MET,
    frames.Reason: _REASONS[1],
    frames.Suggestion: _SUGGESTION,
    frames.PastAnswer: _PAST_ANSWER,
    frames.ProfileFilter: frames.ProfileFilter(25, 40, 50, interests=["hiking"], languages=["de", "en"], online=True),
    # profiles
    frames.Profile: _PROFILE,
    frames.OwnProfile: _OWN_PROFILE,
    frames.ProfilePhoto: _PROFILE_PHOTO,
    frames.Visibility: _VISIBILITY,
    frames.Whereabouts: frames.Whereabouts("Vienna", 48.2082, 16.3738),
    frames.Experience: _EXPERIENCE,
    frames.Prompt: _PROMPT,
    # accounts
    frames.OneSession: frames.OneSession(SESSION, "Ann's phone", AT_MS, AT_MS + 41 * 60_000, True),
    # openers and matches
    frames.Opener: frames.Opener("Do you still play the viola?", "2026-02-28"),
    frames.ListedOpener: _LISTED_OPENER,
    frames.OwnOpener: _OWN_OPENER,
    frames.Match: frames.Match(CLEO, DIRECT, AT_MS),
    frames.ListedMatch: _LISTED_MATCH,
    # part E: blocks and reports
    frames.Blocked: frames.Blocked(AT_MS),
    frames.OneBlock: _BLOCK,
    frames.Reportable: frames.Reportable(message=frames.Source(GROUP, 7)),
    frames.Evidence: _EVIDENCE,
    frames.OneReport: _REPORT,
    # contacts, follows and posts
    frames.OneContact: _CONTACT,
    frames.WaitingRequest: _WAITING,
    frames.OwnContact: frames.OwnContact(AT_MS),
    frames.OwnRequest: frames.OwnRequest(AT_MS, "We met on the hike.", True),
    frames.OneFollow: _FOLLOW,
    frames.Post: _POST,
    frames.PostReaction: frames.PostReaction("👍", 2, True),
    frames.OnePostReaction: _POST_REACTION,
    frames.OneComment: _COMMENT,
}  # fmt: skip

# Where several commands share a result and the story needs another one.
_OWN_RESULTS: Final[dict[type[frames.Command], Struct]] = {
    frames.ConversationCreate: frames.Opened(GROUP),
    frames.ConversationAdd: frames.Appended(8, AT_MS + 8 * 60_000),
    frames.ConversationRemove: frames.Appended(9, AT_MS + 9 * 60_000),
    frames.ConversationLeave: frames.Appended(10, AT_MS + 10 * 60_000),
    frames.MessageEdit: frames.Appended(43, AT_MS + 43 * 60_000),
    frames.MessageDelete: frames.Appended(44, AT_MS + 44 * 60_000),
    frames.MessageReact: frames.Appended(45, AT_MS + 45 * 60_000),
    frames.PollCreate: frames.Appended(48, AT_MS + 48 * 60_000),
    frames.PollVote: frames.Appended(49, AT_MS + 49 * 60_000),
    frames.PollClose: frames.Appended(50, AT_MS + 50 * 60_000),
    frames.ConversationRetention: frames.Appended(46, AT_MS + 46 * 60_000),
    frames.MessageForward: frames.Appended(46, AT_MS + 46 * 60_000),
    frames.MessagePin: frames.Appended(47, AT_MS + 47 * 60_000),
    frames.ThreadHistory: frames.HistoryPage(
        [
            structs.replace(
                message(seq, author, text, key), content=frames.Content(thread=42),
                threads=[frames.ThreadNow(42, frames.Replies(seq - 50, seq, AT_MS + seq * 60_000, users))],
            )
            for seq, author, text, key, users in (
                (51, BOB, "Which row?", "m-b0b051", [BOB]), (52, ANN, "The first.", "m-0aa952", [BOB, ANN]),
            )
        ],
        False,
    ),
    frames.MemberRole: frames.Appended(11, AT_MS + 11 * 60_000),
    frames.ConversationHandover: frames.Appended(12, AT_MS + 12 * 60_000),
    frames.MemberBan: frames.Appended(13, AT_MS + 13 * 60_000),
    frames.MemberUnban: frames.Appended(14, AT_MS + 14 * 60_000),
    frames.ConversationTitle: frames.Appended(15, AT_MS + 15 * 60_000),
    frames.ConversationTopic: frames.Appended(16, AT_MS + 16 * 60_000),
    frames.ConversationPhoto: frames.Appended(17, AT_MS + 17 * 60_000),
    frames.RoomJoin: frames.Appended(19, AT_MS + 19 * 60_000),
    frames.RequestAnswer: frames.Appended(22, AT_MS + 22 * 60_000),
    frames.RoomLeave: frames.Appended(20, AT_MS + 20 * 60_000),
    frames.ConversationSlowMode: frames.Appended(18, AT_MS + 18 * 60_000),
    # profiles
    frames.ProfileUpdate: frames.ProfileFound(
        frames.Profile(
            user=ANN, name="Ann", handle="ann.m", first_name="Ann", last_name="Mayer", age=27, city="Vienna",
            interests=["hiking", "cinema"], photos=[_PROFILE_PHOTO],
        ),
        _OWN_PROFILE,
    ),
}

EVENTS: Final[dict[type[frames.Event], frames.Event]] = {
    frames.EntryEvent: frames.EntryEvent(
        conversation=DIRECT, seq=42, kind="message", author=ANN, key="m-3f9a61", at_ms=AT_MS + 42 * 60_000,
        text="See you at eight?",
    ),
    frames.ConversationEvent: frames.ConversationEvent(**_GROUP_STATE),
    frames.Progress: frames.Progress(cursor=CURSOR),
    frames.Synced: frames.Synced(cursor=CURSOR),
    frames.CursorEvent: frames.CursorEvent(cursor=CURSOR),
    frames.Rewound: frames.Rewound(conversation=DIRECT),
    frames.ReceiptEvent: frames.ReceiptEvent(conversation=DIRECT, user=BOB, delivered=42, read=42),
    frames.TypingEvent: frames.TypingEvent(conversation=DIRECT, user=BOB),
    frames.PresenceEvent: frames.PresenceEvent(user=BOB, state="online"),
    frames.StateEvent: frames.StateEvent(what="draft", subject=str(DIRECT), draft=_DRAFT),
}  # fmt: skip

ERROR: Final = frames.Error(11, NotAMember.code, str(NotAMember(ANN, DIRECT)))

_ME: Final = http.Me(ANN, "Ann", "ann@example.com", AT_MS, email_verified=True)
REFRESH_TOKEN: Final = "kr1-5c0f2a-Zm9yIHNob3cgb25seQ"  # shortened too

_SHA256: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_SIGNED: Final = "signature=6b1f"  # shortened too

# Bodies over HTTP: what a client sends as it would write it, what the server answers as its Struct.
REQUESTS: Final[dict[type[Struct], dict[str, Any]]] = {
    http.Register: {"email": "ann@example.com", "password": "correct horse battery", "name": "Ann"},
    http.Login: {"email": "ann@example.com", "password": "correct horse battery", "device": "Ann's phone"},
    http.Refresh: {"refresh_token": REFRESH_TOKEN},
    http.Logout: {"refresh_token": REFRESH_TOKEN},
    http.AskCode: {"email": "ann@example.com"},
    http.Verify: {"email": "ann@example.com", "code": "482913", "name": "Ann", "device": "Ann's phone"},
    http.SetPassword: {"email": "ann@example.com", "code": "482913", "password": "correct horse battery"},
    http.ChangeEmail: {"email": "ann@example.org", "password": "correct horse battery"},
    http.ConfirmEmail: {"old_code": "482913", "new_code": "015537"},
    http.BeginUpload: {
        "kind": "photo", "size_bytes": 184_211, "content_type": "image/jpeg", "sha256": _SHA256, "name": "holiday.jpg",
    },
    http.SendNotification: {
        "key": "spring-1", "to": {"users": [str(BOB)]}, "title": "Spring is here",
        "body": "The hiking groups are open.", "data": {"page": "groups"},
    },
    # Of calls: the key comes in the header.
    **{
        call.body: {name: value for name, value in COMMANDS[call.command].items() if name not in ("t", "id", "key")}
        for call in CALLS.values()
    },
}  # fmt: skip
BODIES: Final[dict[type[Struct], Struct]] = {
    http.SignedIn: http.SignedIn(_ME, TOKEN, REFRESH_TOKEN, 900),
    http.Me: _ME,
    http.CodeSent: http.CodeSent(600),
    http.UploadTicket: http.UploadTicket(
        PHOTO, "PUT", f"https://chat.example.com/v1/blobs/incoming/{PHOTO}?expires=1795000900&{_SIGNED}",
        {"Content-Type": "image/jpeg"}, 900,
    ),
    http.Medium: http.Medium(
        PHOTO, "photo", 184_211, "image/jpeg", _SHA256, "holiday.jpg", AT_MS,
        f"https://chat.example.com/v1/blobs/media/{PHOTO}-1?expires=1795000300&{_SIGNED}", 300,
    ),
    http.NoticeState: http.NoticeState(NOTICE, AT_MS + 46 * 60_000, 1, AT_MS + 46 * 60_000 + 120),
    frames.User: frames.User(BOB, "Bob"),
    http.Jwks: http.Jwks([http.Jwk("2026-11-18", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")]),
    http.Index: http.Index(
        "Konnect", "0.1.0", "A realtime messaging server.", {"docs": "/docs", "socket": "/v1/socket"}
    ),
    http.Health: http.Health(),
}  # fmt: skip


def body(answer: http.Answer) -> dict[str, Any]:
    """The body of *answer*, which has one, as a client reads it."""
    assert answer.body is not None
    return as_map(answer.example or BODIES[answer.body])


def as_map(frame: Struct) -> dict[str, Any]:
    """*frame* as a client's MessagePack library reads it: ids are text, absent fields are absent."""
    found: dict[str, Any] = msgpack.decode(msgpack.encode(frame))
    return found


def answer(command: type[frames.Command]) -> dict[str, Any]:
    """The ``ok`` to the example of *command*."""
    return as_map(frames.Ok(COMMANDS[command]["id"], result(command)))


def result(command: type[frames.Command]) -> Struct:
    """What that ``ok`` carries."""
    return _OWN_RESULTS.get(command) or RESULTS[frames.RESULTS[command]]


# Errors whose text names what was wrong; the others say their meaning.
_OCCURRENCES: Final[dict[type[KonnectError], KonnectError]] = {
    UnknownUser: UnknownUser(CLEO),
    UnknownMedium: UnknownMedium(PHOTO),
    NotAMember: NotAMember(ANN, GROUP),
    AlreadyAMember: AlreadyAMember(CLEO, GROUP),
    KeyReused: KeyReused("m-3f9a61"),
    HandleTaken: HandleTaken("ann.m"),
    UnknownMessage: UnknownMessage(DIRECT, 42),
    RateLimited: RateLimited(1_500),
    SlowMode: SlowMode(12_000),
}


def occurrence(error: type[KonnectError]) -> KonnectError:
    """One case of *error*, with a text as a client may get it."""
    return _OCCURRENCES.get(error) or error(prose.first_sentence(prose.text(error)).lower())


def problem(error: type[KonnectError]) -> dict[str, Any]:
    """The body that answers one case of *error* over HTTP."""
    one = occurrence(error)
    body: dict[str, Any] = {
        "type": f"/docs#error-{error.code}",
        "title": prose.summary(error),
        "status": error.status,
        "detail": str(one),
        "code": error.code,
    }
    return body if one.retry_after_ms is None else {**body, "retry_after_ms": one.retry_after_ms}
