"""First messages that do not say who wrote them, and matches (docs/matching.md)."""

from typing import Final
from uuid import UUID

from msgspec import UNSET

from konnect_server.config import Config
from konnect_server.people.ground import Asked, Ground, Outcome, Rules
from protocol.errors import Invalid
from protocol.frames import (
    Done,
    MatchList,
    MatchUnmatch,
    OpenerAccepted,
    OpenerIgnore,
    OpenerList,
    OpenerSend,
    OpenerSent,
)
from storage import openers
from storage.openers import Changed, Terms


def terms_of(config: Config) -> Terms:
    """What the deployment says of first messages."""
    return Terms(config.openers_per_day, config.opener_release, config.opener_hour, config.opener_within_h)


async def _send(ground: Ground, asked: Asked, command: OpenerSend) -> Outcome:
    if command.user == asked.user:
        raise Invalid("a first message needs somebody else - at `$.user`")
    changed = await openers.send_opener(
        ground.database, asked.user, command, terms_of(ground.config), asked.new_id, ground.new_id()
    )
    answer = OpenerAccepted() if changed.match is None else OpenerAccepted(changed.match, changed.conversation or UNSET)
    return outcome_of(answer, asked.user, changed)


async def _list(ground: Ground, asked: Asked, command: OpenerList) -> Outcome:
    return Outcome(await openers.opener_list(ground.database, asked.user, command))


async def _sent(ground: Ground, asked: Asked, command: OpenerSent) -> Outcome:
    return Outcome(await openers.openers_sent(ground.database, asked.user, command, terms_of(ground.config)))


async def _ignore(ground: Ground, asked: Asked, command: OpenerIgnore) -> Outcome:
    changed = await openers.ignore_opener(ground.database, asked.user, command)
    return Outcome(Done(), changed.number, [asked.user])


async def _matches(ground: Ground, asked: Asked, command: MatchList) -> Outcome:
    return Outcome(await openers.match_list(ground.database, asked.user, command))


async def _unmatch(ground: Ground, asked: Asked, command: MatchUnmatch) -> Outcome:
    return outcome_of(Done(), asked.user, await openers.end_match(ground.database, asked.user, command))


def outcome_of(answer: Done | OpenerAccepted, user: UUID, changed: Changed) -> Outcome:
    """What came of it for both sides; of a repeat, and of a first message that makes no match, nothing."""
    both = [user] if changed.other is None else [user, changed.other]
    log = changed.conversation if changed.seq else None
    return Outcome(
        answer,
        changed.number,
        changed=both,
        joined=[(log, one) for one in both] if log is not None and changed.made else [],
        stored=[(log, changed.seq)] if log is not None else [],
        jobs=True,
    )


RULES: Final[Rules] = {
    OpenerSend: _send,
    OpenerList: _list,
    OpenerSent: _sent,
    OpenerIgnore: _ignore,
    MatchList: _matches,
    MatchUnmatch: _unmatch,
}
