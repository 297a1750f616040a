"""The command ``konnect``: read the configuration, run one thing, end with one plain sentence when it cannot.

Nothing heavy is imported before it is needed: ``konnect --help`` answers at once.
"""

import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeVar, get_args, get_origin

import click
import msgspec

from konnect_server import __version__
from konnect_server.config import Config, ConfigError, Key, Loaded, example_toml, groups, keys, load_with_sources, shown

if TYPE_CHECKING:
    from konnect_server.actions.operator import Operator
    from storage.accounts import Account, Role
    from storage.database import Database

FAILED: Final = 1  # what was asked for could not be done
MISUSED: Final = 2  # the command line or the configuration is wrong

T = TypeVar("T")


class Failed(click.ClickException):
    """What was asked for could not be done; the message is one plain sentence for stderr."""

    exit_code = FAILED


class Misused(click.ClickException):
    """The configuration is wrong; the message is one plain sentence for stderr."""

    exit_code = MISUSED


_METAVARS: Final = {"data": "FOLDER", "keys": "FOLDER", "database_url_file": "FILE"}


def _metavar(key: Key) -> str:
    if get_origin(key.type) is Literal:
        return "|".join(get_args(key.type))
    if key.type in (int, float):
        return "N"
    return _METAVARS.get(key.name, key.name.split("_")[-1].upper())


class Configured(click.Command):
    """A command with a flag for every key of the configuration, shown under its headings."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        about_file = "A TOML file with any of the settings below; or the variable KONNECT_CONFIG."
        self.params.append(click.Option(["--config"], metavar="FILE", help=about_file))
        for key in keys():
            about = f"{key.meaning} [default: {key.default}]" if key.default not in ("", (), False) else key.meaning
            if key.type is bool:
                option = click.Option([f"{key.flag}/--no-{key.flag[2:]}"], default=None, help=about)
            else:
                option = click.Option([key.flag], metavar=_metavar(key), help=about)
            self.params.append(option)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options first, then the configuration's, group by group."""
        rows = {param.name: row for param in self.get_params(ctx) if (row := param.get_help_record(ctx))}
        settings = {heading: [rows.pop(key.name) for key in group] for heading, group in groups()}
        with formatter.section("Options"):
            formatter.write_dl(list(rows.values()))
        for heading, found in settings.items():
            with formatter.section(f"Settings: {heading.lower()}"):
                formatter.write_dl(found)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`konnect COMMAND --help` explains each with examples.",
)
def cli() -> None:
    """Konnect, a realtime messaging server.

    \b
    Try it:             konnect dev
    Talk, twice:        konnect chat ann@example.com
                        konnect chat bob@example.com
    Run it:             konnect serve --config konnect.toml
    """


@cli.command(cls=Configured)
def serve(**flags: Any) -> None:
    """Run the server until SIGTERM or Ctrl-C; then sockets are told to come back, and it exits with 0.

    Every setting can be given as a flag, as an environment variable (KONNECT_PORT for --port) or in a TOML file;
    flags win over the environment, the environment over the file.

    Without a database address the embedded PostgreSQL is used, which is meant for one machine.

    \b
    Examples:
      konnect serve
      konnect serve --host 0.0.0.0 --port 80 --log-format json
      konnect serve --database-url postgresql://konnect:secret@db/konnect
      KONNECT_DATABASE_URL_FILE=/run/secrets/db konnect serve --config konnect.toml
    """
    _serve(flags, dev=False)


@cli.command(cls=Configured)
def dev(**flags: Any) -> None:
    """Try Konnect: the server, with two demo people, ann@example.com and bob@example.com.

    The data stays in the folder .konnect; remove it to begin afresh.

    \b
    Examples:
      konnect dev
      konnect dev --port 9000 --data /srv/konnect
    """
    _serve(flags, dev=True)


@cli.command(cls=Configured)
@click.option("--check", is_flag=True, help="Change nothing; say what is missing, and exit with 1 when something is.")
@click.option("--json", "as_json", is_flag=True, help="Answer as one JSON object.")
def migrate(check: bool, as_json: bool, **flags: Any) -> None:
    """Bring the database's schema up to date. `konnect serve` does so by itself when it starts.

    Safe while servers run, and when several do it at once. Only ever forward: back up first.

    \b
    Examples:
      konnect migrate --database-url postgresql://konnect:secret@db/konnect
      konnect migrate --check --json
    """
    config = _load(flags).config
    names = _run(partial(_migrate, config, check))
    if as_json:
        _print_json({"missing" if check else "applied": names})
    else:
        click.echo("\n".join(names) if names else "The schema is up to date.")
    if check and names:
        raise click.exceptions.Exit(FAILED)


