"""Mail by Brevo's HTTP API: ``POST /v3/smtp/email``.

Source: https://developers.brevo.com/reference/sendtransacemail
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx

from konnect_server.mail.driver import SENT, TIMEOUT_S, Mail, Outcome, Unfit, address_of, sender_of

ENDPOINT: Final = "https://api.brevo.com"
LONGEST_S: Final = 600.0  # that the service is believed when it says "not before"


class BrevoDriver:
    """Speaks to Brevo, or to what stands in for it."""

    name = "brevo"

    def __init__(self, http: httpx.AsyncClient, sender: str) -> None:
        """*http*: with the address and the key; made by :func:`open_brevo_driver`."""
        self._http = http
        self._name, self._address = sender_of(sender)

    async def send(self, mail: Mail) -> Outcome:
        """See :class:`konnect_server.mail.driver.Driver`."""
        try:
            to = address_of(mail.to)
        except Unfit as problem:
            return Outcome("refused", str(problem))
        body = {
            "sender": {"name": self._name, "email": self._address}, "to": [{"email": to}], "subject": mail.subject,
            "textContent": mail.text, "htmlContent": mail.html,
            "headers": {"Auto-Submitted": "auto-generated"},
        }  # fmt: skip
        try:
            answer = await self._http.post("/v3/smtp/email", json=body)
        except httpx.HTTPError as problem:
            return Outcome("later", f"{type(problem).__name__}: {problem}")
        if answer.is_success:
            return SENT
        why = f"{answer.status_code} {_said(answer)}"
        match answer.status_code:
            case 401 | 402 | 403:  # the key, the credits, the account
                return Outcome("locked", why)
            case 408 | 425 | 429:
                return Outcome("later", why, _retry_after_s(answer))
            case status if status >= 500:
                return Outcome("later", why, _retry_after_s(answer))
        return Outcome("refused", why)


@asynccontextmanager
async def open_brevo_driver(key: str, sender: str, endpoint: str = "") -> AsyncIterator[BrevoDriver]:
    """A driver until the block ends. *endpoint*: what to talk to instead of :data:`ENDPOINT`."""
    async with httpx.AsyncClient(
        base_url=endpoint or ENDPOINT, headers={"api-key": key, "accept": "application/json"}, timeout=TIMEOUT_S
    ) as http:
        yield BrevoDriver(http, sender)


def _said(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def _retry_after_s(answer: httpx.Response) -> float | None:
    given = answer.headers.get("Retry-After", "")
    return min(float(given), LONGEST_S) if given.isascii() and given.isdigit() else None
