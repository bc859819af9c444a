"""What the commands share: options, the open database, the master key, and how their failures read."""

from __future__ import annotations

import functools
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import click
from sqlalchemy.exc import SQLAlchemyError

from control_plane import database, location, master_key, registry, schema
from control_plane.cli.errors import CliError, Exit
from control_plane.database import Database
from control_plane.location import Location
from control_plane.master_key import Sealer
from node_protocol import strict_json
from node_protocol.signatures import is_authority
from verifier import StoreUnavailable

F = TypeVar("F", bound=Callable[..., Any])

_NODE_ID: Final = re.compile(r"n_[a-z2-7]{20}", re.ASCII)
_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([smhd])", re.ASCII)
_RESTORE: Final = "restore it from its backup, or name another --data-dir"
_AT_POSTGRESQL: Final = "look whether PostgreSQL runs there and lets this user in, and at what its log says"
_DATABASE_HINTS: Final = {
    sqlite3.SQLITE_BUSY: "another program holds it: try again when that one is done",
    sqlite3.SQLITE_CORRUPT: _RESTORE,
    sqlite3.SQLITE_NOTADB: _RESTORE,
}
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class NodeIdType(click.ParamType[str]):
    """A node id."""

    name = "n_…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The id itself."""
        if not _NODE_ID.fullmatch(str(value)):
            self.fail(f"{value!r} is no node id: that is n_ and 20 characters of a-z and 2-7", param, ctx)
        return str(value)


class DurationType(click.ParamType[timedelta]):
    """A length of time, `30s`, `10m`, `1h`, `7d`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The length of time."""
        if isinstance(value, timedelta):
            return value
        match = _DURATION.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is no length of time, such as 30s, 10m, 1h or 7d", param, ctx)
        return timedelta(**{_UNITS[match[2]]: int(match[1])})


class AuthorityType(click.ParamType[str]):
    """A name by which the server is reached."""

    name = "name[:port]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name in lower case."""
        if not is_authority(str(value).lower()):
            self.fail(f"{value!r} is no name[:port], such as nodes.example.com", param, ctx)
        return str(value).lower()


NODE_ID: Final = NodeIdType()
AUTHORITY: Final = AuthorityType()
DURATION: Final = DurationType()

