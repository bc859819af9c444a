"""One world: a node, its exchange and its server as real processes; the node is killed, and all books are compared."""

from __future__ import annotations

import json
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from control_plane import commands, ingest
from control_plane.database import open_database
from node_agent.journal import JOURNAL_FILE, Journal
from node_protocol import strict_json
from node_protocol.messages import parse_command_data
from tests.binance.process import BinanceProcess
from tests.control_plane.support import ServerProcess
from tests.live import SYMBOL, live_node
from tests.support import environment, node_agent
from tests.torture.books import Books, differences
from tests.torture.mortal import STEPS

ROOT: Final = Path(__file__).parent.parent.parent
QUIET_WITHIN: Final = 90.0
"""Seconds that the last life may take to come to rest."""
LONGEST_LIFE: Final = 4.5
"""Seconds after which a life ends all the same, when its step did not come."""
WRONG: Final = {
    "drop_before": 0.02,
    "drop_after": 0.04,
    "hang_before": 0.02,
    "hang_after": 0.02,
    "5xx_before": 0.02,
    "5xx_after": 0.03,
    "garbage": 0.02,
    "answer_late": 0.03,
    "-1021": 0.01,
    "not_found_once": 0.1,
    "stale_list": 0.1,
}
"""What goes wrong at the exchange meanwhile, and with which share of the requests about orders."""
COUNTED: Final = ("BTC", "USDT")
ANY_MOMENT: Final = "any moment"


class Death(NamedTuple):
    """Where a life ends."""

    step: str
    number: int
    """The so-and-so-manieth time that the step is reached."""
    within: float
    """Seconds after which it ends all the same."""


@dataclass
class Outcome:
    """What came of one world."""

    seed: int
    kills: int = 0
    orders: int = 0
    fills: int = 0
    events: int = 0
    steps: dict[str, int] = field(default_factory=dict)
    """Kills at each named step; `any moment` are those by the clock."""
    faults: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    """What did not agree."""


