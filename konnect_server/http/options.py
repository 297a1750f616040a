"""What of the HTTP door can be set; the defaults are meant for life."""

from typing import Final

from msgspec import Struct

ANY_ORIGIN: Final = "*"


class DoorOptions(Struct, frozen=True, kw_only=True):
    """Everything with its default. Times are seconds, rates are per second."""

    version: str = "0"  # shown by the index and the documents
    public_url: str = ""  # where clients find the server, for the examples in the documents

    # Who
    operator_token: str = ""  # lets an operator in; empty: nobody
    trusted_proxies: tuple[str, ...] = ()  # addresses or networks whose X-Forwarded-For is believed
    allowed_origins: tuple[str, ...] = ()  # for browsers (CORS): "https://app.example.com", or ANY_ORIGIN alone

    dev: bool = False  # shows the mails of the tray to everybody

    # How many, how long
    connections: int = 1_000  # at once; 11 KiB each while idle, and up to 64 KiB of body
    keep_alive_s: float = 65.0  # longer than a proxy's, so that the proxy is the one that closes
    body_s: float = 10.0  # for a whole request body
    upload_pause_s: float = 30.0  # between two pieces of a medium
    upload_s: float = 3_600.0  # for a whole medium; an upload is kept for longer after its address has gone
    send_s: float = 20.0  # for one piece of an answer, to a client that does not read
    drain_s: float = 5.0  # for requests in flight when the door closes

    # How often
    sign_ins_per_address: float = 5.0  # register and login together, from one client address
    sign_in_burst_per_address: float = 300
    sign_ins_per_email: float = 1 / 10  # register and login together, for one e-mail address
    sign_in_burst_per_email: float = 50
    codes_per_address: float = 0.2  # mails with codes that one client address may have sent, to whomever
    code_burst_per_address: float = 60
    refreshes_per_address: float = 10.0
    refresh_burst_per_address: float = 200
    uploads_per_person: float = 1.0  # announced or done
    upload_burst_per_person: float = 120
