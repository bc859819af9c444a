"""The account without a wire: matching in time, what is held and paid, and that no money comes or goes by itself."""

from __future__ import annotations

from decimal import Decimal as D
from itertools import pairwise
from random import Random

import pytest

from tests.venue.books import Books
from tests.venue.market import LISTED, Market
from tests.venue.orders import ZERO, Ask, Order
from tests.venue.refusals import Refused

START = 1_800_000_000_000
BTC = LISTED["BTCUSDT"]


class Floor:
    """Books with a clock of the test's own, and the price pinned at 40000."""

    def __init__(self, seed: int = 0) -> None:
        self.now = START
        self.market = Market(BTC, seed=seed)
        self.books = Books(lambda: self.now, {"BTCUSDT": self.market}, {"USDT": D(100_000), "BTC": D(5)}, seed)
        self.price("40000")

    def price(self, price: str, depth: str | None = None) -> None:
        self.books.pin("BTCUSDT", D(price), None if depth is None else D(depth))

    def later(self, seconds: float = 1) -> None:
        self.now += int(seconds * 1000)
        self.books.advance()

    def shift(self, seconds: int) -> None:
        def change() -> None:
            self.now += seconds * 1000

        self.books.shift(change)

    def limit(self, side: str, quantity: str, price: str, in_force: str = "GTC", name: str = "limit") -> Order:
        return self.books.place(Ask("BTCUSDT", side, "LIMIT", name, D(quantity), None, D(price), None, in_force))

    def market_order(self, side: str, quantity: str, name: str = "market") -> Order:
        return self.books.place(Ask("BTCUSDT", side, "MARKET", name, D(quantity)))

    def stop(self, side: str, quantity: str, stop: str, limit: str | None = None) -> Order:
        kind = "STOP_LOSS" if limit is None else "STOP_LOSS_LIMIT"
        price = None if limit is None else D(limit)
        return self.books.place(Ask("BTCUSDT", side, kind, "stop", D(quantity), None, price, D(stop)))


@pytest.fixture
def floor() -> Floor:
    return Floor()


def test_a_market_buy_pays_the_price_and_its_commission_in_what_it_bought(floor: Floor) -> None:
    order = floor.market_order("BUY", "1")
    assert (order.status, order.executed_quote) == ("FILLED", D(40_000))
    assert floor.books.free == {"USDT": D(60_000), "BTC": D("5.999")}
    assert floor.books.locked == {"USDT": ZERO, "BTC": ZERO}


def test_a_market_sell_pays_its_commission_in_the_quote(floor: Floor) -> None:
    floor.market_order("SELL", "1")
    assert floor.books.free == {"USDT": D(139_960), "BTC": D(4)}


def test_market_orders_fill_in_one_to_three_parts_with_numbers_of_their_own(floor: Floor) -> None:
    orders = [floor.market_order("BUY" if n % 2 else "SELL", "0.1") for n in range(30)]
    assert {len(order.fills) for order in orders} == {1, 2, 3}
    numbers = [trade.id for trade in floor.books.trades]
    assert len(set(numbers)) == len(numbers)


def test_the_smallest_order_fills_in_one_part(floor: Floor) -> None:
    assert {len(floor.market_order("BUY", "0.00013").fills) for _ in range(20)} <= {1, 2, 3}
    assert all(trade.quantity % BTC.step == 0 for trade in floor.books.trades)


def test_a_quote_amount_buys_whole_steps(floor: Floor) -> None:
    order = floor.books.place(Ask("BTCUSDT", "BUY", "MARKET", "quote", quote_quantity=D("100.7")))
    assert (order.quantity, order.status) == (D("0.00251"), "FILLED")


def test_a_limit_that_the_price_allows_fills_at_once_at_the_better_price(floor: Floor) -> None:
    order = floor.limit("BUY", "1", "41000")
    assert (order.status, order.executed_quote) == ("FILLED", D(40_000))
    assert floor.books.free["USDT"] == D(60_000)
    assert not order.fills[0].maker


