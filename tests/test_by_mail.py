"""Codes by mail, on the real database: what they are good for, and what they are not, whoever tries."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import trio

from konnect_server.actions.accounts import Accounts
from konnect_server.actions.by_mail import ByMail
from konnect_server.actions.passwords import HashCost, Passwords
from konnect_server.jobs import Again, Hopeless
from konnect_server.mail.driver import SENT, Mail, Outcome
from konnect_server.mail.postman import MailLocked, Postman
from konnect_server.one_time_codes import LIFE_MS, TRIES
from konnect_server.remembered import Claims
from konnect_server.tokens import Tokens
from protocol.errors import (
    AccountSuspended,
    BadCode,
    BadCredentials,
    EmailTaken,
    Invalid,
    NameNeeded,
    RateLimited,
    Unauthorized,
)
from protocol.http import ChangeEmail, ConfirmEmail, Login, Register, SetPassword, SignedIn, Verify
from storage import accounts as rows, jobs
from storage.database import Database

ANN = Register("ann@example.com", "correct horse", "Ann")
QUICK = HashCost(rounds=1, memory_kib=8, lanes=1)


class Box:
    """A driver that keeps what it is given, or answers as was said."""

    name = "box"

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.answers: list[Outcome] = []

    async def send(self, mail: Mail) -> Outcome:
        self.mails.append(mail)
        return self.answers.pop(0) if self.answers else SENT

    def code(self, to: str) -> str:
        """The code of the newest mail to that address."""
        mail = next(mail for mail in reversed(self.mails) if mail.to == to)
        found = re.search(r"^    (\d{6})$", mail.text, re.MULTILINE)
        assert found, mail.text
        return found[1]


class House:
    """The rules, a box for what they mail, and what they told."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.tokens, self.box = database, Tokens(folder / "keys"), Box()
        self.told: list[UUID] = []
        self.accounts = Accounts(
            database, self.tokens, Passwords(QUICK), new_id=uuid4,
            signed_out=lambda sign_in, user: self.told.append(sign_in),
        )  # fmt: skip
        self.by_mail = ByMail(self.accounts)
        self.postman = Postman(database, self.box, self.tokens.refresh_secret, "Chat")

    async def deliver(self) -> int:
        """Do the jobs that mail; how many."""
        found = await jobs.claim_jobs(self.database, ["mail"], 100, 60)
        for job in found:
            await self.postman.send(job.payload)
            await jobs.mark_done(self.database, job)
        return len(found)

    async def ask(self, email: str) -> str:
        """Ask for a code to enter; what the mail brings."""
        await self.by_mail.ask(email, "enter")
        await self.deliver()
        return self.box.code(email)

    async def verify(self, email: str, code: str, name: str | None = None) -> SignedIn:
        return (await self.by_mail.verify(Verify(email, code, name)))[0]

    async def sign_up(self, email: str = "ann@example.com", name: str = "Ann") -> SignedIn:
        """A person without a password, by a code."""
        return await self.verify(email, await self.ask(email), name)

    def claims(self, signed_in: SignedIn) -> Claims:
        return self.tokens.read(signed_in.access_token)

    async def let_pass(self, ms: int) -> None:
        """Move all codes into the past."""
        await self.database.execute("update one_time_code set ends_at_ms = ends_at_ms - %s", ms)

    async def live(self, user: UUID) -> int:
        """How many sign-ins of somebody have not ended."""
        return len(await rows.live_sign_ins(self.database, user, 10**9))


@pytest.fixture
def house(database: Database, tmp_path: Path) -> House:
    return House(database, tmp_path)


def other(code: str) -> str:
    """Another code."""
    return f"{(int(code) + 1) % 10**6:06d}"


# --- entering ---


async def test_who_signs_up_by_a_code_needs_no_password(house: House) -> None:
    made, new = await house.by_mail.verify(Verify(" Ann@Example.com", await house.ask("Ann@Example.com"), " Ann ", "p"))
    assert new
    assert (made.user.name, made.user.email, made.user.email_verified) == ("Ann", "Ann@Example.com", True)
    assert (made.user.has_password, made.user.standing, made.user.role) == (False, "active", "person")
    again, new = await house.by_mail.verify(Verify("ann@example.com", await house.ask("ann@example.com")))
    assert not new
    assert again.user == made.user
    with pytest.raises(BadCredentials):
        await house.accounts.login(Login("ann@example.com", ""))


