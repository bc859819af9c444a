"""The `node-agent` command. Each subcommand lives in its own module, imported only when it is asked for.

So `--help` and `--version` are quick, and a command pays only for what it uses.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from importlib import import_module
from typing import Final

import click

from node_agent.cli.errors import CliError, Exit
from node_agent.redaction import watch_output
from node_protocol.version import __version__

_COMMANDS: Final = {
    "init": "Make a node: its configuration, its owner's limits, its vault.",
    "register": "Enrol the node with a server.",
    "exchanges": "Show where the node can trade, and how a key is checked there.",
    "keys": "Put exchange keys into the vault; list, test, remove them.",
    "run": "Trade, until told to stop.",
    "status": "Show how the node is.",
    "health": "Tell by the exit code whether the node is well.",
    "pause": "Stop new risk.",
    "resume": "Let trading go on.",
    "stop": "End the node, and if asked cancel its orders and close its positions.",
    "orders": "Show what is open; place or cancel an order by hand.",
    "policy": "Show the owner's limits; try an order on them.",
    "journal": "Copy the node's journal; see whether it is sound.",
    "fingerprint": "Show what this machine can be known by.",
    "demo": "Play a day of trading against a server, and attack it.",
}
"""Name and help of each command, as a newcomer needs them; each is `<name>` in the module of that name beside this."""

_ROOT: Final = "TRADING_NODE_ROOT"
"""The variable by which an image says whether its programs may run as root: `refuse`, or anything else."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        try:
            command: click.Command = getattr(import_module(f"node_agent.cli.{cmd_name}"), cmd_name)
        except ModuleNotFoundError as error:  # an image has what a node needs, and not all that shows it
            raise CliError(f"`{cmd_name}` is not in this installation: there is no {error.name} here") from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A trading node: it trades under its owner's limits and reports to its server.",
)
@click.version_option(__version__, prog_name="node-agent")
def _group() -> None:
    pass


def main() -> None:
    """Run one command and exit as `cli/errors.py` says."""
    watch_output()
    # A core dump would hold every key that the process has, and most commands open the vault.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    # What ends in order at Ctrl-C does so at SIGTERM, and a shell's background jobs, which it has ignore SIGINT, do
    # too; `run` has handlers of its own once it trades.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        _see_that_it_may_be_root()
        code = _group.main(prog_name="node-agent", standalone_mode=False)
    except CliError as error:
        error.show()
        code = error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        code = Exit.USAGE
    except click.UsageError as error:
        about = error.ctx.command_path if error.ctx is not None else "node-agent"
        CliError(_one_line(error.format_message()), f"see `{about} --help`").show()
        code = Exit.USAGE
    except click.ClickException as error:
        CliError(_one_line(error.format_message())).show()
        code = Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        CliError("interrupted").show()
        code = Exit.INTERRUPTED
    except OSError as error:
        _say_what_failed(error)
        code = Exit.NO
    _let_go_of_the_log()
    sys.exit(code if isinstance(code, int) else Exit.OK)


def _see_that_it_may_be_root() -> None:
    """In an image, whose environment says `refuse`, root is a mistake: its user cannot open what root has written."""
    if os.environ.get(_ROOT) == "refuse" and os.geteuid() == 0:
        raise CliError(
            "it does not run as root here",
            "leave --user out: the image has a user of its own",
            f"where root is you, as in rootless Docker: --user 0 -e {_ROOT}=allow",
            exit_code=Exit.USAGE,
        )


def _let_go_of_the_log() -> None:
    """What is left of it, for a reader who is gone or a full disk, must not make the exit code another one."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _one_line(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")


def _say_what_failed(error: OSError) -> None:
    what = (error.strerror or str(error)).lower()
    if error.filename is not None:
        CliError(f"{what}: {error.filename}").show()
        return
    # One without a file's name is a stream's. What is left in its buffer would fail again at the process's end.
    if sys.__stdout__ is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())
    CliError(f"cannot write the output: {what}").show()
