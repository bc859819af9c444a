"""`node-agent resume`: the owner lets trading go on."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from node_agent.cli import hand, options, words
from node_agent.core import events
from node_agent.core.state import STOP_FILE
from node_agent.owner_files import STOP_FILE as STOP


@click.command(
    help="""Let trading go on: lifts what the owner or the server has stopped, and calls off a stop that is still at
    work.

    What a rule has stopped (a day's loss, a file STOP, a suspension) stays stopped until the rule lifts it, and is
    shown with what does. The exit code is 0 all the same: the owner's own word was taken.

    A node that does not run goes on from its next start. Asking twice changes nothing.
    """
)
@options.data_dir
@options.as_json
def resume(data_dir: Path, as_json: bool) -> None:
    with hand.said():
        holds = hand.settled(data_dir, {"request": "resume"}, events.OwnerResumed(datetime.now(UTC)))
    if as_json:
        click.echo(json.dumps(holds, indent=2))
        return
    for line in words.of_trading(holds):
        click.echo(line)
    if holds["running"]:
        return
    click.echo("the node does not run: this holds from its next start on")
    if (data_dir / STOP).exists() and not any(each["rule"] == STOP_FILE for each in holds["pauses"]):
        click.echo(f"but {data_dir / STOP} will stop it then: remove that file")
