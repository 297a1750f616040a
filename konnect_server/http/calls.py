"""``/v1/call/``: every command of the socket, for who holds none."""

from collections.abc import Awaitable, Callable

from quart import request
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse

from konnect_server.http.inside import Inside, body_as, json_response
from protocol.calls import CALLS, KEY_HEADER, PATH, Call, no_call
from protocol.errors import Invalid, Unavailable


def add_routes(app: QuartTrio, inside: Inside) -> None:
    """Put them into *app*: one for each command that there is, by itself."""
    for one in CALLS.values():
        app.add_url_rule(one.path, f"call{one.command.__name__}", _view(inside, one), methods=["POST"])

    @app.post(PATH + "/<command>", endpoint="call")
    async def call(command: str) -> TrioResponse:
        raise no_call(command)


def _view(inside: Inside, call: Call) -> Callable[[], Awaitable[TrioResponse]]:
    async def view() -> TrioResponse:
        claims = inside.claims()
        command = call.made(await body_as(call.body), _keys())
        if reason := inside.ready():
            raise Unavailable(reason)  # as a socket that is drained is not read
        return json_response(await inside.call(claims.user, command, claims.sign_in))

    return view


def _keys() -> list[str]:
    """What the request gives as key in its headers.

    Raises:
        Invalid: It is not ASCII: nobody could say what was meant.
    """
    keys = request.headers.getlist(KEY_HEADER)
    if not all(key.isascii() for key in keys):
        raise Invalid(f"the header {KEY_HEADER} must be ASCII; a key with other characters goes into the body as `key`")
    return keys
