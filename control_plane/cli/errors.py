"""How a command of `control-plane` fails: one lower-case line, then hints, on stderr, and an exit code that says why.

    control-plane: error: there is no database in /srv/control-plane
    hint: `control-plane serve --data-dir …` makes one

The line starts in lower case and has no full stop; each hint is one thing to do.

    code  meaning
    0     ok
    1     the answer is no (it was understood and could not be done)
    2     wrong usage, bad configuration included
    130   interrupted, by Ctrl-C or SIGTERM
"""

from __future__ import annotations

from enum import IntEnum
from typing import IO, Any

import click


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    NO = 1
    USAGE = 2
    INTERRUPTED = 130


class CliError(click.ClickException):
    """An error that the operator is told in one line and hints, without a traceback. Never holds a secret."""

    def __init__(self, message: str, *hints: str, exit_code: Exit = Exit.NO) -> None:
        super().__init__(" ".join(message.split()))
        self.hints = hints
        self.exit_code = int(exit_code)  # type: ignore[misc]  # click declares it for the class

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints the line and its hints."""
        click.echo(f"control-plane: error: {self.message}", err=file is None, file=file)
        for hint in self.hints:
            click.echo(f"hint: {hint}", err=file is None, file=file)


def as_cli_error(error: click.ClickException) -> CliError:
    """One of click's own errors in the form of ours."""
    if isinstance(error, CliError):
        return error
    message = error.format_message().rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    hints = [f"`{context.command_path} --help` shows what it takes"] if context else []
    return CliError(message[:1].lower() + message[1:], *hints, exit_code=Exit(error.exit_code))
