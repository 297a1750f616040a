"""A pause, a copy of everything of one's own, and the end of one's account."""

from typing import Final

from konnect_server.people.ground import Asked, Ground, Outcome, Rules
from protocol import frames
from storage import exports, leaving


async def _get(ground: Ground, asked: Asked, command: frames.AccountGet) -> Outcome:
    return Outcome(await leaving.standing(ground.database, asked.user))


async def _pause(ground: Ground, asked: Asked, command: frames.AccountPause) -> Outcome:
    stood = await leaving.pause(ground.database, asked.user, command)
    return Outcome(frames.Done(), stood.number, [asked.user] if stood.new else [])


async def _delete(ground: Ground, asked: Asked, command: frames.AccountDelete) -> Outcome:
    """Proof is the sign-in: nothing is lost by it for as long as one may return, and to return takes a new sign-in."""
    stood = await leaving.delete(ground.database, asked.user, command, ground.config.leaving_days)
    return Outcome(
        frames.Done(), stood.number, [asked.user] if stood.new else [], jobs=stood.new,
        ended=[(one, asked.user) for one in stood.ended],
    )  # fmt: skip


async def _return(ground: Ground, asked: Asked, command: frames.AccountReturn) -> Outcome:
    stood = await leaving.come_back(ground.database, asked.user, command)
    return Outcome(
        frames.Done(), stood.number, [asked.user] if stood.new else [], ended=[(one, asked.user) for one in stood.ended]
    )  # fmt: skip


async def _export(ground: Ground, asked: Asked, command: frames.AccountExport) -> Outcome:
    export = await exports.begin(ground.database, asked.user, command, asked.new_id)
    return Outcome(frames.Exporting(export), jobs=True)


RULES: Final[Rules] = {
    frames.AccountGet: _get,
    frames.AccountPause: _pause,
    frames.AccountDelete: _delete,
    frames.AccountReturn: _return,
    frames.AccountExport: _export,
}
