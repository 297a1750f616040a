"""Everything that can be set: one flat Struct, each key with its limits and its meaning.

A key has one name everywhere: ``port`` in the TOML file, ``KONNECT_PORT`` in the environment, ``--port`` as a flag.
Flags win over the environment, the environment over the file, the file over the defaults below. What is unknown is
refused with the nearest known name; what is wrong is one sentence that names the key and where it came from.
``docs/configuration.md`` is made from this file (a test fails on drift).
"""

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from protocol import limits
from protocol.frames import SearchLanguage

PREFIX: Final = "KONNECT_"
FILE_VARIABLE: Final = "KONNECT_CONFIG"
OTHER_VARIABLES: Final = frozenset({FILE_VARIABLE, "KONNECT_PASSWORD", "KONNECT_URL"})  # what `konnect chat` reads
SECRET: Final = frozenset({"database_url", "s3_secret_key", "operator_token", "smtp_password", "brevo_key"})
_FILES: Final = {
    "database_url_file": "database_url",
    "s3_secret_key_file": "s3_secret_key",
    "operator_token_file": "operator_token",
    "smtp_password_file": "smtp_password",
    "brevo_key_file": "brevo_key",
}

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
MailDriver: TypeAlias = Literal["console", "smtp", "brevo"]
SmtpTls: TypeAlias = Literal["starttls", "tls", "none"]
ErasedTexts: TypeAlias = Literal["blank", "keep"]
PushDriver: TypeAlias = Literal["log", "firebase"]
Release: TypeAlias = Literal["daily", "random"]
Preset: TypeAlias = Literal["open", "dating"]
MayWrite: TypeAlias = Literal["preset", "anyone", "contacts", "matches"]
Format: TypeAlias = Literal["auto", "text", "json"]
Texts: TypeAlias = tuple[str, ...]
Filled: TypeAlias = Annotated[str, Meta(min_length=1)]


def among(least: float, most: float) -> Meta:
    """From *least* to *most*, both included."""
    return Meta(ge=least, le=most)


def above(least: float, most: float) -> Meta:
    """More than *least*, up to and including *most*."""
    return Meta(gt=least, le=most)


def doc(meaning: str) -> Meta:
    """What the key means, in one sentence."""
    return Meta(description=meaning)


