"""What travels over HTTP: bodies with their limits in the types; the endpoints that documents and routes share.

Bodies are JSON objects. Unknown fields are ignored and new fields have defaults, as on the socket. Every error is a
:class:`Problem` (RFC 9457, ``application/problem+json``) whose ``code`` is that of ``protocol/errors.py``.
"""

from typing import Annotated, Any, Final, Literal, NamedTuple
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from protocol import limits
from protocol.errors import (
    AccountSuspended,
    BadCode,
    BadCredentials,
    BadLink,
    BadRange,
    BadRequest,
    EmailTaken,
    Forbidden,
    HeadTooLarge,
    InternalError,
    Invalid,
    KeyReused,
    KonnectError,
    NameNeeded,
    NotFound,
    NotReady,
    QuotaExceeded,
    RateLimited,
    RequestTimeout,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnknownMedium,
    UnknownUser,
    UnsupportedMediaType,
    UpgradeNeedsNewConnection,
    UploadMissing,
    WrongChecksum,
    WrongSize,
    WrongType,
)
from protocol.frames import Key, User
from protocol.frames.fields import NO_NUL

BODY_BYTES: Final = 65_536  # one JSON body, whole
HEAD_BYTES: Final = 16_384  # request line and headers of one request
EMAIL_CHARS: Final = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets
NAME_CHARS: Final = 100
PASSWORD_MIN_CHARS: Final = 8
PASSWORD_CHARS: Final = 256
REFRESH_TOKEN_CHARS: Final = 512
FILE_NAME_CHARS: Final = 200
CONTENT_TYPE_CHARS: Final = 127  # of type and subtype (RFC 6838, section 4.2), and of what may stand behind them

# One @ with something on both sides, a dot inside the domain, no blanks or control characters; blanks around it are
# trimmed. More than this only a mail can tell. Linear in the length: the parts cannot match each other's separators.
EMAIL_PATTERN: Final = (
    "^\\s*[^\\s@\\u0000-\\u001f\\u007f]{1,64}@[^\\s@.\\u0000-\\u001f\\u007f]+(\\.[^\\s@.\\u0000-\\u001f\\u007f]+)+\\s*$"
)
NAME_PATTERN: Final = "^[^\\u0000-\\u001f\\u007f]*[^\\s\\u0000-\\u001f\\u007f][^\\u0000-\\u001f\\u007f]*$"

Email = Annotated[
    str,
    Meta(
        max_length=EMAIL_CHARS, pattern=EMAIL_PATTERN, examples=["ann@example.com"],
        description="An e-mail address. Blanks around it are dropped; upper and lower case name the same account.",
    ),
]  # fmt: skip
Name = Annotated[
    str,
    Meta(
        min_length=1, max_length=NAME_CHARS, pattern=NAME_PATTERN, examples=["Ann"],
        description="The name that others see. Blanks around it are dropped; control characters are refused.",
    ),
]  # fmt: skip
NewPassword = Annotated[
    str,
    Meta(
        min_length=PASSWORD_MIN_CHARS, max_length=PASSWORD_CHARS, examples=["correct horse battery"],
        description="Any characters; compared after Unicode normalisation (NFKC), never trimmed.",
    ),
]  # fmt: skip
Password = Annotated[str, Meta(min_length=1, max_length=PASSWORD_CHARS, examples=["correct horse battery"])]
OneTimeCode = Annotated[
    str,
    Meta(
        pattern="^[0-9]{6}(?![\\s\\S])", examples=["482913"],
        description="Six digits, from the mail. Good for ten minutes, once, and for at most five tries.",
    ),
]  # fmt: skip
DeviceLabel = Annotated[
    str,
    Meta(
        max_length=limits.DEVICE_CHARS, pattern="^[^\\u0000]*$", examples=["Ann's phone"],
        description="What this sign-in is called in a list of one's devices; may be empty.",
    ),
]  # fmt: skip
RefreshToken = Annotated[
    str,
    Meta(
        min_length=1, max_length=REFRESH_TOKEN_CHARS, pattern="^[\\u0021-\\u007e]*$",
        description="Opaque. Good for one refresh, whose answer brings the next. Keep it where others cannot read it.",
    ),
]  # fmt: skip
MediumKind = Annotated[
    Literal["profile_photo", "photo", "voice", "video", "file"],
    Meta(description="What it is for. A `profile_photo` is for everybody to see, the others for conversations."),
]  # fmt: skip
ContentType = Annotated[
    str,
    Meta(
        max_length=CONTENT_TYPE_CHARS, examples=["image/jpeg"],
        pattern="^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*([ ]*;[ -~]*)?$",
        description="The type of the content, such as `image/jpeg`. Parameters behind a semicolon are dropped.",
    ),
]  # fmt: skip
Sha256 = Annotated[
    str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 of the content, 64 hexadecimal digits in lower case.")
]  # fmt: skip
FileName = Annotated[
    str,
    Meta(
        max_length=FILE_NAME_CHARS, pattern="^[^\\u0000-\\u001f\\u007f/\\\\]*$", examples=["holiday.jpg"],
        description="What the file is called when somebody saves it; may be empty.",
    ),
]  # fmt: skip


