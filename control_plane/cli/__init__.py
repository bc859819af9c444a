"""`control-plane`: the operator's commands. Each is imported when it is called, so that help is quick."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Final

import click

from control_plane.cli.errors import Exit, as_cli_error, let_go_of_stdout
from node_protocol.version import __version__

_COMMANDS: Final = {
    "events": "Read what nodes have reported.",
    "keys": "Make master keys.",
    "migrate": "Bring the database to this version's form.",
    "nodes": "See the nodes, and tell them what to do.",
    "orders": "Place and cancel orders at nodes, and see them.",
    "serve": "Serve nodes until SIGTERM.",
    "token": "Make enrolment tokens.",
}


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


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="control-plane")
def commands() -> None:
    """The reference server of trading nodes: enrols them, verifies what they report, and hands out commands."""


def main() -> None:
    """The entry point."""
    # Whatever the commands write is for nobody else on this machine.
    os.umask(0o077)
    # What ends in order at Ctrl-C does so at SIGTERM, and a shell's background jobs, which it has ignore SIGINT, do
    # too; `serve` has handlers of its own once it serves.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
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
