"""The paper exchange behind the port: plays the recording, keeps its books on disk, tells what happens.

Its books are its own (`paper.sqlite3`), as a real exchange's are: what it has acknowledged is there after a kill, and
so is its place in the recording.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import structlog
from pydantic import TypeAdapter

from node_agent.config import Config, ConfigError
from node_agent.core.market import Candle, Conduct, ExchangeOrder, Fill, Market, OpenOrder, OrderRequest
from node_agent.exchanges.paper import candles
from node_agent.exchanges.paper.matching import Books, Placed, Rejected, Rules, Updates, cancel, on_candle, place
from node_agent.exchanges.port import ExchangeUnavailable, OrderRefused, Update

NAME: Final = "paper"
BOOKS_FILE: Final = "paper.sqlite3"
_ORDER: Final = TypeAdapter(Placed)
_FILL: Final = TypeAdapter(Fill)
_BOOKS: Final = TypeAdapter(Books)
_MINUTE: Final = timedelta(minutes=1)
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS books (one INTEGER PRIMARY KEY CHECK (one = 1), record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS fills (number INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, record TEXT NOT NULL);
"""

_log = structlog.get_logger("paper")


def open_paper(config: Config, data_dir: Path, speed: float | None) -> PaperExchange:
    """The paper exchange of a node. `speed` is how many times faster than recorded; None for the recording's own pace.

    Raises ConfigError for a recording that cannot be played, or books that cannot be opened.
    """
    paper, symbol = config.paper, config.exchange.symbol
    if paper is None:
        raise ConfigError("there is no [paper] in the configuration", "name the recording to play in [paper] candles")
    base, _, quote = symbol.partition("/")
    market = Market(symbol, base, quote, paper.tick_size, paper.step_size, paper.minimum_notional)
    rules = Rules(market, paper.maker_fee, paper.taker_fee, paper.volume_share)
    recording = candles.read(Path(paper.candles), symbol, volume_in_quote=paper.volume_unit == "quote")
    path = data_dir / BOOKS_FILE
    try:
        return PaperExchange(rules, recording, path, cash=paper.cash, speed=speed or 1.0)
    except (sqlite3.Error, ValueError) as error:
        raise ConfigError(
            f"the paper exchange's books {path} cannot be used: {error}",
            "free some disk space, or move the file away to begin again with new play money",
        ) from None


