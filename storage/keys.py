"""The keys folder: the private keys that access tokens are signed with, and the secret that refresh tokens derive from.

``signing-NNNN.pem`` are Ed25519 keys (PKCS #8), the highest number the newest; its age is the file's. The newest signs,
the one before is still good, older ones are deleted. ``refresh.secret`` is made once. The folder is made 0700 and the
files 0600; files that others may read, or a folder that others may write, are refused: then nobody knows who can sign.

Several processes may open the folder at once, also for the first time: a file is written beside its name and then
*linked* to it, which fails when the name exists, so that whoever comes second reads what the first one made.
"""

import os
import re
import secrets
import stat
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from msgspec import Struct

ALIVE: Final = 2  # signing keys that are good at a time
SECRET_BYTES: Final = 32
_SIGNING: Final = re.compile(r"signing-(\d{4,9})\.pem")
_SECRET_FILE: Final = "refresh.secret"


class KeysUnfit(Exception):
    """The keys folder cannot be used; the text is one plain sentence for the operator."""


class SigningKey(Struct, frozen=True):
    """One key pair."""

    kid: str  # names the key in tokens: the start of its RFC 7638 thumbprint
    number: int
    private: Ed25519PrivateKey
    public: Ed25519PublicKey
    x: str  # the public key's 32 bytes, base64url, as a JWK shows them
    made_at_s: float  # Unix time


class Keys(Struct, frozen=True):
    """What the folder holds."""

    signing: tuple[SigningKey, ...]  # at least one, newest first, at most ALIVE
    refresh_secret: bytes


def open_keys(folder: Path) -> Keys:
    """The keys in *folder*; folder and keys are made where they are missing.

    Raises:
        KeysUnfit: The folder or a file cannot be read or written, is damaged, or is open to others.
    """
    with _plainly(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_folder(folder)
        if not _numbers(folder):
            _create(_signing_file(folder, 1), _fresh_pem)
        if not (folder / _SECRET_FILE).exists():
            _create(folder / _SECRET_FILE, lambda: secrets.token_hex(SECRET_BYTES).encode() + b"\n")
        return read_keys(folder)


def read_keys(folder: Path) -> Keys:
    """The keys in *folder* as they are now, after another process may have rotated them.

    Raises:
        KeysUnfit: As for :func:`open_keys`, or there are none.
    """
    with _plainly(folder):
        for _ in range(3):  # a rotation may delete the oldest file between the listing and the reading
            with suppress(FileNotFoundError):
                signing = tuple(_read_signing(folder, number) for number in _numbers(folder)[:ALIVE])
                if signing:
                    return Keys(signing, _read_secret(folder / _SECRET_FILE))
        raise KeysUnfit(f"there are no keys in {folder}")


def rotate_keys(folder: Path, newest: int) -> Keys:
    """Make the signing key after number *newest* and delete what is older than the one before it.

    If another process rotated past *newest* already, its key is taken and none is made.

    Raises:
        KeysUnfit: As for :func:`open_keys`.
    """
    with _plainly(folder):
        _check_folder(folder)
        if _numbers(folder)[:1] == [newest]:
            _create(_signing_file(folder, newest + 1), _fresh_pem)
        for number in _numbers(folder)[ALIVE:]:
            with suppress(FileNotFoundError):
                os.unlink(_signing_file(folder, number))
        return read_keys(folder)


def _numbers(folder: Path) -> list[int]:
    """The numbers of the signing keys, highest first."""
    found = (_SIGNING.fullmatch(name) for name in os.listdir(folder))
    return sorted((int(match[1]) for match in found if match), reverse=True)


def _signing_file(folder: Path, number: int) -> Path:
    return folder / f"signing-{number:04d}.pem"


def _fresh_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _create(path: Path, content: Callable[[], bytes]) -> None:
    """Make *path*, whole and on disk, unless it is there already."""
    draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was first: its file is the one
            os.link(draft, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read_signing(folder: Path, number: int) -> SigningKey:
    path = _signing_file(folder, number)
    content, made_at_s = _read_private(path)
    try:
        private = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as problem:
        raise KeysUnfit(f"{path} is not a private key in PEM form; restore it from a backup or delete it") from problem
    if not isinstance(private, Ed25519PrivateKey):
        raise KeysUnfit(f"{path} is not an Ed25519 key; delete it and a new one is made")
    public = private.public_key()
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    x = _base64url(raw)
    thumbprint = sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
    return SigningKey(_base64url(thumbprint[:12]), number, private, public, x, made_at_s)


def _read_secret(path: Path) -> bytes:
    content, _ = _read_private(path)
    try:
        secret = bytes.fromhex(content.decode("ascii"))
    except ValueError as problem:
        raise KeysUnfit(f"{path} is not a secret in hexadecimal; restore it from a backup or delete it") from problem
    if len(secret) != SECRET_BYTES:
        raise KeysUnfit(f"{path} does not hold {SECRET_BYTES} bytes; restore it from a backup or delete it")
    return secret


def _read_private(path: Path) -> tuple[bytes, float]:
    """A file's content and the time it was made, if nobody else may read or write it."""
    with open(path, "rb") as file:
        found = os.fstat(file.fileno())
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise KeysUnfit(
                f"{path} may be read or written by others (mode {stat.S_IMODE(found.st_mode):04o}): "
                f"run 'chmod 600 {path}', or delete it if others may have copied it"
            )
        return file.read(65_536), found.st_mtime


def _check_folder(folder: Path) -> None:
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o022:  # who may write here may put a key of their own in
        raise KeysUnfit(f"{folder} may be written by others (mode {mode:04o}): run 'chmod 700 {folder}'")


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


class _plainly:
    """Turns the operating system's refusals into one plain sentence."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, where: object) -> None:
        if isinstance(problem, OSError):
            raise KeysUnfit(
                f"the keys folder {self._folder} cannot be used: {problem.strerror} ({problem.filename})"
            ) from problem
