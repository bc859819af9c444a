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

import os
import sys
from enum import IntEnum
from typing import IO, Any, Final

import click

_NO_OUTPUT: Final = "cannot write the output"


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


def as_cli_error(error: click.ClickException | OSError) -> CliError:
    """One of click's own errors, or of the system's, in the form of ours."""
    if isinstance(error, CliError):
        return error
    if isinstance(error, OSError):
        what = (error.strerror or str(error)).lower()
        if error.filename is None:  # then it comes from a stream
            return CliError(f"{_NO_OUTPUT}: {what}")
        return CliError(f"{what}: {error.filename}", exit_code=Exit.USAGE)
    message = error.format_message().rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    hints = [f"`{context.command_path} --help` shows what it takes"] if context else []
    return CliError(message[:1].lower() + message[1:], *hints, exit_code=Exit(error.exit_code))


def require_stdout() -> None:
    """For commands that make what is shown once. Raises CliError when it would be shown to nobody."""
    if sys.__stdout__ is None:
        raise CliError(f"{_NO_OUTPUT}: stdout is closed")


def let_go_of_stdout() -> None:
    """After a failure: what could not be written would fail again, and loudly, as the interpreter ends."""
    if sys.__stdout__ is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())
