"""`control-plane migrate`: the database's form."""

from __future__ import annotations

from pathlib import Path

import click

from control_plane import schema
from control_plane.cli.support import data_dir_option, failures
from control_plane.database import open_database


@click.command("migrate")
@data_dir_option
def command(data_dir: Path) -> None:
    """Make the database, or bring it to this version's form. `serve` does it too."""
    migrate(data_dir)
    click.echo(f"the database in {data_dir} has form {schema.HEAD}")


def migrate(data_dir: Path) -> None:
    """A database of this version's form in a data directory, made or brought there."""
    with failures(data_dir):
        database = open_database(data_dir, create=True)
        try:
            schema.upgrade(database)
        finally:
            database.close()
