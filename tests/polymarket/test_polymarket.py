"""The dialect itself: who is let in, what is refused in which words, and what its answers look like."""

from __future__ import annotations

import time
from collections.abc import Iterator
from copy import copy
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.polymarket import signing
from tests.polymarket.caller import Caller
from tests.polymarket.case import CASE, KEY
from tests.polymarket.venue import FINE_TOKEN, TOKEN
from tests.polymarket.wire import condition
from tests.venue.fixtures import process_of
from tests.venue.process import VenueProcess

ANOTHER_KEY = CASE.wrong["key"]

# An order and its hash from the tests of Polymarket's own client (py-clob-client-v2,
# tests/order_utils/test_exchange_order_builder_v2.py); the key is the first of every Ethereum test chain.
VECTOR: dict[str, Any] = {
    "salt": 479249096354,
    "maker": "0x1111111111111111111111111111111111111111",
    "signer": "0x1111111111111111111111111111111111111111",
    "tokenId": "1234",
    "makerAmount": "100000000",
    "takerAmount": "50000000",
    "side": "BUY",
    "signatureType": 3,
    "timestamp": "1710000000000",
    "metadata": "0x" + "0" * 64,
    "builder": "0x" + "0" * 64,
}
VECTOR_CHAIN = 80002
VECTOR_ID = "0x2afca94626db91b2d556c351584a4cd93e13da32e377dc48c7983e43afa5ab47"
VECTOR_SIGNATURE = (
    "0xa3a093c83b6c20c83355c16ce94c92e6e9fcbdeb840618cc74f6c57a42ad145b"
    "2b98db73d2c73cbf1f2b6af288566ae81960ddbc3a13921027358a8bff3be6ff1c"
)


process = process_of(CASE)


@pytest.fixture
def caller(process: VenueProcess) -> Iterator[Caller]:
    process.reset()
    process.price("0.50")
    ours = Caller(process.url, dict(KEY))
    with ours.http:
        yield ours


def said(answer: httpx.Response) -> tuple[int, str]:
    """Status and words of a refusal."""
    return answer.status_code, answer.json()["error"]


def test_the_hash_is_ethereums() -> None:
    assert signing.keccak(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


def test_orders_are_hashed_and_signed_as_by_polymarkets_own_client() -> None:
    assert signing.order_id(VECTOR, neg_risk=False, chain=VECTOR_CHAIN) == VECTOR_ID
    signature = signing.order_signature(KEY["key"], VECTOR, neg_risk=False, chain=VECTOR_CHAIN)
    assert signature.startswith(VECTOR_SIGNATURE)
    signed = VECTOR | {"signature": signature}
    assert signing.signer_of(signed, neg_risk=False, chain=VECTOR_CHAIN) == signing.own_address(KEY["key"])


def test_anybody_is_told_time_question_prices_and_book(caller: Caller) -> None:
    assert abs(int(caller.get("/time").text) - time.time()) < 3
    (question,) = caller.get("/markets", clob_token_ids=TOKEN).json()
    assert question["orderPriceMinTickSize"] == 0.01
    assert caller.get("/markets", clob_token_ids="1").json() == []
    book = caller.get("/book", token_id=TOKEN).json()
    assert (book["bids"][-1]["price"], book["asks"][-1]["price"]) == ("0.49", "0.5")
    assert caller.get("/last-trade-price", token_id=TOKEN).json() == {"price": "0.5", "side": "BUY"}
    now = int(time.time())
    history = caller.get("/prices-history", market=TOKEN, fidelity=1, startTs=now - 300, endTs=now).json()["history"]
    assert 4 <= len(history) <= 5
    assert said(caller.get("/book", token_id="1")) == (404, "No orderbook exists for the requested token id")
    assert caller.get("/book", token_id=TOKEN, depth=1).status_code == 400
    assert caller.get("/sampling-markets").status_code == 404


def test_the_second_key_is_told_to_the_wallets_key_alone(caller: Caller) -> None:
    told = caller.derived()
    assert set(told.json()) == {"apiKey", "secret", "passphrase"}
    assert caller.derived().json() == told.json()
    assert said(caller.derived(private=ANOTHER_KEY)) == (400, "Could not derive api key!")
    assert said(caller.derived(nonce=1)) == (400, "Could not derive api key!")
    assert said(caller.derived(at=-90)) == (401, "Invalid L1 Request headers")
    forged = caller.http.get("/auth/derive-api-key", headers={"POLY_ADDRESS": caller.address, "POLY_SIGNATURE": "0x00"})
    assert said(forged) == (401, "Invalid L1 Request headers")
    assert caller.http.post("/auth/api-key").status_code == 404


def test_requests_need_the_second_key_the_time_and_a_signature(caller: Caller) -> None:
    assert caller.asked("GET", "/data/orders").status_code == 200
    refusal = (401, "Unauthorized/Invalid api key")
    assert said(caller.get("/data/orders")) == refusal
    assert said(caller.asked("GET", "/data/orders", at=-90)) == refusal
    assert said(caller.asked("GET", "/data/orders", at=30)) == refusal
    for part in ("apiKey", "passphrase", "secret"):
        wrong = copy(caller)
        wrong.api = {**caller.api, part: caller.api["secret"][::-1].replace("=", "") + "="}
        assert said(wrong.asked("GET", "/data/orders")) == refusal, part


def test_an_order_is_taken_listed_told_by_its_hash_and_cancelled(caller: Caller) -> None:
    body = caller.order()
    taken = caller.asked("POST", "/order", body).json()
    assert taken["orderID"] == signing.order_id(body["order"], neg_risk=False)
    assert (taken["success"], taken["status"], taken["takingAmount"]) == (True, "live", "")
    order = caller.asked("GET", f"/data/order/{taken['orderID']}").json()
    assert (order["status"], order["original_size"], order["price"]) == ("LIVE", "10", "0.4")
    assert caller.asked("GET", "/data/orders", asset_id=TOKEN).json()["data"] == [order]
    assert caller.asked("GET", "/data/orders", asset_id=FINE_TOKEN).json()["data"] == []
    cancelled = caller.asked("DELETE", "/order", {"orderID": taken["orderID"]}).json()
    assert cancelled == {"canceled": [taken["orderID"]], "not_canceled": {}}
    again = caller.asked("DELETE", "/order", {"orderID": taken["orderID"]}).json()
    assert list(again["not_canceled"]) == [taken["orderID"]]
    assert caller.asked("GET", f"/data/order/0x{'0' * 64}").text == "null"
    assert said(caller.asked("GET", "/data/order/1")) == (400, "Invalid orderID")


def test_an_order_is_never_taken_twice(caller: Caller) -> None:
    body = caller.order()
    order_id = caller.asked("POST", "/order", body).json()["orderID"]
    assert said(caller.asked("POST", "/order", body)) == (400, f"order {order_id} is invalid. Duplicated.")
    caller.asked("DELETE", "/order", {"orderID": order_id})
    assert said(caller.asked("POST", "/order", body)) == (400, f"order {order_id} is invalid. Duplicated.")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"private": ANOTHER_KEY}, "invalid signature"),
        ({"makerAmount": "4010000"}, "breaks minimum tick size rule"),
        ({"makerAmount": "1600000", "takerAmount": "4000000"}, "lower than the minimum: 5"),
        ({"makerAmount": "12000000"}, "invalid price"),
        ({"makerAmount": "4000000000", "takerAmount": "10000000000"}, "not enough balance / allowance"),
        ({"expiration": "1"}, "invalid expiration"),
        ({"kind": "GTD"}, "invalid expiration"),
        ({"kind": "FAK", "makerAmount": "500500", "takerAmount": "1001000"}, "invalid amounts"),
        ({"kind": "FAK"}, "no orders found to match with FAK order"),
        ({"kind": "FAK", "makerAmount": "500000", "takerAmount": "1000000"}, "min size: $1"),
        ({"builder": "0x" + "1" * 64}, "Invalid order payload"),
        ({"salt": 1 << 53}, "Invalid order payload"),
        ({"nonce": "0"}, "Invalid order payload"),
        ({"kind": "IOC"}, "Invalid order payload"),
        ({"timestamp": "9999999999999"}, "Invalid order payload"),
        ({"signatureType": 2}, "maker address not allowed"),
        ({"signer": signing.own_address(ANOTHER_KEY)}, "address of the API KEY"),
    ],
)
def test_an_order_is_read_strictly(caller: Caller, changes: dict[str, Any], words: str) -> None:
    status, told = said(caller.asked("POST", "/order", caller.order(**changes)))
    assert status == 400
    assert words in told


