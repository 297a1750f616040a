"""``/v1/auth/``: register, sign in and out, refresh; what a code by mail is good for."""

from quart import request
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse

from konnect_server.actions.accounts import tidy_email
from konnect_server.http.inside import Inside, bearer_token, body_as, json_response
from protocol.http import (
    AskCode,
    ChangeEmail,
    ConfirmEmail,
    Login,
    Logout,
    Refresh,
    Register,
    SetPassword,
    Verify,
)


def add_routes(app: QuartTrio, inside: Inside) -> None:
    """Put them into *app*."""
    accounts, by_mail = inside.accounts, inside.by_mail

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

    def limit_mail(email: str) -> None:
        limit_sign_in(email)
        inside.limit(inside.codes_by_address, inside.address())

    @app.post("/v1/auth/code", endpoint="askCode")
    async def ask_code() -> TrioResponse:
        wanted = await body_as(AskCode)
        limit_mail(wanted.email)
        return json_response(await by_mail.ask(wanted.email, "enter"), 202)

    @app.post("/v1/auth/verify", endpoint="verify")
    async def verify() -> TrioResponse:
        wanted = await body_as(Verify)
        limit_sign_in(wanted.email)
        if "Authorization" in request.headers:
            await by_mail.confirm(inside.claims(), wanted.email, wanted.code)
            return TrioResponse(status=204)
        answer, made = await by_mail.verify(wanted)
        return json_response(answer, 201 if made else 200)

    @app.post("/v1/auth/password/reset", endpoint="resetPassword")
    async def reset_password() -> TrioResponse:
        wanted = await body_as(AskCode)
        limit_mail(wanted.email)
        return json_response(await by_mail.ask(wanted.email, "password"), 202)

    @app.post("/v1/auth/password", endpoint="setPassword")
    async def set_password() -> TrioResponse:
        wanted = await body_as(SetPassword)
        if wanted.email is not None:
            limit_sign_in(wanted.email)
            await by_mail.reset(wanted)
        else:
            claims = inside.claims()
            limit_sign_in(str(claims.user))
            await by_mail.change_password(claims, wanted)
        return TrioResponse(status=204)

    @app.post("/v1/auth/email", endpoint="changeEmail")
    async def change_email() -> TrioResponse:
        claims = inside.claims()
        wanted = await body_as(ChangeEmail)
        limit_mail(str(claims.user))
        return json_response(await by_mail.change_email(claims, wanted), 202)

    @app.post("/v1/auth/email/confirm", endpoint="confirmEmail")
    async def confirm_email() -> TrioResponse:
        claims = inside.claims()
        wanted = await body_as(ConfirmEmail)
        limit_sign_in(str(claims.user))
        return json_response(await by_mail.confirm_email(claims, wanted))
