"""Every fault: what the caller sees, and what the books say was done."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from tests.binance.caller import ORDER, Caller, refusal
from tests.binance.process import BinanceProcess
from tests.support import until

POST = {"method": "POST", "path": ORDER}


def orders(exchange: BinanceProcess) -> list[str]:
    """Statuses in the books."""
    return [row["status"] for row in exchange.books()["orders"]]


def arrived(exchange: BinanceProcess) -> bool | None:
    """Whether an order was placed; None while not."""
    return bool(orders(exchange)) or None


@pytest.mark.parametrize(
    ("what", "done"), [("drop_before", []), ("drop_after", ["FILLED"]), ("hang_after", ["FILLED"])]
)
def test_a_connection_that_is_closed_says_nothing_of_what_was_done(
    caller: Caller, exchange: BinanceProcess, what: str, done: list[str]
) -> None:
    exchange.faults({**POST, "what": what, "seconds": 0.1})
    with pytest.raises(httpx.RemoteProtocolError):
        caller.market()
    assert orders(exchange) == done
    assert caller.market().status_code == 200


@pytest.mark.parametrize(
    ("what", "status", "code", "done"),
    [
        ("5xx_before", 503, -1001, []),
        ("5xx_after", 504, -1007, ["FILLED"]),
        ("-1021", 400, -1021, []),
        ("429", 429, -1003, []),
        ("418", 418, -1003, []),
    ],
)
def test_an_error_may_or_may_not_mean_that_nothing_was_done(
    caller: Caller, exchange: BinanceProcess, what: str, status: int, code: int, done: list[str]
) -> None:
    exchange.faults({**POST, "what": what, "seconds": 7})
    answer = caller.market()
    assert refusal(answer)[:2] == (status, code)
    assert answer.headers.get("Retry-After") == ("7" if status in {418, 429} else None)
    assert orders(exchange) == done
    assert caller.market().status_code == 200


def test_a_request_that_hangs_is_done_although_its_caller_is_gone(caller: Caller, exchange: BinanceProcess) -> None:
    exchange.faults({**POST, "what": "hang_before", "seconds": 0.3})
    caller.http.timeout = httpx.Timeout(0.1)
    with pytest.raises(httpx.ReadTimeout):
        caller.market()
    assert orders(exchange) == []
    until(lambda: arrived(exchange), "the order to come through")


def test_a_request_that_hung_longer_than_its_window_is_refused_by_the_engine(
    caller: Caller, exchange: BinanceProcess
) -> None:
    exchange.faults({**POST, "what": "hang_before", "seconds": 0.3})
    assert refusal(caller.market(recvWindow=200))[1] == -1021
    assert orders(exchange) == []


def test_a_late_answer_is_the_right_one(caller: Caller, exchange: BinanceProcess) -> None:
    exchange.faults({**POST, "what": "answer_late", "seconds": 0.2})
    began = time.monotonic()
    assert caller.market().json()["status"] == "FILLED"
    assert time.monotonic() - began >= 0.2


def test_a_request_that_is_handled_twice_makes_two_market_orders(caller: Caller, exchange: BinanceProcess) -> None:
    exchange.faults({**POST, "what": "duplicate"})
    answer = caller.market(newClientOrderId="once")
    assert exchange.books()["duplicates"] == {"once": 2}
    assert answer.json()["orderId"] == exchange.books()["orders"][1]["orderId"]


def test_a_limit_order_that_is_handled_twice_is_refused_the_second_time(
    caller: Caller, exchange: BinanceProcess
) -> None:
    exchange.faults({**POST, "what": "duplicate"})
    assert refusal(caller.order(newClientOrderId="once")) == (400, -2010, "Duplicate order sent.")
    assert orders(exchange) == ["NEW"]


def test_garbage_is_html_or_half_an_answer_to_what_was_done(caller: Caller, exchange: BinanceProcess) -> None:
    exchange.faults({**POST, "what": "garbage", "times": 20})
    answers = [caller.market() for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["content-type"].partition(";")[0] for answer in answers} == {"text/html", "application/json"}
    for answer in answers:
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            answer.json()
    assert len(orders(exchange)) == 20


def test_an_order_may_not_be_found_at_first(caller: Caller, exchange: BinanceProcess) -> None:
    caller.order(newClientOrderId="there")
    exchange.faults({"what": "not_found_once"})
    asked = {"symbol": "BTCUSDT", "origClientOrderId": "there"}
    assert refusal(caller.call("GET", ORDER, **asked)) == (400, -2013, "Order does not exist.")
    assert caller.call("GET", ORDER, **asked).status_code == 200


def test_a_list_may_be_older_than_the_last_change(caller: Caller, exchange: BinanceProcess) -> None:
    def listed(**params: Any) -> list[str]:
        return [row["clientOrderId"] for row in caller.call("GET", "/api/v3/openOrders", **params).json()]

    exchange.faults({"what": "stale_list", "times": 3})
    caller.order(newClientOrderId="first")
    assert listed() == []
    caller.order(newClientOrderId="second")
    assert listed(symbol="BTCUSDT") == ["first"]
    caller.call("DELETE", ORDER, symbol="BTCUSDT", origClientOrderId="first")
    assert listed() == ["first", "second"]
    assert listed() == ["second"]


def test_a_rule_is_for_its_requests_alone_and_is_used_up(caller: Caller, exchange: BinanceProcess) -> None:
    exchange.faults({**POST, "what": "5xx_before", "times": 2})
    assert caller.get("/api/v3/time").status_code == 200
    assert [caller.market().status_code for _ in range(3)] == [503, 503, 200]
    assert exchange.books()["faults"] == {"5xx_before": 2}


def test_a_request_that_is_refused_at_the_door_uses_up_no_rule(caller: Caller, exchange: BinanceProcess) -> None:
    exchange.faults({**POST, "what": "5xx_before"})
    assert refusal(caller.market(timestamp=1))[1] == -1021
    assert caller.market().status_code == 503


def test_chance_is_the_same_for_the_same_seed(caller: Caller, exchange: BinanceProcess) -> None:
    def run(seed: int) -> list[int]:
        exchange.faults(chance={"5xx_before": 0.3, "429": 0.2}, seed=seed)
        return [caller.call("GET", "/api/v3/openOrders", symbol="BTCUSDT").status_code for _ in range(40)]

    first = run(1)
    assert first == run(1)
    assert set(first) == {200, 429, 503}
    assert first != run(2)
    assert {caller.get("/api/v3/time").status_code for _ in range(40)} == {200}