@cli.command(cls=Configured)
@click.option("--json", "as_json", is_flag=True, help="Answer as one JSON object.")
@click.option("--example", is_flag=True, help="Print a TOML file with every setting, and do nothing else.")
def check_config(as_json: bool, example: bool, **flags: Any) -> None:
    """Check the configuration, and show every setting, its value and where that came from.

    Reads what `konnect serve` would read; connects to nothing. Secrets are not shown.

    \b
    Examples:
      konnect check-config --config konnect.toml
      konnect check-config --example > konnect.toml
    """
    if example:
        click.echo(example_toml(), nl=False)
        return
    loaded = _load(flags)
    rows = [(key, shown(loaded.config, key.name), loaded.sources[key.name]) for key in keys()]
    if as_json:
        values = {key.name: msgspec.json.decode(value) if value != "(hidden)" else value for key, value, _ in rows}
        _print_json({"config": values, "sources": loaded.sources})
        return
    widths = max(len(key.name) for key, _, _ in rows), max(len(value) for _, value, _ in rows)
    for key, value, source in rows:
        click.echo(f"{key.name:<{widths[0]}}  {value:<{widths[1]}}  {source}")


@cli.group()
def user() -> None:
    """Accounts, for the operator: create, code, suspend, restore, delete, role.

    Works on the database itself, beside the servers that run on it, and with their settings. WHO is an e-mail address
    or an id. Nobody becomes an admin but by `konnect user role`.

    \b
    Examples:
      konnect user create ann@example.com --name Ann --role admin
      konnect user code ann@example.com
      konnect user suspend bob@example.com --database-url postgresql://konnect:secret@db/konnect
    """


_ROLES: Final = ("person", "moderator", "admin")
_as_json: Final = click.option("--json", "as_json", is_flag=True, help="Answer as one JSON object.")


@user.command(cls=Configured)
@click.argument("email")
@click.option("--name", required=True, help="What others see.")
@click.option("--role", type=click.Choice(_ROLES), default="person", show_default=True, help="What they may do.")
@_as_json
def create(email: str, name: str, role: "Role", as_json: bool, **flags: Any) -> None:
    """Make an account without a password: its person enters by a code.

    \b
    Examples:
      konnect user create ann@example.com --name Ann
      konnect user create ann@example.com --name Ann --role admin --json
    """
    from protocol.http import Email, Name

    try:
        msgspec.convert(email, Email)
        msgspec.convert(name, Name)
    except msgspec.ValidationError as problem:
        raise Misused(f"{email} with the name {name} cannot be: {problem}") from problem
    account = _operate(flags, lambda operator: operator.create(email, name, role))
    _say_account(account, as_json, f"{account.email} is {account.id}; `konnect user code {account.email}` lets in.")


@user.command(cls=Configured)
@click.argument("who")
@_as_json
def code(who: str, as_json: bool, **flags: Any) -> None:
    """Print a code by which WHO signs in, good for ten minutes and once: to be read out, where mail does not arrive.

    \b
    Example:
      konnect user code ann@example.com
    """
    config = _load(dict(flags)).config
    account, made = _operate(flags, lambda operator: operator.code(who, _server_secret(config)))
    _say_account(account, as_json, made, code=made)


@user.command(cls=Configured)
@click.argument("who")
@_as_json
def suspend(who: str, as_json: bool, **flags: Any) -> None:
    """Let WHO in no more: their sign-ins end, and their open sockets close within a second.

    \b
    Example:
      konnect user suspend bob@example.com
    """
    account, ended = _operate(flags, lambda operator: operator.suspend(who))
    _say_account(account, as_json, f"{account.email} is suspended; sign-ins that ended: {ended}.", ended=ended)


@user.command(cls=Configured)
@click.argument("who")
@_as_json
def restore(who: str, as_json: bool, **flags: Any) -> None:
    """Let WHO in again, who was suspended.

    \b
    Example:
      konnect user restore bob@example.com
    """
    account = _operate(flags, lambda operator: operator.restore(who))
    _say_account(account, as_json, f"{account.email} is {account.standing}.")


@user.command(cls=Configured)
@click.argument("who")
@click.option("--yes", is_flag=True, help="Do not ask whether this is meant.")
@_as_json
def delete(who: str, yes: bool, as_json: bool, **flags: Any) -> None:
    """Begin the leaving of WHO, as their own deletion would: sign-ins end, and they may return until it is final.

    \b
    Example:
      konnect user delete bob@example.com --yes
    """
    if not yes:
        click.confirm(f"Delete the account of {who}?", abort=True, err=True)
    account, ended = _operate(flags, lambda operator: operator.delete(who))
    _say_account(account, as_json, f"{account.email} is {account.standing}; sign-ins that ended: {ended}.", ended=ended)


