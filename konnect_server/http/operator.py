"""``/v1/operator/``: for who runs the app, by a token of its own."""

import secrets

from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse

from konnect_server.http.inside import Inside, bearer_token, body_as, json_response
from protocol.errors import Forbidden, Unauthorized
from protocol.http import SendNotification


def add_routes(app: QuartTrio, inside: Inside) -> None:
    """Put them into *app*."""

    @app.post("/v1/operator/notifications", endpoint="sendNotification")
    async def send() -> TrioResponse:
        _check(inside)
        return json_response(await inside.office.notify(await body_as(SendNotification)), 202)


def _check(inside: Inside) -> None:
    """Whether this request comes from the operator.

    Raises:
        Unauthorized: It brings no good token of any kind.
        Forbidden: It brings somebody's access token.
    """
    given, token = bearer_token(), inside.options.operator_token
    if token and secrets.compare_digest(given.encode(), token.encode()):
        return
    try:
        inside.claims()
    except Unauthorized as problem:
        raise Unauthorized("the operator's token is needed") from problem
    raise Forbidden("only who runs the app may do this, by the operator's token")