NoticeField = Annotated[
    str,
    Meta(
        min_length=1, max_length=64,
        pattern="^(?!(from|message_type|collapse_key|gcm|google))[A-Za-z0-9_.\\-]+(?![\\s\\S])",
        description="A name; those that push services keep for themselves are refused.",
    ),
]  # fmt: skip
NoticeValue = Annotated[str, Meta(max_length=limits.NOTICE_DATA_CHARS, pattern=NO_NUL)]


# --- Requests ---------------------------------------------------------------------------------------------------------


class Register(Struct, frozen=True):
    """Make an account and sign in."""

    email: Email
    password: NewPassword
    name: Name
    device: DeviceLabel = ""


class Login(Struct, frozen=True):
    """Sign in."""

    email: Email
    password: Password
    device: DeviceLabel = ""


class Refresh(Struct, frozen=True):
    """Exchange a refresh token for new tokens."""

    refresh_token: RefreshToken


class Logout(Struct, frozen=True):
    """End a sign-in. Without a refresh token, the one that the bearer token belongs to."""

    refresh_token: RefreshToken | None = None


class AskCode(Struct, frozen=True):
    """Have a code sent to an address."""

    email: Email


class Verify(Struct, frozen=True):
    """Prove by a code that one reads the mail of an address."""

    email: Email
    code: OneTimeCode
    name: Annotated[
        Name | None, Meta(description="Makes an account where the address has none; else it does not matter.")
    ] = None
    device: DeviceLabel = ""


class SetPassword(Struct, frozen=True):
    """Choose a password: by a code (`email` and `code`), or by the one before (`old`, and a bearer token)."""

    password: NewPassword
    email: Email | None = None
    code: OneTimeCode | None = None
    old: Annotated[Password | None, Meta(description="The password before.")] = None

    def __post_init__(self) -> None:
        if (self.email is None) != (self.code is None) or (self.email is None) == (self.old is None):
            raise ValueError("give either `email` and `code`, or `old`")


class ChangeEmail(Struct, frozen=True):
    """Ask to have another address."""

    email: Email
    password: Annotated[
        Password | None, Meta(description="One's password; may be absent where the account has none.")
    ] = None


class ConfirmEmail(Struct, frozen=True):
    """Move to the new address, by the codes that both were sent."""

    old_code: OneTimeCode
    new_code: OneTimeCode


class BeginUpload(Struct, frozen=True):
    """Announce a file, and get an address to send it to."""

    kind: MediumKind
    size_bytes: Annotated[int, Meta(ge=1, description="The content's exact length.")]
    content_type: ContentType
    sha256: Sha256
    name: FileName = ""


class Recipients(Struct, frozen=True, omit_defaults=True):
    """Whom a notification is for: exactly one of these."""

    users: Annotated[
        list[UUID], Meta(max_length=limits.NOTICE_USERS, description="These people; who does not exist is passed over.")
    ] = msgspec.field(default_factory=list)
    conversation: Annotated[UUID | None, Meta(description="The members of this conversation.")] = None
    platform: Annotated[
        Literal["android", "ios", "web"] | None, Meta(description="Who has such a device that takes pushes.")
    ] = None
    all: Annotated[bool, Meta(description="Everybody who has an account.")] = False

    def __post_init__(self) -> None:
        if [bool(self.users), self.conversation is not None, self.platform is not None, self.all].count(True) != 1:
            raise ValueError("name exactly one of `users`, `conversation`, `platform`, `all`")


