"""Accounts keep their promises on the real database: one account an address, one good refresh token a sign-in."""

import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import trio
from hypothesis import HealthCheck, given, settings, strategies as st

from konnect_server.actions import accounts as module
from konnect_server.actions.accounts import Accounts
from konnect_server.actions.passwords import HashCost, Passwords
from konnect_server.actions.refresh_tokens import GRACE_MS, RefreshToken, Verdict, derive, judge, parse
from konnect_server.tokens import Tokens
from protocol.errors import BadCredentials, EmailTaken, Invalid, Unauthorized, Unavailable, UnknownUser
from protocol.frames import User
from protocol.http import Login, Register, SignedIn, encode_json
from storage import accounts as rows
from storage.accounts import SIGN_INS, SignIn
from storage.database import Database, Transaction, open_database
from storage.errors import StorageUnavailable

QUICK = HashCost(rounds=1, memory_kib=8, lanes=1)
ANN = Register("ann@example.com", "correct horse", "Ann")
IDLE_MS = module.IDLE_S * 1000


class CountingPasswords(Passwords):
    """The true ones; remembers what was compared with what."""

    def __init__(self, cost: HashCost = QUICK, **bounds: int) -> None:
        super().__init__(cost, **bounds)
        self.compared: list[str] = []
        self.hashed = 0

    def _matches(self, password_hash: str, password: bytes) -> bool:
        self.compared.append(password_hash)
        return super()._matches(password_hash, password)

    async def hash(self, password: str) -> str:
        self.hashed += 1
        return await super().hash(password)


class House:
    """The rules, and what they told."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.tokens = Tokens(folder / "keys")
        self.passwords = CountingPasswords()
        self.told: list[tuple[UUID, UUID]] = []
        self.accounts = self.restarted()

    def restarted(self, *, database: Database | None = None, passwords: Passwords | None = None) -> Accounts:
        """Another process on the same database and keys."""
        return Accounts(
            database or self.database, self.tokens, passwords or self.passwords,
            new_id=uuid4, signed_out=lambda sign_in, user: self.told.append((sign_in, user)),
        )  # fmt: skip

    async def row(self, signed_in: SignedIn) -> SignIn:
        """The sign-in as it is stored."""
        async with self.database.transaction() as tx:
            found = await rows.lock_sign_in(tx, family(signed_in))
        assert found is not None
        return found[0]

    async def let_pass(self, signed_in: SignedIn, ms: int) -> None:
        """Move the sign-in's last use into the past."""
        await self.database.execute(
            "update sign_in set used_at_ms = used_at_ms - %s where id = %s", ms, family(signed_in)
        )


@pytest.fixture
def house(database: Database, tmp_path: Path) -> House:
    return House(database, tmp_path)


def family(signed_in: SignedIn) -> UUID:
    """Which sign-in an answer belongs to."""
    token = parse(signed_in.refresh_token)
    assert token is not None
    return token.family


# --- Register and login -----------------------------------------------------------------------------------------------


async def test_who_registers_is_signed_in_and_may_sign_in_again(house: House) -> None:
    first = await house.accounts.register(ANN)
    assert (first.user.email, first.user.name, first.expires_in_s) == ("ann@example.com", "Ann", 900)
    claims = house.tokens.verify(first.access_token)
    assert (claims.user, claims.sign_in) == (first.user.id, family(first))
    again = await house.accounts.login(Login("ann@example.com", "correct horse"))
    assert again.user == first.user == await house.accounts.me(house.tokens.verify(again.access_token))
    assert family(again) != family(first)
    assert await house.accounts.user(first.user.id) == User(first.user.id, "Ann")


