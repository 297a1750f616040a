"""Contacts, requests to be one, and who follows whom (storage/contacts.py)."""

from typing import Final

from msgspec import UNSET, Struct

from konnect_server.people.ground import Asked, Ground, Outcome, Rules
from protocol import frames
from storage import contacts
from storage.contacts import AnyChange, ContactChange, ContactRules


async def _change(ground: Ground, asked: Asked, command: AnyChange) -> ContactChange:
    rules = ContactRules(ground.config.contact_requests_a_day, ground.config.contact_requests_waiting)
    return await contacts.change(ground.database, asked.user, asked.new_id, command, rules)


def _outcome(done: ContactChange, result: Struct) -> Outcome:
    grown = [] if done.grown is None else [(done.grown.conversation, done.grown.seq)]
    return Outcome(result, done.number, done.changed, stored=grown, jobs=bool(done.jobs))


async def _request(ground: Ground, asked: Asked, command: frames.ContactRequest) -> Outcome:
    done = await _change(ground, asked, command)
    return _outcome(done, frames.Requested(done.contact))


async def _other(ground: Ground, asked: Asked, command: AnyChange) -> Outcome:
    return _outcome(await _change(ground, asked, command), frames.Done())


async def _requests(ground: Ground, asked: Asked, command: frames.ContactRequests) -> Outcome:
    sent = command.direction == "sent"
    return Outcome(await contacts.requests(ground.database, asked.user, sent, command.cursor, command.limit))


async def _list(ground: Ground, asked: Asked, command: frames.ContactList) -> Outcome:
    page = await contacts.contacts(ground.database, asked.user, command.cursor, command.limit)
    return Outcome(frames.Contacts([
        frames.OneContact(one.user, one.at_ms) if not one.seen
        else frames.OneContact(one.user, one.at_ms, "online") if ground.online(one.user, True)
        else frames.OneContact(one.user, one.at_ms, "offline", one.last_seen_ms or UNSET)
        for one in page.contacts
    ], page.count, page.cursor))  # fmt: skip


async def _follows(ground: Ground, asked: Asked, command: frames.Followers | frames.Following) -> Outcome:
    followers = isinstance(command, frames.Followers)
    return Outcome(
        await contacts.follows(
            ground.database, asked.user, command.user or asked.user, followers, command.cursor, command.limit
        )
    )


RULES: Final[Rules] = {
    frames.ContactRequest: _request,
    frames.ContactAnswer: _other,
    frames.ContactWithdraw: _other,
    frames.ContactRemove: _other,
    frames.ContactRequests: _requests,
    frames.ContactList: _list,
    frames.Follow: _other,
    frames.Unfollow: _other,
    frames.Followers: _follows,
    frames.Following: _follows,
}
