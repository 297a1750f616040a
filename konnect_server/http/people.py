"""``/v1/me`` and ``/v1/users/``: one's own account, and others."""

from uuid import UUID

from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse

from konnect_server.http.inside import Inside, json_response
from protocol.errors import Invalid


def add_routes(app: QuartTrio, inside: Inside) -> None:
    """Put them into *app*."""

    @app.get("/v1/me", endpoint="me")
    async def me() -> TrioResponse:
        return json_response(await inside.accounts.me(inside.claims()))

    @app.get("/v1/users/<id>", endpoint="user")
    async def user(id: str) -> TrioResponse:  # noqa: A002  # its name in the path
        inside.claims()
        try:
            wanted = UUID(id)
        except ValueError as problem:
            raise Invalid("the id in the path is not a UUID") from problem
        return json_response(await inside.accounts.user(wanted))