async def test_blanks_and_case_do_not_make_another_account(house: House) -> None:
    first = await house.accounts.register(Register(" Ann.Lee@Example.COM\n", "correct horse", "  Ann Lee "))
    assert (first.user.email, first.user.name) == ("Ann.Lee@Example.COM", "Ann Lee")
    assert (await house.accounts.login(Login("ann.lee@example.com ", "correct horse"))).user == first.user
    with pytest.raises(EmailTaken):
        await house.accounts.register(Register("ANN.LEE@EXAMPLE.COM", "another horse", "Somebody"))


async def test_two_that_register_one_address_at_once_make_one_account(house: House) -> None:
    made, refused = [], []

    async def register() -> None:
        try:
            made.append(await house.accounts.register(ANN))
        except EmailTaken as problem:
            refused.append(problem)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(register)
    assert (len(made), len(refused)) == (1, 4)
    assert await house.database.fetch_one("select count(*) from account") == (1,)
    assert await house.database.fetch_one("select count(*) from sign_in") == (1,)


async def test_an_unknown_address_and_a_wrong_password_look_alike_and_cost_alike(house: House) -> None:
    """Each costs one comparison, with a hash of the same parameters; else its time would tell who has an account."""
    await house.accounts.register(ANN)
    problems = []
    for wanted in (Login("ann@example.com", "wrong horse"), Login("nobody@example.com", "correct horse")):
        with pytest.raises(BadCredentials) as caught:
            await house.accounts.login(wanted)
        problems.append(str(caught.value))
    assert problems[0] == problems[1]
    wrong, unknown = house.passwords.compared
    assert wrong.rsplit("$", 2)[0] == unknown.rsplit("$", 2)[0]
    assert [len(part) for part in wrong.split("$")] == [len(part) for part in unknown.split("$")]
    assert house.passwords.hashed == 1  # the registration


async def test_a_hash_is_argon2id_and_is_renewed_when_its_cost_changed(house: House) -> None:
    first = await house.accounts.register(ANN)
    stored = await house.database.fetch_one("select password_hash from account where id = %s", first.user.id)
    assert stored is not None
    assert stored[0].startswith("$argon2id$v=19$m=8,t=1,p=1$")
    dearer = house.restarted(passwords=Passwords(HashCost(rounds=2, memory_kib=16, lanes=1)))
    await dearer.login(Login("ann@example.com", "correct horse"))
    renewed = await house.database.fetch_one("select password_hash from account where id = %s", first.user.id)
    assert renewed is not None
    assert renewed[0].startswith("$argon2id$v=19$m=16,t=2,p=1$")
    await dearer.login(Login("ann@example.com", "correct horse"))
    assert await house.database.fetch_one("select password_hash from account where id = %s", first.user.id) == renewed


async def test_the_default_cost_is_that_of_rfc_9106() -> None:
    password_hash = await Passwords().hash("correct horse")
    assert password_hash.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


async def test_the_same_letters_are_the_same_password_however_they_were_typed(house: House) -> None:
    composed, apart, wide = "caf\u00e9 au lait", "cafe\u0301 au lait", "\uff43af\u00e9\u00a0au lait"
    await house.accounts.register(Register("ann@example.com", composed, "Ann"))
    for typed in (composed, apart, wide):
        await house.accounts.login(Login("ann@example.com", typed))
    for other in (composed + " ", composed.upper(), "cafe au lait"):
        with pytest.raises(BadCredentials):
            await house.accounts.login(Login("ann@example.com", other))


async def test_a_password_that_grows_beyond_its_bytes_is_refused(house: House) -> None:
    """U+FDFA becomes 18 characters under NFKC."""
    long = "\ufdfa" * 256
    assert len(unicodedata.normalize("NFKC", long)) > 1024
    with pytest.raises(Invalid, match="longer than 1024 bytes"):
        await house.accounts.register(Register("ann@example.com", long, "Ann"))
    with pytest.raises(Invalid, match="longer than 1024 bytes"):
        await house.accounts.login(Login("ann@example.com", long))
    await house.accounts.register(Register("bob@example.com", "\U0001f600" * 256, "Bob"))
    await house.accounts.login(Login("bob@example.com", "\U0001f600" * 256))


