"""Mails: what they say, and that each driver hands them over, or says what became of them."""

from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, strategies as st

from konnect_server.mail.brevo_driver import open_brevo_driver
from konnect_server.mail.console_driver import ConsoleDriver
from konnect_server.mail.driver import Mail, Outcome, Unfit, address_of, sender_of
from konnect_server.mail.smtp_driver import Smtp, SmtpDriver, SmtpUnfit, message_of
from konnect_server.mail.words import Kind, worded
from storage import mail_tray
from storage.database import Database
from tests.mail_stands import FakeBrevo, SmtpServer, certificate, open_brevo, open_smtp

SENDER = "Chat <chat@example.com>"
SAID = worded("sign_in", app="Chat", name="Ann", code="482913")


def mail(to: str = "ann@example.com", subject: str = SAID.subject) -> Mail:
    """A code for somebody."""
    return Mail(to=to, subject=subject, text=SAID.text, html=SAID.html, id="m-1")


def smtp(port: int, **more: str) -> SmtpDriver:
    """A driver that speaks to that port."""
    return SmtpDriver(Smtp(host="127.0.0.1", port=port, sender=SENDER, **{"tls": "none", **more}))  # type: ignore[arg-type]


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with open_smtp() as opened:
        yield opened


@pytest.fixture
def brevo() -> Iterator[FakeBrevo]:
    with open_brevo() as opened:
        yield opened


# --- words ---


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_mail_says_the_same_as_text_and_as_html(kind: Kind) -> None:
    said = worded(kind, app="Chat", name="Ann", code="482913")
    for line in said.text.split():
        assert line in said.html or line.strip("'") in said.html.replace("&#x27;", "'")
    assert ("482913" in said.text) == ("482913" in said.html)
    assert "\n" not in said.subject
    assert "482913" not in said.subject, "a lock screen shows it to others"


@given(name=st.text(max_size=40), app=st.text(min_size=1, max_size=20))
def test_whatever_somebody_is_called_stays_words(name: str, app: str) -> None:
    """Nothing becomes markup, a placeholder or another header."""
    for kind in get_args(Kind):
        said = worded(kind, app=app, name=f"{name}<script>{{code}}\r\nBcc: x@y.z", code="482913")
        assert "<script>" not in said.html
        assert len(said.subject.splitlines()) <= 1


def test_a_mail_is_text_and_html_for_one_address() -> None:
    message = message_of(mail(), "ann@example.com", SENDER)
    assert message["From"] == "Chat <chat@example.com>"
    assert message["To"] == "ann@example.com"
    assert message["Auto-Submitted"] == "auto-generated"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.parametrize("text", ["a,b@example.com", "<ann@example.com", "a b@example.com", "x;y@example.com", "a@b..c",
                                  "ann\u2028@example.com", "@example.com"])
def test_what_is_more_than_an_address_is_sent_nothing(text: str) -> None:
    """An account may be called so; a mail server might read two addresses in it, or another one."""
    with pytest.raises(Unfit):
        address_of(text)


def test_addresses_travel_as_mail_servers_read_them() -> None:
    assert address_of("Ann.Lee+1@Example.com") == "Ann.Lee+1@Example.com"
    assert address_of("ann@b\u00fccher.example") == "ann@xn--bcher-kva.example"
    assert sender_of("chat@example.com") == ("Konnect", "chat@example.com")
    assert sender_of(SENDER) == ("Chat", "chat@example.com")


# --- SMTP ---


async def test_a_mail_server_is_given_the_mail(server: SmtpServer) -> None:
    assert (await smtp(server.port).send(mail())).kind == "sent"
    [(to, message)] = server.mails
    assert to == ["ann@example.com"]
    assert message["Subject"] == "Your code for Chat"
    text, html = (part.get_content() for part in message.iter_parts() if isinstance(part, EmailMessage))
    assert text.replace("\r\n", "\n") == SAID.text
    assert html.replace("\r\n", "\n") == SAID.html


