"""Plays cases on nautilus_trader's simulated exchange, and prints what came of each as JSON.

Run it in the `peer` environment, which has it: `python -m tests.matching_peer.nautilus CASES.json`. Nothing of ours
decides anything here: no line of the node is imported.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import nautilus_trader  # type: ignore[import-not-found]
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig  # type: ignore[import-not-found]
from nautilus_trader.config import LoggingConfig  # type: ignore[import-not-found]
from nautilus_trader.model import currencies, enums  # type: ignore[import-not-found]
from nautilus_trader.model.data import Bar, BarType, TradeTick  # type: ignore[import-not-found]
from nautilus_trader.model.events import OrderFilled  # type: ignore[import-not-found]
from nautilus_trader.model.identifiers import (  # type: ignore[import-not-found]
    ClientOrderId,
    InstrumentId,
    Symbol,
    TradeId,
    Venue,
)
from nautilus_trader.model.instruments import CurrencyPair  # type: ignore[import-not-found]
from nautilus_trader.model.objects import Money, Price, Quantity  # type: ignore[import-not-found]
from nautilus_trader.trading.strategy import Strategy  # type: ignore[import-not-found]

from tests.matching_peer.script import Cancel, Candle, Case, Outcome, Place, parse, plain, read

VENUE = Venue("PEER")
BASE, QUOTE = currencies.BTC, currencies.USDT
PAIR = InstrumentId(Symbol("BTC/USDT"), VENUE)
MINUTE = 60_000_000_000
# its words for why an order was not taken | what the cases call it
WHY = {
    "NOTIONAL_LESS_THAN_MIN": "notional",
    "EXCEEDS_FREE_BALANCE": "funds",
    "price": "price",
    "quantity": "amount",
    "no market": "no market",
}


class Table:
    """One case's venue, account and market, and the strategy whose orders are placed by hand."""

    def __init__(self, case: Case) -> None:
        self.outcome = Outcome()
        self.step = 0
        self.candles = 0
        self.cancelled: set[str] = set()
        self.orders: dict[str, Any] = {}
        self.pair = _pair(case)
        silent = LoggingConfig(bypass_logging=True)
        self.engine = BacktestEngine(BacktestEngineConfig(trader_id="PEER-001", logging=silent))
        self.engine.add_venue(
            venue=VENUE,
            oms_type=enums.OmsType.NETTING,
            account_type=enums.AccountType.CASH,
            starting_balances=[Money(case.base, BASE), Money(case.quote, QUOTE)],
            book_type=enums.BookType.L1_MBP,
            bar_execution=True,
            # a stop that the market has passed already is taken, and an order is dealt with before the next step
            reject_stop_orders=False,
            use_message_queue=False,
        )
        self.engine.add_instrument(self.pair)
        self.strategy = Strategy()
        self.engine.add_strategy(self.strategy)
        self.engine.kernel.msgbus.subscribe(topic="events.order.*", handler=self._heard)

    def play(self, case: Case) -> Outcome:
        """All steps, and how everything stands after them."""
        self.engine.run(streaming=True)
        for self.step, line in enumerate(case.steps, start=1):
            match parse(line):
                case Candle() as candle:
                    self._trade(candle)
                case Place() as place:
                    self._place(place)
                case Cancel(id=name):
                    self.cancelled.add(name)
                    self.strategy.cancel_order(self.orders[name])
        self.outcome.orders = {name: self._state(name) for name in self.orders}
        account = self.engine.kernel.cache.account_for_venue(VENUE)
        self.outcome.balances = {
            "base": plain(account.balance_total(BASE).as_decimal()),
            "quote": plain(account.balance_total(QUOTE).as_decimal()),
        }
        self.engine.dispose()
        return self.outcome

    def _trade(self, candle: Candle) -> None:
        self.candles += 1
        at = self.candles * MINUTE
        prices = [self.pair.make_price(each) for each in (candle.open, candle.high, candle.low, candle.close)]
        volume = self.pair.make_qty(candle.volume)
        kind = BarType.from_str(f"{PAIR}-1-MINUTE-LAST-EXTERNAL")
        self.engine.add_data([Bar(kind, *prices, volume, at, at)])
        self.engine.run(streaming=True)
        self.engine.clear_data()
        # its risk engine values market orders by the last trade that it was told of, and bars tell it of none
        trade = TradeTick(PAIR, prices[-1], volume, enums.AggressorSide.BUYER, TradeId(str(at)), at, at)
        self.engine.kernel.cache.add_trade_tick(trade)

    def _place(self, place: Place) -> None:
        side = enums.OrderSide.BUY if place.side == "buy" else enums.OrderSide.SELL
        told: dict[str, Any] = {
            "instrument_id": PAIR,
            "order_side": side,
            "quantity": Quantity(place.amount, _digits(place.amount, self.pair.size_precision)),
            "time_in_force": enums.TimeInForce.IOC if place.ioc else enums.TimeInForce.GTC,
            "client_order_id": ClientOrderId(place.id),
        }
        price = place.price and Price(place.price, _digits(place.price, self.pair.price_precision))
        factory = self.strategy.order_factory
        match place.type:
            case "market":
                order = factory.market(**told)
            case "limit":
                order = factory.limit(price=price, **told)
            case _:
                order = factory.stop_market(trigger_price=price, **told)
        self.orders[place.id] = order
        self.strategy.submit_order(order)

    def _heard(self, event: Any) -> None:
        if not isinstance(event, OrderFilled):
            return
        self.outcome.fill(
            self.step,
            str(event.client_order_id),
            event.last_qty.as_decimal(),
            event.last_px.as_decimal(),
            event.commission.as_decimal(),
            event.liquidity_side.name.lower(),
        )

    def _state(self, name: str) -> str:
        order = self.orders[name]
        match order.status.name:
            case "DENIED" | "REJECTED":
                reason = order.last_event.reason
                return "rejected: " + next((why for words, why in WHY.items() if words in reason), reason)
            case "CANCELED":
                # it has one word for both: an order that nobody cancelled is what others call expired
                return "cancelled" if name in self.cancelled else "expired"
            case "ACCEPTED" | "PARTIALLY_FILLED" | "TRIGGERED":
                return "open"
            case other:
                return str(other).lower()


def _pair(case: Case) -> Any:
    rules = case.rules
    return CurrencyPair(
        instrument_id=PAIR,
        raw_symbol=Symbol("BTCUSDT"),
        base_currency=BASE,
        quote_currency=QUOTE,
        price_precision=_digits(rules["tick"], 0),
        size_precision=_digits(rules["step"], 0),
        price_increment=Price(rules["tick"], _digits(rules["tick"], 0)),
        size_increment=Quantity(rules["step"], _digits(rules["step"], 0)),
        maker_fee=rules["maker_fee"],
        taker_fee=rules["taker_fee"],
        min_notional=Money(rules["minimum_notional"], QUOTE),
        ts_event=0,
        ts_init=0,
    )


def _digits(number: Decimal, least: int) -> int:
    """How many digits behind the point it takes to say a number, and not fewer than `least`."""
    exponent = number.normalize().as_tuple().exponent
    return max(least, -exponent if isinstance(exponent, int) else 0)


def main(path: str) -> None:
    """Play a file's cases."""
    outcomes = {case.name: asdict(Table(case).play(case)) for case in read(Path(path))}
    json.dump({"version": nautilus_trader.__version__, "outcomes": outcomes}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
