"""Frames, errors, close codes and limits as rows: what docs/protocol.md and the server's own page lay out."""

from typing import Any, Final

from msgspec import NODEFAULT, Struct, inspect, json, msgpack

from protocol import closing, errors, frames, limits
from protocol.schema import answers, examples, prose, shapes
from protocol.schema.catalogue import COMMANDS, EVENTS, RECORDS, RESULTS, tag


class FieldRow(Struct, frozen=True):
    """One field of a map."""

    name: str
    type: str  # "text", "whole number", "id", "list of id", "map of id to text", the name of a record ...
    limits: str  # "1 to 64 characters"; empty when there are none
    required: bool
    default: str  # what absence means, as JSON; empty when it is required, or absence means just that
    meaning: str


class FrameTable(Struct, frozen=True):
    """One frame, result or record."""

    name: str  # what stands in ``t``; for results and records the Struct's name
    anchor: str
    summary: str  # one sentence, without full stop
    text: str  # `code` marks, paragraphs parted by an empty line
    answer: str  # commands: the name of the result in their ok
    errors: tuple[str, ...]  # commands: codes beside those that every command may be answered with
    fields: list[FieldRow]
    example: dict[str, Any]  # ready for JSON
    example_hex: str  # the same as MessagePack, without WebSocket header


class ErrorRow(Struct, frozen=True):
    """One error of the catalogue."""

    code: str
    status: int  # over HTTP
    meaning: str
    fix: str
    later: bool  # the same request may succeed later
    socket: bool  # may come over the socket; the others come over HTTP alone


class CloseRow(Struct, frozen=True):
    """One close code."""

    code: int
    reason: str
    meaning: str
    come_back: bool
    advice: str


class LimitRow(Struct, frozen=True):
    """One bound that the wire promises."""

    name: str
    value: int
    meaning: str


class Tables(Struct, frozen=True):
    """All of it."""

    commands: list[FrameTable]
    results: list[FrameTable]
    events: list[FrameTable]
    records: list[FrameTable]
    errors: list[ErrorRow]
    closes: list[CloseRow]
    limits: list[LimitRow]


def tables() -> Tables:
    """All rows. Some milliseconds of work: make them once and keep them."""
    return Tables(
        commands=[
            _frame(
                command,
                examples.COMMANDS[command],
                answer=frames.RESULTS[command].__name__,
                own=tuple(error.code for error in answers.ERRORS[command]),
            )
            for command in COMMANDS
        ],
        results=[_frame(result, examples.as_map(examples.RESULTS[result])) for result in RESULTS],
        events=[_frame(event, examples.as_map(examples.EVENTS[event])) for event in EVENTS],
        records=[_frame(record, examples.as_map(examples.RECORDS[record])) for record in RECORDS],
        errors=error_rows(),
        closes=close_rows(),
        limits=limit_rows(),
    )


_ADVICE: Final[dict[closing.Close, str]] = {
    closing.DRAINING: "Come back.",
    closing.SLOW: "Come back, and read faster: receive in a loop of its own that waits for nothing else.",
    closing.BEHIND: "Come back.",
    closing.UNAVAILABLE: "Come back, then repeat everything unanswered, in order, with the same keys.",
    closing.SILENT: "Come back.",
    closing.HELLO_TIMEOUT: "Come back, and send `hello` at once; have the token before you connect.",
    closing.TOKEN_EXPIRED: "Get a new access token, then come back. Renew in time with `auth.renew`.",
    closing.CRASHED: "Come back. Tell the operator if it happens again and again.",
    closing.FLOOD: "Come back after the longest delay, and correct the client: it sends what nobody can accept.",
    closing.REPLACED: "Stay away until the person acts: this device's newer socket is the one in use.",
    closing.UNAUTHORIZED: "Get a new access token and come back once with it; if that fails, the person must sign in.",
    closing.SIGNED_OUT: "Forget the tokens; the person must sign in.",
    closing.HELLO_FIRST: "Correct the client.",
    closing.TOO_MANY_SOCKETS: "Tell the person, who may close another device; then try again.",
    closing.BAD_HELLO: "After `bad_cursor` drop the cursor and come back; otherwise correct the client.",
}


def close_rows() -> list[CloseRow]:
    """The close codes of Konnect's own, in their order."""
    return [CloseRow(close.code, close.reason, close.meaning, close.come_back, _ADVICE[close]) for close in closing.ALL]


def error_rows() -> list[ErrorRow]:
    """The catalogue, in its order."""
    socket = answers.on_socket()
    return [
        ErrorRow(
            error.code,
            error.status,
            prose.text(error),
            error.fix,
            issubclass(error, errors.TryLater),
            error in socket,
        )
        for error in errors.catalogue()
    ]


