"""Robinhood's answers as values of ours, orders as it takes them, and candles of prices that were seen."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest

from node_agent.core.market import (
    Candle,
    ExchangeStatus,
    Fill,
    Liquidity,
    Market,
    OrderRequest,
    OrderType,
    Side,
    Ticker,
)
from node_agent.exchanges import robinhood_reading as reading
from tests.robinhood.opening import (
    MINUTE,
    ORDER_ID,
    OUR_ID,
    SYMBOL,
    a_pair,
    an_execution,
    an_order,
    an_order_row,
)

AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize("number", [False, True], ids=["strings", "numbers"])
def test_amounts_are_exact_whether_they_are_strings_or_numbers(number: bool) -> None:
    written = json.dumps(
        an_order_row(
            state="filled",
            filled_asset_quantity="@0.100000000000000001",
            average_price="@65420.750000000000000003",
            limit_order_config={"asset_quantity": "@0.100000000000000001", "limit_price": "@65420.76"},
        )
    )
    text = written.replace('"@', "").replace('01"', "01").replace('03"', "03").replace('76"', "76")
    raw = reading.loads((text if number else written.replace("@", "")).encode())
    order = reading.order_of(raw)
    assert (order.client_order_id, order.exchange_order_id, order.symbol) == (OUR_ID, ORDER_ID, SYMBOL)
    assert (order.amount, order.filled) == (Decimal("0.100000000000000001"),) * 2
    assert (order.status, order.average_price) == (ExchangeStatus.FILLED, Decimal("65420.750000000000000003"))


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, ExchangeStatus.OPEN),
        ({"state": "partially_filled", "filled_asset_quantity": "0.00005", "average_price": "1"}, ExchangeStatus.OPEN),
        ({"state": "canceled"}, ExchangeStatus.CANCELLED),
        ({"state": "failed"}, ExchangeStatus.REJECTED),
        ({"state": "failed", "filled_asset_quantity": "0.00005", "average_price": "1"}, ExchangeStatus.CANCELLED),
    ],
)
def test_each_state_is_known(changes: dict[str, Any], status: ExchangeStatus) -> None:
    assert reading.order_of(an_order_row(**changes)).status is status


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "voided"},
        {"id": None},
        {"filled_asset_quantity": None},
        {"filled_asset_quantity": "NaN"},
        {"filled_asset_quantity": 0.5},
        {"symbol": "BTC"},
        {"type": "swap"},
    ],
)
def test_an_order_that_is_none_cannot_be_read(changes: dict[str, Any]) -> None:
    with pytest.raises((ValueError, LookupError)):
        reading.order_of(an_order_row(**changes))


def test_an_order_that_the_owner_placed_in_dollars_is_as_much_as_they_buy() -> None:
    row = an_order_row(client_order_id=None, limit_order_config={"quote_amount": "100", "limit_price": "40000"})
    assert reading.open_order_of(row).order.amount == Decimal("0.0025")
    assert reading.held_by(row) == ("USD", Decimal(100))
    assert reading.order_of(row).client_order_id == ""


def test_a_fills_id_is_the_same_however_and_wherever_it_is_told() -> None:
    summer = an_execution()
    winter = an_execution(effective_price="65420.75", quantity="0.02", timestamp="2026-08-20T10:55:01.000001-05:00")
    zulu = an_execution(timestamp="2026-08-20T15:55:01.000001999Z")
    later = an_execution(timestamp="2026-08-20T15:56:00Z", quantity="0.01")

    def names(*executions: dict[str, str]) -> list[str]:
        row = an_order_row(state="partially_filled", filled_asset_quantity="0.02", average_price="1")
        return [each.fill.trade_id for each in reading.trades_of({**row, "executions": list(executions)})]

    first = names(summer)
    assert first == names(winter) == names(zulu) == [f"{ORDER_ID}-1787241301000001-65420.75-0.02"]
    assert names(summer, later) == names(later, winter)[::-1]
    assert names(summer, later)[0] == first[0]
    assert names(summer, winter) == [first[0], f"{first[0]}-2"]


def test_fills_carry_our_id_and_no_fee() -> None:
    row = an_order_row(
        state="filled", side="sell", filled_asset_quantity="0.02", average_price="65420.75", executions=[an_execution()]
    )
    (trade,) = reading.trades_of(row)
    assert trade.exchange_order_id == ORDER_ID
    assert replace(trade.fill, trade_id="") == Fill(
        trade_id="",
        client_order_id=OUR_ID,
        symbol=SYMBOL,
        side=Side.SELL,
        price=Decimal("65420.75"),
        amount=Decimal("0.02"),
        fee=Decimal(0),
        fee_currency="USD",
        liquidity=Liquidity.TAKER,
        at=datetime(2026, 8, 20, 15, 55, 1, 1, tzinfo=UTC),
    )


MARKET: Final = Market(
    SYMBOL,
    "BTC",
    "USD",
    Decimal("0.01"),
    Decimal("1E-8"),
    minimum_notional=Decimal(0),
    minimum_amount=Decimal("0.000001"),
)


@pytest.mark.parametrize(
    ("changes", "market"),
    [
        ({}, MARKET),
        ({"min_order_amount": "0.1"}, replace(MARKET, minimum_notional=Decimal("0.1"))),
        ({"status": "sellonly"}, MARKET),
        ({"status": "untradable"}, None),
    ],
)
def test_the_rules_of_a_symbol(changes: dict[str, str], market: Market | None) -> None:
    assert reading.market_of(a_pair(**changes)) == market


@pytest.mark.parametrize(
    ("request_", "kind", "terms"),
    [
        (an_order(), "limit", {"asset_quantity": "0.01", "limit_price": "30000"}),
        (an_order(type=OrderType.MARKET, price=None), "market", {"asset_quantity": "0.01"}),
        (
            an_order(type=OrderType.MARKET, price=None, side=Side.SELL, amount=Decimal("1E-8")),
            "market",
            {"asset_quantity": "0.00000001"},
        ),
        (
            an_order(type=OrderType.STOP, price=None, stop_price=Decimal("41000.50")),
            "stop_loss",
            {"asset_quantity": "0.01", "stop_price": "41000.50", "time_in_force": "gtc"},
        ),
    ],
)
def test_each_kind_of_order_is_written_as_robinhood_takes_it(
    request_: OrderRequest, kind: str, terms: dict[str, str]
) -> None:
    name = request_.client_order_id
    assert reading.body_of(request_) == {
        "client_order_id": f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:]}",
        "symbol": "BTC-USD",
        "side": request_.side.value,
        "type": kind,
        f"{kind}_order_config": terms,
    }


def watched(*prices: tuple[float, int], interval: timedelta = MINUTE) -> reading.Watched:
    """Prices at so many seconds."""
    seen = reading.Watched(SYMBOL, interval)
    for seconds, price in prices:
        seen.see(AT + timedelta(seconds=seconds), Decimal(price))
    return seen


def candle(minute: int, *prices: int) -> Candle:
    first, high, low, last = map(Decimal, prices)
    return Candle(SYMBOL, AT + minute * MINUTE, first, high, low, last, Decimal(0), MINUTE)


def test_a_candle_is_made_of_the_prices_that_were_seen_in_it() -> None:
    seen = watched((0, 100), (20, 130), (40, 90), (59.9, 110), (60, 111))
    assert seen.candles(None, AT + timedelta(seconds=61)) == [
        candle(0, 100, 130, 90, 110),
        candle(1, 111, 111, 111, 111),
    ]
    assert seen.candles(AT + MINUTE, AT + timedelta(seconds=61)) == [candle(1, 111, 111, 111, 111)]


@pytest.mark.parametrize(
    "prices",
    [
        [(31, 100), (50, 100)],
        [(5, 100), (20, 100)],
        [(5, 100), (36, 100), (50, 100)],
        [],
    ],
    ids=["its beginning", "its end", "its middle", "all of it"],
)
def test_a_candle_of_which_something_was_missed_is_not_told(prices: list[tuple[float, int]]) -> None:
    seen = watched(*prices, (61, 100))
    assert seen.candles(AT, AT + timedelta(seconds=62)) == [candle(1, 100, 100, 100, 100)]


def test_the_open_candle_is_told_as_far_as_it_has_come() -> None:
    assert watched((50, 100)).candles(None, AT + timedelta(seconds=55)) == [candle(0, 100, 100, 100, 100)]


def test_a_clock_that_is_set_back_changes_no_candle() -> None:
    seen = watched((0, 100), (25, 101), (50, 102), (60, 103), (30, 999), (59, 999))
    assert seen.candles(AT, AT + timedelta(seconds=61)) == [
        candle(0, 100, 102, 100, 102),
        candle(1, 103, 103, 103, 103),
    ]


def test_the_last_three_candles_are_told_and_not_all_are_kept() -> None:
    seen = watched(*((30 * half, half) for half in range(1200)))
    now = AT + timedelta(minutes=600)
    assert [each.at for each in seen.candles(None, now)] == [AT + minute * MINUTE for minute in (597, 598, 599)]
    assert len(seen.candles(AT, now)) == 500


def test_the_middle_is_half_way_also_when_bid_and_ask_are_crossed() -> None:
    assert reading.middle_of(Ticker(SYMBOL, None, Decimal("84024.63"), Decimal("84012.24"))) == Decimal("84018.435")
