"""`control-plane migrate`: the database's form."""

from __future__ import annotations

import click

from control_plane import schema
from control_plane.cli.support import database_option, failures
from control_plane.database import open_database
from control_plane.location import Location


@click.command("migrate", help="Make the database, or bring it to this version's form. `serve` does it too.")
@database_option
def command(where: Location) -> None:
    migrate(where)
    click.echo(f"the database {where.name} has form {schema.HEAD}")


def migrate(where: Location) -> None:
    """A database of this version's form, made or brought there."""
    with failures(where):
        database = open_database(where, create=True)
        try:
            schema.upgrade(database)
        finally:
            database.close()
