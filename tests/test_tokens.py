"""Access tokens: only this server's, only in time, only while the sign-in lives; and keys that can be changed."""

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, strategies as st

from konnect_server import tokens as module
from konnect_server.remembered import Claims, Remembered
from konnect_server.tokens import Tokens
from protocol.errors import Unauthorized
from protocol.http import encode_json
from storage.keys import Keys, KeysUnfit, open_keys, read_keys, rotate_keys

ANN, PHONE = uuid4(), uuid4()


class Clock:
    """Unix seconds, moved by hand."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def tokens(keys: Path, clock: Clock) -> Tokens:
    return Tokens(keys, clock=clock)


def refused(tokens: Tokens, token: str) -> str:
    """Why *token* is refused."""
    with pytest.raises(Unauthorized) as caught:
        tokens.verify(token)
    return str(caught.value)


def signed(keys: Path, clock: Clock, **changes: object) -> str:
    """A token by the true key, whose claims differ from ours by *changes* (None: left out)."""
    key = read_keys(keys).signing[0]
    claims: dict[str, object] = {
        "iss": "konnect", "aud": "konnect", "sub": str(ANN), "sid": str(PHONE),
        "iat": int(clock.now), "exp": int(clock.now) + 900, "jti": "1", **changes,
    }  # fmt: skip
    headers = {"kid": key.kid}
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, key.private, "EdDSA", headers)


def test_a_signed_token_says_who_which_sign_in_and_until_when(tokens: Tokens, clock: Clock) -> None:
    assert tokens.verify(tokens.sign(ANN, PHONE)) == Claims(ANN, PHONE, int(clock.now) + 900)


def test_the_claims_are_those_that_are_promised(tokens: Tokens, clock: Clock) -> None:
    token = tokens.sign(ANN, PHONE, 7)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert set(claims) == {"iss", "aud", "sub", "sid", "iat", "exp", "jti"}
    assert (claims["iss"], claims["aud"], claims["sub"], claims["sid"]) == ("konnect", "konnect", str(ANN), str(PHONE))
    assert claims["exp"] - claims["iat"] == 900
    clock.now += 1
    assert jwt.decode(tokens.sign(ANN, PHONE, 7), options={"verify_signature": False})["jti"] != claims["jti"]


def test_a_token_verifies_with_the_published_keys_alone(tokens: Tokens) -> None:
    published = jwt.PyJWKSet.from_json(encode_json(tokens.jwks()).decode())
    token = tokens.sign(ANN, PHONE)
    key = published[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(
        token, key, algorithms=["EdDSA"], audience="konnect", issuer="konnect",
        options={"verify_exp": False, "verify_iat": False},
    )  # fmt: skip
    assert claims["sub"] == str(ANN)


def test_a_token_ends_with_its_time_also_when_it_is_remembered(tokens: Tokens, clock: Clock) -> None:
    token, unseen = tokens.sign(ANN, PHONE), tokens.sign(ANN, PHONE, 1)
    clock.now += 899
    tokens.verify(token)
    clock.now += 1
    assert refused(tokens, token) == refused(tokens, unseen) == "the access token is out of time; refresh it"


def test_a_token_of_an_ended_sign_in_is_refused_at_once_and_others_are_not(tokens: Tokens) -> None:
    remembered, unseen, other = tokens.sign(ANN, PHONE), tokens.sign(ANN, PHONE, 1), tokens.sign(ANN, uuid4())
    tokens.verify(remembered)
    tokens.end(PHONE)
    assert refused(tokens, remembered) == refused(tokens, unseen) == "this sign-in was ended; sign in again"
    tokens.verify(other)


def test_ended_sign_ins_are_forgotten_once_their_last_token_is_out_of_time(tokens: Tokens, clock: Clock) -> None:
    for _ in range(10):
        tokens.end(uuid4())
    tokens.end(PHONE)
    tokens.end(PHONE)
    assert len(tokens._ended) == 11
    clock.now += 900 + module.SKEW_S + 1
    tokens.end(uuid4())
    assert len(tokens._ended) == 1


def test_ended_sign_ins_are_bounded(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ENDED", 5)
    for _ in range(50):
        tokens.end(uuid4())
    assert len(tokens._ended) == 5


def test_remembered_tokens_are_bounded_and_refused_ones_are_not_remembered(keys: Path, clock: Clock) -> None:
    tokens = Tokens(keys, clock=clock, remembered=3)
    given = [tokens.sign(ANN, PHONE, serial) for serial in range(10)]
    for token in given:
        tokens.verify(token)
        refused(tokens, f"junk {token}")
    assert sum(tokens._remembered.find(Remembered.digest(token)) is not None for token in given) == 4
    assert tokens._remembered.find(Remembered.digest(given[-1])) is not None
    assert tokens._remembered.find(Remembered.digest(f"junk {given[-1]}")) is None


def test_a_token_seen_before_is_not_verified_again(
    tokens: Tokens, keys: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = signed(keys, clock)
    first = tokens.verify(token)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the signature was checked a second time")

    monkeypatch.setattr(tokens, "_verify", never)
    assert tokens.verify(token) == first


def test_a_token_just_signed_is_known(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sign-in is mostly followed by a hello to the same process."""
    token = tokens.sign(ANN, PHONE)
    assert tokens.sign(ANN, PHONE) == token
    monkeypatch.setattr(tokens, "_verify", None)
    assert tokens.verify(token) == Claims(ANN, PHONE, int(tokens._clock()) + 900)


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another"}, {"aud": None}, {"iss": "another"}, {"iss": None}, {"sub": None}, {"sid": None},
        {"exp": None}, {"iat": None}, {"sub": "ann"}, {"sid": 7}, {"exp": "soon"}, {"exp": 1.5}, {"iat": True},
    ],
)  # fmt: skip
def test_a_token_without_the_right_claims_is_refused(
    tokens: Tokens, keys: Path, clock: Clock, changes: dict[str, object]
) -> None:
    tokens.verify(signed(keys, clock))
    assert refused(tokens, signed(keys, clock, **changes)) == "this is not an access token of this server"