@user.command(cls=Configured)
@click.argument("who")
@click.argument("role", type=click.Choice(_ROLES))
@_as_json
def role(who: str, role: "Role", as_json: bool, **flags: Any) -> None:
    """Make WHO an admin, a moderator, or (person) neither.

    \b
    Example:
      konnect user role ann@example.com admin
    """
    account = _operate(flags, lambda operator: operator.role(who, role))
    _say_account(account, as_json, f"{account.email} is {account.role}.")


@cli.group()
def recommend() -> None:
    """Suggestions, for the operator: train, evaluate, explain, versions, stand, trial.

    Works on the database itself, beside the servers that run on it; they go by what is decided here at once.

    \b
    Examples:
      konnect recommend train
      konnect recommend evaluate --days 14
      konnect recommend explain ann@example.com bob@example.com
    """


@recommend.command(cls=Configured)
@click.option("--candidate", is_flag=True, help="Keep it for a trial; let nobody's suggestions go by it yet.")
@click.option(
    "--background", is_flag=True,
    help="Give way to other processes; that there is nothing to learn from, or nothing better, is no failure.",
)  # fmt: skip
@_as_json
def train(candidate: bool, background: bool, as_json: bool, **flags: Any) -> None:
    """Learn from what people did, and let suggestions go by it, unless the version that stands does better.

    Both are judged by how well they foretell the answers of the last day, of which the new one has not learned then.
    The servers do the same once a day, with --background (suggest_training_hour).

    \b
    Example:
      konnect recommend train
    """
    if background:
        os.nice(10)
    from konnect_server.recommend import training
    from konnect_server.recommend.learning import TooLittle

    async def work(database: "Database") -> "training.Trained | TooLittle":
        try:
            return await training.train(database, told, stand=not candidate)
        except TooLittle as problem:
            if not background:
                raise
            return problem

    with _progress(as_json or background) as told:
        made = _on_database(flags, work, TooLittle)
    if isinstance(made, TooLittle):
        if as_json:
            _print_json({"nothing": str(made)})
        else:
            click.echo(f"nothing was learned: {made}")
        return
    if as_json:
        _print_json({
            "version": made.version, "standing": made.standing, "refused": made.refused, **made.made_of,
            "judged": made.judged.told(), "before": made.before.told(),
        })  # fmt: skip
    else:
        became = "refused" if made.refused else "suggestions go by it" if made.standing else "a candidate"
        click.echo(
            f"version {made.version}: {became}; AUC {made.judged.auc:.3f} on {made.judged.answers:,} answers, "
            f"the version that stood: {made.before.auc:.3f}; learned from {made.made_of['answers']:,} answers "
            f"in {made.made_of['seconds']:g} s"
        )
    if made.refused and not background:
        raise Failed("the version that stands foretells the last day better")


@recommend.command(cls=Configured)
@click.option("--days", type=click.IntRange(1), default=7, show_default=True, help="Of the results.")
@_as_json
def evaluate(days: int, as_json: bool, **flags: Any) -> None:
    """Say how well the versions in use foretell the last day's answers, and what came of what they showed.

    \b
    Example:
      konnect recommend evaluate --days 14
    """
    from konnect_server.recommend import training
    from konnect_server.recommend.learning import Judged, TooLittle
    from storage import recommender

    async def work(database: "Database") -> tuple[dict[int, Judged], list[recommender.Result]]:
        return await training.evaluate(database, told), await recommender.results(database, days)

    with _progress(as_json) as told:
        judged, results = _on_database(flags, work, TooLittle)
    if as_json:
        _print_json({"judged": {str(one): found.told() for one, found in judged.items()}, "results": results})
        return
    for one, found in judged.items():
        auc = f"AUC {found.auc:.3f} of a yes, {found.auc_both:.3f} of two"
        click.echo(f"version {one}: {auc}; {found.answers:,} answers")
    for result in results:
        click.echo(
            f"version {result.version}, {result.source}: {result.impressions:,} shown, {result.openers:,} written to, "
            f"{result.matches:,} matches, {result.replies:,} with replies"
        )


