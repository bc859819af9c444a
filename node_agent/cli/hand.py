"""How commands reach a node: over its socket while it runs, through its journal while it does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from node_agent import at_rest, facts
from node_agent.cli.errors import CliError, Exit
from node_agent.config import ConfigError
from node_agent.control_line import ControlError, NotRunning, ask
from node_agent.core import events
from node_agent.journal import JOURNAL_FILE, Journal, JournalError, JournalMissing
from node_agent.lock import LOCK_FILE, DirectoryLock, LockError, is_held
from node_agent.vault import VaultError

T = TypeVar("T")

BETWEEN_SECONDS: Final = 0.05
PATIENCE: Final = 5.0
"""Seconds: a node that starts holds its lock before it listens, one that ends for a moment longer."""


@contextmanager
def said() -> Iterator[None]:
    """Turns what can go wrong into one line, hints and an exit code."""
    try:
        yield
    except (ConfigError, VaultError, JournalMissing) as error:
        raise CliError(error.message, *error.hints, exit_code=Exit.USAGE) from error
    except (ControlError, JournalError, LockError) as error:
        raise CliError(error.message, *error.hints) from error


def answer(data_dir: Path, request: Mapping[str, Any], *hints: str) -> dict[str, Any]:
    """The last line of what a running node answers; `hints` are for one that has not come to it yet.

    Raises NotRunning, ControlError, CliError for a refusal.
    """
    *_, last = ask(data_dir, request)
    if "error" in last:
        hint = "it does it when its exchange has told how things stand; `node-agent status` shows what holds"
        raise CliError(last["error"], *((hint, *hints) if last.get("pending") else ()))
    return last


def settled(data_dir: Path, request: Mapping[str, Any], event: events.OwnerEvent) -> dict[str, Any]:
    """Have the owner's word taken, by the node or in its journal, and what holds then; `running` says which."""
    see_that_there_is_a_node(data_dir)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return {**answer(data_dir, request), "running": True}
        except NotRunning:
            pass
        try:
            with DirectoryLock(data_dir), Journal.open(data_dir / JOURNAL_FILE, create=False) as journal:
                return {**facts.of_trading(at_rest.settle(journal, event)), "running": False}
        except LockError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(BETWEEN_SECONDS)


def left_by(data_dir: Path) -> dict[str, Any]:
    """What a node that does not run has left open, and what its next start holds to; `stopping`: a stop goes on."""
    with Journal.open_read_only(data_dir / JOURNAL_FILE) as journal:
        state = at_rest.restored(journal)
    return {**facts.of_trading(state), **facts.of_work(state), "stopping": state.windup is not None, "running": False}


def see_that_there_is_a_node(data_dir: Path) -> None:
    """Raises JournalMissing where there is none, before anything is made there."""
    Journal.open_read_only(data_dir / JOURNAL_FILE).close()


def reached(data_dir: Path, call: Callable[[], T]) -> T:
    """What a running node answers. Raises NotRunning when there is none; one that has just started is waited for."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except NotRunning:
            process = holder(data_dir)
            if process is None:
                raise
            if time.monotonic() >= deadline:
                raise CliError(
                    f"process {process} holds {data_dir}, and does not listen to its owner",
                    "is it another command that is still at work? else end it with SIGTERM",
                ) from None
        time.sleep(BETWEEN_SECONDS)


def holder(data_dir: Path) -> str | None:
    """The process that holds the directory now."""
    if not is_held(data_dir):
        return None
    return (data_dir / LOCK_FILE).read_text(encoding="ascii", errors="replace").strip() or "unknown"


def has_ended(data_dir: Path, process: str | None, deadline: float) -> bool:
    """Waits for the end of a process that holds the directory; another one may hold it since."""
    while process is not None and holder(data_dir) == process:
        if time.monotonic() >= deadline:
            return False
        time.sleep(BETWEEN_SECONDS)
    return True