def test_a_market_buy_spends_its_sum_and_a_limit_buys_its_shares(caller: Caller, process: VenueProcess) -> None:
    """Why no market buy is sent by us: this one, for five shares at most 0.99 each, gets nearly ten."""
    body = caller.order(kind="FAK", makerAmount="4950000", takerAmount="5000000")
    assert caller.asked("POST", "/order", body).json()["takingAmount"] == "9.9"
    body = caller.order(makerAmount="4950000", takerAmount="5000000")
    assert caller.asked("POST", "/order", body).json()["takingAmount"] == "5"


def test_trades_name_taker_and_makers_and_come_in_pages(caller: Caller, process: VenueProcess) -> None:
    taken = caller.asked("POST", "/order", caller.order(makerAmount="5000000")).json()["orderID"]
    rested = caller.asked("POST", "/order", caller.order()).json()["orderID"]
    process.price("0.39")
    told = caller.asked("GET", "/data/trades", market=condition(TOKEN)).json()
    assert (told["next_cursor"], told["count"]) == ("LTE=", len(told["data"]))
    by_side = {side: [each for each in told["data"] if each["trader_side"] == side] for side in ("TAKER", "MAKER")}
    assert {each["taker_order_id"] for each in by_side["TAKER"]} == {taken}
    assert {each["maker_orders"][0]["order_id"] for each in by_side["MAKER"]} == {rested}
    assert sum(Decimal(each["size"]) for each in by_side["TAKER"]) == 10
    assert caller.asked("GET", "/data/trades", market="0x0").json()["data"] == []
    assert caller.asked("GET", "/data/trades", limit=5).status_code == 400


def test_an_order_expires_a_minute_before_it_says(caller: Caller, process: VenueProcess) -> None:
    body = caller.order(kind="GTD", expiration=str(int(time.time()) + 100))
    order_id = caller.asked("POST", "/order", body).json()["orderID"]
    process.clock(50)
    assert caller.asked("GET", f"/data/order/{order_id}").json()["status"] == "CANCELED"


def test_balances_are_in_millionths_and_of_the_kind_that_was_asked_for(caller: Caller) -> None:
    held = caller.asked("GET", "/balance-allowance", asset_type="COLLATERAL", signature_type=3).json()
    assert held["balance"] == "1000000000"
    shares = caller.asked("GET", "/balance-allowance", asset_type="CONDITIONAL", token_id=TOKEN, signature_type=3)
    assert shares.json()["balance"] == "200000000"
    assert caller.asked("GET", "/balance-allowance", asset_type="COLLATERAL", signature_type=0).json()["balance"] == "0"
    wrong = caller.asked("GET", "/balance-allowance", asset_type="GOLD", signature_type=3)
    assert said(wrong) == (400, "Invalid asset type")
