"""The exchange on loopback itself: whom it answers, what it refuses, and how its orders and lists behave."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.cryptocom.caller import Caller, refusal
from tests.cryptocom.signing import sign
from tests.venue.process import VenueProcess


def test_a_signature_is_that_of_method_id_key_sorted_parameters_and_nonce() -> None:
    # openssl dgst -sha256 -hmac secret, over private/get-order-detail11tokenorder_id532874213241587846358253
    told = sign("secret", "private/get-order-detail", 11, "token", {"order_id": "53287421324"}, 1587846358253)
    assert told == "d44c76f81bbbb34aad2eb40895439e6130a5bf4701f8712c7fada9e9a881b0b9"


def test_parameters_are_signed_by_their_names_and_lists_as_they_stand() -> None:
    told = sign("s", "m", 1, "k", {"b": ["y", "x"], "a": 2, "c": None}, 3)
    # over m1ka2byxcnull3
    assert told == "1e9cafa28e0b22e86fd1f5cea838c955d9145f40e53dd05ef8885129a8f45e0b"


def test_who_signs_rightly_is_told_the_balances(caller: Caller) -> None:
    (wallet,) = caller.result("private/user-balance")["data"]
    assert {each["instrument_name"]: each["quantity"] for each in wallet["position_balances"]} == {
        "USDT": "100000",
        "BTC": "5",
    }


@pytest.mark.parametrize("part", ["api_key", "sig", "nonce", "id", "params"])
def test_a_request_that_was_changed_after_it_was_signed_is_refused(caller: Caller, part: str) -> None:
    changes = {"api_key": "x" * 22, "sig": "0" * 64, "params": {"instrument_name": "ETH_USDT"}}
    envelope = caller.envelope("private/get-open-orders", instrument_name="BTC_USDT")
    envelope[part] = changes.get(part) or str(int(envelope[part]) + 1)
    assert refusal(caller.send("private/get-open-orders", envelope)) == (401, 40101, "UNAUTHORIZED")


def test_a_key_that_has_expired_is_refused(exchange: VenueProcess, caller: Caller) -> None:
    exchange.expire_key()
    assert refusal(caller.call("private/user-balance"))[:2] == (401, 40101)


def test_a_body_that_names_another_method_than_its_address_is_refused(exchange: VenueProcess, caller: Caller) -> None:
    answer = caller.call("private/create-withdrawal", to="private/create-order", currency="BTC", amount="1")
    assert refusal(answer)[:2] == (400, 40003)
    assert exchange.placed() == []


@pytest.mark.parametrize(("ahead", "status"), [(-58.0, 200), (58.0, 200), (-62.0, 400), (62.0, 400)])
def test_a_request_is_taken_within_a_minute_of_its_time(caller: Caller, ahead: float, status: int) -> None:
    answer = caller.call("private/user-balance", ahead=ahead)
    assert (answer.status_code, answer.json()["code"]) == (status, 0 if status == 200 else 40102)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("private/user-balance", {"instrument_name": "BTC"}),
        ("private/get-open-orders", {"page": "1"}),
        ("private/get-order-detail", {"order_id": "1", "isolation_id": "1"}),
        ("private/cancel-order", {"order_id": "1", "instrument_name": "BTC_USDT"}),
        ("private/create-order", {"broker_id": "CCXT"}),
        ("private/create-order", {"leverage": "10"}),
    ],
)
def test_a_parameter_that_a_method_does_not_have_is_refused(
    caller: Caller, method: str, params: dict[str, Any]
) -> None:
    assert refusal(caller.call(method, **params))[:2] == (400, 40003)


def test_a_member_too_many_or_too_few_is_refused(caller: Caller) -> None:
    envelope = caller.envelope("private/user-balance")
    for changed in (envelope | {"more": 1}, {name: envelope[name] for name in envelope if name != "params"}):
        assert refusal(caller.send("private/user-balance", changed))[:2] == (400, 40004)


def test_what_is_no_method_is_told_so(caller: Caller) -> None:
    assert refusal(caller.get("private/user-balance"))[:2] == (400, 40002)
    assert refusal(caller.call("private/create-withdrawal"))[:2] == (400, 40002)
    assert refusal(caller.http.get("/exchange/v2/public/get-tickers"))[:2] == (400, 40002)


@pytest.mark.parametrize(
    ("changes", "code", "status"),
    [
        ({"side": "LONG"}, 220, 400),
        ({"type": "STOP_LOSS"}, 218, 400),
        ({"quantity": 0.01}, 213, 400),
        ({"quantity": "0.000001"}, 213, 400),
        ({"price": 30000}, 308, 400),
        ({"price": "30000.001"}, 308, 400),
        ({"price": None}, 40004, 400),
        ({"time_in_force": "GTC"}, 221, 400),
        ({"client_oid": "x" * 37}, 40004, 400),
        ({"spot_margin": "MARGIN"}, 40004, 400),
        ({"instrument_name": "NO_SUCH"}, 209, 400),
        ({"quantity": "0.00001", "price": "10000"}, 415, 500),
        ({"price": "500000"}, 315, 400),
    ],
)
def test_an_order_that_is_not_right_is_refused(
    exchange: VenueProcess, caller: Caller, changes: dict[str, object], code: int, status: int
) -> None:
    assert refusal(caller.order(**changes))[:2] == (status, code)
    assert exchange.placed() == []


def test_an_order_is_found_by_its_owners_id_and_ends_once(caller: Caller) -> None:
    told = caller.order(client_oid="mine").json()["result"]
    assert told["client_oid"] == "mine"
    found = caller.result("private/get-order-detail", client_oid="mine")
    assert (found["order_id"], found["status"]) == (told["order_id"], "ACTIVE")
    assert caller.result("private/get-open-orders", instrument_name="BTC_USDT")["data"] == [found]
    assert refusal(caller.order(client_oid="mine")) == (400, 204, "DUPLICATE_CLORDID")
    assert caller.result("private/cancel-order", client_oid="mine") == told
    assert caller.result("private/get-order-detail", order_id=told["order_id"])["status"] == "CANCELED"
    assert refusal(caller.call("private/cancel-order", client_oid="mine")) == (500, 316, "NO_ACTIVE_ORDER")
    assert refusal(caller.call("private/cancel-order", client_oid="yours")) == (500, 212, "INVALID_ORDERID")
    assert refusal(caller.call("private/get-order-detail", client_oid="yours")) == (200, 40401, "NOT_FOUND")


def test_an_order_that_cannot_be_paid_for_has_a_number_and_is_rejected(exchange: VenueProcess, caller: Caller) -> None:
    answer = caller.order(quantity="50", client_oid="dear")
    assert refusal(answer) == (500, 306, "INSUFFICIENT_AVAILABLE_BALANCE")
    number = answer.json()["result"]["order_id"]
    found = caller.result("private/get-order-detail", client_oid="dear")
    assert (found["order_id"], found["status"]) == (number, "REJECTED")
    assert exchange.placed() == []


def test_ended_orders_and_trades_are_told_newest_first_within_their_times(caller: Caller) -> None:
    for _ in range(3):
        assert caller.order(type="MARKET", price=None).status_code == 200
    caller.order()
    for method, number in (("private/get-order-history", "order_id"), ("private/get-trades", "trade_id")):
        rows = caller.result(method, instrument_name="BTC_USDT")["data"]
        moments = [int(row["create_time_ns"]) for row in rows]
        assert moments == sorted(moments, reverse=True)
        newest, oldest = moments[0], moments[-1]
        inside = caller.result(method, start_time=str(oldest), end_time=str(newest))["data"]
        assert [row[number] for row in inside] == [row[number] for row in rows if int(row["create_time_ns"]) < newest]
        assert caller.result(method, limit=1)["data"] == rows[:1]
        assert caller.result(method, start_time=str(newest + 1), end_time=str(newest + 2))["data"] == []


def test_an_answer_on_trades_covers_a_week_at_most(caller: Caller) -> None:
    now = round(time.time() * 1000)
    week = 7 * 86_400_000
    assert caller.result("private/get-trades", start_time=str(now - week), end_time=str(now))["data"] == []
    answer = caller.call("private/get-trades", start_time=str(now - week - 1), end_time=str(now))
    assert refusal(answer)[:2] == (400, 40005)


def test_the_market_is_told_to_everybody(caller: Caller) -> None:
    symbols = [each["symbol"] for each in caller.get("public/get-instruments").json()["result"]["data"]]
    assert symbols == ["BTCUSD-PERP", "BTC_USDT", "ETH_USDT"]
    (ticker,) = caller.get("public/get-tickers", instrument_name="BTC_USDT").json()["result"]["data"]
    assert (ticker["b"], ticker["a"], ticker["k"]) == ("39999.99", "40000", "40000.01")
    (book,) = caller.get("public/get-book", instrument_name="BTC_USDT", depth=2).json()["result"]["data"]
    assert [level[0] for level in book["bids"]] == ["39999.99", "39999.98"]
    assert refusal(caller.get("public/get-book", instrument_name="BTC_USDT", depth=51))[:2] == (400, 40004)
    candles = caller.get("public/get-candlestick", instrument_name="BTC_USDT", timeframe="1m", count=3).json()
    opened = [each["t"] for each in candles["result"]["data"]]
    assert opened == [opened[-1] - 120_000, opened[-1] - 60_000, opened[-1]]
