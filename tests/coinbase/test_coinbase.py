"""The dialect itself: it takes what Coinbase documents, and nothing else."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.coinbase.caller import (
    AT_MARKET,
    CANCEL,
    FILLS,
    LIST,
    ORDERS,
    RESTING,
    ROOT,
    Caller,
    reason,
    refusal,
)
from tests.coinbase.case import CASE
from tests.venue.process import VenueProcess

PERMISSIONS = ROOT + "key_permissions"
ACCOUNTS = ROOT + "accounts"


def test_a_good_token_opens_and_tells_what_the_key_may_do(hand: Caller) -> None:
    told = hand.get(PERMISSIONS)
    assert told.status_code == 200
    assert (told.json()["can_trade"], told.json()["can_transfer"]) == (True, False)


@pytest.mark.parametrize(
    "changes",
    [
        {"kid": "organizations/another/apiKeys/one"},
        {"sub": "organizations/another/apiKeys/one"},
        {"alg": "HS256"},
        {"typ": None},
        {"nonce": None},
        {"nonce": ""},
        {"iss": "somebody"},
        {"uri": None},
        {"uri": "POST api.coinbase.com/api/v3/brokerage/orders"},
        {"late": 60.0},
        {"late": -121.0},
        {"good_for": 121},
        {"surplus": "1"},
        {"secret": CASE.wrong["secret"]},
    ],
    ids=lambda changes: " ".join(f"{name} {str(value)[:12]}" for name, value in changes.items()),
)
def test_another_token_opens_nothing(hand: Caller, changes: dict[str, Any]) -> None:
    answer = hand.get(PERMISSIONS, token=hand.token("GET", PERMISSIONS, **changes))
    assert (answer.status_code, answer.text) == (401, "Unauthorized\n")


@pytest.mark.parametrize("token", ["x", "a.b", "a.b.c", "e30.e30." + "A" * 86])
def test_what_is_no_token_opens_nothing(hand: Caller, token: str) -> None:
    assert hand.http.get(PERMISSIONS, headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_a_token_opens_one_request_once(hand: Caller) -> None:
    token = hand.token("GET", PERMISSIONS)
    assert hand.get(ACCOUNTS, token=token).status_code == 401
    assert hand.get(PERMISSIONS, token=token).status_code == 200
    assert hand.get(PERMISSIONS, token=token).status_code == 401


def test_time_and_rules_are_told_to_everybody(hand: Caller) -> None:
    told = hand.http.get(ROOT + "time").json()
    assert abs(int(told["epochMillis"]) / 1000 - time.time()) < 5
    assert hand.http.get(ROOT + "market/products/BTC-USD").json()["base_increment"] == "0.00000001"
    assert refusal(hand.http.get(ROOT + "market/products/BTC-NONE")) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (LIST, {"client_order_id": "x"}),
        (LIST, {"limit": "many"}),
        (LIST, {"start_date": "yesterday"}),
        (LIST, {"cursor": "!"}),
        (LIST, [("order_status", "OPEN"), ("order_status", "FILLED")]),
        (FILLS, {"product_id": "BTC-USD"}),
        (ACCOUNTS, {"offset": "1"}),
        (ROOT + "products/BTC-USD/candles", {"granularity": "ONE_SECOND", "start": "1", "end": "2"}),
        (ROOT + "products/BTC-USD/candles", {"granularity": "ONE_MINUTE", "start": "1", "end": "99999"}),
    ],
)
def test_a_parameter_that_is_none_is_refused(hand: Caller, path: str, query: Any) -> None:
    assert refusal(hand.get(path, query)) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "changes",
    [
        {"client_order_id": None},
        {"client_order_id": ""},
        {"side": "buy"},
        {"leverage": "2"},
        {"order_configuration": {}},
        {"order_configuration": {**AT_MARKET, **RESTING}},
        {"order_configuration": {"market_market_ioc": {"base_size": 0.01}}},
        {"order_configuration": {"limit_limit_gtc": {"base_size": "0.01"}}},
    ],
    ids=str,
)
def test_an_order_that_is_not_well_written_is_refused(
    hand: Caller, venue: VenueProcess, changes: dict[str, Any]
) -> None:
    assert refusal(hand.order(**changes)) == (400, "INVALID_ARGUMENT")
    assert venue.placed() == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"product_id": "BTC-NONE"}, "INVALID_PRODUCT_ID"),
        ({"order_configuration": {"market_market_ioc": {"base_size": "50"}}}, "INSUFFICIENT_FUND"),
        ({"order_configuration": {"market_market_ioc": {"base_size": "0.000000001"}}}, "INVALID_SIZE_PRECISION"),
        ({"order_configuration": {"market_market_ioc": {}}}, "UNSUPPORTED_ORDER_CONFIGURATION"),
        ({"order_configuration": {"market_market_fok": {"base_size": "1"}}}, "UNSUPPORTED_ORDER_CONFIGURATION"),
        (
            {"order_configuration": {"limit_limit_gtc": {"base_size": "0.01", "limit_price": "30000.001"}}},
            "INVALID_PRICE_PRECISION",
        ),
    ],
)
def test_an_order_that_is_not_made_says_why_with_status_200(
    hand: Caller, venue: VenueProcess, changes: dict[str, Any], told: str
) -> None:
    said = reason(hand.order(**changes))
    assert said.removeprefix("PREVIEW_") == told
    assert venue.placed() == []


def test_an_order_under_an_id_that_is_taken_is_not_made_and_the_first_is_told(
    hand: Caller, venue: VenueProcess
) -> None:
    first = hand.placed()
    assert hand.found(first["order_id"])["status"] == "FILLED"
    again = hand.placed(RESTING, side="SELL", client_order_id=first["client_order_id"])
    assert again == first
    assert len(venue.placed()) == 1


def test_an_order_at_market_fills_and_its_fee_is_in_dollars_on_either_side(hand: Caller, venue: VenueProcess) -> None:
    before = {name: Decimal(amount) for name, amount in venue.books()["balances"].items()}
    for side in ("BUY", "SELL"):
        order = hand.found(hand.placed(side=side)["order_id"])
        assert (order["status"], order["filled_size"], order["average_filled_price"]) == ("FILLED", "0.01", "40000")
        assert order["total_fees"] == "0.4"
    fills = hand.get(FILLS, {"product_ids": "BTC-USD"}).json()["fills"]
    assert sum(Decimal(each["commission"]) for each in fills) == Decimal("0.8")
    after = {name: Decimal(amount) for name, amount in venue.books()["balances"].items()}
    assert after == {**before, "USD": before["USD"] - Decimal("0.8")}


def test_a_cancel_is_taken_at_once_and_carried_out_a_little_later(hand: Caller) -> None:
    order_id = hand.placed(RESTING)["order_id"]
    assert hand.cancel(order_id) == [(True, "UNKNOWN_CANCEL_FAILURE_REASON")]
    seen = [hand.found(order_id)["status"]]
    deadline = time.monotonic() + 10
    while seen[-1] != "CANCELLED" and time.monotonic() < deadline:
        seen.append(hand.found(order_id)["status"])
    assert set(seen) <= {"CANCEL_QUEUED", "CANCELLED"}
    assert seen[-1] == "CANCELLED"
    assert hand.cancel(order_id) == [(False, "UNKNOWN_CANCEL_ORDER")]


def test_what_cannot_be_cancelled_says_why(hand: Caller) -> None:
    filled, resting = hand.placed()["order_id"], hand.placed(RESTING)["order_id"]
    told = hand.cancel(filled, str(uuid4()), resting, resting)
    assert [reason for _, reason in told] == [
        "ORDER_IS_FULLY_FILLED",
        "UNKNOWN_CANCEL_ORDER",
        "UNKNOWN_CANCEL_FAILURE_REASON",
        "DUPLICATE_CANCEL_REQUEST",
    ]
    assert refusal(hand.post(CANCEL, {"order_ids": []})) == (400, "INVALID_ARGUMENT")


def test_lists_come_newest_first_page_by_page(hand: Caller) -> None:
    made = [hand.placed(RESTING)["order_id"] for _ in range(5)]
    seen, cursor = [], ""
    while True:
        query = {"product_ids": "BTC-USD", "order_status": "OPEN", "limit": "2"} | (
            {"cursor": cursor} if cursor else {}
        )
        page = hand.get(LIST, query).json()
        seen += [each["order_id"] for each in page["orders"]]
        cursor = page["cursor"]
        assert page["has_next"] is bool(cursor)
        if not cursor:
            break
    assert seen == list(reversed(made))
    assert hand.get(LIST, {"product_ids": "ETH-USD"}).json()["orders"] == []


def test_an_order_that_is_not_there_is_told_as_such(hand: Caller) -> None:
    assert refusal(hand.get(f"{ORDERS}/historical/{uuid4()}")) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/accounts/x/transactions"),
        ("POST", ROOT + "portfolios/move_funds"),
        ("POST", ROOT + "convert/quote"),
        ("POST", ROOT + "orders/edit"),
        ("DELETE", ROOT + "orders"),
    ],
)
def test_there_is_nothing_but_trading(hand: Caller, method: str, path: str) -> None:
    answer = hand.http.request(method, path, headers={"Authorization": f"Bearer {hand.token(method, path)}"})
    assert refusal(answer) == (404, "NOT_FOUND")


def test_a_key_that_may_not_trade_or_has_ended_trades_nothing(hand: Caller, venue: VenueProcess) -> None:
    venue.permissions(can_trade=False)
    assert refusal(hand.order()) == (403, "PERMISSION_DENIED")
    venue.expire_key()
    assert hand.order().status_code == 401
    assert venue.placed() == []


def test_faults_come_as_they_come_from_coinbase(hand: Caller, venue: VenueProcess) -> None:
    venue.faults({"what": "5xx_before", "path": ACCOUNTS}, {"what": "drop_before", "path": ACCOUNTS})
    assert hand.get(ACCOUNTS).status_code == 503
    with pytest.raises(httpx.TransportError):
        hand.get(ACCOUNTS)
