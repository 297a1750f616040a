"""The server: opens everything in order, serves, drains gently, closes in reverse. Holds no logic."""

import gc
import random
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Final, cast
from uuid import UUID

import structlog
import trio

from konnect_server import telemetry
from konnect_server.actions import training
from konnect_server.actions.accounts import Accounts
from konnect_server.actions.erasure import Erasure
from konnect_server.actions.export import LEASE_S as EXPORT_LEASE_S, WORK_S as EXPORT_WORK_S, Export
from konnect_server.actions.key_sweep import sweep_keys
from konnect_server.actions.media import Media, MediaTerms
from konnect_server.actions.media_sweep import sweep_media
from konnect_server.actions.office import Office
from konnect_server.actions.passwords import HashCost, Passwords
from konnect_server.actions.sign_in_sweep import sweep_sign_ins
from konnect_server.actions.suggest_sweep import sweep_suggestions
from konnect_server.collector import Collector
from konnect_server.config import Config
from konnect_server.core import Core, World, open_core
from konnect_server.gateway import open_listeners
from konnect_server.http import DoorOptions, open_http_door
from konnect_server.ids import uuid7
from konnect_server.indexer import Indexer
from konnect_server.jobs import Jobs
from konnect_server.mail.brevo_driver import open_brevo_driver
from konnect_server.mail.console_driver import ConsoleDriver
from konnect_server.mail.driver import Driver as MailDriver, sender_of
from konnect_server.mail.postman import Postman
from konnect_server.mail.smtp_driver import Smtp, SmtpDriver, SmtpUnfit
from konnect_server.people.ground import Ground
from konnect_server.people.releases import Releases
from konnect_server.poller import SystemPoller
from konnect_server.postgres_doorbell import open_postgres_doorbell
from konnect_server.push.driver import Driver
from konnect_server.push.gatherer import Gatherer
from konnect_server.push.log_driver import LogDriver
from konnect_server.push.notices import Notices
from konnect_server.push.requests import Requests
from konnect_server.push.sender import Sender
from konnect_server.push.told import Tellings
from konnect_server.tokens import Tokens
from protocol.closing import DRAINING
from protocol.errors import NotAllowedToWrite
from protocol.http import Register
from storage import accounts as people_rows, blob_links, leaving
from storage.database import Database, durability, open_database, suitability
from storage.embedded import open_embedded
from storage.errors import StorageError
from storage.folder_blobs import FolderBlobs
from storage.keys import KeysUnfit
from storage.migrate import migrate
from storage.openers import set_write_rule
from storage.postgres_store import PostgresStore, open_store
from storage.s3_blobs import Bucket, S3Blobs, open_s3_blobs

DEMO_PASSWORD: Final = "konnect-demo"
DEMO_PEOPLE: Final = (("Ann", "ann@example.com"), ("Bob", "bob@example.com"))
ROTATE_KEYS_S: Final = 30 * 24 * 3600.0
BATCHES: Final = 20  # in which sockets are sent away, so that they do not all come back at once
COLLECT_AT: Final = (100_000, 10, 20)  # new objects; young collections for a middle one; middle ones for a full one
LOOK_AT_KEYS_S: Final = 3600.0

log = structlog.get_logger("konnect.server")
Announce = Callable[[str], None]


class StartError(Exception):
    """The server cannot start; the text is one plain sentence for the operator."""


def konnect_version() -> str:
    """The installed version."""
    try:
        return version("konnect")
    except PackageNotFoundError:
        return "0+source"


async def serve(config: Config, *, dev: bool, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT, then drain. A second signal stops at once.

    Args:
        dev: Make the demo people and say what to try next.
        announce: Told in plain lines what the operator should know.

    Raises:
        StartError: Something stops the start; one plain sentence.
    """
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            stop = trio.Event()
            nursery.start_soon(_on_signals, signals, stop, nursery.cancel_scope)
            try:
                async with open_server(config, announce, dev=dev) as server:
                    _spare_the_collector()
                    if dev:
                        await _welcome(server, announce)
                    else:
                        announce(f"Konnect {konnect_version()} is ready on {server.url}")
                    await stop.wait()
                    announce("Konnect is going down; sockets are told to come back")
                    await server.drain()
            except (StorageError, KeysUnfit) as problem:
                raise StartError(str(problem)) from problem
            nursery.cancel_scope.cancel()


def _spare_the_collector() -> None:
    """Who goes leaves nothing to the garbage collector, so it need not look often; and what stands after the start, a
    third of a million objects, never again: each full collection of them stopped everybody for 70 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AT)
    trio.lowlevel.add_instrument(Collector())