async def test_without_a_name_nobody_is_made_and_the_code_stays_good(house: House) -> None:
    code = await house.ask("ann@example.com")
    for _ in range(TRIES + 1):
        with pytest.raises(NameNeeded):
            await house.verify("ann@example.com", code)
    assert (await house.verify("ann@example.com", code, "Ann")).user.name == "Ann"


async def test_the_code_is_nowhere_but_in_its_mail(house: House) -> None:
    """Not in the row, not in the job: who reads the database alone learns nothing, nor by trying all codes."""
    code = await house.ask("ann@example.com")
    for table in ("one_time_code", "job"):
        found = await house.database.fetch_all(f"select t::text from {table} t")
        assert found
        assert not any(re.search(rf"(?<!\d){code}(?!\d)", row[0]) for row in found)


async def test_a_code_is_good_once(house: House) -> None:
    code = await house.ask("ann@example.com")
    await house.verify("ann@example.com", code, "Ann")
    with pytest.raises(BadCode):
        await house.verify("ann@example.com", code, "Ann")


async def test_of_two_who_use_a_code_at_once_one_gets_in(house: House) -> None:
    code = await house.ask("ann@example.com")
    outcomes = await at_once(house, [code] * 6, "Ann")
    assert (outcomes.count(SignedIn), outcomes.count(BadCode)) == (1, 5)
    assert await house.database.fetch_one("select count(*) from account") == (1,)


async def test_five_tries_are_five_over_as_many_connections_as_one_likes(house: House) -> None:
    """The right code among many wrong ones at once: it is good only if fewer than five wrong ones came before it."""
    for _ in range(4):
        code = await house.ask("ann@example.com")
        wrong = [f"{n:06d}" for n in range(20) if f"{n:06d}" != code]
        await at_once(house, wrong)
        with pytest.raises(BadCode):
            await house.verify("ann@example.com", code, "Ann")
    row = await house.database.fetch_one("select hash is not null from one_time_code")
    assert row == (True,), "it was not used, and yet it is no good"


async def test_the_fifth_try_may_still_be_right(house: House) -> None:
    code = await house.ask("ann@example.com")
    for _ in range(TRIES - 1):
        with pytest.raises(BadCode):
            await house.verify("ann@example.com", other(code))
    await house.verify("ann@example.com", code, "Ann")


async def test_a_code_ends_by_the_databases_clock(house: House) -> None:
    code = await house.ask("ann@example.com")
    await house.let_pass(LIFE_MS - 5_000)
    with pytest.raises(NameNeeded):
        await house.verify("ann@example.com", code)
    await house.let_pass(5_000)
    with pytest.raises(BadCode):
        await house.verify("ann@example.com", code, "Ann")


async def test_a_new_code_ends_the_one_before_at_once(house: House) -> None:
    """Also before its mail went out; and a mail that was overtaken is not sent."""
    first = await house.ask("ann@example.com")
    await house.by_mail.ask("ann@example.com", "enter")
    with pytest.raises(BadCode):
        await house.verify("ann@example.com", first, "Ann")
    await house.by_mail.ask("ann@example.com", "enter")
    assert await house.deliver() == 2
    assert len(house.box.mails) == 2
    await house.verify("ann@example.com", house.box.code("ann@example.com"), "Ann")


async def test_a_code_for_one_purpose_is_good_for_no_other(house: House) -> None:
    ann = await house.sign_up()
    enter = await house.ask("ann@example.com")
    with pytest.raises(BadCode):
        await house.by_mail.reset(SetPassword("another horse", "ann@example.com", enter))
    await house.by_mail.ask("ann@example.com", "password")
    await house.deliver()
    password = house.box.code("ann@example.com")
    assert password != enter or pytest.skip("one in a million")
    with pytest.raises(BadCode):
        await house.verify("ann@example.com", password)
    await house.by_mail.change_email(house.claims(ann), ChangeEmail("new@example.com"))
    await house.deliver()
    moving = house.box.code("new@example.com")
    with pytest.raises(BadCode):
        await house.verify("new@example.com", moving, "Somebody")
    with pytest.raises(BadCode):
        await house.by_mail.confirm_email(house.claims(ann), ConfirmEmail(password, moving))


