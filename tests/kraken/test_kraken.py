"""The dialect itself: who is let in, what is refused and in which words, and that answers have the recorded shape."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.kraken import wire
from tests.kraken.caller import ORDER, Caller
from tests.kraken.case import CASE
from tests.kraken.signing import signature
from tests.kraken.venue import MOST_CALLS
from tests.venue.fixtures import as_new, caller_of, process_of
from tests.venue.process import VenueProcess

ID, OTHER = "6d1b345e-2821-40e2-ad83-4ecb18a06876", "da8e4ad59b78481c93e589746b0cf91f"


process = process_of(CASE)
exchange = as_new(CASE, "exchange")
caller = caller_of(Caller, "exchange")


def test_a_signature_is_the_one_of_krakens_own_example() -> None:
    secret = (
        "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="  # gitleaks:allow
    )
    body = "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
    told = "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
    assert signature("/0/private/AddOrder", "1616492376594", body, secret) == told


def test_the_key_is_let_in_and_told_what_it_may_do(caller: Caller) -> None:
    told = caller.done("GetApiKeyInfo")
    assert told["permissions"][:2] == ["query-funds", "query-open-trades"]
    assert (told["nonce"], told["nonceWindow"], told["ipAllowlist"]) == (str(caller.nonce), 0, [])


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"key": "x" * 56}, "EAPI:Invalid key"),
        ({"secret": CASE.wrong["secret"]}, "EAPI:Invalid signature"),
        ({"nonce": 1}, "EAPI:Invalid nonce"),
        ({"content": "application/json"}, "EGeneral:Invalid arguments"),
        ({"asset": "ZUSD"}, "EGeneral:Invalid arguments:asset"),
    ],
)
def test_whoever_is_not_the_key_in_order_is_refused(caller: Caller, wrong: dict[str, Any], error: str) -> None:
    assert caller.done("BalanceEx")
    assert caller.error("BalanceEx", **wrong) == error


def test_the_same_number_again_is_refused(caller: Caller) -> None:
    caller.done("BalanceEx")
    assert caller.error("BalanceEx", nonce=caller.nonce) == "EAPI:Invalid nonce"


def test_a_key_that_is_no_good_any_more_is_refused(caller: Caller, exchange: VenueProcess) -> None:
    exchange.expire_key()
    assert caller.error("AddOrder", **ORDER) == "EAPI:Invalid key"
    exchange.expire_key(False)
    assert caller.done("AddOrder", **ORDER)


def test_what_the_key_may_not_do_is_denied(caller: Caller, exchange: VenueProcess) -> None:
    exchange.permissions(permissions=["query-funds", "close-trades"])
    assert caller.done("BalanceEx")
    assert caller.error("AddOrder", **ORDER) == "EGeneral:Permission denied"
    assert caller.error("OpenOrders") == "EGeneral:Permission denied"
    assert caller.error("CancelOrder", cl_ord_id=ID) == "EOrder:Unknown order"


@pytest.mark.parametrize("endpoint", ["Withdraw", "WalletTransfer", "Earn/Allocate", "AddOrderBatch"])
def test_there_are_no_other_endpoints(caller: Caller, endpoint: str) -> None:
    assert caller.error(endpoint) == "EGeneral:Unknown method"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"leverage": "2:1"}, "EGeneral:Invalid arguments:leverage"),
        ({"oflags": "viqc"}, "EGeneral:Invalid arguments:oflags"),
        ({"ordertype": "settle-position"}, "EGeneral:Invalid arguments:ordertype"),
        ({"ordertype": "market"}, "EGeneral:Invalid arguments"),
        ({"cl_ord_id": "much-longer-than-eighteen"}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"pair": "XBTEUR"}, "EQuery:Unknown asset pair"),
        ({"price": "30000.01"}, "EOrder:Tick size check failed"),
        ({"volume": "0.00001"}, "EGeneral:Invalid arguments:volume minimum not met"),
        ({"volume": "50"}, "EOrder:Insufficient funds"),
    ],
)
def test_an_order_that_is_none_is_refused_in_its_words(caller: Caller, changed: dict[str, str], error: str) -> None:
    assert caller.error("AddOrder", **{**ORDER, **changed}) == error


@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        (-2, "EService:Deadline elapsed"),
        (2, "EGeneral:Invalid arguments:deadline"),
        (10, None),
        (70, "EGeneral:Invalid arguments:deadline"),
    ],
)
def test_an_order_is_taken_until_its_deadline(caller: Caller, seconds: int, error: str | None) -> None:
    deadline = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = caller.post("AddOrder", **ORDER, deadline=deadline)
    assert answer["error"] == ([] if error is None else [error])


@pytest.mark.parametrize("client_id", [ID, OTHER, "short", None])
def test_a_name_is_unique_among_open_orders_alone(caller: Caller, client_id: str | None) -> None:
    named = ORDER if client_id is None else {**ORDER, "cl_ord_id": client_id}
    (first,) = caller.done("AddOrder", **named)["txid"]
    if client_id is None:
        assert caller.done("AddOrder", **named)["txid"] != [first]
        return
    assert caller.error("AddOrder", **named) == "EGeneral:Invalid arguments:cl_ord_id not unique"
    assert list(caller.done("OpenOrders", cl_ord_id=client_id)["open"]) == [first]
    assert caller.done("CancelOrder", cl_ord_id=client_id) == {"count": 1}
    (second,) = caller.done("AddOrder", **named)["txid"]
    caller.done("CancelOrder", txid=second)
    ended = caller.done("ClosedOrders", cl_ord_id=client_id)
    assert (list(ended["closed"]), ended["count"]) == ([second, first], 2)


def test_what_cannot_be_cancelled_was_never_there_or_is_gone(caller: Caller) -> None:
    (txid,) = caller.done("AddOrder", **ORDER)["txid"]
    caller.done("CancelOrder", txid=txid)
    assert caller.error("CancelOrder", txid=txid) == "EOrder:Unknown order"
    assert caller.error("CancelOrder", txid="OZZZZZ-ZZZZZ-ZZZZZZ") == "EOrder:Invalid order"
    assert caller.error("CancelOrder", cl_ord_id=ID) == "EOrder:Unknown order"
    assert caller.error("QueryOrders", txid="OZZZZZ-ZZZZZ-ZZZZZZ") == "EOrder:Invalid order"


def test_calls_are_counted_and_orders_are_not(caller: Caller) -> None:
    for _ in range(int(MOST_CALLS) // 2):
        caller.done("TradesHistory")
    assert caller.error("BalanceEx") == "EAPI:Rate limit exceeded"
    assert caller.done("AddOrder", **ORDER)


def test_a_fee_is_taken_in_the_quote_currency(caller: Caller) -> None:
    caller.done("AddOrder", **{**ORDER, "ordertype": "limit", "price": "41000"})
    balances = {asset: Decimal(each["balance"]) for asset, each in caller.done("BalanceEx").items()}
    assert balances["XXBT"] == Decimal("5.01")
    assert balances["ZUSD"] == Decimal(100_000) - 400 - Decimal("0.4")


def test_what_rests_is_held(caller: Caller) -> None:
    caller.done("AddOrder", **ORDER)
    assert caller.done("BalanceEx")["ZUSD"] == {"balance": "100000.0000000000", "hold_trade": "300.0000000000"}


def test_trades_come_newest_first_by_fifty(caller: Caller, exchange: VenueProcess) -> None:
    for _ in range(30):
        exchange.foreign(side="BUY", type="MARKET", quantity="0.001")
    told = [wire.name("T", each["id"]) for each in exchange.books()["trades"]]
    assert len(told) > 50
    first, second = caller.done("TradesHistory"), caller.done("TradesHistory", ofs=50)
    assert first["count"] == second["count"] == len(told)
    assert [*first["trades"], *second["trades"]] == told[::-1]
    last = exchange.books()["trades"][-1]["at"] // 1000
    assert caller.done("TradesHistory", start=last + 1)["trades"] == {}


def test_trades_are_told_by_their_ids_up_to_twenty(caller: Caller, exchange: VenueProcess) -> None:
    for _ in range(21):
        exchange.foreign(side="BUY", type="MARKET", quantity="0.001")
    ids = [wire.name("T", each["id"]) for each in exchange.books()["trades"]]
    assert list(caller.done("QueryTrades", txid=",".join(ids[:20]))) == ids[:20]
    assert caller.error("QueryTrades", txid=",".join(ids[:21])) == "EGeneral:Invalid arguments:txid"


def test_candles_come_after_a_time_and_with_the_open_one(caller: Caller) -> None:
    result = caller.get("OHLC", pair="XBTUSD", interval=1)["result"]
    rows = result["XXBTZUSD"]
    assert result["last"] == rows[-2][0]
    since = caller.get("OHLC", pair="XXBTZUSD", interval=1, since=rows[-2][0])["result"]["XXBTZUSD"]
    assert since[0][0] == rows[-2][0] + 60
    assert caller.get("OHLC", pair="XBTUSD", interval=2)["error"] == ["EGeneral:Invalid arguments:interval"]


def test_its_time_is_in_whole_seconds(caller: Caller) -> None:
    told = caller.get("Time")["result"]["unixtime"]
    assert isinstance(told, int)
    assert abs(told - datetime.now(UTC).timestamp()) < 5


def test_a_public_endpoint_takes_no_other_parameter(caller: Caller) -> None:
    assert caller.get("Ticker", pair="XBTUSD", count=1)["error"] == ["EGeneral:Invalid arguments:count"]
    assert caller.get("Assets")["error"] == ["EGeneral:Unknown method"]


def test_its_front_answers_in_html_when_it_hears_nothing(caller: Caller, exchange: VenueProcess) -> None:
    exchange.faults({"what": "5xx_before"})
    answer = httpx.get(f"{exchange.url}/0/public/Time", trust_env=False)
    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html")


@pytest.mark.parametrize("recorded", ["QueryOrders, open", "QueryOrders, closed", "OpenOrders, cl_ord_id"])
def test_orders_have_the_recorded_shape(caller: Caller, recorded: str) -> None:
    ordertype = {"ordertype": "market"} if recorded.endswith("closed") else {"price": "30000"}
    asked = {**{name: ORDER[name] for name in ("pair", "type", "ordertype", "volume")}, **ordertype, "cl_ord_id": ID}
    (txid,) = caller.done("AddOrder", **asked)["txid"]
    if recorded.startswith("OpenOrders"):
        told = caller.done("OpenOrders")["open"][txid]
        (pattern,) = wire.RECORDED[recorded]["result"]["open"].values()
    else:
        told = caller.done("QueryOrders", txid=txid, trades="true")[txid]
        (pattern,) = wire.RECORDED[recorded]["result"].values()
    # Those were recorded before orders had names; and that an open one has no reason is said or not.
    assert told.keys() - {"cl_ord_id", "reason"} == pattern.keys() - {"cl_ord_id", "reason"}
    assert told["descr"].keys() == pattern["descr"].keys()
    assert {name: type(value) for name, value in told["descr"].items()} == dict.fromkeys(told["descr"], str)


def test_other_answers_have_the_recorded_shape(caller: Caller) -> None:
    def shape(value: Any) -> Any:
        return {name: shape(each) for name, each in value.items()} if isinstance(value, Mapping) else type(value)

    placed = caller.done("AddOrder", **ORDER)
    assert shape(placed) == shape(wire.RECORDED["AddOrder, limit"]["result"])
    assert caller.done("CancelOrder", txid=placed["txid"][0]).keys() == wire.RECORDED["CancelOrder"]["result"].keys()
    told, pattern = caller.get("Ticker", pair="XBTUSD"), wire.RECORDED["Ticker"]
    assert shape(told["result"]["XXBTZUSD"]) == shape(pattern["result"]["XBTUSDT"])
    (row, *_), (recorded, *_) = caller.get("OHLC", pair="XBTUSD")["result"]["XXBTZUSD"], pattern_of_candles()
    assert [type(each) for each in row] == [type(each) for each in recorded]


def pattern_of_candles() -> Any:
    return wire.RECORDED["OHLC"]["result"]["XBTUSDT"]
