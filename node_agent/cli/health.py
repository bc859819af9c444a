"""`node-agent health`: whether a node runs and is well, for a container's health check: cheap, and told by exit code.

Well is a node whose loop takes events now: it minds its limits, and trades if it may. Whether it may, and what it knows
of its orders, is told beside it: starting it anew would not change that. A node that has not started is not well, for
until its exchange has told how things stand it minds nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from node_agent.cli import options
from node_agent.cli.errors import CliError, Exit
from node_agent.control_line import ControlError, NotRunning, ask
from node_agent.lock import is_held


@click.command(
    help="""Tell whether the node is well: exit code 0 if so, else 1, and a line that says what is wrong.

    \b
    Well      its loop takes events: it minds its limits, and trades if it may.
    Not well  it does not run, has not started yet, or does not answer.

    That trading is paused, or the exchange away, is told by `node-agent status` and changes nothing here.
    """
)
@options.data_dir
@click.option(
    "--timeout",
    type=options.Finite(min=0, min_open=True, max=600),
    default=5.0,
    show_default=True,
    help="How many seconds the node is waited for.",
)
@options.as_json
def health(data_dir: Path, timeout: float, as_json: bool) -> None:
    if not data_dir.is_dir():
        raise CliError(f"there is no directory {data_dir}", "name the node's own", exit_code=Exit.USAGE)
    told: dict[str, Any] = {}
    problem: CliError | None = None
    try:
        told = _told(data_dir, timeout)
        if not told["started"]:
            raise CliError("the node has not started yet: its exchange has not told how things stand")
    except CliError as error:
        problem = error
    if as_json:
        said = None if problem is None else problem.message
        click.echo(json.dumps({"well": problem is None, "problem": said, **told}, indent=2))
    if problem is not None:
        raise problem
    if not as_json:
        click.echo(f"well; trading: {told['trading']}")


def _told(data_dir: Path, timeout: float) -> dict[str, Any]:
    """What the node answers. Raises CliError when that is nothing, or no answer."""
    try:
        *_, answer = ask(data_dir, {"request": "health"}, within=timeout)
    except NotRunning as error:
        if is_held(data_dir):
            raise CliError(f"what runs on {data_dir} does not listen: it is just starting, or ending") from None
        raise CliError(error.message, *error.hints) from None
    except ControlError as error:
        raise CliError(error.message) from None
    if "error" in answer:
        raise CliError(answer["error"])
    return {name: value for name, value in answer.items() if name != "done"}
