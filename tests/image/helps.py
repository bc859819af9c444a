"""The help of every command of a program, as a process of its own tells it: each with its path, in one object."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support import WITHIN, environment

NODE_AGENT: Final = "node_agent.cli:_group"

_PROGRAM: Final = """
import importlib, json, sys

program, group, lib, *but = sys.argv[1:]
if lib:
    sys.path.append(lib)
import click

def walk(command, path, above):
    context = click.Context(command, info_name=path[-1], parent=above)
    yield " ".join(path), [command.help, command.get_help(context)]
    if isinstance(command, click.Group):
        for name in set(command.list_commands(context)) - set(but):
            yield from walk(command.get_command(context, name), (*path, name), context)

module, name = group.split(":")
print(json.dumps(dict(walk(getattr(importlib.import_module(module), name), (program,), None))))
"""


def helps(
    program: str, group: str, *flags: str, of: Path | None = None, but: tuple[str, ...] = ()
) -> dict[str, list[str | None]]:
    """Of each command by its path: the text that it was given, and all that `--help` shows.

    `flags` are Python's own; the packages are those of the folder `of`, and else the ones that are installed. Commands
    of a name in `but` are not looked at.
    """
    command = [sys.executable, *flags, "-c", _PROGRAM, program, group, "" if of is None else str(of), *but]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=WITHIN, env=environment())
    told: dict[str, list[str | None]] = json.loads(done.stdout)
    return told
