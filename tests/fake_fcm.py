"""Google's token endpoint and FCM's HTTP v1 API, as far as a sender sees them: a real HTTP server on this machine.

What is answered depends on the device's token, by what it begins with: "gone" is unregistered, "busy" is told to come
back later, "nonsense" is no token, "foreign" is another project's. All else is taken.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"


class FakeFcm:
    """What was sent, and how to answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sent: list[dict[str, Any]] = []
        self.asked: list[str] = []  # tokens of every try
        self.busy = 1  # how often a busy one is told to come back
        self.busy_status = 503
        self.retry_after: str | None = "1"
        self.good_credentials = True
        self.lock = threading.Lock()

    def account(self, folder: Path) -> str:
        """A service account's file, whose token endpoint is this server."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = folder / "service-account.json"
        path.write_text(
            json.dumps(
                {
                    "type": "service_account", "project_id": "the-project", "private_key_id": "k",
                    "private_key": key.decode(), "client_email": "x@the-project.iam.example", "client_id": "1",
                    "token_uri": f"{self.url}/token",
                }
            )
        )  # fmt: skip
        return str(path)

    def answer(self, path: str, authorization: str | None, body: bytes) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, body, headers."""
        if path == "/token":
            if not self.good_credentials:
                return 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, {}
            return 200, {"access_token": "good", "expires_in": 3600, "token_type": "Bearer"}, {}
        if path != "/v1/projects/the-project/messages:send":
            return 404, {}, {}
        if authorization != "Bearer good":
            return 401, {"error": {"code": 401, "status": "UNAUTHENTICATED", "message": "no"}}, {}
        message = json.loads(body)["message"]
        token = message["token"]
        with self.lock:
            self.asked.append(token)
            if token.startswith("gone"):
                return 404, _problem(404, "NOT_FOUND", "Requested entity was not found.", "UNREGISTERED"), {}
            if token.startswith("foreign"):
                return 403, _problem(403, "PERMISSION_DENIED", "SenderId mismatch", "SENDER_ID_MISMATCH"), {}
            if token.startswith("nonsense"):
                said = "The registration token is not a valid FCM registration token"
                return 400, _problem(400, "INVALID_ARGUMENT", said, "INVALID_ARGUMENT"), {}
            if token.startswith("busy") and self.asked.count(token) <= self.busy:
                status = "UNAVAILABLE" if self.busy_status == 503 else "RESOURCE_EXHAUSTED"
                headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
                return self.busy_status, _problem(self.busy_status, status, "busy", "UNAVAILABLE"), headers
            self.sent.append(message)
            return 200, {"name": f"projects/the-project/messages/{len(self.sent)}"}, {}


def _problem(code: int, status: str, message: str, kind: str) -> dict[str, Any]:
    return {
        "error": {
            "code": code, "status": status, "message": message, "details": [{"@type": _ERROR, "errorCode": kind}],
        }
    }  # fmt: skip


@contextmanager
def open_fcm() -> Iterator[FakeFcm]:
    """The server, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, answer, headers = fake.answer(self.path, self.headers.get("Authorization"), body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 600
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    fake = FakeFcm(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
