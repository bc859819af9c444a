"""Every check of the exchange: what it refuses, with which status, code and message; and what its answers look like."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest

from tests.binance.caller import ORDER, Caller, refusal
from tests.binance.process import BinanceProcess


def test_it_is_ready_when_it_says_so_and_ends_well_on_sigterm() -> None:
    with BinanceProcess() as exchange:
        assert exchange.books()["orders"] == []
        assert exchange.stop() == 0


def test_exchange_info_tells_filters_types_and_limits(caller: Caller) -> None:
    told = caller.get("/api/v3/exchangeInfo").json()
    assert [row["symbol"] for row in told["symbols"]] == ["BTCUSDT", "ETHUSDT"]
    kinds = {row["filterType"]: row for row in told["symbols"][0]["filters"]}
    assert kinds["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert kinds["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert kinds["NOTIONAL"]["minNotional"] == "5.00000000"
    assert "MARKET_LOT_SIZE" in kinds
    assert told["symbols"][0]["permissionSets"] == [["SPOT"]]
    assert [row["limit"] for row in told["rateLimits"]] == [6000, 100, 200_000]
    assert len(caller.get("/api/v3/exchangeInfo", symbol="ETHUSDT").json()["symbols"]) == 1
    assert len(caller.get("/api/v3/exchangeInfo", symbols='["ETHUSDT"]').json()["symbols"]) == 1


def test_prices_agree_with_each_other(caller: Caller) -> None:
    assert caller.get("/api/v3/ping").json() == {}
    assert abs(caller.get("/api/v3/time").json()["serverTime"] - time.time() * 1000) < 5000
    assert caller.get("/api/v3/ticker/price", symbol="BTCUSDT").json()["price"] == "40000.00000000"
    assert len(caller.get("/api/v3/ticker/price").json()) == 2
    assert caller.get("/api/v3/ticker/bookTicker", symbol="BTCUSDT").json()["askPrice"] == "40000.01000000"
    assert caller.get("/api/v3/ticker/24hr", symbol="BTCUSDT").json()["lastPrice"] == "40000.00000000"
    assert caller.get("/api/v3/depth", symbol="BTCUSDT", limit=5).json()["bids"][0] == [
        "39999.99000000",
        "1.00000000",
    ]
    assert caller.get("/api/v3/klines", symbol="BTCUSDT", interval="1s").json()[-1][4] == "40000.00000000"


def test_klines_are_aligned_joined_and_as_many_as_were_asked_for(caller: Caller) -> None:
    rows = caller.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=5).json()
    assert len(rows) == 5
    assert all(row[0] % 60_000 == 0 and row[6] == row[0] + 59_999 for row in rows)
    assert all(later[1] == earlier[4] for earlier, later in pairwise(rows))
    assert all(float(row[3]) <= min(float(row[1]), float(row[4])) for row in rows)
    since = caller.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=rows[1][0], limit=2).json()
    assert [row[0] for row in since] == [rows[1][0], rows[2][0]]
    between = {"startTime": rows[0][0], "endTime": rows[1][0]}
    assert len(caller.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", **between).json()) == 2


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("/api/v3/ping", {"x": "1"}, -1101),
        ("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "7s"}, -1120),
        ("/api/v3/klines", {"interval": "1s"}, -1102),
        ("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "1s", "x": "1"}, -1104),
        ("/api/v3/klines", {"symbol": "btcusdt", "interval": "1s"}, -1100),
        ("/api/v3/ticker/price", {"symbol": "XYZUSDT"}, -1121),
        ("/api/v3/ticker/price", {"symbol": "BTCUSDT", "symbols": '["BTCUSDT"]'}, -1128),
    ],
)
def test_a_public_request_is_read_strictly(caller: Caller, path: str, params: dict[str, str], code: int) -> None:
    assert refusal(caller.get(path, **params))[:2] == (400, code)


def test_an_unknown_path_is_404(caller: Caller) -> None:
    assert caller.get("/api/v3/nothing").status_code == 404


def test_a_key_must_have_a_form_be_known_and_be_valid(caller: Caller, exchange: BinanceProcess) -> None:
    query = f"timestamp={round(time.time() * 1000)}"
    query += f"&signature={caller.sign(query)}"
    account = "/api/v3/account"
    assert refusal(caller.send("GET", account, query, key="")) == (401, -2014, "API-key format invalid.")
    assert refusal(caller.send("GET", account, query, key="no such form!"))[:2] == (401, -2014)
    unknown = refusal(caller.send("GET", account, query, key="unknown"))
    assert unknown == (401, -2015, "Invalid API-key, IP, or permissions for action.")
    exchange.expire_key()
    assert refusal(caller.send("GET", account, query))[:2] == (401, -2015)
    exchange.expire_key(False)
    assert caller.send("GET", account, query).status_code == 200


def test_the_signature_is_over_query_and_body_as_sent(caller: Caller) -> None:
    now = f"&timestamp={round(time.time() * 1000)}"
    query, body = "symbol=BTCUSDT&side=BUY&type=MARKET", f"quantity=0.01{now}"
    signed = f"{body}&signature={caller.sign(query + body)}"
    assert caller.send("POST", ORDER, query, signed).status_code == 200
    upper = f"{body}&signature={caller.sign(query + body).upper()}"
    assert caller.send("POST", ORDER, query, upper).status_code == 200
    joined = f"{body}&signature={caller.sign(f'{query}&{body}')}"
    wrong = (400, -1022, "Signature for this request is not valid.")
    assert refusal(caller.send("POST", ORDER, query, joined)) == wrong
    changed = signed.replace("0.01", "0.02")
    assert refusal(caller.send("POST", ORDER, query, changed)) == wrong
    # the same parameters in another order are another text
    turned = f"timestamp={now.partition('=')[2]}&symbol=BTCUSDT"
    signature = caller.sign(f"symbol=BTCUSDT{now}")
    assert refusal(caller.send("GET", "/api/v3/openOrders", f"{turned}&signature={signature}")) == wrong


def test_query_parameters_win_over_the_bodys(caller: Caller) -> None:
    query = f"symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.02&timestamp={round(time.time() * 1000)}"
    body = "quantity=0.01"
    answer = caller.send("POST", ORDER, query, f"{body}&signature={caller.sign(query + body)}")
    assert answer.json()["origQty"] == "0.02000000"


@pytest.mark.parametrize(
    ("shift", "window", "accepted"),
    [(500, None, True), (2500, None, False), (-4000, None, True), (-6500, None, False), (-6500, 10_000, True)],
)
def test_a_request_has_a_window_of_time(caller: Caller, shift: int, window: int | None, accepted: bool) -> None:
    at = round(time.time() * 1000) + shift
    answer = caller.call("GET", "/api/v3/account", timestamp=at, recvWindow=window)
    assert (answer.status_code == 200) is accepted
    if not accepted:
        assert refusal(answer)[:2] == (400, -1021)


def test_the_window_follows_the_exchanges_clock(caller: Caller, exchange: BinanceProcess) -> None:
    exchange.clock(30)
    assert refusal(caller.call("GET", "/api/v3/account"))[1] == -1021
    ahead = round(time.time() * 1000) + 30_000
    assert caller.call("GET", "/api/v3/account", timestamp=ahead).status_code == 200
    exchange.clock(-30)
    late = refusal(caller.call("GET", "/api/v3/account"))
    assert late == (400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"timestamp": None}, -1102),
        ({"timestamp": "soon"}, -1100),
        ({"recvWindow": 60_001}, -1102),
        ({"recvWindow": ""}, -1105),
        ({"more": "1"}, -1104),
    ],
)
def test_a_signed_request_is_read_strictly(caller: Caller, params: dict[str, Any], code: int) -> None:
    assert refusal(caller.call("GET", "/api/v3/account", **params))[:2] == (400, code)


def test_a_signature_must_be_there_and_parameters_only_once(caller: Caller) -> None:
    query = f"timestamp={round(time.time() * 1000)}"
    assert refusal(caller.send("GET", "/api/v3/account", query))[1] == -1102
    twice = f"{query}&{query}"
    assert refusal(caller.send("GET", "/api/v3/account", f"{twice}&signature={caller.sign(twice)}"))[1] == -1101


def test_the_account_shows_what_is_free_and_what_is_locked(caller: Caller) -> None:
    caller.order(price="30000", quantity="0.1")
    caller.order(price="50000", quantity="1", side="SELL")
    told = {row["asset"]: row for row in caller.call("GET", "/api/v3/account").json()["balances"]}
    assert (told["USDT"]["free"], told["USDT"]["locked"]) == ("97000.00000000", "3000.00000000")
    assert (told["BTC"]["free"], told["BTC"]["locked"]) == ("4.00000000", "1.00000000")
    assert "ETH" in told
    shown = caller.call("GET", "/api/v3/account", omitZeroBalances="true").json()["balances"]
    assert [row["asset"] for row in shown] == ["USDT", "BTC"]


def test_the_key_may_trade_and_nothing_else_unless_the_test_says_so(caller: Caller, exchange: BinanceProcess) -> None:
    path = "/sapi/v1/account/apiRestrictions"
    told = caller.call("GET", path).json()
    assert [name for name, value in told.items() if value is True] == ["enableReading", "enableSpotAndMarginTrading"]
    exchange.permissions(enableWithdrawals=True)
    assert caller.call("GET", path).json()["enableWithdrawals"] is True


def test_a_test_order_is_checked_and_not_placed(caller: Caller, exchange: BinanceProcess) -> None:
    params = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET"}
    assert caller.call("POST", "/api/v3/order/test", **params, quantity="0.01").json() == {}
    assert refusal(caller.call("POST", "/api/v3/order/test", **params, quantity="0.000001"))[1] == -1013
    assert exchange.books()["orders"] == []


def test_every_answer_tells_the_weight_that_is_used_and_an_orders_answer_the_orders(
    caller: Caller, exchange: BinanceProcess
) -> None:
    exchange.limits()
    symbol = {"symbol": "BTCUSDT"}
    spent = [
        caller.get("/api/v3/ping"),
        caller.get("/api/v3/exchangeInfo"),
        caller.get("/api/v3/klines", **symbol, interval="1s"),
        caller.get("/api/v3/ticker/price", **symbol),
        caller.order(newClientOrderId="w"),
        caller.call("GET", ORDER, **symbol, origClientOrderId="w"),
        caller.call("GET", "/api/v3/openOrders", **symbol),
        caller.call("GET", "/api/v3/openOrders"),
        caller.call("GET", "/api/v3/allOrders", **symbol),
        caller.call("GET", "/api/v3/myTrades", **symbol),
        caller.call("GET", "/api/v3/account"),
        caller.call("DELETE", ORDER, **symbol, origClientOrderId="w"),
    ]
    used = [int(answer.headers["X-MBX-USED-WEIGHT-1M"]) for answer in spent]
    weights = [later - earlier for earlier, later in pairwise(used)]
    # a minute may end in between, and the count then starts anew
    documented = [20, 2, 2, 1, 4, 6, 80, 20, 20, 20, 1]
    assert all(weight == told or weight < 0 for weight, told in zip(weights, documented, strict=True))
    assert spent[4].headers["X-MBX-ORDER-COUNT-1D"] == "1"
    assert "X-MBX-ORDER-COUNT-10S" in spent[4].headers
    assert "X-MBX-ORDER-COUNT-10S" not in spent[5].headers


def test_too_much_weight_is_429_and_going_on_is_418(caller: Caller, exchange: BinanceProcess) -> None:
    exchange.limits(weight=0, ban_after=2, ban_seconds=100)
    told = [caller.get("/api/v3/time") for _ in range(4)]
    assert [answer.status_code for answer in told] == [429, 429, 418, 418]
    assert {answer.json()["code"] for answer in told} == {-1003}
    assert "current limit is 0 request weight per 1 MINUTE" in told[0].json()["msg"]
    assert 1 <= int(told[0].headers["Retry-After"]) <= 60
    assert int(told[3].headers["Retry-After"]) == 100
    until = int(told[3].json()["msg"].partition("banned until ")[2].partition(".")[0])
    assert 90_000 < until - time.time() * 1000 <= 100_000
    exchange.limits()
    exchange.limits(weight=6000)
    assert caller.get("/api/v3/time").status_code == 200
    exchange.limits(ban=50)
    assert caller.get("/api/v3/time").status_code == 418


def test_too_many_orders_are_429_without_a_time_to_wait(caller: Caller, exchange: BinanceProcess) -> None:
    exchange.limits(orders_1d=1)
    assert caller.order().status_code == 200
    answer = caller.order()
    assert refusal(answer) == (429, -1015, "Too many new orders; current limit is 1 orders per 1 DAY.")
    assert "Retry-After" not in answer.headers


def test_the_owners_hand_places_and_cancels_with_other_ids(caller: Caller, exchange: BinanceProcess) -> None:
    placed = exchange.foreign(side="BUY", type="LIMIT", quantity="0.01", price="30000")
    assert placed["clientOrderId"].startswith("web_")
    assert caller.call("GET", "/api/v3/openOrders", symbol="BTCUSDT").json()[0]["orderId"] == placed["orderId"]
    assert exchange.books()["orders"][0]["foreign"] is True
    exchange.foreign_cancel(placed["orderId"])
    assert caller.found(placed["clientOrderId"])["status"] == "CANCELED"


def test_the_books_count_requests(caller: Caller, exchange: BinanceProcess) -> None:
    caller.market()
    caller.get("/api/v3/time")
    assert exchange.books()["requests"] == {"POST /api/v3/order": 1, "GET /api/v3/time": 1}


def test_the_test_door_says_what_it_did_not_understand(exchange: BinanceProcess) -> None:
    with pytest.raises(AssertionError, match="no such fault"):
        exchange.faults({"what": "nonsense"})
    with pytest.raises(AssertionError, match="no such limit"):
        exchange.limits(nonsense=1)
