"""``/dev/``: what only ``konnect dev`` shows: the tray of mails that the driver `console` sent to nobody."""

from quart import request
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse

from konnect_server.http.inside import Inside, json_response
from konnect_server.http.markup import POLICY
from konnect_server.http.pages import Tray, mail_page
from storage import mail_tray


def add_routes(app: QuartTrio, inside: Inside) -> None:
    """Put them into *app*. They are in no document: nobody may rely on them."""

    @app.get("/dev/mail", endpoint="devMail")
    async def mail() -> TrioResponse:
        tray = Tray(await mail_tray.latest_mails(inside.database))
        best = request.accept_mimetypes.best_match(["application/json", "text/html"], "application/json")
        if best != "text/html":
            return json_response(tray)
        response = TrioResponse(mail_page(tray).body, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = POLICY
        return response
