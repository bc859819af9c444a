"""Orders on the wire: what is refused and with which words, client ids, answers, cancels, lists and trades."""

from __future__ import annotations

from typing import Any

import pytest

from tests.binance.caller import ORDER, Caller, refusal
from tests.binance.process import BinanceProcess


@pytest.mark.parametrize(
    ("params", "code", "message"),
    [
        ({"symbol": "XYZUSDT"}, -1121, "Invalid symbol."),
        ({"symbol": None}, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        ({"side": "HOLD"}, -1117, "Invalid side."),
        ({"type": "ICEBERG"}, -1116, "Invalid orderType."),
        ({"timeInForce": "GTX"}, -1115, "Invalid timeInForce."),
        (
            {"timeInForce": None},
            -1102,
            "Mandatory parameter 'timeInForce' was not sent, was empty/null, or malformed.",
        ),
        ({"price": ""}, -1105, "Parameter 'price' was empty."),
        ({"stopPrice": "1"}, -1106, "Parameter 'stopPrice' sent when not required."),
        ({"nonsense": "1"}, -1104, "Not all sent parameters were read; read '8' parameter(s) but was sent '9'."),
        ({"quantity": "1e-2"}, -1100, None),
        ({"quantity": "-1"}, -1100, None),
        ({"quantity": "0"}, -1013, "Invalid quantity."),
        ({"quantity": "0.010000001"}, -1111, "Parameter 'quantity' has too much precision."),
        ({"quantity": "0.010001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "0.000001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "9000.1"}, -1013, "Filter failure: LOT_SIZE"),
        ({"price": "30000.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"price": "1000"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        ({"quantity": "0.0001"}, -1013, "Filter failure: NOTIONAL"),
        ({"quantity": "5"}, -2010, "Account has insufficient balance for requested action."),
        ({"newClientOrderId": ""}, -1105, "Parameter 'newClientOrderId' was empty."),
        (
            {"newClientOrderId": "x" * 37},
            -1100,
            r"Illegal characters found in parameter 'newClientOrderId'; legal range is '^[\.A-Z\:/a-z0-9_-]{1,36}$'.",
        ),
        ({"newClientOrderId": "a b"}, -1100, None),
        ({"newOrderRespType": "SOME"}, -1130, None),
        ({"type": "TAKE_PROFIT"}, -2010, "Take profit orders are not supported for this symbol."),
        ({"type": "MARKET"}, -1102, "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!"),
        ({"type": "MARKET", "quantity": "0.01", "price": "1"}, -1106, None),
        ({"type": "MARKET", "quantity": "0.01", "timeInForce": "GTC"}, -1106, None),
        ({"type": "MARKET", "quantity": "0.01", "quoteOrderQty": "400"}, -1106, None),
        ({"type": "MARKET", "quantity": "101"}, -1013, "Filter failure: MARKET_LOT_SIZE"),
        ({"type": "MARKET", "quoteOrderQty": "1"}, -1013, "Filter failure: NOTIONAL"),
        ({"type": "MARKET", "side": "SELL", "quantity": "6"}, -2010, None),
        ({"type": "LIMIT_MAKER", "quantity": "0.01", "price": "41000"}, -2010, None),
        ({"type": "STOP_LOSS", "side": "SELL", "quantity": "0.01", "stopPrice": "41000"}, -2010, None),
        ({"type": "STOP_LOSS", "side": "SELL", "quantity": "0.01"}, -1102, None),
    ],
)
def test_an_order_that_breaks_a_rule_is_refused_and_leaves_no_trace(
    caller: Caller, exchange: BinanceProcess, params: dict[str, Any], code: int, message: str | None
) -> None:
    status, told_code, told = refusal(caller.order(**params))
    assert (status, told_code) == (400, code), told
    assert message in (None, told)
    books = exchange.books()
    assert books["orders"] == []
    assert books["balances"]["USDT"] == {"free": "100000.00000000", "locked": "0.00000000"}
    assert books["refusals"] == {f"{code} {told}": 1}


def test_only_so_many_stops_may_wait(caller: Caller) -> None:
    stop = {"type": "STOP_LOSS", "side": "SELL", "quantity": "0.01", "stopPrice": "35000"}
    assert [caller.order(**stop).status_code for _ in range(5)] == [200] * 5
    assert refusal(caller.order(**stop)) == (400, -1013, "Filter failure: MAX_NUM_ALGO_ORDERS")


def test_a_client_id_is_taken_while_its_order_is_open_and_free_again_after(caller: Caller) -> None:
    first = caller.order(newClientOrderId="mine").json()
    assert refusal(caller.order(newClientOrderId="mine")) == (400, -2010, "Duplicate order sent.")
    caller.call("DELETE", ORDER, symbol="BTCUSDT", origClientOrderId="mine")
    second = caller.order(newClientOrderId="mine").json()
    assert second["orderId"] == first["orderId"] + 1
    assert caller.found("mine")["orderId"] == second["orderId"]
    assert caller.exchange.books()["duplicates"] == {"mine": 2}


def test_a_filled_market_orders_client_id_makes_a_second_order(caller: Caller) -> None:
    both = [caller.market(newClientOrderId="twice").json()["orderId"] for _ in range(2)]
    assert both[0] != both[1]


def test_a_client_id_that_was_not_given_is_made_up(caller: Caller) -> None:
    ids = {caller.order().json()["clientOrderId"] for _ in range(2)}
    assert [len(made) for made in ids] == [22, 22]


def test_an_answer_tells_as_much_as_was_asked_for(caller: Caller) -> None:
    ack = caller.market(newOrderRespType="ACK").json()
    assert set(ack) == {"symbol", "orderId", "orderListId", "clientOrderId", "transactTime"}
    result = caller.market(newOrderRespType="RESULT").json()
    assert result["status"] == "FILLED"
    assert "fills" not in result
    full = caller.market().json()
    assert sum(float(fill["qty"]) for fill in full["fills"]) == pytest.approx(0.01)
    assert {fill["commissionAsset"] for fill in full["fills"]} == {"BTC"}
    assert full["cummulativeQuoteQty"] == "400.00000000"
    stop = {"type": "STOP_LOSS", "side": "SELL", "quantity": "0.01", "stopPrice": "35000"}
    assert set(caller.order(**stop).json()) == set(ack)


def test_a_cancel_names_the_order_and_itself(caller: Caller) -> None:
    caller.order(newClientOrderId="order")
    named = {"symbol": "BTCUSDT", "origClientOrderId": "order"}
    answer = caller.call("DELETE", ORDER, **named, newClientOrderId="cancel").json()
    assert (answer["origClientOrderId"], answer["clientOrderId"]) == ("order", "cancel")
    assert answer["status"] == "CANCELED"
    assert caller.found("order")["clientOrderId"] == "order"
    assert refusal(caller.call("DELETE", ORDER, **named)) == (400, -2011, "Unknown order sent.")


def test_a_cancel_without_a_name_gets_one(caller: Caller) -> None:
    orders = [caller.order().json()["orderId"] for _ in range(2)]
    answers = [caller.call("DELETE", ORDER, symbol="BTCUSDT", orderId=number).json() for number in orders]
    assert len({answer["clientOrderId"] for answer in answers}) == 2


def test_what_is_not_there_cannot_be_found_or_cancelled(caller: Caller) -> None:
    nobody = {"symbol": "BTCUSDT", "origClientOrderId": "nobody"}
    assert refusal(caller.call("GET", ORDER, **nobody)) == (400, -2013, "Order does not exist.")
    assert refusal(caller.call("DELETE", ORDER, **nobody)) == (400, -2011, "Unknown order sent.")
    either = "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!"
    assert refusal(caller.call("GET", ORDER, symbol="BTCUSDT")) == (400, -1102, either)
    made = caller.order(newClientOrderId="mine").json()
    other = {"symbol": "BTCUSDT", "orderId": made["orderId"], "origClientOrderId": "other"}
    assert refusal(caller.call("GET", ORDER, **other))[1] == -2013
    assert refusal(caller.call("GET", ORDER, symbol="ETHUSDT", orderId=made["orderId"]))[1] == -2013


def test_open_orders_are_listed_and_cancelled_by_symbol(caller: Caller) -> None:
    caller.order(newClientOrderId="b")
    caller.order(newClientOrderId="e", symbol="ETHUSDT", price="2000", quantity="0.1")
    path = "/api/v3/openOrders"
    assert [row["clientOrderId"] for row in caller.call("GET", path).json()] == ["b", "e"]
    assert [row["clientOrderId"] for row in caller.call("GET", path, symbol="ETHUSDT").json()] == ["e"]
    gone = caller.call("DELETE", path, symbol="BTCUSDT").json()
    assert [row["origClientOrderId"] for row in gone] == ["b"]
    assert refusal(caller.call("DELETE", path, symbol="BTCUSDT"))[1] == -2011
    assert refusal(caller.call("DELETE", path))[1] == -1102
    assert [row["status"] for row in caller.call("GET", "/api/v3/allOrders", symbol="BTCUSDT").json()] == ["CANCELED"]


def test_trades_are_asked_for_by_number_time_or_order(caller: Caller) -> None:
    orders = [caller.market().json() for _ in range(3)]
    path = "/api/v3/myTrades"

    def ids(**params: Any) -> list[int]:
        return [row["id"] for row in caller.call("GET", path, symbol="BTCUSDT", **params).json()]

    every = ids()
    assert every == sorted(set(every))
    assert every == [fill["tradeId"] for order in orders for fill in order["fills"]]
    assert ids(fromId=every[1], limit=1) == [every[1]]
    assert ids(limit=1) == [every[-1]]
    assert ids(startTime=orders[0]["transactTime"], limit=1) == [every[0]]
    assert ids(orderId=orders[1]["orderId"]) == [fill["tradeId"] for fill in orders[1]["fills"]]
    for params, code in (
        ({"fromId": 1, "startTime": 1}, -1128),
        ({"orderId": 1, "endTime": 1}, -1128),
        ({"startTime": 0, "endTime": 86_400_001}, -1127),
        ({"limit": 1001}, -1130),
    ):
        assert refusal(caller.call("GET", path, symbol="BTCUSDT", **params))[1] == code
