"""What is typed without being shown: a line, or a block as PEM has it. None of it is left to the shell behind us."""

from __future__ import annotations

import os
import select
import sys
import termios
from typing import Final

import click

_BEGIN: Final = "-----BEGIN "
_END: Final = "-----END "
_MOST_LINES: Final = 100
_STILL_COMING: Final = 0.3
"""Seconds between two parts of what was pasted."""
_ECHO: Final = 3
"""Where termios keeps what a terminal shows."""


def hidden(question: str) -> str:
    """Ask until there is an answer, on the terminal that is our standard input."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    silent = [*before]
    silent[_ECHO] &= ~termios.ECHO
    answer = ""
    while not answer:
        try:
            # Before it is asked for: what is typed when the question shows is the answer, and not to be flushed away.
            termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
            click.echo(f"{question}: ", nl=False, err=True)
            answer = _lines()
            _leave_nothing_of_it(terminal)
        finally:
            termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
            click.echo(err=True)
    return answer


def _lines() -> str:
    lines = [sys.stdin.readline()]
    while lines[0].startswith(_BEGIN) and _END not in lines[-1] and lines[-1] and len(lines) < _MOST_LINES:
        lines.append(sys.stdin.readline())
    if not lines[0]:
        raise click.Abort
    return "".join(lines).rstrip("\r\n")


def _leave_nothing_of_it(terminal: int) -> None:
    """Whoever pastes more than was asked for pastes it to us: the shell would show it, and write it to its history."""
    while select.select([terminal], [], [], _STILL_COMING)[0]:
        if not os.read(terminal, 4096):
            return