async def test_a_code_of_one_address_is_good_for_no_other(house: House) -> None:
    await house.sign_up()
    code = await house.ask("eve@example.com")
    await house.ask("ann@example.com")
    with pytest.raises(BadCode):
        await house.verify("ann@example.com", code)


async def test_so_many_codes_an_hour_for_each_address_known_or_not(house: House) -> None:
    await house.sign_up()
    waits = []
    for email in ("ann@example.com", "nobody@example.com"):
        with pytest.raises(RateLimited) as caught:
            for _ in range(7):
                await house.by_mail.ask(email.upper() if _ % 2 else email, "enter")
        waits.append(caught.value.retry_after_ms)
    assert all(3_500_000 < (wait or 0) <= 3_600_000 for wait in waits)
    await house.by_mail.ask("ann@example.com", "password")
    await house.database.execute("update one_time_code set since_ms = since_ms - 3600000")
    await house.by_mail.ask("ann@example.com", "enter")


class Watched:
    """What is asked of the database, statement by statement."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        from storage import database

        real: Callable[..., Any] = database._execute

        async def execute(connection: Any, sql: Any, values: Any) -> Any:
            self.said.append(" ".join(str(sql).split()))
            return await real(connection, sql, values)

        monkeypatch.setattr(database, "_execute", execute)

    def taken(self) -> list[str]:
        said, self.said = self.said, []
        return said


async def test_known_and_unknown_addresses_cost_the_same_work(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Word for word the same statements, the same answers, and for passwords as many hashes: no clock can tell."""
    await house.sign_up()
    hashed = 0
    real = house.accounts.passwords.hash

    async def hash_it(password: str) -> str:
        nonlocal hashed
        hashed += 1
        return await real(password)

    monkeypatch.setattr(house.accounts.passwords, "hash", hash_it)
    watched, works = Watched(monkeypatch), []
    for email in ("ann@example.com", "nobody@example.com"):
        answers: list[object] = [await house.by_mail.ask(email, "enter"), await house.by_mail.ask(email, "password")]
        for attempt in (
            lambda email=email: house.verify(email, "000000", "Ann"),
            lambda email=email: house.by_mail.reset(SetPassword("another horse", email, "000000")),
        ):
            with pytest.raises(BadCode) as caught:
                await attempt()
            answers.append(str(caught.value))
        works.append((answers, watched.taken(), hashed))
        hashed = 0
    assert works[0] == works[1]


async def test_a_code_is_needed_where_none_was_asked_for(house: House) -> None:
    await house.sign_up()
    for email in ("ann@example.com", "nobody@example.com"):
        with pytest.raises(BadCode):
            await house.verify(email, "000000", "Ann")


# --- confirming, and taking over ---


async def test_who_registers_confirms_the_address_by_the_code_and_keeps_everything(house: House) -> None:
    ann = await house.accounts.register(ANN)
    assert not ann.user.email_verified
    await house.deliver()
    await house.by_mail.confirm(house.claims(ann), "Ann@example.com ", house.box.code("ann@example.com"))
    me = await house.accounts.me(house.claims(ann))
    assert (me.email_verified, me.has_password) == (True, True)
    assert await house.live(ann.user.id) == 1
    assert (await house.accounts.login(Login(ANN.email, ANN.password))).user == me


async def test_only_ones_own_address_is_confirmed(house: House) -> None:
    ann = await house.accounts.register(ANN)
    await house.deliver()
    eve = await house.accounts.register(Register("eve@example.com", "correct horse", "Eve"))
    with pytest.raises(Invalid, match="not the address"):
        await house.by_mail.confirm(house.claims(eve), "ann@example.com", house.box.code("ann@example.com"))
    with pytest.raises(BadCode):
        await house.by_mail.confirm(house.claims(ann), "ann@example.com", other(house.box.code("ann@example.com")))
    assert not (await house.accounts.me(house.claims(ann))).email_verified


