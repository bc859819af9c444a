"""`node-agent run`: trades until it is told to stop."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from node_agent.assembly import run_node
from node_agent.cli import hand, options, words
from node_agent.cli.errors import CliError, Exit
from node_agent.config import ConfigError
from node_agent.journal import JournalError
from node_agent.key_watch import KeyRejected
from node_agent.lock import LockError
from node_agent.parts import NodeFailed
from node_agent.uplink import NotRegistered
from node_agent.vault import VaultError


@click.command(
    help="""Trade, until told to stop by SIGTERM or Ctrl-C.

    Runs with or without a server: what there is to report is kept until the server has it.
    """
)
@options.data_dir
@click.option(
    "--speed",
    type=options.Finite(min=0, min_open=True, max=1e9),
    default=None,
    help="Play recorded candles so many times faster than they were made (paper exchange alone).",
)
@click.option("--live", is_flag=True, help='Trade on a real exchange; config.toml must say mode = "live" too.')
def run(data_dir: Path, speed: float | None, live: bool) -> None:
    try:
        asyncio.run(run_node(data_dir, os.environ, speed=speed, live=live))
    except (ConfigError, VaultError) as error:
        raise CliError(error.message, *error.hints, exit_code=Exit.USAGE) from error
    except KeyRejected as error:
        raise CliError(error.message, *error.hints, *_about_what_is_open(data_dir)) from error
    except (JournalError, LockError, NodeFailed) as error:
        raise CliError(error.message, *error.hints) from error
    except NotRegistered as error:
        raise CliError(str(error), "register it again with `node-agent register --replace`") from error


def _about_what_is_open(data_dir: Path) -> tuple[str, ...]:
    left = hand.left_by(data_dir)
    if not left["orders"] and not left["positions"]:
        return ()
    return (
        f"still open at the exchange: {words.counted(left)}; `node-agent stop --cancel-open`, or --flatten, ends that"
        " with this key too, where the exchange takes it",
    )
