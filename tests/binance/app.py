"""The exchange as one thing that answers requests: limits, key, fault plan, endpoint."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Final

from tests.binance import wire
from tests.binance.desk import TRADE_ONLY, Desk
from tests.binance.limits import Limits
from tests.binance.params import Params
from tests.binance.requests import Window, authenticate, params_of
from tests.binance.routes import ROUTES, Route
from tests.venue import refusals
from tests.venue.account import Account
from tests.venue.faults import Fault
from tests.venue.http import Answer, HttpRequest
from tests.venue.market import LISTED
from tests.venue.refusals import Refused
from tests.venue.writing import as_json

HTML: Final = "text/html"


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A request that was let in; it meets the books that were there when it came."""

    request: HttpRequest
    params: Params
    route: Route
    window: Window | None
    desk: Desk


class Exchange(Account):
    """Unlike other venues here it lets a request in before anything goes wrong with it."""

    listed: ClassVar = {"BTCUSDT": LISTED["BTCUSDT"]}
    deposits: ClassVar = {"USDT": "100000", "BTC": "5"}
    trade_only: ClassVar = TRADE_ONLY
    order_paths: ClassVar = ("/api/v3/order", "/api/v3/openOrders", "/api/v3/allOrders", "/api/v3/myTrades")
    only_for: ClassVar = {
        "not_found_once": ("GET", "/api/v3/order"),
        "stale_list": ("GET", "/api/v3/openOrders"),
    }
    more_faults: ClassVar = (*only_for, "-1021", "429", "418", "duplicate")

    def reset(self) -> None:
        """New books, limits and faults. What is still on its way is done in the old books."""
        super().reset()
        self.desk = Desk(self.books, Limits(), self.permissions, Random(self._seed))
        self._listed_now: list[wire.Json] = []
        self._listed_before: list[wire.Json] = []

    async def respond(self, request: HttpRequest) -> Answer | None:
        self.requests[f"{request.method} {request.path}"] += 1
        try:
            arrived = self._arrive(request)
        except Refused as refused:
            return self._refuse(refused)
        fault = self.faults.next(request.method, request.path)
        if fault is None:
            return self._perform(arrived)
        if fault.what == "hang_before":
            await asyncio.sleep(fault.seconds)
            return self._perform(arrived)
        try:
            self._fail_before(fault)
        except Refused as refused:
            return self._refuse(refused)
        if fault.what == "drop_before":
            return None
        if fault.what == "stale_list":
            return self._stale(arrived)
        return await self._fail_after(fault, self._perform(arrived), arrived)

    def _arrive(self, request: HttpRequest) -> _Arrived:
        route = ROUTES.get((request.method, request.path))
        if route is None:
            raise Refused(-1, f"No such endpoint: {request.method} {request.path}", 404)
        params = params_of(request)
        now = self.clock.now()
        self.desk.limits.spend(route.weight(params), now)
        key = self.key if self.valid else None
        window = authenticate(request, params, key, now) if route.signed else None
        return _Arrived(request, params, route, window, self.desk)

    def _perform(self, arrived: _Arrived) -> Answer:
        try:
            if arrived.window is not None:
                arrived.window.check(self.clock.now())
            value = arrived.route.endpoint(arrived.desk, arrived.params)
        except Refused as refused:
            return self._refuse(refused)
        headers = self._headers()
        if arrived.request.method == "POST":
            for name, count in self.desk.limits.orders(self.clock.now()).items():
                headers[f"x-mbx-order-count-{name.lower()}"] = str(count)
        self._note_list()
        return as_json(value, headers=headers)

    def _refuse(self, refused: Refused) -> Answer:
        self.refusals[f"{refused.code} {refused.message}"] += 1
        told = {"code": refused.code, "msg": refused.message}
        return as_json(told, refused.status, self._headers() | refused.headers)

    def _headers(self) -> dict[str, str]:
        used = str(self.desk.limits.used)
        return {"x-mbx-used-weight": used, "x-mbx-used-weight-1m": used}

    def _fail_before(self, fault: Fault) -> None:
        seconds = max(1, int(fault.seconds))
        match fault.what:
            case "5xx_before":
                raise refusals.unavailable()
            case "-1021":
                raise refusals.too_late()
            case "429":
                raise refusals.too_much_weight(self.desk.limits.weight or 6000, seconds)
            case "418":
                raise refusals.banned(self.clock.now() + seconds * 1000, seconds)
            case "not_found_once":
                raise refusals.no_such_order()

    async def _fail_after(self, fault: Fault, done: Answer, arrived: _Arrived) -> Answer | None:
        match fault.what:
            case "duplicate":
                return self._perform(arrived)
            case "garbage" if self.faults.coin():
                return Answer(200, b"<html><body>Be right back.</body></html>", done.headers, HTML)
        return await self._after(fault, done)

    def unavailable(self) -> Answer:
        """It may have been done."""
        return self._refuse(refusals.timed_out())

    def _note_list(self) -> None:
        listed = [wire.shown(order) for order in self.books.open()]
        if listed != self._listed_now:
            self._listed_before, self._listed_now = self._listed_now, listed

    def _stale(self, arrived: _Arrived) -> Answer:
        fresh = self._perform(arrived)
        if fresh.status != 200:
            return fresh
        symbol = arrived.params.optional("symbol")
        rows: list[Any] = [row for row in self._listed_before if symbol in (None, row["symbol"])]
        return as_json(rows, headers=fresh.headers)