class World:
    """A node in `folder`, at an exchange and a server that are running. What chance decides is the seed's."""

    def __init__(self, folder: Path, seed: int, exchange: BinanceProcess, server: ServerProcess, fault: str) -> None:
        self._random = random.Random(seed)
        self._exchange = exchange
        self._server = server
        self._fault = fault
        self._given: list[str] = []
        self.outcome = Outcome(seed)
        exchange.reset()
        exchange.limits(weight=None, orders_10s=None, orders_1d=None)
        folder.mkdir()
        self._node = live_node(folder, exchange)
        self._make_it_quick()
        self._register()
        self._database = open_database(server.location)

    def play(self, kills: int) -> Outcome:
        """Kill it so many times, at steps and moments by chance, let it come to rest, and compare."""
        self._exchange.faults(chance=WRONG, seed=self._random.randrange(2**32), seconds=0.8)
        return self._play((self._death() for _ in range(kills)), self._give_commands)

    def play_at(self, *deaths: Death) -> Outcome:
        """The same with these deaths, a market order before each, and an exchange at which nothing goes wrong."""
        return self._play(deaths, self._give_a_market_order)

    def _play(self, deaths: Iterable[Death], give_commands: Callable[[], None]) -> Outcome:
        try:
            for death in deaths:
                give_commands()
                self._live_and_die(death)
            self._come_to_rest()
            self.outcome.wrong += differences(self._books())
        finally:
            self._database.close()
        return self.outcome

    def _death(self) -> Death:
        if self._random.random() < 0.4:
            return Death(ANY_MOMENT, 0, self._random.uniform(0.4, 2.6))
        return Death(self._random.choice(STEPS), self._random.choice((1, 1, 1, 2, 2, 3, 5)), LONGEST_LIFE)

    def _live_and_die(self, death: Death) -> None:
        process = self._start(death)
        step = death.step
        try:
            process.wait(death.within)
        except subprocess.TimeoutExpired:
            process.kill()
            step = ANY_MOMENT
        code = process.wait()
        if code != -signal.SIGKILL:
            self.outcome.wrong.append(f"the node ended by itself with code {code}: {self._last_words()}")
        self.outcome.kills += 1
        self.outcome.steps[step] = self.outcome.steps.get(step, 0) + 1

    def _start(self, death: Death) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.torture.mortal", f"{death.step}:{death.number}", self._fault]
        if self._fault == "none" and death.step == ANY_MOMENT:
            command = [sys.executable, "-m", "node_agent"]
        with (self._node.path / "run.log").open("ab") as log:
            return subprocess.Popen(
                [*command, "run", "--live", "--data-dir", str(self._node.path)],
                stdout=log,
                stderr=log,
                env=environment(),
                cwd=ROOT,
            )

    def _give_commands(self) -> None:
        if self._random.random() < 0.15:
            self._given.append(self._issue("orders.cancel_all", {}, seconds=60))
        for _ in range(self._random.choice((0, 1, 2, 3))):
            side = self._random.choice(("buy", "buy", "sell"))
            order = {"exchange": "binance", "symbol": SYMBOL, "side": side, "type": "market"}
            order["amount"] = self._random.choice(("0.001", "0.002", "0.0035"))
            if self._random.random() < 0.4:
                away = self._random.choice((-60, -20, 20)) if side == "buy" else self._random.choice((60, 20, -20))
                order |= {"type": "limit", "price": str(40_000 + away)}
            self._given.append(self._issue("order.place", order, seconds=self._random.choice((4, 30, 120))))

    def _give_a_market_order(self) -> None:
        """It fills at once, and frees its id: nothing at the exchange would hold back another one under it."""
        order = {"exchange": "binance", "symbol": SYMBOL, "side": "buy", "type": "market", "amount": "0.001"}
        self._given.append(self._issue("order.place", order, seconds=120))

    def _issue(self, kind: str, data: dict[str, str], *, seconds: float) -> str:
        return commands.issue(
            self._database,
            datetime.now(UTC),
            node_id=self._node_id,
            command_type=kind,
            data=parse_command_data(kind, data),
            lifetime=timedelta(seconds=seconds),
        ).id

    def _come_to_rest(self) -> None:
        """The last life: nothing goes wrong any more, nothing new is wanted, and what is open is cancelled."""
        self._exchange.faults()
        self._issue("trading.pause", {}, seconds=600)
        process = self._start(Death(ANY_MOMENT, 0, QUIET_WITHIN))
        try:
            if not self._in_time(process, lambda: self._has_stored("node.paused") and not self._untaken()):
                return
            self._issue("orders.cancel_all", {}, seconds=600)
            if not self._in_time(process, self._at_rest):
                return
            process.send_signal(signal.SIGTERM)
            code = process.wait(20)
            if code != 0:
                self.outcome.wrong.append(f"the last life ended with code {code}: {self._last_words()}")
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def _in_time(self, process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + QUIET_WITHIN
        while not reached():
            if process.poll() is not None:
                self.outcome.wrong.append(f"the last life ended by itself: {self._last_words()}")
                return False
            if time.monotonic() > deadline:
                self.outcome.wrong.append(f"it did not come to rest: {self._unrest()}")
                return False
            time.sleep(0.1)
        return True

    def _has_stored(self, kind: str) -> bool:
        return any(event["type"] == kind for event in self._server_events())

    def _untaken(self) -> int:
        with Journal.open_read_only(self._node.path / JOURNAL_FILE) as journal:
            not_done = len(journal.commands_not_done())
        with self._database.reading() as connection:
            return not_done + sum(row.done_at is None for row in commands.of_node(connection, self._node_id))

    def _at_rest(self) -> bool:
        books = self._exchange.books()
        resting = [order for order in books["orders"] if order["status"] in ("NEW", "PARTIALLY_FILLED")]
        with Journal.open_read_only(self._node.path / JOURNAL_FILE) as journal:
            pending, ours = journal.event_counts()["pending"], journal.open_orders()
        fills = len(self._rows("fills")) == len(books["trades"])
        return not (resting or ours or pending) and fills and not self._untaken()

    def _unrest(self) -> str:
        books = self._exchange.books()
        resting = [
            order["clientOrderId"] for order in books["orders"] if order["status"] in ("NEW", "PARTIALLY_FILLED")
        ]
        with Journal.open_read_only(self._node.path / JOURNAL_FILE) as journal:
            pending = journal.event_counts()["pending"]
            ours = [f"{order.client_order_id} {order.state} {order.reason}" for order in journal.open_orders()]
        fills = f"{len(self._rows('fills'))} of {len(books['trades'])} fills"
        return f"open there {resting}, here {ours}; {pending} events, {self._untaken()} commands; {fills}"

    def _books(self) -> Books:
        books = self._exchange.books()
        with Journal.open_read_only(self._node.path / JOURNAL_FILE) as journal:
            held = journal.restore().holdings.get(SYMBOL)
        events = self._rows("events")
        self.outcome.orders, self.outcome.fills = len(books["orders"]), len(books["trades"])
        self.outcome.events, self.outcome.faults = len(events), books["faults"]
        changes = {
            name: Decimal(balance["free"]) + Decimal(balance["locked"]) - Decimal(books["deposited"][name])
            for name, balance in books["balances"].items()
            if name in COUNTED
        }
        return Books(
            exchange_orders=books["orders"],
            exchange_trades=books["trades"],
            journal_orders=self._rows("orders"),
            journal_fills=self._rows("fills"),
            journal_events=events,
            server_events=self._server_events(),
            commands=self._given,
            holdings={} if held is None else {"BTC": held.amount, "USDT": held.cash},
            balance_changes=changes,
        )

    def _rows(self, table: str) -> list[dict[str, Any]]:
        connection = sqlite3.connect(f"file:{self._node.path / JOURNAL_FILE}?mode=ro", uri=True, timeout=10)
        query = f"SELECT record FROM {table} ORDER BY rowid"  # noqa: S608  (a name of ours)
        try:
            return [json.loads(record) for (record,) in connection.execute(query)]
        finally:
            connection.close()

    def _server_events(self) -> list[dict[str, Any]]:
        with self._database.reading() as connection:
            rows = ingest.of_node(connection, self._node_id, limit=1_000_000)
        return [
            {"seq": row.seq, "id": row.id, "type": row.type, "data": strict_json.loads(row.data.encode())}
            for row in rows
        ]

    def _make_it_quick(self) -> None:
        """A strategy that decides on two candles."""
        path = self._node.path / "config.toml"
        text = re.sub(r"(?m)^fast = .*$", "fast = 1", path.read_text())
        path.write_text(re.sub(r"(?m)^slow = .*$", "slow = 2", text))

    def _register(self) -> None:
        at = f"http://127.0.0.1:{self._server.port}"
        words = ["--server", at, "--token", self._server.token(), "--insecure-loopback"]
        done = node_agent("register", "--data-dir", self._node.path, *words)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        self._node_id: str = self._node.status()["node_id"]

    def _last_words(self) -> str:
        lines = (self._node.path / "run.log").read_text(errors="replace").splitlines()
        return " | ".join(lines[-3:])[-600:]
