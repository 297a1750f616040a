"""Access tokens: signed on sign-in, verified once per request or socket, remembered in between.

A token is a JWT (EdDSA). It says who (``sub``), which sign-in (``sid``), from when (``iat``) to when (``exp``); it is
good until then, in every process that shares the keys folder, without a question to the database. A sign-in that ended
is told to :meth:`Tokens.end`, so that its tokens are refused here at once.

Clocks: Unix seconds, as JWTs want them. PyJWT writes the tokens. They are read here: a sign-in is on the hot path of a
storm, where PyJWT's reading cost as much as the signature itself, and its clock cannot be handed in.

Who verifies here holds the private key, and so knows a signature of its own by two hashes, 6 us, where verifying by the
public key takes 112 (own_signature.py, docs/decisions/0023).
"""

import binascii
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final
from uuid import UUID

import jwt
import msgspec
from msgspec import Struct

from konnect_server.own_signature import OwnSignature
from konnect_server.remembered import Claims, Remembered
from protocol import limits
from protocol.errors import Unauthorized
from protocol.http import Jwk, Jwks
from storage.keys import Keys, KeysUnfit, SigningKey, open_keys, read_keys, rotate_keys

LIFETIME_S: Final = 900
ISSUER: Final = "konnect"
AUDIENCE: Final = "konnect"
SKEW_S: Final = 10  # how far another process's clock may be ahead of ours
REMEMBERED: Final = 32_768  # verified tokens; 72 bytes each
ENDED: Final = 100_000  # sign-ins that ended within a token's lifetime; about 150 bytes each
_ALPHABET: Final = bytes.maketrans(b"-_+/", b"+/!!")  # of base64url to base64's, which has no "!"
_LOOK_AGAIN_S: Final = 1.0  # at most this often an unknown key makes us read the folder


class _Payload(Struct):
    """The claims as they travel."""

    iss: str
    aud: str
    sub: UUID
    sid: UUID
    iat: int
    exp: int


_payload: Final = msgspec.json.Decoder(_Payload).decode


