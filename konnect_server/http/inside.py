"""What the routes stand on, and the few questions that several of them ask of a request."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar
from uuid import UUID

import msgspec
import trio
from msgspec import Struct
from quart import request
from quart_trio.wrappers import TrioResponse

from konnect_server.actions.accounts import Accounts
from konnect_server.actions.by_mail import ByMail
from konnect_server.actions.media import Media
from konnect_server.actions.office import Office
from konnect_server.http.client_address import ClientAddress
from konnect_server.http.options import DoorOptions
from konnect_server.limiter import KeyedLimiter
from konnect_server.remembered import Claims
from konnect_server.tokens import Tokens
from protocol.errors import BadRequest, Invalid, RateLimited, Unauthorized, UnsupportedMediaType
from protocol.frames import Command
from protocol.http import EMAIL_PATTERN, NAME_PATTERN, encode_json
from storage.database import Database

T = TypeVar("T", bound=Struct)
Answering: TypeAlias = Callable[[UUID, Command, UUID], Awaitable[Struct]]
"""Carries out a command for a person, who came by a sign-in; its result, or a KonnectError."""


class Inside:
    """What the routes stand on."""

    def __init__(
        self,
        options: DoorOptions,
        accounts: Accounts,
        media: Media,
        tokens: Tokens,
        database: Database,
        call: Answering,
        ready: Callable[[], str | None],
        metrics: Callable[[], bytes],
        office: Office,
    ) -> None:
        self.options = options
        self.accounts, self.media, self.tokens, self.database = accounts, media, tokens, database
        self.call, self.ready, self.metrics, self.office = call, ready, metrics, office
        self.by_mail = ByMail(accounts)
        self.draining = False
        self.client_address = ClientAddress(options.trusted_proxies)
        self.sign_ins_by_address = KeyedLimiter(options.sign_ins_per_address, options.sign_in_burst_per_address)
        self.sign_ins_by_email = KeyedLimiter(options.sign_ins_per_email, options.sign_in_burst_per_email)
        self.codes_by_address = KeyedLimiter(options.codes_per_address, options.code_burst_per_address)
        self.refreshes_by_address = KeyedLimiter(options.refreshes_per_address, options.refresh_burst_per_address)
        self.uploads_by_person = KeyedLimiter(options.uploads_per_person, options.upload_burst_per_person)

    def limit(self, limiter: KeyedLimiter, key: str) -> None:
        """Take one of *key*'s tokens.

        Raises:
            RateLimited: There is none.
        """
        if wait_s := limiter.take(key, trio.current_time()):
            raise RateLimited(int(wait_s * 1000) + 1)

    def address(self) -> str:
        """What limits by client address count this request under."""
        client = request.scope.get("client")
        return self.client_address.key(client[0] if client else "", request.headers.getlist("X-Forwarded-For"))

    def claims(self) -> Claims:
        """Who this request's bearer token belongs to.

        Raises:
            Unauthorized: There is none, or it is not good.
        """
        return self.tokens.verify(bearer_token())


def bearer_token() -> str:
    """This request's access token, whether it is good or not.

    Raises:
        Unauthorized: There is none.
    """
    given = request.headers.get("Authorization")
    if given is None:
        raise Unauthorized("an access token is needed: Authorization: Bearer ...")
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("the Authorization header must be: Bearer, then an access token")
    return token.strip()


def json_response(body: Struct, status: int = 200) -> TrioResponse:
    """*body* as JSON."""
    return TrioResponse(encode_json(body), status, content_type="application/json")


async def body_as(kind: type[T]) -> T:
    """The request's JSON body as *kind*.

    Raises:
        UnsupportedMediaType: It is not JSON by its Content-Type.
        BadRequest: It is not JSON by its bytes.
        Invalid: It is not *kind*; the text names the field.
    """
    raw = await request.get_data(cache=False, as_text=False, parse_form_data=False)
    media = request.mimetype
    if media != "application/json" and not media.endswith("+json"):
        raise UnsupportedMediaType(f"the body must be JSON (Content-Type: application/json), not {media or 'untyped'}")
    try:
        return _decoder(kind).decode(raw)
    except msgspec.ValidationError as problem:
        raise Invalid(_plainly(str(problem))) from problem
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise BadRequest(f"the body is not JSON: {problem}") from problem


_decoders: Final[dict[type[Struct], msgspec.json.Decoder[Struct]]] = {}


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    if kind not in _decoders:
        _decoders[kind] = msgspec.json.Decoder(kind)
    return _decoders[kind]  # type: ignore[return-value]  # kept by its kind


def _plainly(text: str) -> str:
    """msgspec's words, but for patterns, which tell people little."""
    for pattern, meaning in _MEANINGS.items():
        text = text.replace(f"matching regex {pattern!r}", meaning)
    return text


_MEANINGS: Final = {
    EMAIL_PATTERN: "that is an e-mail address",
    NAME_PATTERN: "with something to read in it and no control characters",
    "^[^\\u0000]*$": "without U+0000",
    "^[\\u0021-\\u007e]*$": "of printable ASCII",
    "^[0-9]{6}(?![\\s\\S])": "of six digits",
}
