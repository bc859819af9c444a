"""`node-agent stop --cancel-open` and `--flatten`: done by the node that runs, or by one that is run for it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from node_agent import at_rest
from node_agent.cli import hand, words
from node_agent.cli.errors import CliError
from node_agent.control import StopWish
from node_agent.control_line import ControlError, NoAnswer, NotRunning, ask
from node_agent.core.events import OwnerStops
from node_agent.core.state import STOPPED_BY_OWNER
from node_agent.journal import JOURNAL_FILE, Journal
from node_agent.lock import DirectoryLock

_ENDS_WITHIN: Final = 30.0
_SILENCE_SECONDS: Final = 30.0
"""A node at work says something every few seconds."""


class Progress:
    """What the owner wants, and shows how far that is: all at each change, else a line every few seconds."""

    def __init__(self, *, flatten: bool, as_json: bool) -> None:
        self.flatten = flatten
        self.as_json = as_json
        self._began = time.monotonic()
        self._shown: dict[str, Any] = {}

    @property
    def words(self) -> str:
        """The command that asks for it."""
        return f"node-agent stop {'--flatten' if self.flatten else '--cancel-open'}"

    @property
    def request(self) -> dict[str, Any]:
        """What a running node is asked for."""
        return {"request": "stop", "cancel_open": True, "flatten": self.flatten}

    def show(self, open_now: dict[str, Any]) -> None:
        """What is still open."""
        changed = open_now != self._shown
        self._shown = open_now
        if self.as_json:
            click.echo(json.dumps(open_now))
            return
        click.echo(f"still open after {time.monotonic() - self._began:.0f} s: {self.counted(open_now)}")
        for line in words.of_work(open_now) if changed else ():
            click.echo(line)

    def counted(self, open_now: dict[str, Any]) -> str:
        """How much of what is to be done is still open."""
        return words.counted(open_now) if self.flatten else words.orders_counted(open_now)

    def out_of_time(self) -> CliError:
        """The owner waits no longer."""
        return CliError(
            f"not all is done yet: {self.counted(self._shown)} still open" if self._shown else "not all is done yet",
            f"the node goes on trying; `{self.words}` shows how far it is",
        )


def wind_up(data_dir: Path, progress: Progress, deadline: float | None) -> None:
    """Has it done, and returns when all is."""
    holder = hand.holder(data_dir)
    try:
        last = hand.reached(data_dir, lambda: _follow(data_dir, progress, deadline))
    except NotRunning:
        _run_for_it(data_dir, progress, deadline)
    except NoAnswer:
        if not hand.has_ended(data_dir, holder, time.monotonic() + hand.PATIENCE):
            raise
    except KeyboardInterrupt:
        click.echo(f"the node goes on trying; `{progress.words}` shows how far it is", err=True)
        raise
    else:
        if last["called_off"]:
            raise CliError("called off by `node-agent resume`: the node runs on", "`node-agent status` shows it")
        if not hand.has_ended(data_dir, holder, deadline or time.monotonic() + _ENDS_WITHIN):
            raise progress.out_of_time()
    _conclude(data_dir, progress)


def _follow(data_dir: Path, progress: Progress, deadline: float | None) -> dict[str, Any]:
    """Shows each line of the node's answer but the last, and returns that."""
    within = _SILENCE_SECONDS if deadline is None else min(max(deadline - time.monotonic(), 0.1), _SILENCE_SECONDS)
    last: dict[str, Any] = {}
    try:
        for line in ask(data_dir, progress.request, within=within):
            if "error" in line:
                raise CliError(line["error"])
            last = line
            if line["done"]:
                break
            progress.show(line)
            if deadline is not None and time.monotonic() >= deadline:
                raise progress.out_of_time()
    except NoAnswer:
        if deadline is not None and time.monotonic() >= deadline:
            raise progress.out_of_time() from None
        raise
    return last


def _run_for_it(data_dir: Path, progress: Progress, deadline: float | None) -> None:
    """Runs the node in this process until all is done, or it is told to end."""
    # Imported here alone: most stops are of a node that runs, and are not to wait for it.
    from node_agent.assembly import run_node  # noqa: PLC0415
    from node_agent.parts import NodeFailed  # noqa: PLC0415
    from node_agent.uplink import NotRegistered  # noqa: PLC0415

    if not progress.as_json:
        click.echo("the node does not run: it runs now, for just this")
    over, late = threading.Event(), threading.Event()
    watcher = threading.Thread(target=_watch, args=(data_dir, progress, deadline, over, late), daemon=True)
    watcher.start()
    try:
        asyncio.run(run_node(data_dir, os.environ, speed=None, live=True, stop_with=StopWish(flatten=progress.flatten)))
    except NodeFailed as error:
        raise CliError(error.message, *error.hints) from error
    except NotRegistered as error:
        raise CliError(str(error), "register it again with `node-agent register --replace`") from error
    except KeyboardInterrupt:
        if not late.is_set():
            raise
        _write_down(data_dir, progress)  # it had not come so far as to do that
    finally:
        over.set()
        watcher.join(_ENDS_WITHIN)


def _write_down(data_dir: Path, progress: Progress) -> None:
    """Let the next start go on with what this one had no time for."""
    wish = OwnerStops(datetime.now(UTC), flatten=progress.flatten, then_end=True, reason=f"`{progress.words}`")
    with DirectoryLock(data_dir), Journal.open(data_dir / JOURNAL_FILE, create=False) as journal:
        at_rest.settle(journal, wish)


def _watch(
    data_dir: Path, progress: Progress, deadline: float | None, over: threading.Event, late: threading.Event
) -> None:
    """Beside the node: shows how far it is, and ends it when the owner waits no longer: it is `late` then."""
    while not over.wait(hand.BETWEEN_SECONDS):
        try:
            _follow(data_dir, progress, deadline)
        except NotRunning:
            if deadline is None or time.monotonic() < deadline:
                continue
        except ControlError:
            return
        except CliError:
            pass
        else:
            return
        late.set()
        os.kill(os.getpid(), signal.SIGTERM)
        return


def _conclude(data_dir: Path, progress: Progress) -> None:
    left = hand.left_by(data_dir)
    done = not left["stopping"] and not left["orders"] and STOPPED_BY_OWNER in (each["rule"] for each in left["pauses"])
    if progress.as_json:
        click.echo(json.dumps({**left, "done": done}))
    if not done:
        raise CliError(
            f"the node ended before all was done: {progress.counted(left)} still open",
            f"`{progress.words}` goes on with it, and so does the node's next start",
        )
    if progress.as_json:
        return
    click.echo("no order of this node is open any more; it has ended")
    if left["positions"] or left["dust"]:
        click.echo("positions that stay:")
        for line in words.of_work(left):
            click.echo(line)
    click.echo("it takes no new risk when it starts again, until `node-agent resume`")