async def test_who_registered_with_anothers_address_is_thrown_out_by_who_reads_its_mail(house: House) -> None:
    """Eve waits in Ann's account with a password and a sign-in of hers; both end when Ann enters."""
    eve = await house.accounts.register(ANN)
    ann = await house.verify("ann@example.com", await house.ask("ann@example.com"))
    assert (ann.user.id, ann.user.email_verified, ann.user.has_password) == (eve.user.id, True, False)
    assert house.told == [house.claims(eve).sign_in]
    with pytest.raises(Unauthorized):
        await house.accounts.refresh(eve.refresh_token)
    with pytest.raises(BadCredentials):
        await house.accounts.login(Login(ANN.email, ANN.password))
    await house.accounts.refresh(ann.refresh_token)


async def test_a_confirmed_account_keeps_password_and_sign_ins_when_a_code_signs_in(house: House) -> None:
    ann = await house.accounts.register(ANN)
    await house.deliver()
    await house.by_mail.confirm(house.claims(ann), ANN.email, house.box.code(ANN.email))
    again = await house.verify(ANN.email, await house.ask(ANN.email))
    assert (again.user.has_password, house.told, await house.live(ann.user.id)) == (True, [], 2)


async def test_registering_in_the_moment_of_a_sign_up_makes_one_account(house: House) -> None:
    """Whoever comes first, there is one account, and the code is good for it."""
    code = await house.ask("ann@example.com")
    made: list[object] = []

    async def register() -> None:
        try:
            made.append(await house.accounts.register(ANN))
        except EmailTaken as problem:
            made.append(problem)

    async def verify() -> None:
        try:
            made.append(await house.verify("ann@example.com", code, "Ann"))
        except BadCode as problem:
            made.append(problem)  # to register asks for a new code, which ends this one

    async with trio.open_nursery() as nursery:
        nursery.start_soon(register)
        nursery.start_soon(verify)
    assert any(isinstance(one, SignedIn) for one in made)
    assert await house.database.fetch_one("select count(*) from account") == (1,)


# --- passwords ---


async def test_a_password_is_chosen_by_a_code_and_all_sign_ins_end(house: House) -> None:
    ann = await house.accounts.register(ANN)
    await house.by_mail.ask("ANN@example.com", "password")
    await house.deliver()
    await house.by_mail.reset(SetPassword("another horse", "ann@example.com", house.box.code("ANN@example.com")))
    assert house.told == [house.claims(ann).sign_in]
    with pytest.raises(Unauthorized):
        await house.accounts.refresh(ann.refresh_token)
    with pytest.raises(BadCredentials):
        await house.accounts.login(Login("ann@example.com", "correct horse"))
    again = await house.accounts.login(Login("ann@example.com", "another horse"))
    assert again.user.email_verified
    await house.deliver()
    assert house.box.mails[-1].subject == "Your password for Chat was changed"


async def test_an_address_without_an_account_gets_no_code_for_a_password(house: House) -> None:
    await house.by_mail.ask("nobody@example.com", "password")
    assert (await house.deliver(), house.box.mails) == (1, [])


async def test_a_password_is_changed_by_the_one_before_and_other_sign_ins_end(house: House) -> None:
    ann = await house.accounts.register(ANN)
    elsewhere = await house.accounts.login(Login(ANN.email, ANN.password))
    for wrong in ("wrong horse", "another horse"):
        with pytest.raises(BadCredentials):
            await house.by_mail.change_password(house.claims(ann), SetPassword("another horse", old=wrong))
    assert await house.live(ann.user.id) == 2
    await house.by_mail.change_password(house.claims(ann), SetPassword("another horse", old="correct horse"))
    assert house.told == [house.claims(elsewhere).sign_in]
    await house.accounts.refresh(ann.refresh_token)
    await house.accounts.login(Login(ANN.email, "another horse"))


