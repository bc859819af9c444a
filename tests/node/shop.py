"""An exchange of the tests' own, behind the port: keeps books on disk, fills market orders at once, fails on demand."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal as D
from pathlib import Path

from pydantic import TypeAdapter

from node_agent.core.market import (
    Candle,
    Conduct,
    ExchangeOrder,
    ExchangeStatus,
    Fill,
    Liquidity,
    Market,
    OpenOrder,
    OrderRequest,
    OrderType,
    Side,
)
from node_agent.exchanges.port import OrderRefused, Update
from tests.node.values import BTC, START

_ORDER = TypeAdapter(ExchangeOrder)
_FILL = TypeAdapter(Fill)


class Shop:
    """One account. `around` is awaited with a name before and after what the exchange does, and may raise or kill."""

    def __init__(self, path: Path | str, candles: Sequence[Candle], *, price: D = D(40000)) -> None:
        self.candles = candles
        self.price = price
        self.told: asyncio.Queue[Update | Exception | None] = asyncio.Queue()
        self.around: Callable[[str], Awaitable[None]] = _nothing
        self.asked: list[str] = []
        self.closed = False
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, record TEXT NOT NULL)")
        self.db.execute("CREATE TABLE IF NOT EXISTS fills (number INTEGER PRIMARY KEY, record TEXT NOT NULL)")

    @property
    def name(self) -> str:
        return "paper"

    @property
    def conduct(self) -> Conduct:
        return Conduct()

    @property
    def survey_every(self) -> float:
        """Five seconds: it is asked for nothing over a network."""
        return 5.0

    @property
    def rate_limits(self) -> Mapping[str, object]:
        return {}

    async def markets(self) -> Mapping[str, Market]:
        await self.around("before markets")
        return {BTC.symbol: BTC}

    async def balances(self) -> Mapping[str, D]:
        await self.around("before balances")
        return {"USD": D(10000)}

    async def create_order(self, request: OrderRequest) -> ExchangeOrder:
        self.asked.append(request.client_order_id)
        await self.around("before create")
        known = await self.find_order(request.client_order_id, request.symbol)
        order = known or self._trade(request)
        await self.around("after create")
        return order

    async def cancel_order(self, client_order_id: str, symbol: str) -> ExchangeOrder:
        await self.around("before cancel")
        order = await self.find_order(client_order_id, symbol)
        if order is None:
            raise OrderRefused("no such order")
        if order.status is ExchangeStatus.OPEN:
            order = self._keep(replace(order, status=ExchangeStatus.CANCELLED))
        return order

    async def find_order(self, client_order_id: str, symbol: str) -> ExchangeOrder | None:
        await self.around("before find")
        row = self.db.execute("SELECT record FROM orders WHERE id = ?", (client_order_id,)).fetchone()
        return None if row is None else _ORDER.validate_json(row[0])

    async def open_orders(self) -> Sequence[OpenOrder]:
        return [OpenOrder(order, Side.BUY, None) for order in self.orders() if order.status is ExchangeStatus.OPEN]

    async def clock_offset(self) -> float | None:
        return None

    async def fills_since(self, at: datetime | None) -> Sequence[Fill]:
        await self.around("before fills")
        return [fill for fill in self.fills() if at is None or fill.at >= at]

    def know(self, orders: Iterable[tuple[str, str]]) -> None:
        pass

    async def updates(self) -> AsyncIterator[Update]:
        for candle in self.candles:
            self.price = candle.close
            yield candle
            while not self.told.empty():
                update = self.told.get_nowait()
                if isinstance(update, Candle | ExchangeOrder | Fill):
                    yield update
        while (update := await self.told.get()) is not None:
            if isinstance(update, Exception):
                raise update
            yield update

    async def close(self) -> None:
        self.closed = True
        self.db.close()

    def orders(self) -> list[ExchangeOrder]:
        """The books."""
        return [_ORDER.validate_json(row[0]) for row in self.db.execute("SELECT record FROM orders ORDER BY rowid")]

    def fills(self) -> list[Fill]:
        """Every trade."""
        return [_FILL.validate_json(row[0]) for row in self.db.execute("SELECT record FROM fills ORDER BY number")]

    def _trade(self, request: OrderRequest) -> ExchangeOrder:
        fills = request.type is OrderType.MARKET
        order = ExchangeOrder(
            request.client_order_id,
            f"x{len(self.orders()) + 1}",
            request.symbol,
            ExchangeStatus.FILLED if fills else ExchangeStatus.OPEN,
            request.amount,
            request.amount if fills else D(0),
        )
        if fills:
            fill = Fill(
                f"t{len(self.fills()) + 1}",
                request.client_order_id,
                request.symbol,
                request.side,
                self.price,
                request.amount,
                D(0),
                "USD",
                Liquidity.TAKER,
                START + timedelta(minutes=len(self.fills())),
            )
            self.db.execute("BEGIN")
            self.db.execute("INSERT INTO fills (record) VALUES (?)", (_FILL.dump_json(fill).decode(),))
            self._keep(order)
            self.db.execute("COMMIT")
            self.told.put_nowait(fill)
        else:
            self._keep(order)
        self.told.put_nowait(order)
        return order

    def _keep(self, order: ExchangeOrder) -> ExchangeOrder:
        self.db.execute(
            "INSERT OR REPLACE INTO orders VALUES (?, ?)", (order.client_order_id, _ORDER.dump_json(order).decode())
        )
        return order


async def _nothing(what: str) -> None:
    return None
