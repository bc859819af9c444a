"""`node-agent stop`: ends the node; with more words it takes its orders back, and closes its positions, before."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from node_agent.cli import hand, options, words
from node_agent.cli.errors import CliError
from node_agent.cli.winding_up import Progress, wind_up
from node_agent.control_line import NoAnswer, NotRunning

_ENDS_WITHIN = 30.0


@click.command(
    help="""End the node.

    \b
                   the process   open orders        positions          at the next start
    stop           ends          stay as they are   stay as they are   it trades
    --cancel-open  ends          are cancelled      stay as they are   no new risk
    --flatten      ends          are cancelled      are closed         no new risk

    With --cancel-open and --flatten it shows what is still open until nothing is. The node goes on trying whatever is
    away, its server, its exchange or both, and over restarts; Ctrl-C ends the showing alone. Asking twice joins the
    first. No new risk is taken from then on, until `node-agent resume`, which also calls the rest off.

    A node that does not run is run for just that.
    """
)
@options.data_dir
@click.option("--cancel-open", is_flag=True, help="Cancel all open orders of the node, and end when none is left.")
@click.option("--flatten", is_flag=True, help="That, and close all its positions at the market.")
@click.option(
    "--wait",
    type=options.Finite(min=0),
    default=None,
    metavar="SECONDS",
    help="Wait no longer than this, and say what is still open then, with exit code 1; the node goes on trying.",
)
@options.as_json
def stop(data_dir: Path, cancel_open: bool, flatten: bool, wait: float | None, as_json: bool) -> None:
    deadline = None if wait is None else time.monotonic() + wait
    with hand.said():
        hand.see_that_there_is_a_node(data_dir)
        if cancel_open or flatten:
            wind_up(data_dir, Progress(flatten=flatten, as_json=as_json), deadline)
            return
        ran = _end(data_dir, time.monotonic() + _ENDS_WITHIN if deadline is None else deadline)
        left = hand.left_by(data_dir)
    if as_json:
        click.echo(json.dumps({**left, "ran": ran}, indent=2))
        return
    click.echo("the node has ended, in order" if ran else "the node does not run: there is nothing to stop")
    _say_what_is_left(left)


def _end(data_dir: Path, deadline: float) -> bool:
    """End the process; False when there was none."""
    holder = hand.holder(data_dir)
    try:
        hand.reached(data_dir, lambda: hand.answer(data_dir, {"request": "stop"}))
    except NotRunning:
        return holder is not None
    except NoAnswer:
        if not hand.has_ended(data_dir, holder, time.monotonic() + hand.PATIENCE):
            raise
    if not hand.has_ended(data_dir, holder, deadline):
        raise CliError("the node has been told to end, and still runs", "it writes down what is under way; look again")
    return True


def _say_what_is_left(left: dict[str, Any]) -> None:
    click.echo(f"left as they are: {words.counted(left)}")
    for line in words.of_work(left):
        click.echo(line)
    if left["orders"]:
        click.echo(
            "these orders may still trade at the exchange; to have them cancelled: node-agent stop --cancel-open"
        )
    if left["stopping"]:
        click.echo("an earlier stop is not done yet: the next start goes on with it")
    if left["pauses"]:
        click.echo("at its next start:")
    for line in words.of_trading(left) if left["pauses"] else ("at its next start it trades again",):
        click.echo(line)
