"""Brings the database to this version's form, and says whether it is there."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, column, inspect, select, table, text

from control_plane.database import Database, NoDatabase, open_database
from control_plane.location import Location

HEAD: Final = "0002"
"""The newest step in `migrations/versions`."""

_VERSION = table("alembic_version", column("version_num"))


class NewerSchema(Exception):
    """The database has a form that this version does not know: a newer one made it."""


class StepsMissing(Exception):
    """Steps of this version are not where they should be: it was not installed whole."""


def upgrade(database: Database) -> None:
    """Runs the steps that are missing, all or none; of two at once, one waits. Raises NewerSchema, and StepsMissing."""
    # Alembic is slow to import, and only this needs it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "control_plane:migrations")
    # In an image there is bytecode alone: without this, Alembic finds no step there, runs none, and says nothing.
    config.set_main_option("sourceless", "true")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if HEAD not in known:
        raise StepsMissing(f"the step {HEAD} of the database's form is not installed")
    with database.writing() as connection:
        found = _revision(connection)
        if found is not None and found not in known:
            raise NewerSchema("the database was made by a newer version")
        if database.engine.dialect.name == "postgresql":
            # A step may take its time; it had to wait for its turn no longer than any writer.
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if (reached := _revision(connection)) != HEAD:
            raise StepsMissing(f"the database has form {reached}, and not {HEAD}: steps are missing, or are not ours")


def is_current(database: Database) -> bool:
    """Whether the database has this version's form."""
    with database.reading() as connection:
        return _revision(connection) == HEAD


def is_made(where: Location) -> bool:
    """Whether a server has made its tables there, in whatever form."""
    try:
        database = open_database(where)
    except NoDatabase:
        return False
    try:
        with database.reading() as connection:
            return _revision(connection) is not None
    finally:
        database.close()


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_VERSION.name):
        return None
    revision: str | None = connection.execute(select(_VERSION.c.version_num)).scalar_one_or_none()
    return revision