decode_register = msgspec.json.Decoder(Register).decode


@given(
    email=st.from_regex(r"[^\s@]{1,20}@[^\s@.]{1,10}\.[^\s@.]{1,10}", fullmatch=True),
    password=st.text(min_size=8, max_size=40),
    name=st.text(min_size=1, max_size=100),
    device=st.text(max_size=64),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_a_body_may_hold_can_be_stored(
    dsn: str, tmp_path: Path, email: str, password: str, name: str, device: str
) -> None:
    """One text that PostgreSQL cannot take would be an internal error; the types must refuse it first."""
    body = {"email": email, "password": password, "name": name, "device": device}
    try:
        wanted = decode_register(encode_json(body))
    except (msgspec.ValidationError, UnicodeEncodeError):
        return
    async with open_database(dsn) as database:  # not the fixture: pytest-trio mixes up those of two examples
        accounts = House(database, tmp_path).accounts
        try:
            made = await accounts.register(wanted)
        except EmailTaken:
            return
        assert made.user.email == module.tidy_email(email)
        assert (await accounts.login(Login(wanted.email, wanted.password))).user == made.user


@pytest.mark.parametrize(
    "email",
    [
        "ann", "ann@", "@example.com", "ann@example", "ann@example.", "ann@.com", "ann@a..b", "a b@example.com",
        "ann@exam ple.com", "ann@@example.com", "ann@b@example.com", "", " ", "ann\u0000@example.com",
        "ann@example.com\u0000", "a" * 65 + "@example.com", "ann@" + "e" * 250 + ".com", "ann\u007f@example.com",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_register(encode_json({"email": email, "password": "correct horse", "name": "Ann"}))


@pytest.mark.parametrize(
    "email", ["a@b.co", "ann+tag@mail.example.co.uk", "münchen@büro.example", "ann@xn--bro-hoa.example", "o'hara@x.org"]
)
def test_what_is_an_address_is_taken(email: str) -> None:
    assert decode_register(encode_json({"email": email, "password": "correct horse", "name": "Ann"})).email == email


@pytest.mark.parametrize("name", ["", " ", "\u00a0", "a\u0000b", "a\nb", "\u001b[31m", "a" * 101])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_register(encode_json({"email": "a@b.co", "password": "correct horse", "name": name}))


# --- Passwords in threads ---------------------------------------------------------------------------------------------


class SlowPasswords(Passwords):
    """Comparisons that end when the test says so."""

    def __init__(self, at_a_time: int, waiting: int) -> None:
        super().__init__(QUICK, at_a_time=at_a_time, waiting=waiting)
        self.send, self.ended = trio.open_memory_channel[None](100)
        self.inside = self.most = 0

    def _matches(self, password_hash: str, password: bytes) -> bool:
        trio.from_thread.run_sync(self._enter)
        trio.from_thread.run(self.ended.receive)
        trio.from_thread.run_sync(self._leave)
        return True

    def _enter(self) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)

    def _leave(self) -> None:
        self.inside -= 1


async def test_few_passwords_are_hashed_at_a_time_few_wait_and_the_rest_is_told_to_come_back() -> None:
    passwords = SlowPasswords(at_a_time=2, waiting=3)
    answers: list[bool] = []

    async def verify() -> None:
        answers.append(await passwords.verify("$hash", "password"))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(verify)
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(Unavailable, match="too many people sign in"):
            await passwords.verify("$hash", "password")
        for _ in range(5):
            passwords.send.send_nowait(None)
    assert answers == [True] * 5
    assert passwords.most == 2
    passwords.send.send_nowait(None)
    assert await passwords.verify("$hash", "password")


async def test_a_client_that_goes_away_gives_its_place_back_and_does_not_free_the_thread() -> None:
    passwords = SlowPasswords(at_a_time=1, waiting=0)
    with trio.move_on_after(0.05) as gone:
        await passwords.verify("$hash", "password")
    assert gone.cancelled_caught
    assert passwords._inside == 0
    assert passwords._threads.borrowed_tokens == 1  # the memory is still in use
    passwords.send.send_nowait(None)
    passwords.send.send_nowait(None)
    assert await passwords.verify("$hash", "password")
    assert passwords.most == 1


async def test_a_stored_hash_that_is_damaged_matches_nothing() -> None:
    passwords = Passwords(QUICK)
    for damaged in ("", "$argon2id$", "plain", "$argon2id$v=19$m=8,t=1,p=1$AAAA$"):
        assert not await passwords.verify(damaged, "password")


# --- Refresh ----------------------------------------------------------------------------------------------------------


async def test_each_refresh_gives_the_next_token_and_the_same_person(house: House) -> None:
    signed_in = await house.accounts.register(ANN)
    seen = {signed_in.refresh_token}
    for _ in range(5):
        newer = await house.accounts.refresh(signed_in.refresh_token)
        assert newer.user == signed_in.user
        assert family(newer) == family(signed_in)
        assert newer.refresh_token not in seen
        assert house.tokens.verify(newer.access_token).user == signed_in.user.id
        seen.add(newer.refresh_token)
        signed_in = newer
    assert (await house.row(signed_in)).counter == 5


async def test_only_hashes_of_refresh_tokens_are_stored(house: House) -> None:
    signed_in = await house.accounts.register(ANN)
    await house.accounts.refresh(signed_in.refresh_token)
    dump = await house.database.fetch_one("select string_agg(s::text, ' ') from sign_in s")
    token = parse(signed_in.refresh_token)
    assert dump is not None
    assert token is not None
    assert token.hash().hex() in dump[0]
    assert token.mac.hex() not in dump[0]
    assert signed_in.refresh_token not in dump[0]


async def test_a_lost_answer_is_given_again_within_a_minute(house: House) -> None:
    """The network dropped the answer; the client has only the old token and must not be taken for a thief."""
    first = await house.accounts.register(ANN)
    lost = await house.accounts.refresh(first.refresh_token)
    await house.let_pass(first, GRACE_MS - 5_000)
    again = await house.restarted().refresh(first.refresh_token)
    assert again.refresh_token == lost.refresh_token
    assert house.tokens.verify(again.access_token).sign_in == family(first)
    assert (await house.row(first)).counter == 1
    assert (await house.accounts.refresh(again.refresh_token)).user == first.user
    assert house.told == []


async def test_an_answer_that_the_database_lost_is_given_again(house: House) -> None:
    """The commit happened, its confirmation did not arrive: the client hears 503 and repeats."""

    class Lossy(Database):
        lose = True

        @asynccontextmanager
        async def transaction(self, *, timeout_s: float | None = None) -> AsyncIterator[Transaction]:
            async with house.database.transaction(timeout_s=timeout_s) as tx:
                yield tx
            if self.lose:
                self.lose = False
                raise StorageUnavailable("the connection was lost")

    first = await house.accounts.register(ANN)
    lossy = house.restarted(database=Lossy(house.database.dsn, 1, 5, "lossy"))
    with pytest.raises(StorageUnavailable):
        await lossy.refresh(first.refresh_token)
    again = await lossy.refresh(first.refresh_token)
    assert (await house.row(first)).counter == 1
    await lossy.refresh(again.refresh_token)


async def test_many_refreshes_with_one_token_at_once_make_one_rotation(house: House) -> None:
    first = await house.accounts.register(ANN)
    answers: list[SignedIn] = []

    async def refresh(accounts: Accounts) -> None:
        answers.append(await accounts.refresh(first.refresh_token))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(refresh, house.accounts)
            nursery.start_soon(refresh, house.restarted())
    assert len({answer.refresh_token for answer in answers}) == 1
    assert (await house.row(first)).counter == 1
    assert house.told == []


async def ends_all(house: House, stolen: str, signed_in: SignedIn) -> None:
    """*stolen* must end the sign-in for everybody who has a token of it."""
    with pytest.raises(Unauthorized, match="used before"):
        await house.accounts.refresh(stolen)
    assert house.told == [(family(signed_in), signed_in.user.id)]
    with pytest.raises(Unauthorized, match="was ended"):
        await house.accounts.refresh(signed_in.refresh_token)
    with pytest.raises(Unauthorized, match="was ended"):
        house.tokens.verify(signed_in.access_token)
    assert len(house.told) == 1
    assert not await rows.is_live(house.database, family(signed_in))


async def test_a_token_used_up_two_rotations_ago_ends_the_sign_in(house: House) -> None:
    first = await house.accounts.register(ANN)
    second = await house.accounts.refresh(first.refresh_token)
    third = await house.accounts.refresh(second.refresh_token)
    await ends_all(house, first.refresh_token, third)
    assert (await house.accounts.login(Login("ann@example.com", "correct horse"))).user == first.user


async def test_the_last_token_after_its_minute_ends_the_sign_in(house: House) -> None:
    first = await house.accounts.register(ANN)
    second = await house.accounts.refresh(first.refresh_token)
    await house.let_pass(first, GRACE_MS + 1)
    await ends_all(house, first.refresh_token, second)


async def test_a_sign_in_that_is_not_used_for_thirty_days_ends(house: House) -> None:
    first = await house.accounts.register(ANN)
    await house.let_pass(first, IDLE_MS - 60_000)
    second = await house.accounts.refresh(first.refresh_token)
    await house.let_pass(first, IDLE_MS + 1)
    with pytest.raises(Unauthorized, match="not used for too long"):
        await house.accounts.refresh(second.refresh_token)


async def test_a_forged_token_is_refused_and_ends_nothing(house: House) -> None:
    """Who knows a sign-in's id (it stands in each access token) must not be able to end it."""
    first = await house.accounts.register(ANN)
    row = await house.row(first)
    good = derive(house.tokens.refresh_secret, row.basis, row.id, 0)
    forged = [
        RefreshToken(row.id, 0, bytes(32)),
        RefreshToken(row.id, 1, good.mac),
        derive(bytes(32), row.basis, row.id, 0),
        derive(house.tokens.refresh_secret, bytes(32), row.id, 0),
        derive(house.tokens.refresh_secret, row.basis, row.id, 1),  # not given out yet
        RefreshToken(uuid4(), 0, good.mac),
    ]
    for token in forged:
        with pytest.raises(Unauthorized):
            await house.accounts.refresh(token.text())
        if token.family == row.id:
            with pytest.raises(Unauthorized):
                await house.accounts.logout(token.text(), None)
    assert (await house.accounts.refresh(first.refresh_token)).user == first.user
    assert house.told == []


@pytest.mark.parametrize(
    "change",
    [
        str.upper, lambda text: text + "=", lambda text: text + "A", lambda text: text[:-1], lambda text: " " + text,
        lambda text: text[4:], lambda text: text[:-1] + chr(ord(text[-1]) + 1),
        lambda text: text[:10] + "é" + text[11:], lambda text: text[:10] + "!" + text[11:],
        lambda _: "", lambda _: "kr1.",
    ],
)  # fmt: skip
async def test_a_refresh_token_has_one_spelling(house: House, change: Callable[[str], str]) -> None:
    first = await house.accounts.register(ANN)
    with pytest.raises(Unauthorized):
        await house.accounts.refresh(change(first.refresh_token))
    await house.accounts.refresh(first.refresh_token)


@given(
    family=st.uuids(), counter=st.integers(0, 2**31 - 1), secret=st.binary(min_size=32, max_size=32),
    basis=st.binary(min_size=32, max_size=32),
)  # fmt: skip
def test_a_refresh_token_survives_its_text(family: UUID, counter: int, secret: bytes, basis: bytes) -> None:
    token = derive(secret, basis, family, counter)
    assert parse(token.text()) == token
    assert len(token.text()) == 74


@given(st.text())
def test_any_text_is_a_token_or_is_not(text: str) -> None:
    assert parse(text) is None
    assert parse("kr1." + text) is None or len(text) == 70


class Model:
    """What a sign-in should do, said as a list of tokens: nothing of hashes and counters."""

    def __init__(self) -> None:
        self.given: list[int] = [0]
        self.rotated_at = 0
        self.ended = False

    def expected(self, index: int, now: int) -> Verdict:
        """The verdict on the token given out *index*-th."""
        if self.ended:
            return Verdict.ENDED
        if now - self.rotated_at > IDLE_MS:
            return Verdict.IDLE
        if index == len(self.given) - 1:
            return Verdict.ROTATE
        if index == len(self.given) - 2 and now - self.rotated_at <= GRACE_MS:
            return Verdict.REPEAT
        return Verdict.REUSE


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 100), st.sampled_from([0, 1, 1_000, GRACE_MS, GRACE_MS + 1, IDLE_MS, IDLE_MS + 1])),
        max_size=30,
    )
)
def test_the_verdict_is_the_model_s_whatever_comes_when(steps: list[tuple[int, int]]) -> None:
    secret, basis, sign_in, user = b"s" * 32, b"b" * 32, uuid4(), uuid4()
    model, now = Model(), 0
    row = SignIn(sign_in, user, basis, 0, derive(secret, basis, sign_in, 0).hash(), None, 0, False, 0)
    for choice, later in steps:
        now += later
        index = choice % len(model.given)
        row = msgspec.structs.replace(row, now_ms=now)
        token = derive(secret, basis, sign_in, index)
        verdict = judge(row, token, secret, IDLE_MS)
        assert verdict is model.expected(index, now)
        if verdict is Verdict.ROTATE:
            model.given.append(len(model.given))
            model.rotated_at = now
            row = msgspec.structs.replace(
                row, counter=row.counter + 1, previous_hash=row.token_hash, used_at_ms=now,
                token_hash=derive(secret, basis, sign_in, row.counter + 1).hash(),
            )  # fmt: skip
        elif verdict is Verdict.REUSE:
            model.ended = True
            row = msgspec.structs.replace(row, ended=True)