class PaperExchange:
    """One play-money account on one recording. Raises ConfigError for an empty recording."""

    def __init__(self, rules: Rules, recording: Iterator[Candle], path: Path, *, cash: Decimal, speed: float) -> None:
        self._rules = rules
        self._speed = speed
        self._recording = recording
        self._told: asyncio.Queue[Update] = asyncio.Queue()
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)
        self._books = self._load() or Books(base=Decimal(0), quote=cash)
        self._next = self._seek()

    @property
    def name(self) -> str:
        """`paper`."""
        return NAME

    @property
    def conduct(self) -> Conduct:
        """These books are complete, and every id is taken for ever."""
        return Conduct()

    @property
    def survey_every(self) -> float:
        """Five seconds: it is asked for nothing over a network."""
        return 5.0

    @property
    def rate_limits(self) -> Mapping[str, object]:
        """None: it is asked for nothing over a network."""
        return {}

    async def markets(self) -> Mapping[str, Market]:
        """The one symbol that the recording is of."""
        return {self._rules.market.symbol: self._rules.market}

    async def balances(self) -> Mapping[str, Decimal]:
        """Base and quote currency."""
        return {self._rules.market.base: self._books.base, self._rules.market.quote: self._books.quote}

    async def create_order(self, request: OrderRequest) -> ExchangeOrder:
        """Place it; the same id again answers with the first."""
        try:
            books, updates = place(self._books, self._rules, request)
        except Rejected as error:
            raise OrderRefused(str(error)) from None
        return self._taken(books, updates)

    async def cancel_order(self, client_order_id: str, symbol: str) -> ExchangeOrder:
        """Cancel what is left of it."""
        try:
            books, updates = cancel(self._books, client_order_id)
        except Rejected as error:
            raise OrderRefused(str(error)) from None
        return self._taken(books, updates)

    async def find_order(self, client_order_id: str, symbol: str) -> ExchangeOrder | None:
        """The order under this id; these books are complete, so None is sure."""
        order = self._books.orders.get(client_order_id)
        return None if order is None else order.told()

    async def open_orders(self) -> Sequence[OpenOrder]:
        """All orders that may still fill."""
        return [
            OpenOrder(each.told(), each.request.side, each.request.price or each.request.stop_price)
            for each in self._books.open
        ]

    async def fills_since(self, at: datetime | None) -> Sequence[Fill]:
        """Fills at or after a time of the market."""
        rows = self._db.execute(
            "SELECT record FROM fills WHERE at >= ? ORDER BY number", (at.isoformat() if at else "",)
        )
        return [_FILL.validate_json(record) for (record,) in rows]

    async def clock_offset(self) -> float | None:
        """None: a recording has no clock of today."""
        return None

    def know(self, orders: Iterable[tuple[str, str]]) -> None:
        """Nothing new: these books have every id."""

    async def updates(self) -> AsyncIterator[Update]:
        """Plays the recording: its first candle at once, each next one an interval later. Behind its end: silence.

        A start in its midst goes on with the interval that was under way.
        """
        loop = asyncio.get_running_loop()
        due = loop.time()
        if self._next is None:
            self._log_end()
        elif self._books.at is not None:
            due += self._seconds(self._next.at - self._books.at)
        while True:
            if self._next is None:
                yield await self._told.get()
                continue
            try:
                async with asyncio.timeout_at(due):
                    update = await self._told.get()
            except TimeoutError:
                candle = self._next
                for each in self._play(candle):
                    yield each
                if self._next is not None:
                    due = max(due + self._seconds(self._next.at - candle.at), loop.time() - 1)
                continue
            yield update

    async def close(self) -> None:
        """Let go of the books."""
        self._db.close()

    def _play(self, candle: Candle) -> list[Update]:
        books, updates = on_candle(self._books, self._rules, candle)
        self._keep(books, updates)
        self._next = next(self._recording, None)
        if self._next is None:
            self._log_end()
        return [*updates, candle]

    def _seconds(self, interval: timedelta) -> float:
        return interval / timedelta(seconds=self._speed)

    def _log_end(self) -> None:
        at = self._books.at
        _log.info("the recording has ended; the market stands still", at=at and at.isoformat())

    def _taken(self, books: Books, updates: Updates) -> ExchangeOrder:
        """Keep what an order brought about, tell it on the stream, and answer with the order."""
        if books is not self._books:
            self._keep(books, updates)
            for update in updates:
                self._told.put_nowait(update)
        order = updates[-1]
        if not isinstance(order, ExchangeOrder):
            raise ExchangeUnavailable("the books are out of order")
        return order

    def _keep(self, books: Books, updates: Updates) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for update in updates:
                if isinstance(update, Fill):
                    record = _FILL.dump_json(update).decode()
                    self._db.execute("INSERT INTO fills (at, record) VALUES (?, ?)", (update.at.isoformat(), record))
            for name, order in books.orders.items():
                if self._books.orders.get(name) is not order:
                    self._db.execute(
                        "INSERT OR REPLACE INTO orders VALUES (?, ?)", (order.number, _ORDER.dump_json(order).decode())
                    )
            record = _BOOKS.dump_json(books, exclude={"orders"}).decode()
            self._db.execute("INSERT OR REPLACE INTO books VALUES (1, ?)", (record,))
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise ExchangeUnavailable(f"the paper exchange cannot keep its books: {error}") from None
        self._books = books

    def _load(self) -> Books | None:
        row: Any = self._db.execute("SELECT record FROM books").fetchone()
        if row is None:
            return None
        orders = (
            _ORDER.validate_json(record) for (record,) in self._db.execute("SELECT record FROM orders ORDER BY number")
        )
        books = _BOOKS.validate_json(row[0])
        return Books(
            base=books.base,
            quote=books.quote,
            last=books.last,
            at=books.at,
            orders={order.request.client_order_id: order for order in orders},
            trades=books.trades,
        )

    def _seek(self) -> Candle | None:
        """The first candle that was not played yet."""
        first = next(self._recording, None)
        if first is None:
            raise ConfigError("the recording has no candles", "name another one in [paper] candles")
        while first is not None and self._books.at is not None and first.at <= self._books.at:
            first = next(self._recording, None)
        return first
