"""Firebase Cloud Messaging, through Google's own client. That blocks: it works in threads of its own.

Its own retries are switched off: they sleep in the thread for as long as the service says, and the queue of jobs does
that better. Where it talks to can be set for tests and emulators; it has no public setting for either, so private names
are used, in one place, of a version that is pinned.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import firebase_admin  # type: ignore[import-untyped]
import google.auth.exceptions
import requests.adapters
import trio
from firebase_admin import credentials, exceptions, messaging

from konnect_server.push.driver import SENT, Outcome, Push

THREADS: Final = 20  # calls to the service at once
TIMEOUT_S: Final = 8.0  # of one call: a job's pushes, five rounds of THREADS, are done before its time is over
LONGEST_S: Final = 600.0  # that the service is believed when it says "not before"

_LATER: Final = (
    exceptions.UnavailableError,
    exceptions.InternalError,
    exceptions.ResourceExhaustedError,  # messaging.QuotaExceededError, too
    exceptions.DeadlineExceededError,
    exceptions.AbortedError,
)
_LOCKED: Final = (
    messaging.ThirdPartyAuthError,  # Apple's or the web's key, that Firebase was given
    exceptions.UnauthenticatedError,
    exceptions.PermissionDeniedError,
    exceptions.NotFoundError,  # of no token: the project is not there
)


class CredentialsUnfit(Exception):
    """The credentials cannot be used; the text is one plain sentence."""


class FirebaseDriver:
    """Sends by FCM's HTTP v1 API."""

    name = "firebase"

    def __init__(self, credentials_file: str, endpoint: str = "") -> None:
        """*credentials_file*: a service account's JSON; empty: what GOOGLE_APPLICATION_CREDENTIALS names. *endpoint*:
        what to talk to instead of https://fcm.googleapis.com.

        Raises:
            CredentialsUnfit
        """
        try:
            known = credentials.Certificate(credentials_file) if credentials_file else credentials.ApplicationDefault()
            self._app = firebase_admin.initialize_app(known, {"httpTimeout": TIMEOUT_S}, name=f"konnect-{id(self)}")
            self._service = _service(self._app, endpoint)
        except (OSError, ValueError, google.auth.exceptions.GoogleAuthError) as problem:
            raise CredentialsUnfit(f"the Firebase credentials cannot be used: {problem}") from problem
        self._limiter = trio.CapacityLimiter(THREADS)

    def close(self) -> None:
        """Forget the credentials."""
        firebase_admin.delete_app(self._app)

    async def send(self, pushes: Sequence[Push]) -> list[Outcome]:
        """See :class:`konnect_server.push.driver.Driver`."""
        outcomes = [SENT] * len(pushes)

        async def one(place: int, push: Push) -> None:
            outcomes[place] = await trio.to_thread.run_sync(self._send, _message(push), limiter=self._limiter)

        async with trio.open_nursery() as nursery:
            for place, push in enumerate(pushes):
                nursery.start_soon(one, place, push)
        return outcomes

    def _send(self, message: Any) -> Outcome:
        """In a thread."""
        try:
            self._service.send(message)
        except messaging.UnregisteredError as problem:
            return Outcome("gone", str(problem))
        except messaging.SenderIdMismatchError as problem:
            return Outcome("refused", f"the token belongs to another project: {problem}")
        except exceptions.InvalidArgumentError as problem:
            return Outcome("gone" if "registration token" in str(problem) else "refused", str(problem))
        except _LATER as problem:
            return Outcome("later", str(problem), _retry_after_s(problem))
        except _LOCKED as problem:
            return Outcome("locked", str(problem))
        except google.auth.exceptions.TransportError as problem:
            return Outcome("later", str(problem))
        except google.auth.exceptions.GoogleAuthError as problem:
            return Outcome("locked", str(problem))
        except (exceptions.FirebaseError, ValueError) as problem:  # ValueError: what its client itself refuses
            return Outcome("refused", str(problem))
        return SENT


def _service(app: Any, endpoint: str) -> Any:
    """What sends for *app*, without retries of its own."""
    service = messaging._get_messaging_service(app)
    for scheme in ("http://", "https://", "https://fcm.googleapis.com"):
        service._client.session.mount(
            scheme, requests.adapters.HTTPAdapter(pool_connections=THREADS, pool_maxsize=THREADS, max_retries=0)
        )
    if endpoint:
        service._fcm_url = f"{endpoint.rstrip('/')}/v1/projects/{app.project_id}/messages:send"
    return service


def _message(push: Push) -> Any:
    notification = messaging.Notification(push.title, push.body or None)
    message = messaging.Message(data={**push.data}, notification=notification)
    message.token = push.token  # not as an argument, for that warns: installation ids are to come in its place
    match push.platform:
        case "android":
            message.android = messaging.AndroidConfig(
                collapse_key=push.collapse or None, priority="high", ttl=timedelta(seconds=push.ttl_s),
                notification=messaging.AndroidNotification(
                    tag=push.collapse or None, notification_count=push.badge or None
                ),
            )  # fmt: skip
        case "ios":
            headers = {"apns-priority": "10"}
            if push.collapse:
                headers["apns-collapse-id"] = push.collapse
            aps = messaging.Aps(badge=push.badge, sound="default", thread_id=push.collapse or None)
            message.apns = messaging.APNSConfig(headers=headers, payload=messaging.APNSPayload(aps=aps))
        case "web":
            message.webpush = messaging.WebpushConfig(
                headers={"TTL": str(push.ttl_s), "Urgency": "high"},
                notification=messaging.WebpushNotification(tag=push.collapse or None),
            )
    return message


def _retry_after_s(problem: exceptions.FirebaseError) -> float | None:
    response = problem.http_response
    given = None if response is None else response.headers.get("Retry-After", "")
    return min(float(given), LONGEST_S) if given and given.isascii() and given.isdigit() else None
