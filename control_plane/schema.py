"""Brings the database to this version's form, and says whether it is there."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, column, inspect, select, table

from control_plane.database import Database

HEAD: Final = "0002"
"""The newest step in `migrations/versions`."""

_VERSION = table("alembic_version", column("version_num"))


class NewerSchema(Exception):
    """The database has a form that this version does not know: a newer one made it."""


def upgrade(database: Database) -> None:
    """Runs the steps that are missing, all or none; of two at once, one waits. Raises NewerSchema."""
    # Alembic is slow to import, and only this needs it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "control_plane:migrations")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with database.writing() as connection:
        found = _revision(connection)
        if found is not None and found not in known:
            raise NewerSchema("the database was made by a newer version")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def is_current(database: Database) -> bool:
    """Whether the database has this version's form."""
    with database.reading() as connection:
        return _revision(connection) == HEAD


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_VERSION.name):
        return None
    revision: str | None = connection.execute(select(_VERSION.c.version_num)).scalar_one_or_none()
    return revision
