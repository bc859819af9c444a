"""How the CLI gives a node a command: checked as the node will check it, stored, and printed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from control_plane import commands
from control_plane.cli.errors import CliError, Exit
from control_plane.cli.support import DURATION, opened, print_json
from control_plane.clock import utc_now
from control_plane.location import Location
from node_protocol.encoding import format_time
from node_protocol.messages import parse_command_data
from node_protocol.refusals import Malformed

expires_option = click.option(
    "--expires",
    type=DURATION,
    default=commands.DEFAULT_LIFETIME,
    show_default="60s",
    help="How long the node may take to come for it.",
)


def issue(
    where: Location,
    node_id: str,
    command_type: str,
    data: dict[str, Any],
    *,
    lifetime: timedelta,
    redis: str | None,
    as_json: bool,
) -> None:
    """Give the command and print its id. Raises CliError for data that the node would not take."""
    try:
        checked = parse_command_data(command_type, data)
    except Malformed as error:
        raise CliError(f"no such command can be given: {error}", exit_code=Exit.USAGE) from None
    bell = None
    if redis is not None:
        from control_plane.bell import Bell  # noqa: PLC0415

        bell = Bell(redis)
    with opened(where) as database:
        issued = commands.issue(
            database, utc_now(), node_id=node_id, command_type=command_type, data=checked, lifetime=lifetime, bell=bell
        )
    if as_json:
        print_json({"command_id": issued.id, "expires_at": format_time(issued.expires_at)})
    else:
        click.echo(f"{issued.id}  waits for {node_id} until {format_time(issued.expires_at)}")