async def test_a_lost_secret_costs_nobody_the_sign_in(house: House, tmp_path: Path) -> None:
    """The newest token is known by its hash; older ones, without the secret, are strangers and end nothing."""
    first = await house.accounts.register(ANN)
    second = await house.accounts.refresh(first.refresh_token)
    (tmp_path / "keys" / "refresh.secret").unlink()
    house.tokens = Tokens(tmp_path / "keys")
    restarted = house.restarted()
    with pytest.raises(Unauthorized, match="not a refresh token of this server"):
        await restarted.refresh(first.refresh_token)  # its answer cannot be derived any more
    third = await restarted.refresh(second.refresh_token)
    fourth = await restarted.refresh(third.refresh_token)
    with pytest.raises(Unauthorized, match="not a refresh token of this server"):
        await restarted.refresh(first.refresh_token)
    assert (await restarted.refresh(fourth.refresh_token)).user == first.user
    assert house.told == []


# --- Sign out ---------------------------------------------------------------------------------------------------------


async def test_signing_out_by_refresh_token_ends_that_sign_in_alone_and_may_be_repeated(house: House) -> None:
    first = await house.accounts.register(ANN)
    other = await house.accounts.login(Login("ann@example.com", "correct horse"))
    for _ in range(2):
        await house.accounts.logout(first.refresh_token, None)
    assert house.told == [(family(first), first.user.id)]
    with pytest.raises(Unauthorized, match="was ended"):
        await house.accounts.refresh(first.refresh_token)
    with pytest.raises(Unauthorized, match="was ended"):
        house.tokens.verify(first.access_token)
    assert await rows.is_live(house.database, family(other))
    await house.accounts.me(house.tokens.verify(other.access_token))