def test_a_resting_limit_fills_by_halves_as_the_price_touches_it(floor: Floor) -> None:
    order = floor.limit("BUY", "1", "39000")
    floor.later()
    assert (order.status, floor.books.locked["USDT"]) == ("NEW", D(39_000))
    floor.price("38500")
    assert (order.status, order.executed) == ("PARTIALLY_FILLED", D("0.5"))
    floor.later()
    assert (order.status, order.executed_quote) == ("FILLED", D(39_000))
    assert all(fill.maker for fill in order.fills)
    assert order.fills[1].at == START + 1000 * 2
    assert floor.books.locked["USDT"] == ZERO


def test_a_resting_limit_waits_while_the_price_is_away(floor: Floor) -> None:
    order = floor.limit("SELL", "1", "41000")
    floor.price("41000")
    floor.price("40000")
    floor.later(10)
    assert order.executed == D("0.5")
    floor.books.cancel("BTCUSDT", order.id, None)
    assert (order.status, floor.books.free["BTC"]) == ("CANCELED", D("4.5"))


@pytest.mark.parametrize("in_force", ["IOC", "FOK"])
def test_what_may_not_rest_ends_when_the_price_is_away(floor: Floor, in_force: str) -> None:
    order = floor.limit("BUY", "1", "39000", in_force)
    assert (order.status, order.executed) == ("EXPIRED", ZERO)
    assert floor.books.free["USDT"] == D(100_000)


@pytest.mark.parametrize(("in_force", "executed"), [("IOC", D("0.3")), ("FOK", ZERO)])
def test_when_there_is_not_enough_to_take_it_takes_a_part_or_nothing(floor: Floor, in_force: str, executed: D) -> None:
    floor.price("40000", depth="0.3")
    order = floor.limit("BUY", "1", "40000", in_force)
    assert (order.status, order.executed) == ("EXPIRED", executed)
    assert floor.books.locked["USDT"] == ZERO


def test_a_market_order_that_finds_not_enough_expires_with_what_it_got(floor: Floor) -> None:
    floor.price("40000", depth="0.3")
    order = floor.market_order("SELL", "1")
    assert (order.status, order.executed, floor.books.free["BTC"]) == ("EXPIRED", D("0.3"), D("4.7"))


def test_a_stop_sleeps_until_the_price_passed_and_then_takes(floor: Floor) -> None:
    order = floor.stop("SELL", "1", "39000")
    floor.price("39000.01")
    floor.later()
    assert (order.status, order.working, floor.books.locked["BTC"]) == ("NEW", False, D(1))
    floor.price("38000")
    assert (order.status, order.executed_quote) == ("FILLED", D(38_000))
    assert not order.fills[0].maker


def test_a_stop_limit_rests_when_the_price_jumped_over_it(floor: Floor) -> None:
    order = floor.stop("SELL", "1", "39000", "38900")
    floor.price("38000")
    assert (order.status, order.working) == ("NEW", True)
    floor.price("38900")
    assert (order.executed, order.fills[0].maker) == (D("0.5"), True)


def test_a_stop_buy_that_cannot_be_paid_any_more_expires(floor: Floor) -> None:
    order = floor.stop("BUY", "2", "45000")
    floor.price("60000")
    assert (order.status, order.executed, floor.books.free["USDT"]) == ("EXPIRED", ZERO, D(100_000))


def test_two_open_orders_cannot_hold_the_same_money(floor: Floor) -> None:
    floor.limit("BUY", "2", "39000")
    with pytest.raises(Refused, match="insufficient balance"):
        floor.limit("BUY", "1", "39000", name="other")


def test_orders_fill_at_the_times_at_which_the_price_was_there(floor: Floor) -> None:
    floor.books.pin("BTCUSDT", None)
    prices = [floor.market.price(START + second * 1000) for second in range(120)]
    lowest = min(prices[1:])
    order = floor.limit("BUY", "0.1", str(lowest))
    floor.later(119)
    touched = START + prices.index(lowest, 1) * 1000
    assert order.fills[0].at == touched
    assert order.fills[0].price == lowest


