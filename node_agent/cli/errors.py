"""How a command of `node-agent` fails: one lower-case line, then hints, on stderr, and an exit code that says why.

    node-agent: error: the vault cannot be opened with this key
    hint: name the key file that `node-agent init` was given

The line starts in lower case, has no full stop, and names the file or flag at fault; each hint is one thing to do.

    code  meaning
    0     ok
    1     the answer is no (it was understood and could not be done)
    2     wrong usage, bad configuration included
    3     the server refused
    4     the server cannot be reached
    130   interrupted, by Ctrl-C or SIGTERM, before there was an answer
"""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import IO, Any

import click

from node_agent.redaction import redacted


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    NO = 1
    USAGE = 2
    REFUSED = 3
    UNREACHABLE = 4
    INTERRUPTED = 130


class CliError(click.ClickException):
    """An error that the user is told in one line and hints, without a traceback.

    `message` may hold what the user typed; a secret in it is not shown. Line breaks in it are folded into blanks.
    """

    def __init__(self, message: str, *hints: str, exit_code: Exit = Exit.NO) -> None:
        super().__init__(" ".join(message.split()))
        self.hints = hints
        self.exit_code = int(exit_code)  # type: ignore[misc]  # click declares it for the class

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line and its hints."""
        stream = sys.stderr if file is None else file
        click.echo(redacted(f"node-agent: error: {self.message}"), file=stream)
        for hint in self.hints:
            click.echo(redacted(f"hint: {hint}"), file=stream)