@recommend.command(cls=Configured)
@click.argument("who")
@click.argument("whom")
@_as_json
def explain(who: str, whom: str, as_json: bool, **flags: Any) -> None:
    """Say how WHOM is suggested to WHO: what both share, how likely each says yes to the other, and the reasons told.

    \b
    Example:
      konnect recommend explain ann@example.com bob@example.com
    """
    from konnect_server.actions.operator import NotDone, Operator
    from konnect_server.ids import uuid7
    from storage import recommender

    async def work(database: "Database") -> dict[str, Any] | None:
        operator = Operator(database, uuid7)
        one, other = await operator.find(who), await operator.find(whom)
        return await recommender.explain(database, one.id, other.id)

    found = _on_database(flags, work, NotDone)
    if found is None:
        raise Failed(f"{whom} has no profile")
    if as_json:
        _print_json(found)
        return
    pair = found["pair"]
    click.echo(f"by version {found['version']}: {found['score']:.4f} that both say yes")
    click.echo(f"  {who} to {whom}: {pair['forth']:.3f}; {whom} to {who}: {pair['back']:.3f}")
    for name in ("interests", "languages", "near", "age", "back_taste", "responsive"):
        click.echo(f"  {name}: {pair[name]:.3f}")
    click.echo("  told: " + ("; ".join(_reason(one) for one in found["why"]) or "nothing"))


@recommend.command(cls=Configured)
@_as_json
def versions(as_json: bool, **flags: Any) -> None:
    """List what was learned, when, and what became of it.

    \b
    Example:
      konnect recommend versions
    """
    from storage import recommender

    found = _on_database(flags, recommender.versions)
    if as_json:
        _print_json(found)
        return
    for one in found:
        share = f" for {one.share} %" if one.state == "trial" else ""
        auc = None if one.judged is None else one.judged.get("auc")
        click.echo(f"{one.version}: {one.state}{share}" + ("" if auc is None else f", AUC {auc:.3f}"))


@recommend.command(cls=Configured)
@click.argument("number", type=int)
def stand(number: int, **flags: Any) -> None:
    """Let everybody's suggestions go by version NUMBER, at once and in all processes.

    \b
    Example:
      konnect recommend stand 3
    """
    from storage import recommender

    if not _on_database(flags, lambda database: recommender.stand(database, number)):
        raise Failed(f"there is no version {number}, or it was refused")
    click.echo(f"suggestions go by version {number}")


@recommend.command(cls=Configured)
@click.argument("number", type=int)
@click.option("--share", type=click.IntRange(0, 100), required=True, help="Percent of all people; 0 ends the trial.")
def trial(number: int, share: int, **flags: Any) -> None:
    """Let the suggestions of a SHARE of all people go by version NUMBER: always the same people.

    \b
    Examples:
      konnect recommend trial 4 --share 20
      konnect recommend trial 4 --share 0
    """
    from storage import recommender

    if share == 0:
        _on_database(flags, recommender.end_trial)
        click.echo("nobody's suggestions are on trial")
    elif _on_database(flags, lambda database: recommender.try_out(database, number, share)):
        click.echo(f"the suggestions of {share} % go by version {number}")
    else:
        raise Failed(f"there is no version {number}, or it was refused, or it stands")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Answer as one JSON object.")
def version(as_json: bool) -> None:
    """Say which Konnect this is, and what it runs on."""
    found = {"konnect": __version__, "python": sys.version.split()[0], "platform": sys.platform}
    if as_json:
        _print_json(found)
    else:
        click.echo(f"Konnect {found['konnect']} (Python {found['python']}, {found['platform']})")


@cli.command()
@click.argument("email")
@click.option("--url", envvar="KONNECT_URL", default="http://127.0.0.1:8080", help="The server. [KONNECT_URL]")
@click.option("--password", envvar="KONNECT_PASSWORD", help="Asked for when it is not given here. [KONNECT_PASSWORD]")
@click.option("--state-dir", metavar="FOLDER", help="Where unsent lines and the sign-in are kept; else the user's own.")
def chat(email: str, url: str, password: str | None, state_dir: str | None) -> None:
    """Talk as EMAIL in this terminal: history, live messages, who is online; it reconnects by itself.

    The demo people of `konnect dev` need no password. Type /help in the chat to see what it can do.

    \b
    Examples:
      konnect chat ann@example.com
      konnect chat bob@example.com --url https://chat.example.com
      KONNECT_PASSWORD=secret konnect chat carol@example.com
    """
    from konnect_server.chat import main as talk

    raise click.exceptions.Exit(talk(email, url=url, password=password, state_dir=state_dir))