async def _on_signals(signals: AsyncIterator[int], stop: trio.Event, everything: trio.CancelScope) -> None:
    async for _ in signals:
        if stop.is_set():
            everything.cancel()
        stop.set()


class Server:
    """A running server, as :func:`open_server` gives it."""

    def __init__(
        self, config: Config, url: str, core: Core, accounts: Accounts, store: PostgresStore, database: Database
    ) -> None:
        self.config, self.url, self.core, self.accounts, self.store = config, url, core, accounts, store
        self.database = database
        self.draining = False

    async def drain(self) -> None:
        """Let nobody new in, commit and answer what was received, send everybody away in batches."""
        self.draining = True
        began = trio.current_time()
        self.core.gateway.stop_accepting()
        await self.core.settle()
        left_s = max(0.5, self.config.drain_s - (trio.current_time() - began))
        with trio.move_on_after(left_s):
            sockets = len(self.core.pump.connections)
            await self.core.gateway.close_all(DRAINING, batch=sockets // BATCHES + 1, every_s=left_s / 2 / BATCHES)


@asynccontextmanager
async def open_server(config: Config, announce: Announce, *, dev: bool = False) -> AsyncIterator[Server]:
    """Everything open and serving until the block ends. *dev*: whoever asks is shown the tray of mails.

    Raises:
        StartError, StorageError, KeysUnfit: What stops it, as one plain sentence.
    """
    async with AsyncExitStack() as stack:
        listening = await _listen(config)
        for one in listening:
            stack.callback(one.close)
        dsn = config.database_url
        if config.embedded:
            embedded = await stack.enter_async_context(
                open_embedded(config.data_folder, unsafe_no_fsync=config.unsafe_no_fsync)
            )
            dsn = embedded.dsn
            announce("Using the embedded PostgreSQL, which is meant for one machine; set database_url for more.")
        # After the database, which makes the data folder so that its own user may enter.
        tokens = Tokens(config.keys_folder, lifetime_s=config.access_s)
        database = await stack.enter_async_context(
            open_database(dsn, size=config.read_connections, timeout_s=config.query_timeout_s)
        )
        await _check(database, config)
        await migrate(database)
        store = await stack.enter_async_context(open_store(database, config.log_writers))
        await store.set_default_retention(config.retention_s or None)
        await set_write_rule(database, config.write_rule)
        await leaving.set_days(database, config.leaving_days)
        doorbell = await stack.enter_async_context(open_postgres_doorbell(database))
        office = Office(database, uuid7)
        url = config.public_url or _url(config.host, listening[0].getsockname()[1])
        blobs = await _open_blobs(config, stack, url, tokens.refresh_secret)
        people = Ground(database, config, uuid7, blobs.public_url)
        indexer = Indexer(database, config.search_languages)
        world = World(
            store=store, doorbell=doorbell, poller=SystemPoller(), verify=tokens.verify,
            hand_over=lambda sock, head, peer: door.hand_over(cast(socket.socket, sock), head, peer),
            sign_in_ended=tokens.end,
            randomness=random.Random(), new_id=uuid7, wall_ms=lambda: time.time_ns() // 1_000_000,
            office=office, people=people,
            moved=indexer.moved if config.search_index else lambda conversation: None,
        )  # fmt: skip
        core = await stack.enter_async_context(open_core(config, world))
        sender = Sender(database, _push_driver(config, stack))
        notices = Notices(database, sender, core.registry.changed)
        requests = Requests(database, sender, core.registry.changed)
        tellings = Tellings(database, sender)
        releases = Releases(
            people, changed=core.registry.changed, joined=core.registry.joined, stored=core.registry.stored_elsewhere
        )
        media = Media(database, blobs, _media_terms(config), new_id=uuid7)
        erasure = Erasure(
            database, media, texts=config.erased_texts, access_s=config.access_s, media_unused_s=config.upload_unused_s,
            signed_out=core.sign_out_by_command, stored=core.registry.stored_elsewhere, altered=core.registry.altered,
            changed=core.registry.changed,
        )  # fmt: skip
        handlers = {
            "push": sender.push, "notice": notices.tell, "notice.push": notices.push,
            "request": requests.tell, "request.over": requests.over, "request.push": requests.push,
            "told.push": tellings.push, "account.erase": erasure.erase,
            "mail": Postman(
                database, await _mail_driver(config, database, stack, dev), tokens.refresh_secret,
                sender_of(config.mail_from)[0],
            ).send,
            "opener.release": releases.release,
        }  # fmt: skip
        jobs = Jobs(database, handlers, randomness=world.randomness)
        export = Export(
            database, blobs, kept_days=config.export_days, changed=core.registry.changed, wake=jobs.wake
        )  # fmt: skip
        slow_jobs = Jobs(
            database, {"account.export": export.make}, randomness=world.randomness, lease_s=EXPORT_LEASE_S,
            work_s=EXPORT_WORK_S,
        )  # fmt: skip

        trainings = Jobs(
            database, {training.KIND: training.Trainer(dsn).train}, randomness=world.randomness,
            lease_s=training.LEASE_S, work_s=training.WORK_S, poll_s=training.POLL_S,
        )  # fmt: skip

        def wake() -> None:
            jobs.wake()
            slow_jobs.wake()

        notices.wake = requests.wake = releases.wake = jobs.wake
        office.wake = wake
        gatherer = core.registry.watch = _gatherer(core, database, jobs)
        office.seat = gatherer.seat
        await store.beat(core.bus.node)  # what its sockets are to pushes counts from now on
        accounts = Accounts(
            database, tokens, Passwords(HashCost(), at_a_time=config.password_hashes), new_id=uuid7,
            signed_out=core.sign_out, idle_s=config.refresh_idle_days * 86_400, codes_per_hour=config.codes_per_hour,
        )  # fmt: skip
        accounts.wake = jobs.wake
        door = await stack.enter_async_context(
            open_http_door(
                DoorOptions(
                    version=konnect_version(), public_url=url, trusted_proxies=config.trusted_proxies,
                    allowed_origins=config.allowed_origins, operator_token=config.operator_token,
                    sign_ins_per_address=config.sign_ins_per_s, sign_in_burst_per_address=config.sign_ins_burst,
                    codes_per_address=config.codes_per_s, code_burst_per_address=config.codes_burst, dev=dev,
                ),
                accounts=accounts, media=media, blobs=blobs if isinstance(blobs, FolderBlobs) else None,
                tokens=tokens, database=database, call=core.calls.answer,
                ready=lambda: "draining" if server.draining else None, metrics=telemetry.exposition,
                office=office,
            )
        )  # fmt: skip
        server = Server(config, url, core, accounts, store, database)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_rotate_keys, tokens)
            nursery.start_soon(sweep_media, media)
            nursery.start_soon(sweep_keys, database)
            nursery.start_soon(
                sweep_suggestions, database, partial(training.add_training, trainings), config.suggest_training_hour
            )
            nursery.start_soon(sweep_sign_ins, database, _ending(tokens, core), config.access_s)
            nursery.start_soon(jobs.run)
            nursery.start_soon(slow_jobs.run)
            if config.suggest_training_hour >= 0:
                nursery.start_soon(trainings.run)
            nursery.start_soon(gatherer.run)
            if config.search_index:
                nursery.start_soon(indexer.run)
            core.gateway.listen(listening)
            yield server
            nursery.cancel_scope.cancel()


