"""The end of an account, by a job: everything of a person goes, step by step (docs/decisions/0027).

Each step is one transaction of bounded size that may be done twice, so a process that is killed leaves nothing half
done, and whoever takes the job then goes on from the last place that was noted in it. A second round follows when no
access token of the person's is good any more: whatever a socket that was still open did meanwhile, it takes away.
"""

from collections.abc import Callable
from typing import Final, Literal
from uuid import UUID

import msgspec
import structlog
import trio
from msgspec import Raw, Struct

from konnect_server.actions.media import Media
from konnect_server.jobs import Again
from protocol import limits
from storage import leaving
from storage.database import Database
from storage.errors import BlobsUnavailable, StorageUnavailable
from storage.leaving import Scope

BUSY_S: Final = 15.0  # after that the job's place is noted, and it begins anew; well below jobs.WORK_S
SETTLE_S: Final = 60.0  # from the end of the last access token to the second round
RETRY_S: Final = 5.0  # when storage does not answer
LATER_S: Final = 60.0  # while others' jobs name the person, or something may come to the address of an upload
PAGE: Final = 100  # conversations of one question
ROWS: Final = 2_000

log = structlog.get_logger("konnect.leaving")
Texts = Literal["blank", "keep"]


class Erasing(Struct, frozen=True, omit_defaults=True):
    """What a job of kind "account.erase" is given, and how far it is."""

    person: UUID
    until_ms: int  # of the leaving that it is the end of
    second: bool = False  # the second round
    at: UUID = UUID(int=0)  # conversations up to this one are done
    after: int = 0  # and of the next one, entries up to this one


class Erasure:
    """Does jobs of kind "account.erase"."""

    def __init__(
        self, database: Database, media: Media, *, texts: Texts, access_s: int, media_unused_s: int,
        signed_out: Callable[[UUID, UUID], None], stored: Callable[[UUID, int], None],
        altered: Callable[[UUID], None], changed: Callable[[UUID], None],
    ) -> None:  # fmt: skip
        """*signed_out(sign_in, person)*: a sign-in ended. *stored(conversation, seq)*: a log grew. *altered*: entries
        of one read otherwise now. *changed*: somebody's own rows changed. All plain calls, made after the commit."""
        self._database, self._media, self._access_s = database, media, access_s
        self._scope = Scope(
            texts, media_unused_s * 1000, limits.REACTION_USERS, limits.THREAD_USERS, limits.EXPIRED
        )  # fmt: skip
        self._signed_out, self._stored, self._altered, self._changed = signed_out, stored, altered, changed

    async def erase(self, payload: Raw) -> None:
        """Go on for :data:`BUSY_S`.

        Raises:
            Again: There is more to do, now or later.
        """
        erasing = msgspec.json.decode(payload, type=Erasing)
        try:
            await self._erase(erasing)
        except (StorageUnavailable, BlobsUnavailable) as problem:  # however long it lasts: this is never given up
            log.warning("an erasure waits", person=str(erasing.person), problem=str(problem))
            raise Again(RETRY_S, failed=False) from problem

    async def _erase(self, erasing: Erasing) -> None:
        db, person = self._database, erasing.person
        sign_ins = await leaving.begin_erasing(db, person, erasing.until_ms)
        if sign_ins is None:
            return  # who left has returned
        for sign_in in sign_ins:
            self._signed_out(sign_in, person)
        began = trio.current_time()
        while found := await leaving.conversations(db, person, erasing.at, PAGE):
            for conversation in found:
                erasing = await self._in_conversation(erasing, conversation, began)
        while people := await leaving.erase_told(db, person, self._scope.erased):
            for one in people:
                self._changed(one)
            self._rest_if_late(erasing, began)
        for function in await leaving.functions(db, "erase_"):
            await leaving.erase_noun(db, function, person)
        while await leaving.erase_rows(db, person, ROWS):
            self._rest_if_late(erasing, began)
        waiting = await self._media.erase(person)
        waiting |= await leaving.end_names(db, person)
        if not erasing.second:
            log.info("an account is erased", person=str(person))
            raise Again(
                self._access_s + SETTLE_S, Erasing(person, erasing.until_ms, second=True), failed=False
            )  # fmt: skip
        if waiting:
            raise Again(LATER_S, Erasing(person, erasing.until_ms, second=True), failed=False)
        await leaving.end_erasing(db, person)

    async def _in_conversation(self, erasing: Erasing, conversation: UUID, began: float) -> Erasing:
        """Everything there; how far it is then."""
        db, person, after = self._database, erasing.person, erasing.after
        while True:
            step = await leaving.erase_membership(db, person, conversation, self._scope)
            if step.moved:
                self._stored(conversation, step.seq)
            for one in step.changed:
                self._changed(one)
            if not step.more:
                break
            self._rest_if_late(erasing, began)
        while True:
            step = await leaving.erase_texts(db, person, conversation, after, self._scope)
            self._altered(conversation)
            if step.moved:
                self._stored(conversation, step.seq)
            after = step.through
            if step.done:
                break
            self._rest_if_late(Erasing(person, erasing.until_ms, erasing.second, erasing.at, after), began)
        done = Erasing(person, erasing.until_ms, erasing.second, conversation)
        self._rest_if_late(done, began)
        return done

    def _rest_if_late(self, erasing: Erasing, began: float) -> None:
        if trio.current_time() - began > BUSY_S:
            raise Again(0.0, erasing, failed=False)