def main() -> NoReturn:
    """Run the command line; never returns. Exit code 0, 1 (could not), 2 (misused) or 130 (interrupted)."""
    try:
        code = cli.main(prog_name="konnect", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as problem:
        click.echo(problem.format_message())
        code = MISUSED
    except click.ClickException as problem:
        hint = ""
        if isinstance(problem, click.UsageError):
            hint = f" ({problem.ctx.command_path if problem.ctx else 'konnect'} --help explains)"
        click.echo(f"konnect: {problem.format_message()}{hint}", err=True)
        code = problem.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = 130
    sys.exit(code)


def _load(flags: dict[str, Any]) -> Loaded:
    path = flags.pop("config")
    try:
        return load_with_sources(flags, os.environ, path)
    except ConfigError as problem:
        raise Misused(str(problem)) from problem


def _serve(flags: dict[str, Any], *, dev: bool) -> None:
    config = _load(flags).config
    from konnect_server import server, telemetry

    telemetry.set_up_logs(config.log_level, config.log_format)
    _run(partial(server.serve, config, dev=dev, announce=_announce))


async def _migrate(config: Config, check: bool) -> list[str]:
    from storage.migrate import migrate, pending

    return await _with_database(config, pending if check else migrate)


async def _with_database(config: Config, work: "Callable[[Database], Awaitable[T]]") -> T:
    """*work* on the database of *config*; the embedded one is shared with a server that runs, else started for it."""
    from storage.database import open_database
    from storage.embedded import open_embedded

    async def at(dsn: str) -> T:
        async with open_database(dsn, size=1, timeout_s=config.query_timeout_s) as database:
            return await work(database)

    if not config.embedded:
        return await at(config.database_url)
    async with open_embedded(config.data_folder, unsafe_no_fsync=config.unsafe_no_fsync) as embedded:
        return await at(embedded.dsn)


def _operate(flags: dict[str, Any], work: "Callable[[Operator], Awaitable[T]]") -> T:
    """*work* of the operator."""
    from konnect_server.actions.operator import NotDone, Operator
    from konnect_server.ids import uuid7
    from protocol.errors import EmailTaken

    return _on_database(flags, lambda database: work(Operator(database, uuid7)), NotDone, EmailTaken)


def _on_database(
    flags: dict[str, Any], work: "Callable[[Database], Awaitable[T]]", *refusals: type[Exception]
) -> T:
    """*work* on a database whose schema is up to date; what it raises of *refusals* is one sentence."""
    config = _load(flags).config
    from konnect_server import telemetry
    from storage.migrate import pending

    telemetry.set_up_logs(config.log_level, config.log_format)  # beside what is answered, not in it

    async def on(database: "Database") -> T | Failed:
        if missing := await pending(database):
            return Failed(f"the database's schema lacks {len(missing)} migrations: run `konnect migrate` first")
        try:
            return await work(database)
        except refusals as problem:
            return Failed(str(problem))  # raised outside of everything that has to be closed first

    done = _run(partial(_with_database, config, on))
    if isinstance(done, Failed):
        raise done
    return done


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error, of what is told: the name of the part at hand, and how far it is."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as shown:
        task = shown.add_task("", total=1.0)
        yield lambda part, share: shown.update(task, description=part, completed=share)


def _reason(told: dict[str, Any]) -> str:
    return " ".join([told["kind"], *told.get("values", []), *([told["city"]] if "city" in told else [])])


def _server_secret(config: Config) -> bytes:
    from storage.keys import KeysUnfit, read_keys

    try:
        return read_keys(config.keys_folder).refresh_secret
    except KeysUnfit as problem:
        raise Failed(f"the keys of the servers are needed: {problem}") from problem


def _say_account(account: "Account", as_json: bool, said: str, **more: Any) -> None:
    if as_json:
        found = {name: getattr(account, name) for name in ("id", "email", "name", "standing", "role")}
        _print_json({**found, **more})
    else:
        click.echo(said)


def _run(work: Callable[[], Awaitable[T]]) -> T:
    """Run *work* on Trio; what stops it in an orderly way becomes one sentence."""
    import trio

    from konnect_server.server import StartError
    from storage.errors import StorageError

    try:
        return trio.run(work)
    except (StartError, StorageError) as problem:
        raise Failed(str(problem)) from problem
    except BaseExceptionGroup as group:
        orderly, rest = group.split((StartError, StorageError))
        if rest is not None or orderly is None:
            raise
        raise Failed(str(_first(orderly))) from group


def _announce(text: str) -> None:
    with suppress(OSError):  # whoever read our output has left; the server has not
        click.echo(text)


def _first(problem: BaseException) -> BaseException:
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem


def _print_json(value: Any) -> None:
    click.echo(msgspec.json.encode(value).decode())