def field_rows(about: type[Struct]) -> list[FieldRow]:
    """The fields of *about*, without its ``t``."""
    described = inspect.type_info(about)
    assert isinstance(described, inspect.StructType)
    return [_field(field) for field in shapes.ordered(described)]


def _frame(about: type[Struct], example: dict[str, Any], answer: str = "", own: tuple[str, ...] = ()) -> FrameTable:
    name = tag(about) or about.__name__
    return FrameTable(
        name=name,
        anchor=anchor(about),
        summary=prose.summary(about),
        text=prose.text(about),
        answer=answer,
        errors=own,
        fields=field_rows(about),
        example=example,
        example_hex=msgpack.encode(example).hex(),
    )


def anchor(about: type[Struct]) -> str:
    """The name of the place on a page where *about* is described; commands and events may share a ``t``."""
    name = tag(about) or about.__name__
    kind = "event-" if issubclass(about, frames.Event) else "command-" if issubclass(about, frames.Command) else ""
    return kind + name.replace(".", "-").lower()


def _field(field: inspect.Field) -> FieldRow:
    default = shapes.default_of(field)
    return FieldRow(
        name=field.encode_name,
        type=_type(field.type),
        limits=_limits(field.type),
        required=field.required,
        default="" if default is NODEFAULT else json.encode(default).decode(),
        meaning=_meaning(field.type),
    )


