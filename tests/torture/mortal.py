"""`node-agent run` with a death planted, or a fault: kills itself (SIGKILL) at a named step, when it comes to it again.

    python -m tests.torture.mortal "STEP:NUMBER" FAULT run --data-dir …

A step is before, in the midst of, or after what is written to the journal, or a call over the network: `append before`,
`POST /api/v3/order after`. NUMBER counts from 1. A FAULT makes a promise untrue on purpose, for the kill test must
notice; `none` plants none.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from node_agent import cli
from node_agent.client import SignedClient
from node_agent.core import commands, effects, intents
from node_agent.core.engine import step
from node_agent.exchanges.line import Line
from node_agent.journal import Journal
from node_agent.runner import Runner

WRITES: Final = ("append", "record_answer", "put_facts", "commands_told")
CALLS: Final = (
    "POST /api/v3/order",
    "DELETE /api/v3/order",
    "GET /api/v3/order",
    "GET /api/v3/openOrders",
    "GET /api/v3/myTrades",
    "GET /api/v3/account",
    "GET /api/v3/klines",
    "GET /api/v3/exchangeInfo",
    "POST /v1/sync",
)
STEPS: Final = (
    *(f"{what} {when}" for what in (*WRITES, *CALLS) for when in ("before", "after")),
    *(f"{what} in the midst" for what in WRITES),
)

T = TypeVar("T")


class Death:
    """Counts the steps, and comes at its own."""

    def __init__(self, step: str, number: int) -> None:
        self._step = step
        self._number = number
        self._seen: Counter[str] = Counter()

    def at(self, step: str) -> None:
        """This step is reached."""
        self._seen[step] += 1
        if step == self._step and self._seen[step] == self._number:
            os.kill(os.getpid(), signal.SIGKILL)


def plant_death(death: Death) -> None:
    """Let every step be one at which the process may die."""
    for name in WRITES:
        _around_write(name, death)
    transaction = Journal._transaction

    @contextmanager
    def dying(journal: Journal, **how: bool) -> Iterator[None]:
        with transaction(journal, **how):
            yield
            death.at(f"{_writing[-1]} in the midst" if _writing else "")

    _put(Journal, "_transaction", dying)
    fetch, exchange = Line._fetch, SignedClient._exchange

    async def fetched(line: Line, url: str, method: str = "GET", *rest: Any, **more: Any) -> Any:
        return await _around(death, f"{method} {urlsplit(url).path}", fetch(line, url, method, *rest, **more))

    async def exchanged(client: SignedClient, method: str, path: str, *rest: Any) -> Any:
        return await _around(death, f"{method} {path}", exchange(client, method, path, *rest))

    _put(Line, "_fetch", fetched)
    _put(SignedClient, "_exchange", exchanged)


_writing: list[str] = []


def _put(owner: object, name: str, replacement: Any) -> None:
    setattr(owner, name, replacement)


def _around_write(name: str, death: Death) -> None:
    write: Callable[..., Any] = getattr(Journal, name)

    def written(*arguments: Any, **named: Any) -> Any:
        death.at(f"{name} before")
        _writing.append(name)
        try:
            return write(*arguments, **named)
        finally:
            _writing.pop()
            death.at(f"{name} after")

    _put(Journal, name, written)


async def _around(death: Death, name: str, call: Awaitable[T]) -> T:
    death.at(f"{name} before")
    try:
        return await call
    finally:
        death.at(f"{name} after")


def send_before_it_is_written() -> None:
    """The effects of a step are carried out first; what was decided is written down a moment later."""

    def backwards(runner: Runner, event: Any) -> None:
        state, wanted = step(runner._state, event)
        for effect in wanted:
            if isinstance(effect, effects.Append):
                # A moment, so that the exchange has the order before the journal has it.
                asyncio.get_running_loop().call_later(1.0, runner._carry_out, effect)
            else:
                runner._carry_out(effect)
        runner._state = state

    _put(Runner, "_step", backwards)


def make_ids_up() -> None:
    """Client order ids are made up, and not derived from what was decided."""
    _put(commands, "order_of_command", lambda command_id: secrets.token_hex(16))
    _put(intents, "order_of_strategy", lambda *decision: secrets.token_hex(16))


FAULTS: Final[dict[str, Callable[[], None]]] = {
    "none": lambda: None,
    "send-before-fsync": send_before_it_is_written,
    "id-not-derived": make_ids_up,
}


def main() -> None:
    """Plant what was asked for, and be `node-agent`."""
    step_name, _, number = sys.argv.pop(1).rpartition(":")
    FAULTS[sys.argv.pop(1)]()
    plant_death(Death(step_name, int(number)))
    cli.main()


if __name__ == "__main__":
    main()