class SendNotification(Struct, frozen=True):
    """Word from who runs the app, for one person or many."""

    key: Key
    to: Recipients
    title: Annotated[
        str,
        Meta(
            min_length=1, max_length=limits.NOTICE_TITLE_CHARS, pattern=NO_NUL, examples=["A new version"],
            description="What it is about.",
        ),
    ]
    body: Annotated[
        str, Meta(max_length=limits.NOTICE_BODY_CHARS, pattern=NO_NUL, description="What is said; may be empty.")
    ] = ""
    data: Annotated[
        dict[NoticeField, NoticeValue],
        Meta(max_length=limits.NOTICE_DATA, description="For the app, in the list and with the push."),
    ] = msgspec.field(default_factory=dict)
    push: Annotated[
        bool, Meta(description="Also by push; not to who has quiet hours now, nor later: the list has it.")
    ] = True


# --- Answers ----------------------------------------------------------------------------------------------------------


class Me(Struct, frozen=True):
    """A person, as they see themselves."""

    id: UUID
    name: str
    email: str
    created_at_ms: int
    email_verified: Annotated[bool, Meta(description="Whether the address was proved to be the person's.")] = False
    has_password: Annotated[bool, Meta(description="False: one signs in by codes alone.")] = True
    standing: Annotated[
        Literal["active", "paused", "suspended", "leaving"],
        Meta(description="How the account stands. `leaving`: it is erased some days after the person left."),
    ] = "active"
    role: Annotated[
        Literal["person", "moderator", "admin"], Meta(description="What the operator made of it.")
    ] = "person"  # fmt: skip


class CodeSent(Struct, frozen=True):
    """A code is on its way, if the address is one that may have it."""

    expires_in_s: Annotated[int, Meta(ge=0, description="How long it is good once it was sent, in seconds.")]


class SignedIn(Struct, frozen=True):
    """The person, an access token for HTTP and socket, and the refresh token that brings the next pair."""

    user: Me
    access_token: Annotated[
        str, Meta(description="A JWT (EdDSA); send it as `Authorization: Bearer ...` and in `hello`.")
    ]
    refresh_token: RefreshToken
    expires_in_s: Annotated[int, Meta(ge=0, description="How long the access token is good from now, in seconds.")]


class UploadTicket(Struct, frozen=True):
    """Where to send the file: one request of *method*, with *headers* as they stand, the file as its whole body."""

    id: UUID
    method: Literal["PUT"]
    url: Annotated[str, Meta(description="Signed: use it as it stands, and show it to nobody.")]
    headers: dict[str, str]
    expires_in_s: Annotated[int, Meta(ge=0, description="How long the address is good, in seconds.")]


class Medium(Struct, frozen=True):
    """A file that was checked, and where to get it."""

    id: UUID
    kind: Annotated[
        Literal["profile_photo", "photo", "voice", "video", "file", "export"],
        Meta(description="What it is for, as its upload said; `export`: a copy of one's own data, a zip."),
    ]
    size_bytes: int
    content_type: str
    sha256: Sha256
    name: str
    created_at_ms: int
    url: Annotated[str, Meta(description="Gives the content as an attachment; takes Range.")]
    expires_in_s: Annotated[
        int | None, Meta(description="How long the address is good, in seconds; null: for ever, and for everybody.")
    ]


class NoticeState(Struct, frozen=True, omit_defaults=True):
    """How far a notification is."""

    id: Annotated[UUID, Meta(description="Its id, in each person's list too.")]
    at_ms: Annotated[int, Meta(description="When it was made: Unix milliseconds (UTC).")]
    told: Annotated[int, Meta(description="How many people have it in their lists.")]
    done_at_ms: Annotated[int | None, Meta(description="When the last of them had it; absent while it goes on.")] = None


