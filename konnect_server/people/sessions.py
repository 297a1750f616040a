"""One's sign-ins: a list, and how they end. Whoever held a socket by one that ended is told after the commit."""

from typing import Final

from konnect_server.people.ground import Asked, Ground, Outcome, Rules
from protocol.frames import Done, OneSession, SessionList, SessionRevoke, SessionRevokeAll, Sessions, SessionsEnded
from storage import accounts


async def listing(ground: Ground, asked: Asked, command: SessionList) -> Outcome:
    """Where one is signed in."""
    idle_ms = ground.config.refresh_idle_days * 86_400_000
    found = await accounts.live_sign_ins(ground.database, asked.user, idle_ms)
    return Outcome(
        Sessions([
            OneSession(one.id, one.device, one.created_at_ms, one.used_at_ms, one.id == asked.sign_in) for one in found
        ])
    )  # fmt: skip


async def revoke(ground: Ground, asked: Asked, command: SessionRevoke) -> Outcome:
    """End one of them, if it is one of theirs."""
    theirs = await accounts.revoke_sign_in(ground.database, asked.user, command.session)
    # Told again if it had ended: then the first answer was lost, and what was to follow it perhaps too.
    return Outcome(Done(), ended=[(command.session, asked.user)] if theirs else [])


async def revoke_all(ground: Ground, asked: Asked, command: SessionRevokeAll) -> Outcome:
    """End all but the one that it came by."""
    async with ground.database.transaction() as tx:
        await accounts.lock_account(tx, asked.user)
        ended = await accounts.end_sign_ins(tx, asked.user, asked.sign_in, "revoked")
    return Outcome(SessionsEnded(len(ended)), ended=[(sign_in, asked.user) for sign_in in ended])


RULES: Final[Rules] = {SessionList: listing, SessionRevoke: revoke, SessionRevokeAll: revoke_all}