async def test_an_older_refresh_token_signs_out_too(house: House) -> None:
    """The client that signs out may be the one that never got its last answer."""
    first = await house.accounts.register(ANN)
    await house.accounts.refresh(first.refresh_token)
    await house.accounts.logout(first.refresh_token, None)
    assert house.told == [(family(first), first.user.id)]


async def test_signing_out_by_bearer_token_alone(house: House) -> None:
    first = await house.accounts.register(ANN)
    claims = house.tokens.verify(first.access_token)
    for _ in range(2):
        await house.accounts.logout(None, claims)
    assert house.told == [(family(first), first.user.id)]
    with pytest.raises(Unauthorized):
        await house.accounts.refresh(first.refresh_token)


async def test_signing_out_of_nothing_is_refused(house: House) -> None:
    for text in (None, "junk"):
        with pytest.raises(Unauthorized):
            await house.accounts.logout(text, None)


async def test_signing_out_of_what_was_forgotten_is_done(house: House) -> None:
    first = await house.accounts.register(ANN)
    await house.database.execute("delete from sign_in")
    await house.accounts.logout(first.refresh_token, None)
    with pytest.raises(Unauthorized, match="no such sign-in"):
        await house.accounts.refresh(first.refresh_token)
    assert house.told == []


async def test_a_sign_out_at_another_process_is_seen_by_me(house: House, tmp_path: Path) -> None:
    first = await house.accounts.register(ANN)
    elsewhere = Accounts(
        house.database, Tokens(tmp_path / "keys"), house.passwords, new_id=uuid4, signed_out=lambda *_: None
    )
    await elsewhere.logout(first.refresh_token, None)
    claims = house.tokens.verify(first.access_token)  # this process does not know yet
    with pytest.raises(Unauthorized, match="was ended"):
        await house.accounts.me(claims)
    with pytest.raises(Unauthorized, match="was ended"):
        house.tokens.verify(first.access_token)