class Jwk(Struct, frozen=True):
    """One public key that access tokens may be signed with (RFC 8037)."""

    kid: str
    x: Annotated[str, Meta(description="The public key's 32 bytes, base64url.")]
    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    alg: Literal["EdDSA"] = "EdDSA"
    use: Literal["sig"] = "sig"


class Jwks(Struct, frozen=True):
    """The keys in use, newest first."""

    keys: list[Jwk]


class Index(Struct, frozen=True):
    """What answers here, and where to go on."""

    name: str
    version: str
    description: str
    links: dict[str, str]


class Health(Struct, frozen=True):
    """All is well."""

    status: Literal["ok"] = "ok"


class Problem(Struct, frozen=True, omit_defaults=True):
    """What went wrong (RFC 9457). ``code`` is stable and for machines; ``detail`` is for people."""

    type: Annotated[
        str, Meta(description="Where this code is explained, relative to the server.", examples=["/docs#error-invalid"])
    ]
    title: Annotated[str, Meta(description="The code's meaning, the same for each occurrence.")]
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Annotated[str, Meta(description="What is wrong with this very request.")]
    code: Annotated[str, Meta(description="Stable; see the table of errors.", examples=["invalid"])]
    retry_after_ms: Annotated[int, Meta(ge=0, description="When the same request may be tried again.")] | UnsetType = (
        UNSET
    )


# --- Endpoints --------------------------------------------------------------------------------------------------------


class Answer(NamedTuple):
    """One answer that is not an error. ``body`` is None when there is none, or when it is not JSON (see ``media``)."""

    description: str
    body: type[Struct] | None = None
    media: str | None = "application/json"  # None: no body
    example: Struct | None = None  # where the usual one of ``body`` does not fit


class PathParameter(NamedTuple):
    """One ``{name}`` of a path."""

    name: str
    kind: type
    description: str


class HeaderParameter(NamedTuple):
    """A header of a request that means something to one endpoint. Never required."""

    name: str
    kind: Any
    description: str
    example: str


class Endpoint(NamedTuple):
    """One method on one path. ``errors`` are those of its own; :data:`COMMON_ERRORS` may come from every endpoint."""

    name: str  # operationId
    method: Literal["GET", "POST", "PUT"]
    path: str  # parameters as {name}
    tag: Literal["auth", "people", "calls", "media", "operator", "socket", "server"]
    summary: str
    description: str
    answers: dict[int, Answer]
    errors: tuple[type[KonnectError], ...] = ()
    request: type[Struct] | None = None
    request_required: bool = True
    auth: Literal["none", "bearer", "optional", "operator"] = "none"
    parameters: tuple[PathParameter, ...] = ()
    headers: tuple[HeaderParameter, ...] = ()


TAGS: Final = {
    "auth": "Accounts and sign-ins. An access token is good for 15 minutes, over HTTP and on the socket; "
    "a refresh token brings the next one.",
    "people": "People, as their own account and as others see them.",
    "calls": "Every command of the socket, for who holds none: the same rules, errors and limits, in one order with "
    "what comes by socket. The body is the command's fields without `t` and `id`, the answer its result. Each person "
    "may call as fast as one socket may send. What is said of events holds for sockets: a call waits for none.",
    "media": "Photos, voice notes, videos and files. One announces a file, sends it to the address that comes back, "
    "and says `done`; then it is checked, and only then may a message or a profile name it.",
    "operator": "For who runs the app and its back end, by the token that the server is configured with "
    "(`operator_token`); nobody else may.",
    "socket": "The realtime door. Its frames are described by /asyncapi.json.",
    "server": "The server itself: health, metrics, keys and documents.",
}  # fmt: skip

COMMON_ERRORS: Final[tuple[type[KonnectError], ...]] = (
    BadRequest, HeadTooLarge, Unavailable, InternalError,
)  # fmt: skip
BODY_ERRORS: Final[tuple[type[KonnectError], ...]] = (Invalid, TooLarge, UnsupportedMediaType, RequestTimeout)
_SIGNED_IN: Final = "Signed in: the person and a fresh pair of tokens."