async def _open_blobs(config: Config, stack: AsyncExitStack, url: str, secret: bytes) -> FolderBlobs | S3Blobs:
    """Where media lie: a bucket, or a folder."""
    if config.s3_bucket:
        bucket = Bucket(
            name=config.s3_bucket, endpoint=config.s3_endpoint, region=config.s3_region, public_base=config.cdn_base,
            access_key=config.s3_access_key, secret_key=config.s3_secret_key,
        )  # fmt: skip
        return await stack.enter_async_context(open_s3_blobs(bucket))
    try:
        return FolderBlobs(config.media_folder, blob_links.secret_of(secret), url.rstrip("/"), config.cdn_base)
    except OSError as problem:
        raise StartError(f"the media folder {config.media_folder} cannot be used: {problem.strerror}") from problem


def _push_driver(config: Config, stack: AsyncExitStack) -> Driver:
    """What sends pushes."""
    if config.push_driver == "log":
        return LogDriver()
    try:
        from konnect_server.push.firebase import CredentialsUnfit, FirebaseDriver  # large, and not always there
    except ImportError as problem:
        raise StartError(
            f"push_driver is firebase, and {problem.name} is not installed: pip install 'konnect[firebase]'"
        ) from problem
    try:
        driver = FirebaseDriver(config.firebase_credentials, config.firebase_endpoint)
    except CredentialsUnfit as problem:
        raise StartError(str(problem)) from problem
    stack.callback(driver.close)
    return driver