class Tokens:
    """Signs and verifies; holds no connection and waits for nothing, so any task may call it."""

    def __init__(
        self,
        folder: Path,
        *,
        lifetime_s: int = LIFETIME_S,
        issuer: str = ISSUER,
        audience: str = AUDIENCE,
        clock: Callable[[], float] = time.time,
        remembered: int = REMEMBERED,
    ) -> None:
        """Opens (on first start, makes) the keys in *folder*.

        Raises:
            KeysUnfit: The folder cannot be used; the text is for the operator.
        """
        self.lifetime_s = lifetime_s
        self._folder = folder
        self._issuer, self._audience = issuer, audience
        self._clock = clock
        self._remembered = Remembered(remembered)
        self._ended: dict[UUID, float] = {}  # sign-in -> when its last token is out of time; the oldest first
        self._looked_at_s = float("-inf")
        self._use(open_keys(folder))

    def sign(self, user: UUID, sign_in: UUID, serial: int = 0) -> str:
        """A token for *user*, good for ``lifetime_s`` seconds from now.

        *serial* numbers the rotations of the sign-in; within one second the same arguments give the same token.
        """
        now = int(self._clock())
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(user),
            "sid": str(sign_in),
            "iat": now,
            "exp": now + self.lifetime_s,
            "jti": sha256(f"{sign_in} {serial} {now}".encode()).hexdigest()[:32],
        }
        token = jwt.encode(claims, self._newest.private, algorithm="EdDSA", headers={"kid": self._newest.kid})
        # Its first use, mostly the next thing to happen, need not find out whose it is.
        digest = self._remembered.digest(token)
        if self._remembered.find(digest) is None:
            self._remembered.keep(digest, Claims(user, sign_in, now + self.lifetime_s))
        return token

    def verify(self, token: str) -> Claims:
        """Whose *token* is. A few microseconds when it was signed or verified here lately, else about 15.

        Raises:
            Unauthorized: It is malformed, of another server, out of time, or of a sign-in that ended.
        """
        claims = self.read(token)
        if claims.sign_in in self._ended:
            raise Unauthorized("this sign-in was ended; sign in again")
        return claims

    def read(self, token: str) -> Claims:
        """The same, but a sign-in that ended does not matter: for signing out a second time.

        Raises:
            Unauthorized: It is malformed, of another server or out of time.
        """
        now = self._clock()
        if len(token) > limits.TOKEN_CHARS or not token.isascii():
            raise Unauthorized("this is not an access token of this server")
        digest = self._remembered.digest(token)
        claims = self._remembered.find(digest)
        if claims is None:
            claims = self._verify(token, now)
            self._remembered.keep(digest, claims)
        if claims.expires_at_s <= now:
            raise Unauthorized("the access token is out of time; refresh it")
        return claims

    def end(self, sign_in: UUID) -> None:
        """Refuse the tokens of *sign_in* from now on."""
        now = self._clock()
        self._ended.pop(sign_in, None)
        self._ended[sign_in] = now + self.lifetime_s + SKEW_S
        while len(self._ended) > ENDED or self._ended[next(iter(self._ended))] < now:
            del self._ended[next(iter(self._ended))]

    def jwks(self) -> Jwks:
        """The public keys of good tokens, the newest first."""
        return Jwks([Jwk(kid=key.kid, x=key.x) for key in self._keys.signing])

    @property
    def refresh_secret(self) -> bytes:
        """What refresh tokens derive from."""
        return self._keys.refresh_secret

    def rotate(self) -> str:
        """Sign with a new key from now on; tokens of the key before stay good. Returns the new key's id.

        Raises:
            KeysUnfit: The folder cannot be written.
        """
        self._use(rotate_keys(self._folder, self._newest.number))
        return self._newest.kid

    def rotate_if_older(self, age_s: float) -> bool:
        """:meth:`rotate` if the newest key is older than *age_s* seconds; True if it was.

        Raises:
            KeysUnfit: The folder cannot be read or written.
        """
        self._use(read_keys(self._folder))  # another process may have
        if self._clock() - self._newest.made_at_s <= age_s:
            return False
        self.rotate()
        return True

    def _use(self, keys: Keys) -> None:
        self._keys = keys
        self._newest: SigningKey = keys.signing[0]
        self._by_head = {_head(key): OwnSignature(key.private) for key in keys.signing}

    def _verify(self, token: str, now: float) -> Claims:
        signed, _, signature = token.rpartition(".")
        head, _, body = signed.partition(".")
        own = self._own(head, now)
        try:
            if not own.made(_bytes(signature), signed.encode()):
                raise Unauthorized("this is not an access token of this server")
            payload = _payload(_bytes(body))
        except (binascii.Error, msgspec.DecodeError, UnicodeError) as problem:
            raise Unauthorized("this is not an access token of this server") from problem
        if (payload.iss, payload.aud) != (self._issuer, self._audience):
            raise Unauthorized("this is not an access token of this server")
        if payload.iat > now + SKEW_S:
            raise Unauthorized("the access token is from the future; the server's clocks disagree")
        return Claims(payload.sub, payload.sid, payload.exp)

    def _own(self, head: str, now: float) -> OwnSignature:
        """The signatures of tokens with this header, which must be to the letter what we write: there is no algorithm
        to choose, and no parameter to read before the signature is known to be good."""
        own = self._by_head.get(head)
        if own is None and now - self._looked_at_s >= _LOOK_AGAIN_S:  # another process may have rotated
            self._looked_at_s = now
            with suppress(KeysUnfit):  # a token must not break what works; the next start or rotation will say it
                self._use(read_keys(self._folder))
            own = self._by_head.get(head)
        if own is None:
            raise Unauthorized("the access token is signed with a key that is not in use; refresh it")
        return own


def _bytes(text: str) -> bytes:
    """What *text*, ASCII, says in base64url without padding."""
    return binascii.a2b_base64(text.encode().translate(_ALPHABET) + b"=" * (-len(text) % 4), strict_mode=True)


def _head(key: SigningKey) -> str:
    """The first part of every token that *key* signs."""
    return jwt.encode({}, key.private, algorithm="EdDSA", headers={"kid": key.kid}).partition(".")[0]
