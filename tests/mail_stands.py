"""Where mails go in tests: a real SMTP server, and what stands in for Brevo; both on this machine, in threads."""

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class SmtpServer:
    """What came, and how to answer."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self.tried = 0
        self.answers: list[str] = []  # to the next messages, before they are taken
        self.port = 0

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """What begins with "nobody" is not here."""
        if address.startswith("nobody"):
            return "550 5.1.1 no such mailbox"
        if address.startswith("full"):
            return "452 4.2.2 the mailbox is full"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take a message, or answer as was said."""
        self.tried += 1
        if self.answers:
            return self.answers.pop(0)
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.mails.append((list(envelope.rcpt_tos), message))
        return "250 OK"


def certificate(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A server's side of TLS on 127.0.0.1, and the file of who vouches for it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, str(folder / "cert.pem")


@contextmanager
def open_smtp(
    *, tls: ssl.SSLContext | None = None, from_the_start: bool = False, login: tuple[str, str] | None = None
) -> Iterator[SmtpServer]:
    """The server, until the block ends. *tls*: offered by STARTTLS, and required, or *from_the_start*; *login*: who
    must sign in."""
    found = SmtpServer()

    def judge(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        good = login is not None and isinstance(data, LoginPassword) and (
            (data.login.decode(), data.password.decode()) == login
        )
        return AuthResult(success=good, handled=False)

    options: dict[str, Any] = {"authenticator": judge, "auth_required": True} if login else {}
    if tls is not None and not from_the_start:
        options |= {"tls_context": tls, "require_starttls": True}
    loop = asyncio.new_event_loop()

    def protocol() -> SMTP:
        return SMTP(found, decode_data=False, auth_require_tls=False, hostname="mail", loop=loop, **options)

    secure = tls if from_the_start else None
    listening = loop.run_until_complete(loop.create_server(protocol, "127.0.0.1", 0, ssl=secure))
    found.port = listening.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(_end(listening), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(listening: asyncio.Server) -> None:
    """Let nobody in any more, and end all that goes on."""
    listening.close()
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


class FakeBrevo:
    """What was sent, and how to answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sent: list[dict[str, Any]] = []
        self.asked = 0
        self.answers: list[tuple[int, dict[str, str]]] = []  # status and headers, to the next requests

    def answer(self, path: str, key: str | None, body: bytes) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, body, headers."""
        self.asked += 1
        if self.answers:
            status, headers = self.answers.pop(0)
            return status, {"code": "busy", "message": "not now"}, headers
        if key != "the-key":
            return 401, {"code": "unauthorized", "message": "Key not found"}, {}
        if path != "/v3/smtp/email":
            return 404, {"code": "document_not_found", "message": "no"}, {}
        mail = json.loads(body)
        if mail["to"][0]["email"].startswith("nobody"):
            return 400, {"code": "invalid_parameter", "message": "email is not valid in to"}, {}
        self.sent.append(mail)
        return 201, {"messageId": f"<{len(self.sent)}@smtp-relay.example>"}, {}


@contextmanager
def open_brevo() -> Iterator[FakeBrevo]:
    """The service, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, answer, headers = fake.answer(self.path, self.headers.get("api-key"), body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake = FakeBrevo(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