async def _mail_driver(config: Config, database: Database, stack: AsyncExitStack, dev: bool) -> MailDriver:
    """What sends mails."""
    match config.mail_driver:
        case "console":
            if not dev:
                log.warning("mail_driver is console: codes and other mails reach nobody")
            return ConsoleDriver(database)
        case "brevo":
            if not config.brevo_key:
                raise StartError("mail_driver is brevo, and brevo_key is not set")
            return await stack.enter_async_context(
                open_brevo_driver(config.brevo_key, config.mail_from, config.brevo_endpoint)
            )
        case "smtp":
            smtp = Smtp(
                host=config.smtp_host, port=config.smtp_port, user=config.smtp_user, password=config.smtp_password,
                tls=config.smtp_tls, ca=config.smtp_ca, sender=config.mail_from,
            )  # fmt: skip
            try:
                return SmtpDriver(smtp)
            except SmtpUnfit as problem:
                raise StartError(str(problem)) from problem


def _ending(tokens: Tokens, core: Core) -> Callable[[UUID, UUID], None]:
    """What is done here with a sign-in that ended, wherever that was."""

    def end(sign_in: UUID, user: UUID) -> None:
        tokens.end(sign_in)
        core.registry.sign_out(sign_in, user)

    return end


def _gatherer(core: Core, database: Database, jobs: Jobs) -> Gatherer:
    users = core.registry.users

    def is_here(user: UUID, device: str) -> bool:
        return user in users and device in users[user].devices

    def everybody() -> list[tuple[UUID, str]]:
        return [(user, device) for user, one in users.items() for device in one.devices]

    return Gatherer(database, core.bus.node, is_here, everybody, core.registry.changed, jobs.wake)


def _media_terms(config: Config) -> MediaTerms:
    return MediaTerms(
        photo_bytes=config.photo_bytes, voice_bytes=config.voice_bytes, video_bytes=config.video_bytes,
        file_bytes=config.file_bytes, quota_bytes=config.media_quota_bytes, upload_url_s=config.upload_url_s,
        download_url_s=config.download_url_s, pending_s=config.upload_pending_s, unused_s=config.upload_unused_s,
    )  # fmt: skip


async def _listen(config: Config) -> list[socket.socket]:
    try:
        return await open_listeners(config.host, config.port, config.accept_backlog)
    except OSError as problem:
        where, why = f"{config.host} port {config.port}", problem.strerror or str(problem)
        raise StartError(f"Konnect cannot listen on {where}: {why}. Choose another port with --port.") from problem


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


async def _check(database: Database, config: Config) -> None:
    unfit = await suitability(database)
    if not config.unsafe_no_fsync:
        unfit += await durability(database)
    if unfit:
        raise StartError("; ".join(unfit))


async def _rotate_keys(tokens: Tokens) -> None:
    while True:
        tokens.rotate_if_older(ROTATE_KEYS_S)
        await trio.sleep(LOOK_AT_KEYS_S)


async def _welcome(server: Server, announce: Announce) -> None:
    """The demo: two people who know each other, and what to do with them."""
    people = []
    for name, email in DEMO_PEOPLE:
        account = await people_rows.account_by_email(server.database, email)
        if account is None:
            made = await server.accounts.register(Register(email=email, password=DEMO_PASSWORD, name=name))
            await people_rows.verify_email(server.database, made.user.id)
            people.append(made.user.id)
        else:
            people.append(account.id)
    with suppress(NotAllowedToWrite):  # they may have to match first
        await server.store.open_direct(uuid7(), people[0], people[1])
    at = "" if server.url == "http://127.0.0.1:8080" else f" --url {server.url}"
    announce(
        f"""
Konnect {konnect_version()} is ready on {server.url}

  Talk: in two more terminals, from this folder
      .venv/bin/konnect chat ann@example.com{at}
      .venv/bin/konnect chat bob@example.com{at}

  Read: {server.url}/docs   (how to build on it)
  Mail: {server.url}/dev/mail   (codes, instead of sending them)
  Stop: Ctrl-C
"""
    )