def test_a_token_from_the_future_is_refused_but_clocks_may_differ_a_little(
    tokens: Tokens, keys: Path, clock: Clock
) -> None:
    tokens.verify(signed(keys, clock, iat=int(clock.now) + module.SKEW_S))
    assert "from the future" in refused(tokens, signed(keys, clock, iat=int(clock.now) + module.SKEW_S + 1))


def test_a_token_of_another_server_is_refused(tokens: Tokens, tmp_path: Path, clock: Clock) -> None:
    other = Tokens(tmp_path / "other", clock=clock)
    assert "a key that is not in use" in refused(tokens, other.sign(ANN, PHONE))


def b64(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_classic_forgeries_are_refused(tokens: Tokens, keys: Path, clock: Clock) -> None:
    """No algorithm, another algorithm, the public key as an HMAC secret, a foreign key under our kid."""
    good = tokens.sign(ANN, PHONE)
    header, payload, signature = good.split(".")
    key = read_keys(keys).signing[0]
    foreign = Ed25519PrivateKey.generate()
    claims = jwt.decode(good, options={"verify_signature": False})
    forged = [
        f"{b64({'alg': 'none', 'kid': key.kid})}.{payload}.",
        f"{b64({'alg': 'None', 'kid': key.kid})}.{payload}.{signature}",
        jwt.encode(claims, base64.urlsafe_b64decode(key.x + "="), "HS256", {"kid": key.kid}),
        jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": key.kid}),
        jwt.encode(claims, foreign, "EdDSA", {"kid": key.kid}),
        f"{header}.{b64({**claims, 'sub': str(uuid4())})}.{signature}",
        f"{header}.{payload}.{signature[:-4]}AAAA",
        f"{header}.{payload}.",
        f"{header}.{payload}",
    ]
    for token in forged:
        said = refused(tokens, token)
        assert said == "this is not an access token of this server" or "a key that is not in use" in said


def test_a_key_named_in_the_token_itself_is_not_trusted(tokens: Tokens, clock: Clock) -> None:
    foreign = Ed25519PrivateKey.generate()
    x = b64(foreign.public_key().public_bytes_raw())
    headers = {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": x}, "jku": "https://example.com/keys"}
    refused(tokens, jwt.encode({"sub": str(ANN)}, foreign, "EdDSA", headers))


@pytest.mark.parametrize(
    "token",
    [
        "", ".", "..", "...", "a.b.c", "\ud800", "é.é.é", "\0", "a" * 5_000, b64({"alg": "EdDSA"}) + "..",
        f"{b64([])}.{b64([])}.AAAA", f"{b64({'alg': 'EdDSA', 'kid': 5})}.{b64({})}.AAAA",
        f"{b64(b'[' * 2_900)}.e30.AAAA", f"{b64(b'{' + b'1' * 2_900)}.e30.AAAA",
        f"{b64({'alg': 'EdDSA', 'kid': 'x', 'b64': False, 'crit': ['b64']})}..AAAA",
    ],
)  # fmt: skip
def test_what_is_no_token_is_refused(tokens: Tokens, token: str) -> None:
    assert refused(tokens, token)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens(tmp_path_factory.mktemp("lasting") / "keys")


@given(junk=st.text())
def test_any_text_is_verified_or_refused_and_never_more(lasting: Tokens, junk: str) -> None:
    refused(lasting, junk)


@given(position=st.integers(0, 10_000), letter=st.sampled_from("AZaz09-_.="))
def test_no_changed_letter_gives_somebody_else(lasting: Tokens, position: int, letter: str) -> None:
    token = lasting.sign(ANN, PHONE)
    position %= len(token)
    changed = token[:position] + letter + token[position + 1 :]
    try:
        claims = lasting.verify(changed)
    except Unauthorized:
        return
    assert (claims.user, claims.sign_in) == (ANN, PHONE)


# --- Rotation ---------------------------------------------------------------------------------------------------------


def test_a_token_of_the_previous_key_stays_good_and_one_of_the_key_before_that_does_not(
    tokens: Tokens, keys: Path, clock: Clock
) -> None:
    old = tokens.sign(ANN, PHONE)
    first = [key.kid for key in tokens.jwks().keys]
    tokens.rotate()
    assert [key.kid for key in tokens.jwks().keys][1:] == first
    assert jwt.get_unverified_header(tokens.sign(ANN, PHONE))["kid"] != first[0]
    tokens.verify(old)
    tokens.rotate()
    assert len(tokens.jwks().keys) == 2
    assert sorted(path.name for path in keys.iterdir()) == ["refresh.secret", "signing-0002.pem", "signing-0003.pem"]
    assert "a key that is not in use" in refused(Tokens(keys, clock=clock), old)


def test_another_process_that_rotated_is_understood_without_a_restart(tokens: Tokens, keys: Path, clock: Clock) -> None:
    other = Tokens(keys, clock=clock)
    other.rotate()
    assert tokens.verify(other.sign(ANN, PHONE)).user == ANN
    assert tokens.jwks() == other.jwks()


def test_unknown_keys_do_not_make_us_read_the_disk_each_time(
    tokens: Tokens, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of tokens of another server must not become a flood of reads."""
    looks = []

    def look(folder: Path) -> Keys:
        looks.append(folder)
        return read_keys(folder)

    monkeypatch.setattr(module, "read_keys", look)
    other = Tokens(tmp_path / "other", clock=clock)
    for serial in range(100):
        refused(tokens, other.sign(ANN, PHONE, serial))
    assert len(looks) == 1
    clock.now += 2
    refused(tokens, other.sign(ANN, PHONE))
    assert len(looks) == 2


def test_a_damaged_folder_does_not_break_what_works(tokens: Tokens, keys: Path, tmp_path: Path, clock: Clock) -> None:
    good = tokens.sign(ANN, PHONE)
    foreign = Tokens(tmp_path / "other", clock=clock).sign(ANN, PHONE)
    (keys / "signing-0001.pem").chmod(0o644)
    assert "a key that is not in use" in refused(tokens, foreign)
    assert tokens.verify(good).user == ANN


def test_the_key_is_changed_when_it_is_old_and_only_then(tokens: Tokens, keys: Path, clock: Clock) -> None:
    kid = tokens.jwks().keys[0].kid
    os.utime(keys / "signing-0001.pem", (clock.now - 50, clock.now - 50))
    assert not tokens.rotate_if_older(60)
    assert tokens.jwks().keys[0].kid == kid
    clock.now += 20
    assert tokens.rotate_if_older(60)
    assert [key.kid for key in tokens.jwks().keys][1:] == [kid]


def test_two_processes_that_rotate_at_once_make_one_key(keys: Path) -> None:
    newest = open_keys(keys).signing[0].number
    first, second = rotate_keys(keys, newest), rotate_keys(keys, newest)
    assert [key.kid for key in first.signing] == [key.kid for key in second.signing]
    assert first.signing[0].number == newest + 1


# --- The folder -------------------------------------------------------------------------------------------------------


def test_keys_are_made_on_first_start_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "keys"
    before = os.umask(0)
    try:
        made = open_keys(folder)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        "signing-0001.pem": 0o600, "refresh.secret": 0o600,
    }  # fmt: skip
    again = open_keys(folder)
    assert again.refresh_secret == made.refresh_secret
    assert [key.x for key in again.signing] == [key.x for key in made.signing]


def test_processes_that_start_at_once_end_with_the_same_keys(tmp_path: Path) -> None:
    """The first start of several workers, each in a process of its own, let go by one gun."""
    script = (
        "import sys; from pathlib import Path; from storage.keys import open_keys\n"
        "print('ready', flush=True); sys.stdin.read()\n"
        "keys = open_keys(Path(sys.argv[1])); print(keys.signing[0].x, len(keys.signing), keys.refresh_secret.hex())"
    )
    for attempt in range(3):
        runners = [
            subprocess.Popen(
                [sys.executable, "-c", script, str(tmp_path / f"keys{attempt}")],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for _ in range(4)
        ]  # fmt: skip
        for runner in runners:
            assert runner.stdout is not None
            assert runner.stdout.readline() == "ready\n"
        for runner in runners:
            assert runner.stdin is not None
            runner.stdin.close()
        answers = []
        for runner in runners:
            assert runner.stdout is not None
            with runner.stdout:
                answers.append(runner.stdout.read())
            assert runner.wait() == 0
        assert len(set(answers)) == 1
        assert answers[0].split()[1] == "1"


@pytest.mark.parametrize("name", ["signing-0001.pem", "refresh.secret"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o610])
def test_a_file_that_others_may_read_or_write_is_refused(keys: Path, name: str, mode: int) -> None:
    open_keys(keys)
    (keys / name).chmod(mode)
    with pytest.raises(KeysUnfit, match=f"{name} may be read or written by others.*run 'chmod 600 "):
        open_keys(keys)


def test_a_folder_that_others_may_write_is_refused(keys: Path) -> None:
    open_keys(keys)
    keys.chmod(0o770)
    with pytest.raises(KeysUnfit, match=r"may be written by others \(mode 0770\): run 'chmod 700 "):
        open_keys(keys)


def test_damaged_files_are_named(keys: Path) -> None:
    open_keys(keys)
    secret = (keys / "refresh.secret").read_bytes()
    for content, sentence in ((b"\xff", "not a secret in hexadecimal"), (b"abcd", "does not hold 32 bytes")):
        (keys / "refresh.secret").write_bytes(content)
        with pytest.raises(KeysUnfit, match=sentence):
            open_keys(keys)
    (keys / "refresh.secret").write_bytes(secret)
    (keys / "signing-0001.pem").write_bytes(b"")
    with pytest.raises(KeysUnfit, match=r"signing-0001.pem is not a private key in PEM form"):
        open_keys(keys)
    curve = ec.generate_private_key(ec.SECP256R1())
    pem = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (keys / "signing-0001.pem").write_bytes(pem)
    with pytest.raises(KeysUnfit, match=r"signing-0001.pem is not an Ed25519 key"):
        open_keys(keys)


def test_a_file_in_place_of_the_folder_is_one_plain_sentence(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(KeysUnfit, match=r"the keys folder .* cannot be used: File exists"):
        open_keys(tmp_path / "keys")


def test_a_folder_without_keys_is_not_read_as_one(keys: Path) -> None:
    keys.mkdir()
    with pytest.raises(KeysUnfit, match="there are no keys in"):
        read_keys(keys)


def test_the_jwks_has_public_parts_only(tokens: Tokens) -> None:
    document = msgspec.json.decode(encode_json(tokens.jwks()))
    assert [set(key) for key in document["keys"]] == [{"kid", "x", "kty", "crv", "alg", "use"}]