_data_dir_option = click.option(
    "--data-dir", type=click.Path(path_type=Path), help="The server's data directory, with its database in SQLite."
)
_database_url_option = click.option(
    "--database-url",
    metavar="URL",
    envvar=location.DATABASE_URL,
    show_envvar=True,
    help="Or its database in PostgreSQL, as postgresql://user@host:5432/name; the password stands in the file that "
    f"{location.DATABASE_PASSWORD_FILE} names.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
node_option = click.option("--node", "node_id", required=True, type=NODE_ID, help="The node.")


def database_option(command: F) -> F:
    """Where the database is, by the one or the other option."""

    @functools.wraps(command)
    def located(*, data_dir: Path | None, database_url: str | None, **options: Any) -> Any:
        return command(where=_located(data_dir, database_url), **options)

    return cast(F, _data_dir_option(_database_url_option(located)))


def _located(data_dir: Path | None, database_url: str | None) -> Location:
    if data_dir is not None and database_url is None:
        return location.in_folder(data_dir)
    if database_url is None:
        raise click.UsageError("where is the database? name its --data-dir, or its --database-url")
    if data_dir is not None:
        raise CliError(
            f"--data-dir is given, and --database-url or {location.DATABASE_URL} too; one of them decides",
            "SQLite in a data directory, or PostgreSQL at a URL: leave the other one out",
            exit_code=Exit.USAGE,
        )
    try:
        return location.at_url(database_url, os.environ)
    except location.BadLocation as error:
        raise CliError(str(error), exit_code=Exit.USAGE) from None


def _redis(_context: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    try:
        return None if url is None else location.redis_at(url, os.environ)
    except location.BadLocation as error:
        raise CliError(str(error), exit_code=Exit.USAGE) from None


redis_option = click.option(
    "--redis-url",
    "redis",
    metavar="URL",
    envvar=location.REDIS_URL,
    show_envvar=True,
    callback=_redis,
    help="The Redis that all processes of this server share, as redis://host:6379/0; the password stands in the file "
    f"that {location.REDIS_PASSWORD_FILE} names.",
)


def node_argument(command: F) -> F:
    """The node as an argument, or by the option that other commands have for it."""

    @functools.wraps(command)
    def named(*, node: str | None, node_id: str | None, **options: Any) -> Any:
        if (node is None) == (node_id is None):
            raise click.UsageError("name one node, as in: nodes show --data-dir server n_…")
        return command(node_id=node or node_id, **options)

    with_option = click.option("--node", type=NODE_ID, help="The node; the same as the argument.")(named)
    return cast(F, click.argument("node_id", type=NODE_ID, required=False)(with_option))


def sealer() -> Sealer:
    """The sealer of the environment's master key."""
    try:
        return master_key.from_environment(os.environ)
    except master_key.BadMasterKey as error:
        raise CliError(str(error), *_key_hints(os.environ), exit_code=Exit.USAGE) from None


def _key_hints(environ: Mapping[str, str]) -> tuple[str, ...]:
    path = environ.get(master_key.FILE_VARIABLE)
    if path and environ.get(master_key.VARIABLE):
        return (f"unset {master_key.VARIABLE} or {master_key.FILE_VARIABLE}",)
    if path:
        make = f"name its file in {master_key.FILE_VARIABLE}; `control-plane keys generate` prints a new key"
    else:
        make = f"make one: export {master_key.VARIABLE}=$(control-plane keys generate)"
    return make, "keep it: without it no node key in the database opens again"


@contextmanager
def failures(where: Location) -> Iterator[None]:
    """Turns what can go wrong with a database into the operator's one line."""
    try:
        yield
    except database.NoDatabase as error:
        hint = f"`control-plane serve{where.option}` makes one, and so does `migrate`"
        raise CliError(str(error), hint, exit_code=Exit.USAGE) from None
    except schema.NewerSchema:
        raise CliError(
            f"the database {where.name} was made by a newer version",
            "use the version that made it",
            exit_code=Exit.USAGE,
        ) from None
    except schema.StepsMissing as error:
        raise CliError(str(error), "install this version anew") from None
    except master_key.SealBroken:
        raise CliError(
            f"the master key is not the one of the database {where.name}",
            f"set {master_key.VARIABLE}, or {master_key.FILE_VARIABLE}, to the key that this database was made with",
            exit_code=Exit.USAGE,
        ) from None
    except registry.UnknownNode as error:
        raise CliError(str(error), "`control-plane nodes list` shows those that have") from None
    except registry.Replaced as error:
        raise CliError(str(error), f"to take that one's place: --replaces {error.by}") from None
    except registry.NotActive as error:
        if error.replaced_by is None:
            hint = to_enrol_anew(where, error.node_id)
        else:
            hint = f"{error.replaced_by} has taken its place: name that one"
        raise CliError(str(error), hint) from None
    except SQLAlchemyError as error:
        raise _no_answer(where, error) from None
    except StoreUnavailable as error:
        raise _no_answer(where, error.__cause__ or error) from None


def to_enrol_anew(where: Location, node_id: str) -> str:
    """What helps a node that is suspended or revoked."""
    return f"`control-plane token create{where.option} --replaces {node_id}` lets it enrol anew"


def _no_answer(where: Location, error: BaseException) -> CliError:
    cause = getattr(error, "orig", None)
    if where.file is None:
        return CliError(f"the database {where.name} does not answer: {cause or type(error).__name__}", _AT_POSTGRESQL)
    # The low byte says what is wrong, the rest says where.
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    return CliError(
        f"the database {where.name} does not answer: {cause or type(error).__name__}",
        _DATABASE_HINTS.get(code, "look at the disk's space and at who owns the files"),
    )


@contextmanager
def opened(where: Location) -> Iterator[Database]:
    """The database, of this version's form."""
    with failures(where):
        found = database.open_database(where)
        try:
            if not schema.is_current(found):
                raise CliError(
                    f"the database {where.name} has an older or newer form",
                    f"`control-plane migrate{where.option}` brings an older one up to date",
                    exit_code=Exit.USAGE,
                )
            yield found
        finally:
            found.close()


def print_json(value: Any) -> None:
    """One line of JSON."""
    click.echo(strict_json.dumps(value))


def plain(text: str) -> str:
    """What a node says of itself, without what could move the cursor."""
    return "".join(character if character.isprintable() else "?" for character in text)