def _meaning(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata(extra_json_schema={"description": str(text)}):
            return text
        case inspect.Metadata(type=bare):
            return _meaning(bare)
        case inspect.UnionType(types=kinds):
            return next((text for each in kinds if (text := _meaning(each))), "")
        case _:
            return ""


_PLAIN: Final[dict[type[inspect.Type], str]] = {
    inspect.BoolType: "yes or no",
    inspect.IntType: "whole number",
    inspect.FloatType: "number",
    inspect.StrType: "text",
    inspect.NoneType: "null",
    inspect.UUIDType: "id",
    inspect.AnyType: "map",
    inspect.RawType: "anything",
}


def _type(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata(extra_json_schema={"format": "uuid"}):
            return "id"
        case inspect.Metadata(type=bare):
            return _type(bare)
        case inspect.ListType(item_type=item):
            return f"list of {_type(item)}"
        case inspect.DictType(key_type=key, value_type=value):
            return f"map of {_type(key)} to {_type(value)}"
        case inspect.UnionType(types=kinds):
            return " or ".join(_type(each) for each in kinds)
        case inspect.LiteralType(values=values):
            return " or ".join(f'"{value}"' for value in values)
        case inspect.StructType(cls=cls):
            return cls.__name__
        case _:
            return _PLAIN[type(kind)]


def _limits(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata(type=bare):
            return _limits(bare)
        case inspect.UnionType(types=kinds):
            return next((text for each in kinds if (text := _limits(each))), "")
        case inspect.StrType(min_length=least, max_length=most):
            return _range(least, most, "characters")
        case inspect.ListType(min_length=least, max_length=most):
            return _range(least, most, "items")
        case inspect.DictType(min_length=least, max_length=most):
            return _range(least, most, "keys")
        case inspect.IntType(ge=least, le=most):
            return _range(least, most, "")
        case inspect.FloatType(ge=float() | int() as least, le=float() | int() as most):
            return _range(int(least), int(most), "")  # whole numbers, all of them
        case _:
            return ""


def _range(least: int | None, most: int | None, unit: str) -> str:
    if most is None:
        return "" if not least else f"{least} or more {unit}".strip()
    return f"{_number(least) + ' to ' if least is not None else 'up to '}{_number(most)} {unit}".strip()


def _number(value: int) -> str:
    exponent = (value + 1).bit_length() - 1
    return f"2^{exponent} - 1" if value > 2**32 and value + 1 == 1 << exponent else f"{value:,}"


_LIMITS: Final[dict[str, str]] = {
    "FRAME_BYTES": "Bytes of one message from a client, whole; more is closed with 1009.",
    "PAGE_BYTES": "Bytes of one page of `history` or of a resume, about.",
    "HISTORY_ENTRIES": "Entries on one page of `history`.",
    "HEADS": "Conversations that a `hello` may name.",
    "RECENT_ENTRIES": "Entries that a `conversation` event may carry.",
    "TEXT_CHARS": "Code points of a message.",
    "TITLE_CHARS": "Code points of a group's title.",
    "KEY_CHARS": "Code points of an idempotency key.",
    "DEVICE_CHARS": "Code points of a device's name.",
    "TOKEN_CHARS": "Code points of an access token.",
    "CURSOR_CHARS": "Code points of a cursor.",
    "GROUP_MEMBERS": "Members of a group, unless the server says otherwise.",
    "CREATE_MEMBERS": "People that `conversation.create` may name.",
    "PING_BYTES": "Bytes of MessagePack that a ping may carry as `data`.",
    "WATCH_USERS": "People that `presence.watch` may name.",
    "LIST_CONVERSATIONS": "Conversations on one page of `conversation.list`.",
    "LOOKUP_USERS": "People that `user.get` may name.",
    "NAMED_MEMBERS": "Up to so many members, names and receipts travel with the conversation.",
    "REACTION_CHARS": "Code points of a reaction.",
    "REACTIONS_OF_ONE": "Different emoji of one person on one message.",
    "REACTIONS": "Different emoji on one message.",
    "REACTION_USERS": "People who are named beside an emoji's count.",
    "ADMINS": "Admins of one conversation, besides its owner.",
    "REASON_CHARS": "Code points of why somebody is banned.",
    "BANS_PAGE": "Bans on one page of `member.bans`.",
    "TOPIC_CHARS": "Code points of a group's topic.",
    "ROOM_MEMBERS": "Members of a room or a channel, unless the server says otherwise.",
    "TAGS": "Interests that a conversation may name.",
    "TAG_CHARS": "Code points of one interest.",
    "SLOW_MODE_S": "Seconds between two messages that slow mode may ask for.",
    "REACTIONS_PAGE": "Reactions on one page of `message.reactions`.",
    "VERSIONS_PAGE": "Versions on one page of `message.edits`.",
    "PREVIEW": "Last entries of a conversation among which the message that `conversation.list` shows is sought.",
    "SEARCH_CHARS": "Code points of a search query.",
    "SEARCH_TERMS": "Words and phrases of a query that count.",
    "SEARCH_HITS": "Hits on one page of `search`.",
    "SEARCH_RANKED": "Hits that are put in order by rank: the newest ones.",
    "SNIPPET_CHARS": "Code points of a hit's text.",
    "HIGHLIGHTS": "Places in a hit's text that are told.",
    "UNREAD": "Entries above the read cursor among which unread messages are counted.",
    "QUERY_CHARS": "Code points of what `room.list` looks for.",
    "ROOMS_PAGE": "Rooms on one page of `room.list`.",
    "MEMBERS_PAGE": "People on one page of `member.list` or `room.online`.",
    "CODE_CHARS": "Code points of a join link's code.",
    "LINKS": "Join links of one conversation that are not revoked.",
    "LINK_USES": "How many a join link may let in, where it has a bound.",
    "CONTACTS": "Contacts of one person.",
    "NOTE_CHARS": "Code points of the note with a request to be somebody's contact.",
    "CONTACT_REQUESTS": "Requests to be a contact that wait for one person.",
    "FOLLOWING": "People whom one person follows.",
    "PEOPLE_PAGE": "People on one page of `contact.list`, `contact.requests`, `followers` or `following`.",
    "COUNTED": "Comments, reactions or followers among which those are counted whom one may see.",
    "POST_CHARS": "Code points of a post's text.",
    "POST_PHOTOS": "Photos of one post.",
    "COMMENT_CHARS": "Code points of a comment.",
    "COMMENTS_PAGE": "Comments on one page of `comment.list`.",
    "POSTS_PAGE": "Posts on one page of `post.list`, `post.tagged` or `timeline`.",
    "HASHTAGS": "Hashtags of one post that count.",
    "HASHTAG_CHARS": "Code points of a hashtag.",
    "TAGGED_LOOK": "Posts with a hashtag among which one page of `post.tagged` is sought.",
    "REQUESTS": "Requests that wait in one conversation.",
    "REQUESTS_PAGE": "Requests on one page of `request.list`.",
    "TYPING_MEMBERS": "Up to so many members, the others are told who is typing.",
    "READERS_PAGE": "People on one page of `message.readers`.",
    "UNREAD_TOTAL": "Unread messages that `unread.get` counts; a badge shows 999+ there.",
    "PINNED": "Conversations that one person may have pinned.",
    "NICKNAMES": "People of one conversation to whom one person may give names.",
    "FOLDER_CHARS": "Code points of a folder's name.",
    "HIDE_MESSAGES": "Messages that one `message.hide` may name.",
    "HIDDEN_BLOCK": "Numbers of a log that one row of hidden messages speaks of.",
    "SCHEDULED": "Scheduled messages of one person in one conversation that wait, or failed.",
    "SCHEDULED_PAGE": "Messages on one page of `message.scheduled`.",
    "SCHEDULED_AHEAD_MS": "Milliseconds that a scheduled message may be ahead: a hundred years.",
    "RETENTION_S": "The longest time after which messages disappear, in seconds: ten years.",
    "EXPIRED": "Messages that disappear by one entry `messages.expired`.",
    "POLL_OPTIONS": "Options of a poll.",
    "QUESTION_CHARS": "What a poll asks, in code points.",
    "OPTION_CHARS": "One of its options, in code points.",
    "VOTES_PAGE": "Votes on one page of `poll.voters`.",
    "PUSH_TOKEN_CHARS": "Characters of a push service's token.",
    "PUSH_DEVICES": "Devices of one person that take pushes; a further one takes the oldest one's place.",
    "NOTIFICATIONS": "Notifications that are kept of one person; the oldest go.",
    "NOTIFICATIONS_PAGE": "Notifications on one page of `notification.list`, or named by `notification.read`.",
    "TIMEZONE_CHARS": "Characters of a time zone's name.",
    "NOTICE_TITLE_CHARS": "Code points of an operator's notification's title.",
    "NOTICE_BODY_CHARS": "Code points of what it says.",
    "NOTICE_DATA": "Fields of its data.",
    "NOTICE_DATA_CHARS": "Code points of one such field.",
    "NOTICE_USERS": "People that it may name.",
    "SEQ_MAX": "The highest number that an entry may have.",
    "ENTITIES": "Entities of one message.",
    "URL_CHARS": "Code points of a link's address.",
    "LABEL_CHARS": "Code points of a place's label or a contact's name.",
    "PHONE_CHARS": "Characters of a contact's telephone number.",
    "EMAIL_CHARS": "Code points of a contact's mail address.",
    "ACCURACY_M": "The least exact that a place may be, in metres.",
    "MEDIA": "Media of one message.",
    "MEDIA_SIDE": "Pixels of the longest side of a photo or video.",
    "DURATION_MS": "Milliseconds of the longest voice note or video.",
    "BLURHASH_CHARS": "Characters of a blurhash.",
    "WAVEFORM": "Points of a voice note's waveform.",
    "PINS": "Messages that a conversation may have pinned.",
    "THREAD_USERS": "People who wrote in a thread that its root names.",
    "THREADS_PAGE": "Threads on one page of `thread.list`.",
    # profiles
    "HANDLE_MIN_CHARS": "The fewest characters of a handle.",
    "HANDLE_CHARS": "Characters of a handle.",
    "NAME_CHARS": "Code points of a first or a last name.",
    "BIO_CHARS": "Code points of what one says of oneself.",
    "GENDER_CHARS": "Code points of a gender.",
    "CITY_CHARS": "Code points of a city's name.",
    "INTERESTS": "Interests of one profile; and as many skills.",
    "SKILL_CHARS": "Code points of an interest or a skill.",
    "GOALS": "Goals of one profile.",
    "GOAL_CHARS": "Code points of one of them.",
    "LANGUAGES": "Languages of one profile.",
    "EXPERIENCES": "Entries of a profile's experience.",
    "EXPERIENCE_CHARS": "Code points of its title or organisation.",
    "EXPERIENCE_TEXT_CHARS": "Code points of its text.",
    "PROFILE_LINKS": "Links of one profile.",
    "PROFILE_LINK_CHARS": "Code points of one of them.",
    "PROMPTS": "Prompts of one profile.",
    "PROMPT_CHARS": "Code points of what one asks.",
    "ANSWER_CHARS": "Code points of its answer.",
    "PROFILE_PHOTOS": "Photos of one profile.",
    # people who are met
    "AGE": "Years that a filter may ask for.",
    "WITHIN_KM": "The widest distance that a filter may ask for, in km: half of the way round.",
    "FILTERED": "Values of one condition of a filter.",
    "FEED_PAGE": "People on one page of `feed.list` and `profile.search`.",
    "SUGGEST_PAGE": "People on one page of `match.suggest` and `match.history`.",
    "OPENER_CHARS": "Code points of a first message.",
    "OPENERS": "First messages that one person is shown at once; more wait until some are put away.",
    "OPENERS_PAGE": "First messages on one page of `opener.list` and `opener.sent`.",
    "MATCHES_PAGE": "Matches on one page of `match.list`.",
    # blocks and reports
    "BLOCKS": "People whom one may have blocked.",
    "BLOCKS_PAGE": "People on one page of `block.list`.",
    "REPORT_CHARS": "Code points of a reporter's words, and of a moderator's note.",
    "REPORTS_A_DAY": "Reports of one person within a day.",
    "REPORTS_PAGE": "Reports on one page of `report.list`.",
}


def limit_rows() -> list[LimitRow]:
    """The bounds of ``protocol/limits.py``, in its order."""
    return [LimitRow(name, getattr(limits, name), meaning) for name, meaning in _LIMITS.items()]