async def test_who_has_no_password_changes_none_without_a_code(house: House) -> None:
    """A stolen phone is not enough to keep the account."""
    ann = await house.sign_up()
    with pytest.raises(BadCredentials):
        await house.by_mail.change_password(house.claims(ann), SetPassword("another horse", old="x"))


async def test_a_login_with_the_old_password_does_not_outlive_its_change(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was compared before the change, and opens its sign-in after it: it is looked at again."""
    ann = await house.accounts.register(ANN)
    compared, go_on = trio.Event(), trio.Event()
    real = house.accounts.passwords.verify

    async def verify(known: str | None, password: str) -> bool:
        found = await real(known, password)
        if not compared.is_set():
            compared.set()
            await go_on.wait()
        return found

    outcome: list[object] = []

    async def login() -> None:
        try:
            outcome.append(await house.accounts.login(Login(ANN.email, ANN.password)))
        except BadCredentials as problem:
            outcome.append(problem)

    async with trio.open_nursery() as nursery:
        monkeypatch.setattr(house.accounts.passwords, "verify", verify)
        nursery.start_soon(login)
        await compared.wait()
        monkeypatch.setattr(house.accounts.passwords, "verify", real)
        await house.by_mail.change_password(house.claims(ann), SetPassword("another horse", old="correct horse"))
        go_on.set()
    assert [type(one) for one in outcome] == [BadCredentials]
    assert await house.live(ann.user.id) == 1


@pytest.mark.parametrize(
    "body", [{}, {"email": "a@b.cd"}, {"code": "123456"}, {"email": "a@b.cd", "code": "123456", "old": "x"}]
)
def test_a_password_is_chosen_in_one_of_two_ways(body: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError, match="either"):
        msgspec.convert({"password": "correct horse", **body}, SetPassword)


@pytest.mark.parametrize("code", ["", "12345", "1234567", "12345a", "123456\n", "\u0661\u0662\u0663\u0664\u0665\u0666"])
def test_a_code_is_six_digits(code: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"email": "a@b.cd", "code": code}, Verify)


# --- addresses ---


async def test_an_address_is_changed_by_codes_to_both(house: House) -> None:
    ann = await house.accounts.register(ANN)
    claims = house.claims(ann)
    for password in (None, "wrong horse"):
        with pytest.raises(BadCredentials):
            await house.by_mail.change_email(claims, ChangeEmail("new@example.org", password))
    await house.by_mail.change_email(claims, ChangeEmail("New@example.org ", "correct horse"))
    await house.deliver()
    old, new = house.box.code("ann@example.com"), house.box.code("New@example.org")
    for codes in ((other(old), new), (old, other(new)), (new, old)):
        with pytest.raises(BadCode):
            await house.by_mail.confirm_email(claims, ConfirmEmail(*codes))
    me = await house.by_mail.confirm_email(claims, ConfirmEmail(old, new))
    assert (me.email, me.email_verified) == ("New@example.org", True)
    with pytest.raises(BadCode):
        await house.by_mail.confirm_email(claims, ConfirmEmail(old, new))
    assert (await house.accounts.login(Login("new@example.org", "correct horse"))).user.id == ann.user.id
    with pytest.raises(BadCredentials):
        await house.accounts.login(Login("ann@example.com", "correct horse"))
    await house.deliver()
    assert (house.box.mails[-1].to, house.box.mails[-1].subject) == (
        "ann@example.com", "Your address at Chat was changed",
    )  # fmt: skip
    await house.accounts.refresh(ann.refresh_token)


async def test_five_wrong_tries_end_a_change_of_address(house: House) -> None:
    ann = await house.sign_up()
    await house.by_mail.change_email(house.claims(ann), ChangeEmail("new@example.org"))
    await house.deliver()
    old, new = house.box.code("ann@example.com"), house.box.code("new@example.org")
    for _ in range(TRIES):
        with pytest.raises(BadCode):
            await house.by_mail.confirm_email(house.claims(ann), ConfirmEmail(old, other(new)))
    with pytest.raises(BadCode):
        await house.by_mail.confirm_email(house.claims(ann), ConfirmEmail(old, new))


async def test_an_address_that_has_an_account_gets_word_and_no_code(house: House) -> None:
    """Who asks is answered as for any other address."""
    ann = await house.sign_up()
    await house.sign_up("bob@example.com", "Bob")
    free = await house.by_mail.change_email(house.claims(ann), ChangeEmail("free@example.com"))
    taken = await house.by_mail.change_email(house.claims(ann), ChangeEmail("bob@example.com"))
    assert free == taken
    await house.deliver()
    mail = house.box.mails[-1]
    assert (mail.to, mail.subject) == ("bob@example.com", "You have an account at Chat")
    assert not re.search(r"\d{6}", mail.text)


async def test_an_address_taken_meanwhile_is_not_given_twice(house: House) -> None:
    ann = await house.sign_up()
    await house.by_mail.change_email(house.claims(ann), ChangeEmail("new@example.com"))
    await house.deliver()
    old, new = house.box.code("ann@example.com"), house.box.code("new@example.com")
    await house.sign_up("new@example.com", "Newman")
    with pytest.raises(EmailTaken):
        await house.by_mail.confirm_email(house.claims(ann), ConfirmEmail(old, new))
    assert (await house.accounts.me(house.claims(ann))).email == "ann@example.com"


async def test_anothers_change_of_address_is_not_confirmed(house: House) -> None:
    ann, eve = await house.sign_up(), await house.sign_up("eve@example.com", "Eve")
    await house.by_mail.change_email(house.claims(ann), ChangeEmail("new@example.com"))
    await house.deliver()
    new = house.box.code("new@example.com")
    await house.by_mail.change_email(house.claims(eve), ChangeEmail("other@example.com"))
    await house.deliver()
    with pytest.raises(BadCode):
        await house.by_mail.confirm_email(house.claims(eve), ConfirmEmail(house.box.code("eve@example.com"), new))
    with pytest.raises(Invalid, match="already"):
        await house.by_mail.change_email(house.claims(ann), ChangeEmail("ANN@example.com"))


async def test_who_was_signed_out_changes_nothing(house: House) -> None:
    ann = await house.accounts.register(ANN)
    await house.by_mail.change_email(house.claims(ann), ChangeEmail("new@example.com", "correct horse"))
    await house.deliver()
    await house.accounts.logout(ann.refresh_token, None)
    claims = house.claims(ann)
    codes = ConfirmEmail(house.box.code("ann@example.com"), house.box.code("new@example.com"))
    for attempt in (
        house.by_mail.confirm_email(claims, codes),
        house.by_mail.change_email(claims, ChangeEmail("x@example.com", "correct horse")),
        house.by_mail.change_password(claims, SetPassword("another horse", old="correct horse")),
    ):
        with pytest.raises(Unauthorized):
            await attempt


# --- how an account stands ---


async def test_who_is_suspended_is_told_so_after_the_right_proof_alone(house: House) -> None:
    ann = await house.accounts.register(ANN)
    await house.deliver()
    await house.by_mail.confirm(house.claims(ann), ANN.email, house.box.code(ANN.email))
    stood = await rows.stand_account(house.database, ann.user.id, "suspended")
    assert list(stood.ended) == [house.claims(ann).sign_in]
    with pytest.raises(AccountSuspended):
        await house.accounts.login(Login(ANN.email, ANN.password))
    with pytest.raises(BadCredentials):
        await house.accounts.login(Login(ANN.email, "wrong horse"))
    with pytest.raises(Unauthorized):
        await house.accounts.refresh(ann.refresh_token)
    code = await house.ask(ANN.email)
    with pytest.raises(BadCode):
        await house.verify(ANN.email, other(code))
    with pytest.raises(AccountSuspended):
        await house.verify(ANN.email, code)
    with pytest.raises(BadCode):
        await house.verify(ANN.email, code)
    await house.by_mail.ask(ANN.email, "password")
    await house.deliver()
    with pytest.raises(AccountSuspended):
        await house.by_mail.reset(SetPassword("another horse", ANN.email, house.box.code(ANN.email)))
    assert await house.live(ann.user.id) == 0
    assert (await rows.stand_account(house.database, ann.user.id, "active")).standing == "active"
    await house.accounts.login(Login(ANN.email, ANN.password))


async def test_a_token_of_a_suspended_account_does_not_refresh_even_if_its_sign_in_lives(house: House) -> None:
    ann = await house.accounts.register(ANN)
    await house.database.execute("update account set standing = 'suspended' where id = %s", ann.user.id)
    with pytest.raises(Unauthorized):
        await house.accounts.refresh(ann.refresh_token)


async def test_a_login_that_waits_for_a_suspension_opens_nothing(house: House) -> None:
    ann = await house.accounts.register(ANN)
    outcome: list[object] = []

    async def login() -> None:
        try:
            outcome.append(await house.accounts.login(Login(ANN.email, ANN.password)))
        except AccountSuspended as problem:
            outcome.append(problem)

    async with trio.open_nursery() as nursery, house.database.transaction() as tx:
        await rows.stand_account(tx, ann.user.id, "suspended")
        nursery.start_soon(login)
        with trio.fail_after(20):
            while await tx.fetch_one(
                "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
            ) is None:  # fmt: skip
                await tx.fetch_one("select pg_stat_clear_snapshot()")
                await trio.sleep(0.005)
    assert [type(one) for one in outcome] == [AccountSuspended]
    assert await house.live(ann.user.id) == 0


async def test_who_is_leaving_may_enter_and_is_told(house: House) -> None:
    ann = await house.accounts.register(ANN)
    await house.database.execute("update account set standing = 'leaving' where id = %s", ann.user.id)
    assert (await house.accounts.login(Login(ANN.email, ANN.password))).user.standing == "leaving"


# --- the job ---


async def test_what_the_service_says_decides_what_becomes_of_the_job(house: House) -> None:
    await house.by_mail.ask("ann@example.com", "enter")
    [job] = await jobs.claim_jobs(house.database, ["mail"], 1, 60)
    for answer, problem in (
        (Outcome("later", "busy", 7.0), Again),
        (Outcome("refused", "no"), Hopeless),
        (Outcome("locked", "no"), MailLocked),
    ):
        house.box.answers.append(answer)
        with pytest.raises(problem):
            await house.postman.send(job.payload)
    await house.postman.send(job.payload)
    assert len({mail.id for mail in house.box.mails}) == 4
    await house.verify("ann@example.com", house.box.code("ann@example.com"), "Ann")


# --- leaving ---


async def test_nothing_is_left_of_who_is_erased_and_all_of_it_is_exported(house: House) -> None:
    from konnect_server.mail.console_driver import ConsoleDriver

    ann = await house.accounts.register(ANN)
    tray = Postman(house.database, ConsoleDriver(house.database), house.tokens.refresh_secret, "Chat")
    [job] = await jobs.claim_jobs(house.database, ["mail"], 1, 60)
    await tray.send(job.payload)
    await house.by_mail.change_email(house.claims(ann), ChangeEmail("new@example.com", "correct horse"))
    row = await house.database.fetch_one("select export_accounts(%s)", ann.user.id)
    assert row is not None
    assert (row[0]["email"], row[0]["has_password"], len(row[0]["sign_ins"])) == ("ann@example.com", True, 1)
    await house.database.execute("select erase_account_extras(%s)", ann.user.id)
    for table in ("one_time_code", "job", "mail_tray", "sign_in"):
        assert await house.database.fetch_all(f"select t::text from {table} t") == []


async def at_once(house: House, codes: list[str], name: str | None = None) -> list[type]:
    """Try all these codes for Ann's address at once; what came of each."""
    outcomes: list[type] = []

    async def attempt(code: str) -> None:
        try:
            outcomes.append(type(await house.verify("ann@example.com", code, name)))
        except (BadCode, NameNeeded) as problem:
            outcomes.append(type(problem))

    async with trio.open_nursery() as nursery:
        for code in codes:
            nursery.start_soon(attempt, code)
    return outcomes