async def test_sign_ins_of_one_account_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended ones are forgotten first; then the one used longest ago ends, and the server is told."""
    monkeypatch.setattr(rows, "SIGN_INS", 3)
    assert SIGN_INS == 100
    login = Login("ann@example.com", "correct horse")
    first = await house.accounts.register(ANN)
    second = await house.accounts.login(login)
    third = await house.accounts.login(login)
    await house.accounts.logout(second.refresh_token, None)
    house.told.clear()
    fourth = await house.accounts.login(login)
    assert house.told == []
    await house.let_pass(third, 1_000)
    await house.let_pass(first, 500)
    await house.accounts.login(login)
    assert house.told == [(family(third), first.user.id)]
    with pytest.raises(Unauthorized, match="was ended"):
        house.tokens.verify(third.access_token)
    assert await house.database.fetch_one("select count(*) from sign_in") == (3,)
    await house.accounts.refresh(fourth.refresh_token)


async def test_nobody_is_found_by_an_unknown_id(house: House) -> None:
    with pytest.raises(UnknownUser):
        await house.accounts.user(uuid4())


async def test_raising_a_person_s_number_is_a_heap_only_update(house: House) -> None:
    """The migration leaves room in the page and no index on the number, or each change would touch every index."""
    first = await house.accounts.register(ANN)
    for _ in range(20):
        await house.database.execute("update account set number = number + 1 where id = %s", first.user.id)
    row: tuple[Any, ...] | None = await house.database.fetch_one("select pg_stat_force_next_flush()")
    assert row is not None
    row = await house.database.fetch_one(
        "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'account'"
    )
    assert row is not None
    assert row[0] == row[1]
