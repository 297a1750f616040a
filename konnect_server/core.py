"""The live part of the server, put together: pump, writers, registry, receipts, presence, bus.

Everything that comes from the world is handed in (storage, doorbell, poller, wall clock, randomness, ids), so that the
very same parts run on PostgreSQL and the kernel, or in the simulated world of tests/simulate. Holds no logic.
"""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import UUID

import msgspec
import structlog
import trio

from konnect_server.actions.office import Office
from konnect_server.bus import Bus, Doorbell
from konnect_server.call import Calls
from konnect_server.config import Config
from konnect_server.connection import Connection, Socket, Terms
from konnect_server.conversation import Conversation
from konnect_server.due import Clerk
from konnect_server.gateway import Gateway
from konnect_server.last_seen import LastSeenWriter
from konnect_server.people.ground import Ground
from konnect_server.poller import Poller
from konnect_server.presence import Presence
from konnect_server.pump import Pump
from konnect_server.receipts import Receipts, Spread
from konnect_server.registry import Registry
from konnect_server.session import Claims, Desk, Session
from konnect_server.stretches import Stretches
from konnect_server.telemetry import gauge
from konnect_server.tidy import Tidy
from konnect_server.wheel import Wheel
from konnect_server.writer import Writer
from protocol.frames import TypingEvent
from storage.errors import StorageUnavailable
from storage.rows import Rules
from storage.store import Store

SOCKETS: Final = gauge("konnect_sockets", "Open sockets.")
PEOPLE: Final = gauge("konnect_people", "People with at least one socket here.")
CONVERSATIONS: Final = gauge("konnect_conversations", "Live conversations: somebody listens, or work is under way.")
OUTBOX_BYTES: Final = gauge("konnect_outbox_bytes", "What waits for all sockets together.")

SETTLE_S: Final = 3.0  # on a drain, how long what was received may take to be committed and answered

log = structlog.get_logger("konnect.core")


class World(msgspec.Struct, frozen=True):
    """What the core is given from outside."""

    store: Store
    doorbell: Doorbell
    poller: Poller
    hand_over: Callable[[Socket, bytes, str], None]  # takes sockets that want HTTP, with what was read of them
    verify: Callable[[str], Claims]  # an access token's claims, or Unauthorized
    sign_in_ended: Callable[[UUID], None]  # another process ended a sign-in
    randomness: random.Random
    new_id: Callable[[], UUID]  # UUIDv7
    wall_ms: Callable[[], int]  # Unix milliseconds
    office: Office | None = None  # devices and notifications; None where storage is no database
    people: Ground | None = None  # the same
    moved: Callable[[UUID], None] = lambda conversation: None  # a log grew by our hand: for the search index


