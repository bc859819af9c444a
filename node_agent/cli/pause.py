"""`node-agent pause`: the owner stops new risk."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from node_agent.cli import hand, options, words
from node_agent.core import events


@click.command(
    help="""Stop new risk, until `node-agent resume`.

    \b
    Stops   every order that would make a position larger, whoever asks for it.
    Leaves  open orders, positions, exits, cancels, reports to the server.

    It outlives a restart. A node that does not run is paused all the same, from its next start on. Asking twice changes
    nothing. To have open orders cancelled as well: `node-agent stop --cancel-open`.
    """
)
@options.data_dir
@click.option("--reason", default="the owner asked for it", help="Why; the server is told too. At most 200 characters.")
@options.as_json
def pause(data_dir: Path, reason: str, as_json: bool) -> None:
    if not 1 <= len(reason) <= 200 or not reason.isprintable():
        raise click.UsageError("--reason takes one line of 1 to 200 characters that can be printed")
    with hand.said():
        event = events.OwnerPaused(datetime.now(UTC), reason)
        holds = hand.settled(data_dir, {"request": "pause", "reason": reason}, event)
    if as_json:
        click.echo(json.dumps(holds, indent=2))
        return
    for line in words.of_trading(holds):
        click.echo(line)
    click.echo("open orders stay; exits and cancels stay allowed")
    if not holds["running"]:
        click.echo("the node does not run: this holds from its next start on")