# Those of calls are made from the commands: ``protocol/schema/endpoints.py`` has all.
ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "register", "POST", "/v1/auth/register", "auth", "Make an account",
        "Makes an account and signs in. A code goes to the address, by which `POST /v1/auth/verify` confirms it. "
        "Limited per client address and per e-mail address.",
        {201: Answer(_SIGNED_IN, SignedIn)},
        (*BODY_ERRORS, EmailTaken, RateLimited), Register,
    ),
    Endpoint(
        "login", "POST", "/v1/auth/login", "auth", "Sign in",
        "Signs in with e-mail and password. An unknown e-mail and a wrong password get the same answer. "
        "Limited per client address and per e-mail address.",
        {200: Answer(_SIGNED_IN, SignedIn)},
        (*BODY_ERRORS, BadCredentials, AccountSuspended, RateLimited), Login,
    ),
    Endpoint(
        "askCode", "POST", "/v1/auth/code", "auth", "Ask for a code",
        "Sends a code of six digits to the address, to sign in, to sign up or to confirm it by `POST /v1/auth/verify`. "
        "The one before is no good any more. The answer is the same whether the address has an account or not. "
        "Limited per client address and per e-mail address.",
        {202: Answer("If mail reaches the address, so does the code.", CodeSent)},
        (*BODY_ERRORS, RateLimited), AskCode,
    ),
    Endpoint(
        "verify", "POST", "/v1/auth/verify", "auth", "Sign in, sign up or confirm by a code",
        "Without a bearer token: signs in to the account of the address. Where it has none yet, `name` makes one, "
        "without a password; without `name` the answer is `name_needed`, and the code stays good. An account whose "
        "address was never confirmed is taken over by it: its password and sign-ins were made by somebody who did not "
        "prove to read its mail, and end.\n\n"
        "With the bearer token of an account of that address: confirms the address, and changes nothing else.\n\n"
        "A code that is wrong, used, out of time or tried five times gets one answer, `bad_code`.",
        {
            200: Answer(_SIGNED_IN, SignedIn), 201: Answer("An account was made. " + _SIGNED_IN, SignedIn),
            204: Answer("With a bearer token: the address is confirmed.", None, None),
        },
        (*BODY_ERRORS, BadCode, Unauthorized, NameNeeded, AccountSuspended, RateLimited), Verify, auth="optional",
    ),
    Endpoint(
        "resetPassword", "POST", "/v1/auth/password/reset", "auth", "Ask for a code to choose a password",
        "Sends a code for `POST /v1/auth/password` to the address, if it has an account; the answer is the same if "
        "not. Limited per client address and per e-mail address.",
        {202: Answer("If the address has an account, the code is on its way.", CodeSent)},
        (*BODY_ERRORS, RateLimited), AskCode,
    ),
    Endpoint(
        "setPassword", "POST", "/v1/auth/password", "auth", "Choose a password",
        "By a code, with `email` and `code`: all sign-ins end, and their sockets are closed. By the password before, "
        "with `old` and a bearer token: all other sign-ins end. The address is told by mail.",
        {204: Answer("It is the password from now on.", None, None)},
        (*BODY_ERRORS, BadCode, BadCredentials, Unauthorized, AccountSuspended, RateLimited), SetPassword,
        auth="optional",
    ),
    Endpoint(
        "changeEmail", "POST", "/v1/auth/email", "auth", "Ask for another address",
        "Sends a code to the address that the account has, and one to the new one. Nothing changes until both come "
        "back. Needs the password, where the account has one. A new address that has an account gets no code, but word "
        "of it; the answer does not tell.",
        {202: Answer("The codes are on their way.", CodeSent)},
        (*BODY_ERRORS, Unauthorized, BadCredentials, RateLimited), ChangeEmail, auth="bearer",
    ),
    Endpoint(
        "confirmEmail", "POST", "/v1/auth/email/confirm", "auth", "Move to the new address",
        "By both codes; then the old address is told. Sign-ins stay.",
        {200: Answer("The account, with its new address.", Me)},
        (*BODY_ERRORS, Unauthorized, BadCode, EmailTaken, RateLimited), ConfirmEmail, auth="bearer",
    ),
    Endpoint(
        "refresh", "POST", "/v1/auth/refresh", "auth", "Get new tokens",
        "Exchanges a refresh token for a new pair. Each refresh token is good once. If the answer was lost, the same "
        "request within 60 seconds gets the same refresh token again; an older token is taken for stolen and ends the "
        "whole sign-in. A sign-in that is not refreshed for 30 days (the server's choice) ends by itself.",
        {200: Answer(_SIGNED_IN, SignedIn)},
        (*BODY_ERRORS, Unauthorized, RateLimited), Refresh,
    ),
    Endpoint(
        "logout", "POST", "/v1/auth/logout", "auth", "Sign out",
        "Ends one sign-in: its refresh tokens are refused from now on and its sockets are closed with `signed_out`. "
        "Names the sign-in by the refresh token in the body, or by the bearer token alone. Repeating it does no harm.",
        {204: Answer("Signed out, now or before.", None, None)},
        (*BODY_ERRORS, Unauthorized, RateLimited), Logout, request_required=False, auth="optional",
    ),
    Endpoint(
        "me", "GET", "/v1/me", "people", "One's own account",
        "The account that the access token belongs to.",
        {200: Answer("The account.", Me)}, (Unauthorized,), auth="bearer",
    ),
    Endpoint(
        "user", "GET", "/v1/users/{id}", "people", "A person's public profile",
        "What others see of a person.",
        {200: Answer("The person.", User)}, (Unauthorized, Invalid, UnknownUser), auth="bearer",
        parameters=(PathParameter("id", UUID, "The person's id."),),
    ),
    Endpoint(
        "beginUpload", "POST", "/v1/uploads", "media", "Announce a file",
        "Answers with a signed address, good for some minutes, that takes exactly this file by PUT, from anybody who "
        "has it. The size counts against the person's quota from now on.",
        {201: Answer("The address.", UploadTicket)},
        (*BODY_ERRORS, Unauthorized, RateLimited, UnknownUser, WrongType, QuotaExceeded), BeginUpload, auth="bearer",
    ),
    Endpoint(
        "finishUpload", "POST", "/v1/uploads/{id}/done", "media", "Say that the file was sent",
        "Checks size, SHA-256 and the type that the content really has. Repeating it does no harm. What is wrong is "
        "thrown away, and may be sent again to the same address while that is good.",
        {200: Answer("The medium, ready to be named.", Medium)},
        (
            Invalid, Unauthorized, RateLimited, RequestTimeout, TooLarge, UnknownMedium, UploadMissing, WrongSize,
            WrongChecksum, WrongType,
        ),
        auth="bearer", parameters=(PathParameter("id", UUID, "The upload's id, which is the medium's too."),),
    ),
    Endpoint(
        "medium", "GET", "/v1/media/{id}", "media", "A medium, and an address to get it from",
        "For its owner, for members of a conversation in which an entry that they can see names it, and, if it is a "
        "profile photo, for everybody. The address is good for some minutes, from anywhere and without a token.",
        {200: Answer("The medium.", Medium)}, (Invalid, Unauthorized, UnknownMedium, NotReady), auth="bearer",
        parameters=(PathParameter("id", UUID, "The medium's id."),),
    ),
    Endpoint(
        "putBlob", "PUT", "/v1/blobs/{area}/{name}", "media", "Send a file to its signed address",
        "What the addresses of uploads look like where media lie in a folder of the server's; with an S3 store they "
        "lead there. The query belongs to the signature. The body is the file.",
        {204: Answer("It is stored; say `done` now.", None, None)},
        (NotFound, BadLink, WrongSize, WrongChecksum, RequestTimeout),
        parameters=(PathParameter("area", str, "Part of the address."), PathParameter("name", str, "Part of it too.")),
    ),
    Endpoint(
        "getBlob", "GET", "/v1/blobs/{area}/{name}", "media", "Get a file from its signed address",
        "What the addresses of media look like where they lie in a folder of the server's. Takes HEAD too, and Range "
        "with one range of bytes.",
        {
            200: Answer("The file, as an attachment.", None, "*/*"),
            206: Answer("The part that Range asked for.", None, "*/*"),
        },
        (NotFound, BadLink, BadRange),
        parameters=(PathParameter("area", str, "Part of the address."), PathParameter("name", str, "Part of it too.")),
    ),
    Endpoint(
        "publicBlob", "GET", "/v1/public/{name}", "media", "Get what everybody may see",
        "Profile photos, where they lie in a folder of the server's. A name never gets other content: keep it. "
        "Takes HEAD, Range and If-None-Match.",
        {
            200: Answer("The file.", None, "*/*"),
            206: Answer("The part that Range asked for.", None, "*/*"),
            304: Answer("What you have is still the same.", None, None),
        },
        (NotFound, BadRange),
        parameters=(PathParameter("name", str, "Part of the address."),),
    ),
    Endpoint(
        "sendNotification", "POST", "/v1/operator/notifications", "operator", "Notify people",
        "Puts a notification into the lists of one person, of some, of the members of a conversation, or of everybody, "
        "and sends it by push. It is told by jobs, some people at a time: the answer says how far that is, and so does "
        "a repeat with the same key, which tells nobody twice.",
        {202: Answer("It is being told, or was.", NoticeState)},
        (*BODY_ERRORS, Unauthorized, Forbidden, KeyReused), SendNotification, auth="operator",
    ),
    Endpoint(
        "socket", "GET", "/v1/socket", "socket", "Open the socket",
        "With a WebSocket upgrade and the subprotocol `konnect.v1`: the realtime door. Without an upgrade: name, "
        "version and links. The upgrade must be the first request of its connection.",
        {
            101: Answer("The connection is a WebSocket from here on.", None, None),
            200: Answer("No upgrade was asked for: name, version and links.", Index),
        },
        (UpgradeNeedsNewConnection,),
    ),
    Endpoint(
        "authIndex", "GET", "/v1/auth", "auth", "What is here", "Name, version and links.",
        {200: Answer("Name, version and links.", Index)},
    ),
    Endpoint(
        "usersIndex", "GET", "/v1/users", "people", "What is here", "Name, version and links.",
        {200: Answer("Name, version and links.", Index)},
    ),
    Endpoint(
        "callIndex", "GET", "/v1/call", "calls", "What is here", "Name, version and links.",
        {200: Answer("Name, version and links.", Index)},
    ),
    Endpoint(
        "index", "GET", "/", "server", "What is here",
        "Name, version and links; a small page with the same for a browser.",
        {200: Answer("Name, version and links.", Index)},
    ),
    Endpoint(
        "healthz", "GET", "/healthz", "server", "Is the process alive?", "Answers as long as the process does.",
        {200: Answer("Alive.", Health)},
    ),
    Endpoint(
        "readyz", "GET", "/readyz", "server", "May traffic come here?",
        "Answers 200 while the database answers and the server is not draining; else 503 `unavailable`.",
        {200: Answer("Ready.", Health)},
    ),
    Endpoint(
        "metrics", "GET", "/metrics", "server", "Metrics", "Counters and gauges in Prometheus' text format.",
        {200: Answer("The metrics.", None, "text/plain; version=1.0.0; charset=utf-8")},
    ),
    Endpoint(
        "jwks", "GET", "/.well-known/jwks.json", "server", "Keys of access tokens",
        "The public keys that access tokens are signed with (RFC 7517), newest first; a rotation keeps the one before.",
        {200: Answer("The keys.", Jwks)},
    ),
    Endpoint(
        "openapi", "GET", "/openapi.json", "server", "This document", "The HTTP endpoints as OpenAPI 3.1.",
        {200: Answer("The document.", None)},
    ),
    Endpoint(
        "asyncapi", "GET", "/asyncapi.json", "server", "The socket's document", "The socket's frames as AsyncAPI 3.0.",
        {200: Answer("The document.", None)},
    ),
    Endpoint(
        "docs", "GET", "/docs", "server", "A page to read", "Endpoints, frames and errors on one page, for people.",
        {200: Answer("The page.", None, "text/html; charset=utf-8")},
    ),
)  # fmt: skip
BY_NAME: Final = {endpoint.name: endpoint for endpoint in ENDPOINTS}

encode_json: Final = msgspec.json.Encoder(uuid_format="canonical").encode
