"""`control-plane keys`: master keys."""

from __future__ import annotations

import click

from control_plane.cli.errors import require_stdout


@click.group("keys", help="Make master keys.")
def command() -> None:
    pass


@command.command(
    "generate",
    help="""Print a new master key: 32 random bytes, base64url.

    It opens all node keys of a database, and nothing else does: keep it where the database's backups are not.
    """,
)
def generate() -> None:
    from control_plane import master_key  # noqa: PLC0415

    require_stdout()
    click.echo(master_key.generate())
