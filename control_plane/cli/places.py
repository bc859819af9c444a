"""`control-plane nodes approve-move` and `accept-next`: where the verifier cannot know, the operator says it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import click

from control_plane import places, registry
from control_plane.cli.errors import CliError
from control_plane.cli.support import (
    DURATION,
    NODE_ID,
    database_option,
    json_option,
    node_argument,
    opened,
    print_json,
    to_enrol_anew,
)
from control_plane.clock import utc_now
from control_plane.location import Location
from node_protocol.encoding import format_time

_LEAST: Final = timedelta(minutes=1)
_MOST: Final = timedelta(days=7)


@click.command(
    "approve-move",
    help="""Let a node go on, on the other machine that it came up on.

    \b
    When    its owner has moved it, and it is refused as fingerprint_mismatch.
    Before  ask the owner, and not through the node: whoever has stolen its
            disk has moved it too. `nodes show` has both sides of it, as the
            evidence of the alert.
    Then    the node goes on by itself, within a minute; what it was before,
            it is on the new machine. That is noted, as node_moved.

    It is good for that one fingerprint: a machine that was restarted since has another, and a newer alert.
    """,
)
@database_option
@node_argument
@click.option(
    "--fingerprint",
    metavar="DIGEST",
    help="The machine, as `refused_now` in an alert of the node has it. Without: that of the newest such alert.",
)
@json_option
def approve_move(where: Location, node_id: str, fingerprint: str | None, as_json: bool) -> None:
    with opened(where) as database:
        try:
            refused = places.approve_move(database, node_id, fingerprint, utc_now())
        except places.NothingToApprove as error:
            hint = f"`control-plane nodes show{where.option} {node_id}` has its alerts, and where it was seen last"
            raise CliError(str(error), hint) from None
    if as_json:
        print_json({"node_id": node_id, "approved": refused})
        return
    click.echo(f"{node_id} may go on, on the machine {refused['fingerprint']}")
    click.echo(f"it was refused there at {refused['at']}, from {refused['address']}, session {refused['session']}")


@click.command(
    "accept-next",
    help="""Take the next ticket of a node, or of all, as good.

    Whichever it is; once; for a limited time; and on the record.

    \b
    When    the database was restored from a backup: each node that has gone on
            since would look like a copy of itself, and be suspended.
    How     stop the server, restore, `nodes accept-next --all`, start it again.
    Then    each node goes on with its next request, and sends again what the
            server has lost, as far as 30 days back. That is noted among its
            alerts, as accept_next_armed and ticket_restored.
    But     as long as it is armed, whoever has a copy of a node's state can go
            on in its place: arm no longer than it takes the nodes to come.

    A suspended node stays so: nobody knows which of two has spoken. It enrols anew, by a token made with --replaces.
    One that enrolled, or agreed on a new key, after the backup was made is a stranger now: it enrols anew, too.
    """,
)
@database_option
@click.argument("node_id", type=NODE_ID, required=False)
@click.option("--node", type=NODE_ID, help="The node; the same as the argument.")
@click.option("--all", "everyone", is_flag=True, help="Every node but the suspended and the revoked ones.")
@click.option(
    "--for",
    "duration",
    type=DURATION,
    default=timedelta(hours=1),
    show_default="1h",
    help="How long: from 1m to 7d. Given again, the newer word counts.",
)
@json_option
def accept(
    where: Location, node_id: str | None, node: str | None, everyone: bool, duration: timedelta, as_json: bool
) -> None:
    named = [each for each in (node_id, node) if each is not None]
    if len(named) + everyone != 1:
        raise click.UsageError("name one node, or say --all")
    if not _LEAST <= duration <= _MOST:
        raise click.UsageError("--for takes from 1m to 7d")
    with opened(where) as database:
        for each in named:
            registry.require_active(database, each)
        if everyone:
            with database.reading() as connection:
                named = [row.node_id for row in registry.every(connection)]
        now = utc_now()
        until = now + duration
        armed, suspended = places.arm(database, named, until, now)
    if as_json:
        print_json({"until": format_time(until), "armed": armed, "suspended": suspended})
    else:
        for each in armed:
            click.echo(f"{each}  its next ticket is taken, until {format_time(until)}")
        for each in suspended:
            click.echo(f"{each}  stays suspended: {to_enrol_anew(where, each)}")
    if not armed:
        raise CliError("no node is active: nothing is armed", "`control-plane nodes list` shows how they stand")
