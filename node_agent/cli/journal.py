"""`node-agent journal`: a copy of the node's journal, and whether it is sound."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from node_agent import journal_files
from node_agent.cli import hand, options
from node_agent.cli.errors import CliError
from node_agent.journal import JOURNAL_FILE


@click.group(
    help="""The journal: all that the node knows of its orders, and what it still owes its server.

    A copy is for looking at, and for a node that was stopped and moves. An old copy must not be run while the node has
    gone on since: the exchange knows orders that it does not.
    """
)
def journal() -> None:
    pass


@journal.command(
    help="""Copy the journal to FILE, while the node runs or not, and see that the copy is sound.

    It is the journal as it is at one moment, in one file that only its owner can read. It holds no key.
    """
)
@options.data_dir
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@options.as_json
def export(data_dir: Path, file: Path, force: bool, as_json: bool) -> None:
    try:
        with hand.said():
            held = journal_files.export(data_dir / JOURNAL_FILE, file, force=force)
    except journal_files.ExportRefused as error:
        raise CliError(error.message, *error.hints) from None
    _say(f"copied to {file}, and sound", held, as_json)


@journal.command(
    help="Read all of the journal, while the node runs or not, and say whether it is sound. Exit code 1: it is not."
)
@options.data_dir
@options.as_json
def check(data_dir: Path, as_json: bool) -> None:
    with hand.said():
        held = journal_files.check(data_dir / JOURNAL_FILE)
    _say("sound", held, as_json)


def _say(what: str, held: journal_files.Held, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(held), indent=2))
        return
    orders = f"{held.orders} orders ({held.open_orders} open)"
    click.echo(f"{what}: {orders}, {held.fills} fills, {held.events} events, {held.commands} commands")