@pytest.mark.parametrize(
    ("to", "answer", "kind"),
    [
        ("nobody@example.com", None, "refused"), ("full@example.com", None, "later"),
        ("ann@example.com", "451 4.3.0 try again", "later"), ("ann@example.com", "554 5.7.1 spam", "refused"),
        ("ann@example.com", "421 4.3.2 going down", "later"), ("a,b@example.com", None, "refused"),
    ],
)
async def test_what_a_mail_server_says_decides(server: SmtpServer, to: str, answer: str | None, kind: str) -> None:
    server.answers += [answer] if answer else []
    outcome = await smtp(server.port).send(mail(to))
    assert (outcome.kind, server.mails) == (kind, [])
    assert outcome.why


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # the server's word about itself
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves handshakes that fail open
@pytest.mark.parametrize("way", ["starttls", "tls"])
async def test_over_tls_the_server_is_known_by_its_certificate(tmp_path: Path, way: str) -> None:
    """Who stands in between with another one gets neither the password nor the mail."""
    context, ca = certificate(tmp_path)
    with open_smtp(tls=context, from_the_start=way == "tls", login=("konnect", "hush")) as server:
        good = smtp(server.port, tls=way, ca=ca, user="konnect", password="hush")
        assert (await good.send(mail())).kind == "sent"
        assert (await smtp(server.port, tls=way, user="konnect", password="hush").send(mail())).kind == "locked"
        assert (await smtp(server.port, tls=way, ca=ca, user="konnect", password="no").send(mail())).kind == "locked"
        assert len(server.mails) == 1


async def test_a_server_without_starttls_gets_nothing(server: SmtpServer) -> None:
    """Somebody in between may have taken the offer away."""
    assert (await smtp(server.port, tls="starttls").send(mail())).kind == "locked"
    assert server.tried == 0


async def test_a_mail_server_that_is_away_is_tried_later(server: SmtpServer) -> None:
    with open_smtp() as other:
        port = other.port
    assert (await smtp(port).send(mail())).kind == "later"


def test_certificates_that_cannot_be_read_are_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(SmtpUnfit, match="smtp_ca"):
        smtp(25, ca=str(tmp_path / "none.pem"))


# --- Brevo ---


async def test_brevo_is_given_the_mail(brevo: FakeBrevo) -> None:
    async with open_brevo_driver("the-key", SENDER, brevo.url) as driver:
        assert (await driver.send(mail())).kind == "sent"
    [sent] = brevo.sent
    assert sent["sender"] == {"name": "Chat", "email": "chat@example.com"}
    assert (sent["to"], sent["subject"]) == ([{"email": "ann@example.com"}], "Your code for Chat")
    assert (sent["textContent"], sent["htmlContent"]) == (SAID.text, SAID.html)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ((429, {"Retry-After": "7"}), Outcome("later", "429 not now", 7.0)),
        ((503, {}), Outcome("later", "503 not now")),
        ((403, {}), Outcome("locked", "403 not now")), ((402, {}), Outcome("locked", "402 not now")),
        ((400, {}), Outcome("refused", "400 not now")),
    ],
)
async def test_what_brevo_says_decides(
    brevo: FakeBrevo, answer: tuple[int, dict[str, str]], outcome: Outcome
) -> None:
    brevo.answers.append(answer)
    async with open_brevo_driver("the-key", SENDER, brevo.url) as driver:
        assert await driver.send(mail()) == outcome


async def test_brevo_lets_nobody_in_with_another_key_and_may_be_away(brevo: FakeBrevo) -> None:
    async with open_brevo_driver("another", SENDER, brevo.url) as driver:
        assert (await driver.send(mail())).kind == "locked"
    async with open_brevo_driver("the-key", SENDER, brevo.url) as driver:
        assert (await driver.send(mail("nobody@example.com"))).kind == "refused"
        assert (await driver.send(mail("a,b@example.com"))).kind == "refused"
    with open_brevo() as other:
        url = other.url
    async with open_brevo_driver("the-key", SENDER, url) as driver:
        assert (await driver.send(mail())).kind == "later"


# --- the tray ---


async def test_the_tray_keeps_the_newest(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_tray, "KEPT", 3)
    driver = ConsoleDriver(database)
    for number in range(5):
        assert (await driver.send(mail(subject=f"number {number}"))).kind == "sent"
    kept = await mail_tray.latest_mails(database)
    assert [one.subject for one in kept] == ["number 4", "number 3", "number 2"]
    assert (kept[0].to, kept[0].text, kept[0].html) == ("ann@example.com", SAID.text, SAID.html)
