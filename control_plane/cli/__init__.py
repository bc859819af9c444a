"""`control-plane`: the operator's commands. Each is imported when it is called, so that help is quick."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Final

import click

from control_plane.cli.errors import CliError, Exit, as_cli_error, let_go_of_stdout
from node_protocol.version import __version__

_COMMANDS: Final = {
    "events": "Read what nodes have reported.",
    "health": "Tell whether a server is ready.",
    "keys": "Make master keys.",
    "migrate": "Bring the database to this version's form.",
    "nodes": "See the nodes, and tell them what to do.",
    "orders": "Place and cancel orders at nodes, and see them.",
    "serve": "Serve nodes until SIGTERM.",
    "token": "Make enrolment tokens.",
}

_ROOT: Final = "TRADING_NODE_ROOT"
"""The variable by which an image says whether its programs may run as root: `refuse`, or anything else."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"control_plane.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The reference server of trading nodes: enrols them, verifies what they report, and hands out commands.",
)
@click.version_option(__version__, prog_name="control-plane")
def commands() -> None:
    pass


def _see_that_it_may_be_root() -> None:
    """In an image, whose environment says `refuse`, root is a mistake: what it writes, nobody else opens."""
    if os.environ.get(_ROOT) == "refuse" and os.geteuid() == 0:
        raise CliError(
            "it does not run as root here",
            "leave --user out: the image has a user of its own",
            f"where root is you, as in rootless Docker: --user 0 -e {_ROOT}=allow",
            exit_code=Exit.USAGE,
        )


def main() -> None:
    """The entry point."""
    # Whatever the commands write is for nobody else on this machine.
    os.umask(0o077)
    # What ends in order at Ctrl-C does so at SIGTERM, and a shell's background jobs, which it has ignore SIGINT, do
    # too; `serve` has handlers of its own once it serves.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        _see_that_it_may_be_root()
        code = commands(prog_name="control-plane", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        code = Exit.INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except (click.ClickException, OSError) as error:
        shown = as_cli_error(error)
        shown.show()
        let_go_of_stdout()
        code = shown.exit_code
    sys.exit(code if isinstance(code, int) else 0)
