"""Where the database is: SQLite in a data directory, or a PostgreSQL that a URL names; and where Redis is.

A password stands in a file of its own, so that no URL has to hold it; and no error or hint shows one, wherever it
stood.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

DATABASE_URL: Final = "DATABASE_URL"
DATABASE_PASSWORD_FILE: Final = "DATABASE_PASSWORD_FILE"  # noqa: S105  the name of a variable
REDIS_URL: Final = "REDIS_URL"
REDIS_PASSWORD_FILE: Final = "REDIS_PASSWORD_FILE"  # noqa: S105  the name of a variable
FILE_NAME: Final = "control_plane.sqlite3"

_POSTGRESQL: Final = ("postgresql", "postgres", "postgresql+psycopg")
_REDIS: Final = ("redis", "rediss")


class BadLocation(ValueError):
    """What was given says no place that can be used, and why; never with a password in it."""


@dataclass(frozen=True)
class Location:
    """Where the database is, and how that is said to people."""

    url: URL = field(repr=False)
    name: str
    """As in: the database {name} does not answer."""
    option: str
    """As in: `control-plane migrate{option}`; empty where the environment says it."""

    @property
    def file(self) -> Path | None:
        """SQLite's file; None on PostgreSQL."""
        return Path(self.url.database) if self.url.drivername == "sqlite" and self.url.database else None


def in_folder(data_dir: Path) -> Location:
    """SQLite in a data directory."""
    url = URL.create("sqlite", database=str(data_dir / FILE_NAME))
    return Location(url, f"in {data_dir}", f" --data-dir {data_dir}")


def at_url(text: str, environ: Mapping[str, str]) -> Location:
    """The PostgreSQL that a URL names, with the password of the environment's file. Raises BadLocation."""
    url = _parsed(text, _POSTGRESQL, "postgresql://user@host:5432/name", environ, DATABASE_PASSWORD_FILE)
    if not url.database:
        raise BadLocation("the URL names no database, as postgresql://user@host:5432/name does")
    if importlib.util.find_spec("psycopg") is None:
        raise BadLocation("PostgreSQL needs psycopg: pip install 'trading-node[server,postgres]'")
    shown = _shown(url.set(drivername="postgresql"))
    option = "" if environ.get(DATABASE_URL) == text else f" --database-url {shown}"
    return Location(url.set(drivername="postgresql+psycopg"), f"at {shown}", option)


def redis_at(text: str, environ: Mapping[str, str]) -> str:
    """The URL of a Redis, with the password of the environment's file. Raises BadLocation."""
    url = _parsed(text, _REDIS, "redis://host:6379/0", environ, REDIS_PASSWORD_FILE)
    if importlib.util.find_spec("redis") is None:
        raise BadLocation("Redis needs its client: pip install 'trading-node[server,redis]'")
    # SQLAlchemy drops a password that no user stands before; Redis mostly has none.
    return url.set(username=url.username or "").render_as_string(hide_password=False)


def _parsed(text: str, schemes: tuple[str, ...], such_as: str, environ: Mapping[str, str], variable: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise BadLocation(f"that is no URL such as {such_as}") from None
    if url.drivername not in schemes or (schemes is _REDIS and not url.host):
        raise BadLocation(f"{_shown(url)} is no URL such as {such_as}")
    if path := environ.get(variable):
        if url.password is not None:
            raise BadLocation(f"a password stands in the URL, and {variable} is set; one of them decides")
        return url.set(password=_password(path, variable))
    return url


def _password(path: str, variable: str) -> str:
    """What the file holds, but for the one newline that an editor puts behind it."""
    try:
        text = Path(path).read_text("utf-8")
    except OSError as error:
        what = (error.strerror or str(error)).lower()
        raise BadLocation(f"the file of {variable} cannot be read: {what}: {path}") from None
    except UnicodeDecodeError:
        raise BadLocation(f"the file of {variable} is not text: {path}") from None
    password = text.removesuffix("\n")
    if not password:
        raise BadLocation(f"there is no password in the file of {variable}: {path}")
    return password


def _shown(url: URL) -> str:
    # Not `hide_password`: what that puts there cannot be used, and a query may hold a password too.
    return URL.create(url.drivername, url.username, None, url.host, url.port, url.database).render_as_string()