class Core:
    """The live actors of one process and what they stand on."""

    def __init__(self, config: Config, world: World, nursery: trio.Nursery) -> None:
        self._store, self._sign_in_ended = world.store, world.sign_in_ended
        self.wheel = Wheel()
        terms = Terms(
            message_bytes=config.frame_bytes,
            outbox_bytes=config.outbox_bytes,
            ping_interval_s=config.ping_interval_s,
            ping_timeout_s=config.ping_timeout_s,
        )
        self.pump = Pump(world.poller, self.wheel, terms=terms, randomness=world.randomness)
        flush = self.pump.flush
        rules = Rules(
            config.group_members, config.edit_within_s, media_unused_ms=config.upload_unused_s * 1000,
            room_members=config.room_members,
        )  # fmt: skip
        self.writers = [
            Writer(lane, world.store, rules, self._contain, flush) for lane in range(config.log_writers)
        ]
        self.registry = Registry(self.writers, nursery, self._came, self._went, flush)
        self.bus = Bus(
            world.new_id(), world.doorbell, world.store, self.registry, lambda: self.presence, world.new_id,
            world.sign_in_ended, flush,
        )  # fmt: skip
        self.registry.bells = self.bus
        self.registry.moved = world.moved
        self.presence = Presence(config.presence_grace_s, trio.current_time, self.bus.presence, world.wall_ms)
        self.registry.presence = self.presence
        if world.people is not None:
            world.people.online = self.presence.online
        self._last_seen = self.bus.seats = LastSeenWriter(
            world.store, self.bus.node, trio.current_time, lambda: self.registry.users
        )
        self.receipts = Receipts(world.store, self._receipt, flush)
        stretches = self.registry.stretches = Stretches(world.store.stretches, trio.current_time, self.wheel.add)
        self._desk = Desk(
            store=world.store, stretches=stretches,
            registry=self.registry, presence=self.presence, receipts=self.receipts, wheel=self.wheel,
            verify=world.verify, lineage=lambda: self.bus.lineage, new_id=world.new_id, now=trio.current_time,
            wall_ms=world.wall_ms, flush=flush, typing=self._typing,
            messages_per_s=config.messages_per_s, messages_burst=config.messages_burst,
            commands_per_s=config.commands_per_s, commands_burst=config.commands_burst,
            sockets_per_user=config.sockets_per_user, group_members=config.group_members,
            hello_timeout_s=config.hello_timeout_s, sooner=self._sooner, room_members=config.room_members,
            office=world.office, search_languages=config.search_languages,
            people=world.people, signed_out=self.sign_out_by_command,
        )  # fmt: skip
        self.calls = Calls(self._desk)
        self.clerk = Clerk(self._desk, world.wall_ms)

        SOCKETS.set_function(lambda: len(self.pump.connections))
        PEOPLE.set_function(lambda: len(self.registry.users))
        CONVERSATIONS.set_function(lambda: len(self.registry.conversations))
        OUTBOX_BYTES.set_function(lambda: sum(connection.outbox_bytes for connection in self.pump.connections))
        self.gateway = Gateway(self.pump, self.session, world.hand_over)
        self._tidy = Tidy(self.wheel, lambda: len(self.pump.connections))

    def session(self, connection: Connection) -> Session:
        """The handler of a new connection."""
        self._tidy.came()
        return Session(connection, self._desk)

    def sign_out(self, sign_in: UUID, user: UUID) -> None:
        """A sign-in was ended in this process: its sockets close, here and elsewhere."""
        self.registry.sign_out(sign_in, user)
        self.bus.signed_out(sign_in, user)

    def sign_out_by_command(self, sign_in: UUID, user: UUID) -> None:
        """The same, of one that a command or a job ended."""
        self._sign_in_ended(sign_in)
        self.sign_out(sign_in, user)

    async def settle(self) -> None:
        """Take in nothing more, and wait until what was taken in is committed and answered; SETTLE_S at most."""
        for connection in list(self.pump.connections):
            connection.pause()
        with trio.move_on_after(SETTLE_S):
            while not (self.receipts.quiet and all(writer.quiet for writer in self.writers)):
                await trio.sleep(0.02)
        self.pump.flush()

    async def run(self, nursery: trio.Nursery) -> None:
        """Start every task of the core; none of them ends by itself."""
        while True:
            try:
                await self._store.add_lineage(self.bus.lineage)
                break
            except StorageUnavailable as problem:
                log.warning("storage does not answer", problem=str(problem))
                await trio.sleep(0.5)
        for writer in self.writers:
            nursery.start_soon(writer.run)
        nursery.start_soon(self.receipts.run)
        nursery.start_soon(self.clerk.run)
        nursery.start_soon(self.bus.run)
        nursery.start_soon(self.bus.hear)
        nursery.start_soon(self.bus.sweep, trio.current_time)
        nursery.start_soon(self.wheel.run)
        nursery.start_soon(self.pump.run)

    # --- from one part to another ---

    def _contain(self, conversation: Conversation, call: Callable[[], None]) -> None:
        self.registry.contain(conversation, call)

    def _came(self, user: UUID) -> None:
        self._last_seen.came(user)  # and present once it is known to whom

    def _went(self, user: UUID) -> None:
        self._last_seen.went(user)
        self.presence.went(user)

    def _sooner(self, at_ms: int) -> None:
        self.clerk.sooner(at_ms)

    def _typing(self, event: TypingEvent) -> None:
        self.registry.typing(event)
        self.bus.typing(event)

    def _receipt(self, spread: Spread) -> None:
        self.registry.receipt(spread)
        self.bus.receipt(spread)


@asynccontextmanager
async def open_core(config: Config, world: World) -> AsyncIterator[Core]:
    """A running core; what is open when the block ends is dropped without a goodbye (see :meth:`Core.settle`)."""
    core: Core | None = None
    try:
        async with trio.open_nursery() as nursery:
            core = Core(config, world, nursery)
            await core.run(nursery)
            try:
                yield core
            finally:
                core.registry.stop()
                with trio.move_on_after(1, shield=True), suppress(StorageUnavailable):
                    await world.store.leave(core.bus.node)
                nursery.cancel_scope.cancel()
    finally:
        if core is not None:
            core.gateway.close()  # the pump runs no more
