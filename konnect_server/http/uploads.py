"""``/v1/uploads`` and ``/v1/media/``: announce a file, say that it was sent, find it again."""

from uuid import UUID

from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse

from konnect_server.http.inside import Inside, body_as, json_response
from protocol.errors import Invalid
from protocol.http import BeginUpload


def add_routes(app: QuartTrio, inside: Inside) -> None:
    """Put them into *app*."""
    media = inside.media

    @app.post("/v1/uploads", endpoint="beginUpload")
    async def begin() -> TrioResponse:
        person = inside.claims().user
        wanted = await body_as(BeginUpload)
        inside.limit(inside.uploads_by_person, str(person))
        return json_response(await media.begin(person, wanted), 201)

    @app.post("/v1/uploads/<id>/done", endpoint="finishUpload")
    async def done(id: str) -> TrioResponse:  # noqa: A002  # its name in the path
        person = inside.claims().user
        inside.limit(inside.uploads_by_person, str(person))
        return json_response(await media.done(person, _uuid(id)))

    @app.get("/v1/media/<id>", endpoint="medium")
    async def medium(id: str) -> TrioResponse:  # noqa: A002
        return json_response(await media.find(inside.claims().user, _uuid(id)))


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as problem:
        raise Invalid("the id in the path is not a UUID") from problem
