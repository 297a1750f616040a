"""``/v1/auth/``: register, login, refresh, logout."""

from quart import request
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse

from konnect_server.actions.accounts import tidy_email
from konnect_server.http.inside import Inside, bearer_token, body_as, json_response
from protocol.http import Login, Logout, Refresh, Register


def add_routes(app: QuartTrio, inside: Inside) -> None:
    """Put them into *app*."""
    accounts = inside.accounts

    def limit_sign_in(email: str) -> None:
        # The address first: who floods from one place does not use up what the person with this e-mail may do.
        inside.limit(inside.sign_ins_by_address, inside.address())
        inside.limit(inside.sign_ins_by_email, tidy_email(email).casefold())

    @app.post("/v1/auth/register", endpoint="register")
    async def register() -> TrioResponse:
        wanted = await body_as(Register)
        limit_sign_in(wanted.email)
        return json_response(await accounts.register(wanted), 201)

    @app.post("/v1/auth/login", endpoint="login")
    async def login() -> TrioResponse:
        wanted = await body_as(Login)
        limit_sign_in(wanted.email)
        return json_response(await accounts.login(wanted))

    @app.post("/v1/auth/refresh", endpoint="refresh")
    async def refresh() -> TrioResponse:
        wanted = await body_as(Refresh)
        inside.limit(inside.refreshes_by_address, inside.address())
        return json_response(await accounts.refresh(wanted.refresh_token))

    @app.post("/v1/auth/logout", endpoint="logout")
    async def logout() -> TrioResponse:
        raw = await request.get_data(cache=True, as_text=False, parse_form_data=False)
        wanted = await body_as(Logout) if raw else Logout()
        inside.limit(inside.refreshes_by_address, inside.address())
        # With a refresh token the bearer token does not matter: it may be out of time, as after a long sleep.
        claims = inside.tokens.read(bearer_token()) if wanted.refresh_token is None else None
        await accounts.logout(wanted.refresh_token, claims)
        return TrioResponse(status=204)