def test_time_that_the_clock_skips_does_nothing_to_orders(floor: Floor) -> None:
    floor.books.pin("BTCUSDT", None)
    prices = [floor.market.price(START + second * 1000) for second in range(1, 62)]
    order = floor.limit("BUY", "1", str(min(prices)))
    floor.shift(61)
    floor.later(0)
    assert (min(prices) < prices[-1], order.status) == (True, "NEW")


def test_a_pinned_price_stays_when_the_clock_goes_back(floor: Floor) -> None:
    floor.later(10)
    floor.price("41000")
    floor.shift(-50)
    assert floor.market.price(floor.now) == D(41_000)
    floor.price("42000")
    floor.later(70)
    assert floor.market.price(floor.now) == D(42_000)


def test_the_price_is_the_same_for_the_same_seed_and_moves_every_interval() -> None:
    def walk(seed: int) -> list[D]:
        market = Market(BTC, seed=seed)
        return [market.price(START + second * 1000) for second in range(200)]

    assert walk(1) == walk(1)
    assert walk(1) != walk(2)
    assert len(set(walk(1))) > 150
    assert all(abs(price - 40_000) < 300 for price in walk(1))


def test_candles_join_and_hold_every_price_of_their_time() -> None:
    market = Market(BTC)
    now = START + 600_000
    candles = [market.candle(START + minute * 60_000, 60_000, now) for minute in range(5)]
    for candle in candles:
        prices = [market.price(candle.at + second * 1000) for second in range(60)]
        assert (candle.high, candle.low) == (max(*prices, candle.open), min(*prices, candle.open))
        assert candle.close == prices[-1]
    assert all(later.open == earlier.close for earlier, later in pairwise(candles))


def test_a_pinned_price_is_in_its_candle_and_leaves_the_past_alone(floor: Floor) -> None:
    before = [floor.market.candle(START - 60_000, 60_000, floor.now)]
    floor.later(1)
    floor.price("50000")
    floor.later(1)
    assert floor.market.candle(START + 1000, 1000, floor.now).high == D(50_000)
    assert [floor.market.candle(START - 60_000, 60_000, floor.now)] == before


@pytest.mark.parametrize("seed", range(5))
def test_no_money_comes_or_goes_by_itself(seed: int) -> None:
    floor, chance = Floor(seed), Random(seed)
    books = floor.books
    books.pin("BTCUSDT", None)
    for number in range(300):
        side = chance.choice(["BUY", "SELL"])
        price = str(floor.market.price(floor.now) + chance.randint(-200, 200))
        quantity = f"0.0{chance.randint(100, 999)}"
        try:
            match chance.randint(0, 4):
                case 0:
                    floor.market_order(side, quantity, f"m{number}")
                case 1 | 2:
                    floor.limit(side, quantity, price, chance.choice(["GTC", "GTC", "IOC"]), f"l{number}")
                case 3:
                    floor.stop(side, quantity, price)
                case 4 if books.open():
                    order = chance.choice(books.open())
                    books.cancel("BTCUSDT", order.id, None)
        except Refused:
            pass
        floor.later(chance.random() * 3)
    buys = [trade for trade in books.trades if trade.side == "BUY"]
    sells = [trade for trade in books.trades if trade.side == "SELL"]
    assert buys
    assert sells
    bought = sum(trade.quantity - trade.commission for trade in buys) - sum(trade.quantity for trade in sells)
    earned = sum(trade.quote - trade.commission for trade in sells) - sum(trade.quote for trade in buys)
    assert books.free["BTC"] + books.locked["BTC"] == 5 + bought
    assert books.free["USDT"] + books.locked["USDT"] == 100_000 + earned
    assert min(books.free.values()) >= 0
    held = {"BUY": "USDT", "SELL": "BTC"}
    for side, asset in held.items():
        assert books.locked[asset] == sum(order.held for order in books.open() if order.side == side)
    for order in books.orders:
        assert order.executed == sum(fill.quantity for fill in order.fills)
        assert order.open or order.held == 0