class ConfigError(Exception):
    """The configuration cannot be used; the text is one plain sentence that names the key and its source."""


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one Konnect process runs. Made by :func:`load_config`; ``Config()`` is all defaults."""

    # Address
    host: Annotated[Filled, doc("The address to listen on; 0.0.0.0 or :: for all.")] = "127.0.0.1"
    port: Annotated[int, among(0, 65_535), doc("The one port for HTTP and socket; 0 takes a free one.")] = 8080
    public_url: Annotated[str, doc("The address clients use, where it differs: https://chat.example.com.")] = ""
    trusted_proxies: Annotated[Texts, doc("Proxies (addresses, networks) whose X-Forwarded-For is believed.")] = ()
    allowed_origins: Annotated[Texts, doc("Origins of web apps that may call the HTTP API (CORS); * for any.")] = ()
    accept_backlog: Annotated[int, among(1, 65_535), doc("Connections the kernel holds until accepted.")] = 1024

    # Storage
    data: Annotated[Filled, doc("The data folder: the embedded database, and by default the keys.")] = ".konnect"
    database_url: Annotated[str, doc("PostgreSQL 18 or newer; empty: the embedded one, for one machine.")] = ""
    database_url_file: Annotated[str, doc("A file that holds database_url, as platforms hand out secrets.")] = ""
    query_timeout_s: Annotated[float, above(0, 600), doc("Deadline of one database query, in seconds.")] = 5.0
    read_connections: Annotated[int, among(1, 100), doc("Database connections for reading and for accounts.")] = 4
    log_writers: Annotated[int, among(1, 32), doc("Database connections that append; a conversation keeps to one.")] = 2
    unsafe_no_fsync: Annotated[bool, doc("For tests only: a power cut may lose what was acknowledged.")] = False

    # Accounts
    keys: Annotated[str, doc("The folder of the signing keys; empty: the folder `keys` in the data folder.")] = ""
    access_s: Annotated[int, among(10, 86_400), doc("How long an access token is good, in seconds.")] = 900
    refresh_idle_days: Annotated[int, among(1, 3650), doc("A sign-in ends when not refreshed for so long.")] = 30
    password_hashes: Annotated[int, among(1, 64), doc("Passwords hashed at once; each takes a core and 64 MiB.")] = 2
    sign_ins_per_s: Annotated[float, above(0, 1e6), doc("Sign-ups and sign-ins a second from one address.")] = 5.0
    sign_ins_burst: Annotated[int, among(1, 1_000_000), doc("The same at once, from a rested address.")] = 300
    codes_per_s: Annotated[float, above(0, 1e6), doc("Codes a second that one address may have mailed.")] = 0.2
    codes_burst: Annotated[int, among(1, 1_000_000), doc("The same at once, from a rested address.")] = 60
    codes_per_hour: Annotated[int, among(1, 1_000), doc("Codes an hour to one e-mail address, for one purpose.")] = 6

    # Mail
    mail_driver: Annotated[MailDriver, doc("`console`: mails lie in a tray, and `konnect dev` shows them.")] = "console"
    mail_from: Annotated[Filled, doc("Who mails are from: a name, and an address.")] = "Konnect <konnect@localhost>"
    smtp_host: Annotated[Filled, doc("The mail server.")] = "localhost"
    smtp_port: Annotated[int, among(1, 65_535), doc("Its port: 587 for STARTTLS, 465 for TLS, mostly.")] = 587
    smtp_tls: Annotated[SmtpTls, doc("`none` only for a mail server on the same machine.")] = "starttls"
    smtp_ca: Annotated[str, doc("A file of certificates to trust instead of the system's.")] = ""
    smtp_user: Annotated[str, doc("Who signs in there; empty: nobody.")] = ""
    smtp_password: Annotated[str, doc("The password that belongs to smtp_user.")] = ""
    smtp_password_file: Annotated[str, doc("A file that holds smtp_password.")] = ""
    brevo_key: Annotated[str, doc("The key of Brevo's API.")] = ""
    brevo_key_file: Annotated[str, doc("A file that holds brevo_key.")] = ""
    brevo_endpoint: Annotated[str, doc("What stands in for https://api.brevo.com, for tests.")] = ""

    # Leaving
    leaving_days: Annotated[int, among(0, 365), doc("Days in which who deletes the account may return.")] = 14
    erased_texts: Annotated[ErasedTexts, doc("What an erased person said to others: `blank` or `keep`.")] = "blank"
    export_days: Annotated[int, among(1, 365), doc("Days for which a copy of one's data can be fetched.")] = 7

    # Media
    media: Annotated[str, doc("The folder of photos, videos and files; empty: `media` in the data folder.")] = ""
    cdn_base: Annotated[str, doc("What addresses of profile photos begin with; empty: the store's own address.")] = ""
    s3_bucket: Annotated[str, doc("Keep media in this bucket of an S3 store; empty: in the folder.")] = ""
    s3_endpoint: Annotated[str, doc("The S3 store's address; empty: Amazon's, by region.")] = ""
    s3_region: Annotated[Filled, doc("The bucket's region.")] = "us-east-1"
    s3_access_key: Annotated[str, doc("Empty: AWS's own variables and files, or the machine's role.")] = ""
    s3_secret_key: Annotated[str, doc("The secret that belongs to s3_access_key.")] = ""
    s3_secret_key_file: Annotated[str, doc("A file that holds s3_secret_key.")] = ""
    upload_url_s: Annotated[int, among(60, 86_400), doc("How long an upload's address is good, in seconds.")] = 900
    download_url_s: Annotated[int, among(10, 86_400), doc("How long a medium's address is good, in seconds.")] = 300
    upload_pending_s: Annotated[int, among(7200, 1 << 25), doc("An unfinished one is kept for so long after.")] = 7200
    upload_unused_s: Annotated[int, among(60, 1 << 25), doc("A medium that nothing names is kept so long.")] = 86_400
    photo_bytes: Annotated[int, among(1024, 1 << 30), doc("A photo's largest file.")] = 20 << 20
    voice_bytes: Annotated[int, among(1024, 1 << 30), doc("A voice note's largest file.")] = 20 << 20
    video_bytes: Annotated[int, among(1024, 1 << 32), doc("A video's largest file.")] = 200 << 20
    file_bytes: Annotated[int, among(1024, 1 << 32), doc("Any other largest file.")] = 100 << 20
    media_quota_bytes: Annotated[int, among(0, 1 << 50), doc("What one person's media may take together.")] = 2 << 30

    # Notifications
    push_driver: Annotated[PushDriver, doc("`log`: pushes are only logged; `firebase` needs that extra.")] = "log"
    firebase_credentials: Annotated[str, doc("A service account's JSON file; empty: Google's own variable.")] = ""
    firebase_endpoint: Annotated[str, doc("What stands in for https://fcm.googleapis.com, for tests.")] = ""
    operator_token: Annotated[str, doc("Lets an operator, or the app's back end, send notifications.")] = ""
    operator_token_file: Annotated[str, doc("A file that holds operator_token.")] = ""

    # Profiles
    minimum_age: Annotated[int, among(0, 130), doc("Whoever gives a birthday is at least so old, in years.")] = 18
    reserved_handles: Annotated[Texts, doc("Handles that nobody may take, besides `admin` and its like.")] = ()

    # Limits
    frame_bytes: Annotated[int, among(1024, 1 << 24), doc("A client's largest message.")] = limits.FRAME_BYTES
    outbox_bytes: Annotated[
        int, among(2 * limits.PAGE_BYTES, 1 << 30), doc("What may wait for a client before `slow`; two pages at least.")
    ] = 1 << 20
    messages_per_s: Annotated[float, above(0, 1e6), doc("Messages a second; who sends faster is read slower.")] = 50.0
    messages_burst: Annotated[int, among(1, 1_000_000), doc("Messages a rested connection may send at once.")] = 100
    commands_per_s: Annotated[float, above(0, 1e6), doc("Other commands a second, before `rate_limited`.")] = 50.0
    commands_burst: Annotated[int, among(1, 1_000_000), doc("Other commands a rested one may send at once.")] = 200
    sockets_per_user: Annotated[int, among(1, 10_000), doc("Sockets a person may hold, one a device.")] = 10
    group_members: Annotated[int, among(2, 100_000), doc("Members a group may have.")] = limits.GROUP_MEMBERS
    room_members: Annotated[
        int, among(2, 1_000_000), doc("Members a room or a channel may have.")
    ] = limits.ROOM_MEMBERS  # fmt: skip
    edit_within_s: Annotated[
        int, among(-1, 315_360_000), doc("How long a message may be edited, in seconds; 0: never, -1: for ever.")
    ] = 172_800

    # Contacts
    contact_requests_a_day: Annotated[
        int, among(1, 100_000), doc("Requests to be somebody's contact that one person may send in 24 hours.")
    ] = 50
    contact_requests_waiting: Annotated[
        int, among(1, 1_000), doc("Requests of one person that may wait for an answer, ignored ones among them.")
    ] = 500

    retention_s: Annotated[
        int, among(0, 315_360_000), doc("New conversations keep messages for so many seconds; 0: for ever.")
    ] = 0
    # Search
    search_languages: Annotated[
        Texts, doc("Languages by whose word stems messages are found, too (PostgreSQL's names of them).")
    ] = ("english",)
    search_index: Annotated[bool, doc("Whether this process keeps the index; of several, one is enough.")] = True

    # People
    preset: Annotated[Preset, doc("What the app is: `dating` lets only people who match write to each other.")] = "open"
    may_write: Annotated[
        MayWrite, doc("Who may write to whom; `contacts`: matches, too; `preset`: as that says, else anyone.")
    ] = "preset"
    openers_per_day: Annotated[int, among(0, 10_000), doc("First messages a person may send on one day (UTC).")] = 5
    opener_release: Annotated[Release, doc("When first messages are shown: at an hour, or each at random.")] = "daily"
    opener_hour: Annotated[int, among(0, 23), doc("Of `daily`: at which hour (UTC).")] = 18
    opener_within_h: Annotated[
        int, among(24, 720), doc("Of `random`: within how many hours; no fewer, or one could tell when they were sent.")
    ] = 24
    suggest_seed: Annotated[str, doc("By what the few are drawn who are suggested by chance; any text.")] = ""
    suggest_training_hour: Annotated[
        int, among(-1, 23), doc("From this hour (UTC) on one of the servers trains the recommender each day; -1: none.")
    ] = 3

    # Times
    hello_timeout_s: Annotated[float, above(0, 600), doc("A socket without a hello is closed after it.")] = 10.0
    ping_interval_s: Annotated[float, above(0, 3600), doc("How long a socket is silent before a ping.")] = 25.0
    ping_timeout_s: Annotated[float, above(0, 3600), doc("How long after a ping it may stay silent.")] = 20.0
    presence_grace_s: Annotated[float, among(0, 600), doc("Who is away for less is not shown as offline.")] = 10.0
    drain_s: Annotated[float, among(0, 300), doc("On SIGTERM, sockets are sent away in batches over this time.")] = 8.0

    # Logs
    log_level: Annotated[Level, doc("What is logged: this and what is graver.")] = "info"
    log_format: Annotated[Format, doc("`text` for people, `json` for machines, `auto`: text on a terminal.")] = "auto"

    @property
    def data_folder(self) -> Path:
        """The data folder."""
        return Path(self.data)

    @property
    def keys_folder(self) -> Path:
        """The folder of the signing keys."""
        return Path(self.keys) if self.keys else Path(self.data) / "keys"

    @property
    def media_folder(self) -> Path:
        """The folder of media, where no S3 store holds them."""
        return Path(self.media) if self.media else Path(self.data) / "media"

    @property
    def write_rule(self) -> Literal["anyone", "contacts", "matches"]:
        """Who may write to whom."""
        if self.may_write != "preset":
            return self.may_write
        return "matches" if self.preset == "dating" else "anyone"

    @property
    def embedded(self) -> bool:
        """True when Konnect brings its own PostgreSQL."""
        return not self.database_url


class Key(NamedTuple):
    """One thing that can be set, as the documents and ``check-config`` show it."""

    name: str
    type: Any
    default: Any
    wanted: str  # "a whole number from 0 to 65535"
    meaning: str

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return "--" + self.name.replace("_", "-")


class Loaded(NamedTuple):
    """A configuration and where each value came from ("default" where nobody set it)."""

    config: Config
    sources: dict[str, str]


GROUPS: Final = {
    "Address": "host",
    "Storage": "data",
    "Accounts": "keys",
    "Mail": "mail_driver",
    "Leaving": "leaving_days",
    "Media": "media",
    "Notifications": "push_driver",
    "Profiles": "minimum_age",
    "Limits": "frame_bytes",
    "Search": "search_languages",
    "People": "preset",
    "Times": "hello_timeout_s",
    "Logs": "log_level",
}  # heading -> its first key


def load_config(
    flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None, path: str | Path | None = None
) -> Config:
    """The configuration out of *flags* over *environ* over the TOML file *path* over the defaults.

    Args:
        flags: Key -> value or text; None means "not given".
        environ: Like ``os.environ``; what does not start with ``KONNECT_``, and empty values, are passed over.
        path: A TOML file; None: the one that ``KONNECT_CONFIG`` names, if any.

    Raises:
        ConfigError: One sentence that names the key and its source.
    """
    return load_with_sources(flags, environ, path).config


def load_with_sources(
    flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None, path: str | Path | None = None
) -> Loaded:
    """Like :func:`load_config`, and says where each value came from."""
    environ = environ or {}
    given: dict[str, tuple[Any, str]] = {}
    if path := path or environ.get(FILE_VARIABLE):
        given.update(_from_file(Path(path)))
    given.update(_from_environment(environ))
    given.update({name: (value, _KEYS[name].flag) for name, value in (flags or {}).items() if value is not None})
    values = {name: _convert(_KEYS[name], value, source) for name, (value, source) in given.items()}
    sources = {name: given[name][1] if name in given else "default" for name in _KEYS}
    for by_file, name in _FILES.items():
        if file := values.get(by_file):
            if values.get(name):
                both = f"{sources[name]} and {sources[by_file]}"
                raise ConfigError(f"{both} are both set: leave one out")
            sources[name] = f"the file {file}"
            values[name] = _convert(_KEYS[name], _secret(file, sources[by_file]), sources[name])
    return Loaded(Config(**values), sources)


def keys() -> list[Key]:
    """Every key, in the order of the Struct."""
    return list(_KEYS.values())


def example_toml() -> str:
    """A configuration file with every key at its default, commented out."""
    lines: list[str] = []
    for heading, group in groups():
        lines += [f"# {heading}", ""]
        for key in group:
            lines += [f"# {key.meaning}", f"# {key.name} = {_toml(key.default)}", ""]
    return "\n".join(lines).rstrip() + "\n"


def groups() -> Iterator[tuple[str, list[Key]]]:
    """The keys under their headings."""
    starts = {first: heading for heading, first in GROUPS.items()}
    heading, group = "", list[Key]()
    for key in _KEYS.values():
        if key.name in starts:
            if group:
                yield heading, group
            heading, group = starts[key.name], []
        group.append(key)
    yield heading, group


def shown(config: Config, name: str) -> str:
    """A value as text for people; secrets are hidden, but that they are set is not."""
    value = getattr(config, name)
    return "(hidden)" if name in SECRET and value else _toml(value)


def _from_file(path: Path) -> dict[str, tuple[Any, str]]:
    try:
        text = path.read_text("utf-8")
    except OSError as problem:
        raise ConfigError(f"the configuration file {path} cannot be read: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise ConfigError(f"the configuration file {path} is not UTF-8 text") from problem
    try:
        found = msgspec.toml.decode(text)
    except msgspec.DecodeError as problem:
        raise ConfigError(f"the configuration file {path} is not TOML: {problem}") from problem
    for name in found:
        if name not in _KEYS:
            raise ConfigError(f"{path} has the unknown key {name}{_nearest(name, list(_KEYS))}")
    return {name: (value, f"{name} in {path}") for name, value in found.items()}


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    known = {key.variable: key for key in _KEYS.values()}
    found: dict[str, tuple[Any, str]] = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES:
            continue
        if variable not in known:
            nearest = _nearest(variable, [*known, *OTHER_VARIABLES], PREFIX)
            raise ConfigError(f"the environment has the unknown variable {variable}{nearest}")
        if value:  # an empty one is as good as none: compose files hand on what was never set
            found[known[variable].name] = (value, variable)
    return found


def _convert(key: Key, value: Any, source: str) -> Any:
    if isinstance(value, str) and get_origin(key.type) is tuple:
        value = [part.strip() for part in value.split(",") if part.strip()]
    try:
        # The environment and flags have only text; a file has types, and must use them.
        converted = msgspec.convert(value, _ANNOTATED[key.name], strict=source.startswith(f"{key.name} in "))
        if judge := _JUDGES.get(key.name):
            judge(converted)
    except (msgspec.ValidationError, ValueError) as problem:
        said = "(hidden)" if key.name in SECRET else _toml(value)
        raise ConfigError(f"{source} is {said}, but must be {key.wanted}") from problem
    return converted


def _nearest(name: str, known: list[str], prefix: str = "") -> str:
    """What may have been meant; the *prefix*, common to all, says nothing about it."""
    close = difflib.get_close_matches(name[len(prefix) :], [each[len(prefix) :] for each in known], n=1, cutoff=0.5)
    return f": did you mean {prefix}{close[0]}?" if close else "; konnect check-config lists what there is"


def _secret(path: str, source: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, ValueError) as problem:
        reason = "it is no path"  # as with a NUL in it
        if isinstance(problem, OSError):
            reason = problem.strerror or str(problem)
        elif isinstance(problem, UnicodeDecodeError):
            reason = "it is not UTF-8 text"
        raise ConfigError(f"{source} names {path}, which cannot be read: {reason}") from problem


def _toml(value: Any) -> str:
    return msgspec.json.encode(value).decode()  # for what a key may be, JSON and TOML agree


def _judge_proxies(values: tuple[str, ...]) -> None:
    for value in values:
        ipaddress.ip_network(value, strict=False)


def _judge_origins(values: tuple[str, ...]) -> None:
    for value in values:
        parts = urlsplit(value)
        origin = f"{parts.scheme}://{parts.netloc}"
        if value != "*" and (parts.scheme not in ("http", "https") or not parts.netloc or value != origin):
            raise ValueError("no origin")


def _judge_url(value: str) -> None:
    if value and not value.startswith(("http://", "https://")):
        raise ValueError("no scheme")


def _judge_base(value: str) -> None:
    _judge_url(value)
    if value.endswith("/") or "?" in value or "#" in value:
        raise ValueError("names are put behind it")


def _judge_bucket(value: str) -> None:
    if value and not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value):
        raise ValueError("no bucket's name")


def _judge_database(value: str) -> None:
    if value and not value.startswith(("postgresql://", "postgres://")) and "=" not in value:
        raise ValueError("no scheme")


def _judge_token(value: str) -> None:
    if value and not re.fullmatch(r"[!-~]{16,256}", value):
        raise ValueError("easily guessed, or no header can carry it")


def _judge_sender(value: str) -> None:
    name, address = parseaddr(value)
    if not re.fullmatch(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+", address) or not f"{name}{value}".isprintable():
        raise ValueError("no sender")


def _judge_languages(values: tuple[str, ...]) -> None:
    if not set(values) <= set(get_args(SearchLanguage)) or len(set(values)) != len(values):
        raise ValueError("no such language")


_JUDGES: Final[dict[str, Callable[[Any], None]]] = {
    "trusted_proxies": _judge_proxies,
    "allowed_origins": _judge_origins,
    "public_url": _judge_url,
    "database_url": _judge_database,
    "cdn_base": _judge_base,
    "s3_endpoint": _judge_base,
    "s3_bucket": _judge_bucket,
    "firebase_endpoint": _judge_base,
    "mail_from": _judge_sender,
    "brevo_endpoint": _judge_base,
    "operator_token": _judge_token,
    "search_languages": _judge_languages,
}
_WANTED: Final = {
    "trusted_proxies": "addresses or networks such as 10.0.0.0/8 (a list in TOML, commas elsewhere)",
    "allowed_origins": "origins such as https://app.example.com, without a path (a list in TOML, commas elsewhere)",
    "search_languages": "languages such as english or german, each once (a list in TOML, commas elsewhere)",
    "public_url": "an address that starts with http:// or https://",
    "database_url": "an address like postgresql://user:password@host/name",
    "cdn_base": "an address that starts with http:// or https:// and has no slash at its end",
    "s3_endpoint": "an address that starts with http:// or https:// and has no slash at its end",
    "s3_bucket": "3 to 63 lower-case letters, digits, dots and hyphens",
    "firebase_endpoint": "an address that starts with http:// or https:// and has no slash at its end",
    "brevo_endpoint": "an address that starts with http:// or https:// and has no slash at its end",
    "mail_from": "a name and an address like Konnect <konnect@example.com>, or an address alone",
    "operator_token": "16 to 256 letters, digits and signs without spaces",
}
_ANNOTATED: Final = get_type_hints(Config, include_extras=True)


def _describe(name: str, default: Any) -> Key:
    kind, *metas = get_args(_ANNOTATED[name])
    meaning = "".join(meta.description or "" for meta in metas)
    limit = metas[0]
    wanted = "a text"
    if name in _WANTED:
        wanted = _WANTED[name]
    elif get_origin(kind) is Literal:
        wanted = "one of " + ", ".join(get_args(kind))
    elif kind is bool:
        wanted = "true or false"
    elif kind is str and limit.min_length:
        wanted = "a text that is not empty"
    elif kind in (int, float):
        noun = "a whole number" if kind is int else "a number"
        low = f"from {limit.ge}" if limit.ge is not None else f"above {limit.gt}"
        wanted = f"{noun} {low} to {limit.le:.0f}"
    return Key(name, kind, default, wanted, meaning)


_KEYS: Final = {field.name: _describe(field.name, field.default) for field in msgspec.structs.fields(Config)}
