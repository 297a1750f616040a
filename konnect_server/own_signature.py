"""Whether a signature is one that a private key here has made: for who holds that key, a tenth of verifying.

An Ed25519 signature of a message M by the key (a, prefix) with the public key A is R and S, where (RFC 8032, section
5.1.6) ::

    r = SHA-512(prefix, M)      R = r B      k = SHA-512(R, A, M)      S = r + k a  (mod L)

Who verifies by A alone has to multiply points of the curve. Who knows a and prefix knows r, and therefore which S
belongs to the R that the signature names: two hashes and one multiplication of numbers. R itself is not computed again,
and need not be: whoever has not the key knows neither r nor a, and to say the right S for a message that was not
signed, or for one that was with another R, would have to guess a number of 252 bits (docs/decisions/0023).
"""

import hmac
from hashlib import sha512
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_L: Final = 2**252 + 27742317777372353535851937790883648493  # the order of the base point
_HALF: Final = 32  # bytes of R, of S, of the scalar and of the prefix
_CLEARED: Final = (1 << 255) - 8  # section 5.1.5: of the scalar, the three lowest bits and the highest
_SET: Final = 1 << 254


class OwnSignature:
    """What one private key needs to know its signatures again."""

    __slots__ = ("_prefix", "_public", "_scalar")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        expanded = sha512(private.private_bytes_raw()).digest()
        self._scalar = int.from_bytes(expanded[:_HALF], "little") & _CLEARED | _SET
        self._prefix = expanded[_HALF:]
        self._public = private.public_key().public_bytes_raw()

    def made(self, signature: bytes, message: bytes) -> bool:
        """Whether *signature* is what the key signs *message* with. Any bytes may be given."""
        point, said = signature[:_HALF], signature[_HALF:]
        r = int.from_bytes(sha512(self._prefix + message).digest(), "little")
        k = int.from_bytes(sha512(point + self._public + message).digest(), "little")
        return hmac.compare_digest(((r + k * self._scalar) % _L).to_bytes(_HALF, "little"), said)
