"""Polymarket's words for errors, and its rows, as its documentation and its own clients show them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from node_agent.core.market import ExchangeOrder, ExchangeStatus, Side
from node_agent.exchanges.polymarket import polymarket_traits
from node_agent.exchanges.polymarket_orders import (
    Fees,
    Outcome,
    Terms,
    candles_of,
    fills_of,
    order_of,
    outcome_of,
    terms_of,
)
from node_agent.exchanges.traits import Meaning
from tests.polymarket.case import KEY
from tests.polymarket.ours import SYMBOL
from tests.polymarket.venue import TOKEN


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (400, {"error": "order 0x12 is invalid. Duplicated."}, Meaning.DUPLICATE),
        (400, {"error": "not enough balance / allowance: the balance is not enough"}, Meaning.REFUSED),
        (400, {"error": "order 0x12 is invalid. Price (0.505) breaks minimum tick size rule: 0.01"}, Meaning.REFUSED),
        (400, {"error": "order 0x12 is invalid. Size (1) lower than the minimum: 5"}, Meaning.TOO_SMALL),
        (400, {"error": "invalid amount for a marketable BUY order ($0.84), min size: $1"}, Meaning.TOO_SMALL),
        (
            400,
            {"error": "invalid amounts, the market buy orders maker amount supports a max accuracy of 2 decimals"},
            None,
        ),
        (400, {"error": "the market is not yet ready to process new orders"}, Meaning.REFUSED),
        (400, {"error": "order_version_mismatch"}, Meaning.REFUSED),
        (400, {"error": "'0x12' address in closed only mode"}, Meaning.REFUSED),
        (400, {"error": "invalid signature"}, Meaning.KEY),
        (400, {"error": "the order signer address has to be the address of the API KEY"}, Meaning.KEY),
        (403, {"error": "Trading restricted in your region, please refer to available regions"}, Meaning.KEY),
        (400, {"error": "Could not derive api key!"}, Meaning.KEY),
        (404, {"error": "order not found"}, Meaning.NO_SUCH_ORDER),
        (200, {"success": False, "errorMsg": "not enough balance / allowance", "orderID": ""}, Meaning.REFUSED),
    ],
)
def test_errors_are_known_by_their_words(status: int, body: dict[str, Any], meaning: Meaning | None) -> None:
    traits = polymarket_traits("eoa")
    told = traits.error_of(status, body)
    assert told is not None
    assert traits.meanings.get(told[0]) is (meaning or Meaning.REFUSED)
    assert told[1] == body.get("error", body.get("errorMsg"))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": "could not insert order"}),
        (400, {"error": "the trade contains rounding issues"}),
        (425, {"error": "service not ready"}),
        (200, {"success": False, "errorMsg": "", "status": "unmatched", "orderID": "0x12"}),
        (500, None),
    ],
)
def test_what_is_not_known_may_have_been_carried_out(status: int, body: Any) -> None:
    traits = polymarket_traits("eoa")
    told = traits.error_of(status, body)
    assert told is not None
    assert told[0] not in traits.meanings


@pytest.mark.parametrize(
    "body", [[], {"data": []}, {"success": True, "errorMsg": "", "orderID": "0x12"}, {"balance": "1"}]
)
def test_an_answer_is_no_error(body: Any) -> None:
    assert polymarket_traits("eoa").error_of(200, body) is None


# Its rows, as its documentation and its own clients show them.


ROW: dict[str, Any] = {
    "id": "0xff354cd7ca7539dfa9c28d90943ab5779a4eac34b9b37a757d7b32bdfb11790b",
    "status": "LIVE",
    "owner": "9180014b-33c8-9240-a14b-bdca11c0a465",
    "maker_address": "0x1234567890123456789012345678901234567890",
    "market": "0x747dc809fb79e1b05be09c42d6179459a58de2ef3e40f02484a4e1260f741f75",
    "asset_id": TOKEN,
    "side": "BUY",
    "original_size": "10",
    "size_matched": "0",
    "price": "0.52",
    "outcome": "Yes",
    "expiration": "0",
    "order_type": "GTC",
    "associate_trades": [],
    "created_at": 1700000000,
}


@pytest.mark.parametrize(
    ("status", "matched", "becomes"),
    [
        ("LIVE", "2.5", ExchangeStatus.OPEN),
        ("ORDER_STATUS_LIVE", "0", ExchangeStatus.OPEN),
        ("MATCHED", "10", ExchangeStatus.FILLED),
        ("ORDER_STATUS_MATCHED", "9.995", ExchangeStatus.FILLED),
        ("MATCHED", "4", ExchangeStatus.CANCELLED),
        ("CANCELED", "0", ExchangeStatus.CANCELLED),
        ("ORDER_STATUS_CANCELED_MARKET_RESOLVED", "1", ExchangeStatus.CANCELLED),
        ("INVALID", "0", ExchangeStatus.CANCELLED),
    ],
)
def test_statuses_are_read_in_both_spellings(status: str, matched: str, becomes: ExchangeStatus) -> None:
    order = order_of({**ROW, "status": status, "size_matched": matched}, SYMBOL, "ours")
    assert order == ExchangeOrder("ours", ROW["id"], SYMBOL, becomes, Decimal(10), Decimal(matched))


def test_a_row_that_cannot_be_read_is_no_order() -> None:
    for change in ({"status": "MAYBE"}, {"original_size": 0.1}, {"size_matched": "NaN"}, {"original_size": "x"}):
        with pytest.raises(ValueError, match=r"status|amount"):
            order_of({**ROW, **change}, SYMBOL, "")


@pytest.mark.parametrize("told", [1700000000, "1700000000", "1700000000000", "2023-11-14T22:13:20Z"])
def test_times_are_read_in_each_spelling(told: Any) -> None:
    terms = terms_of({**ROW, "created_at": told})
    assert terms == Terms(Side.BUY, Decimal("0.52"), Decimal(10), datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC))


def test_a_trade_of_the_other_answer_fills_our_maker_orders_in_our_price() -> None:
    ours = {
        "asset_id": TOKEN,
        "maker_address": KEY["wallet"].lower(),
        "side": "BUY",
        "price": "0.4",
        "fee_rate_bps": "",
    }
    trade = {
        "id": "28c4d2eb-bbea-40e7-a9f0-b2fdb56b2c2e",
        "taker_order_id": "0x06bc63e346ed4ceddce9efd6b3af37c8f8f440c92fe7da6b2d0f9e4ccbc50c42",
        "asset_id": "12345",
        "side": "BUY",
        "size": "15",
        "price": "0.6",
        "status": "MINED",
        "match_time": "1672290701",
        "trader_side": "MAKER",
        "maker_orders": [
            {**ours, "order_id": "0xaaaaaaaa01", "matched_amount": "10"},
            {**ours, "order_id": "0xbbbbbbbb02", "matched_amount": "3"},
            {**ours, "order_id": "0xcccccccc03", "matched_amount": "2", "maker_address": "0x" + "1" * 40},
        ],
    }
    outcome = Outcome(TOKEN, "0x1", Decimal("0.01"), False, Fees(Decimal("0.05")))
    fills = list(fills_of(trade, SYMBOL, KEY["wallet"].lower(), outcome))
    assert [(each["order"], each["amount"], each["price"], each["side"]) for each in fills] == [
        ("0xaaaaaaaa01", "10", "0.4", "buy"),
        ("0xbbbbbbbb02", "3", "0.4", "buy"),
    ]
    assert len({each["id"] for each in fills}) == 2
    assert list(fills_of({**trade, "status": "FAILED"}, SYMBOL, KEY["wallet"].lower(), outcome)) == []
    assert list(fills_of({**trade, "trader_side": "TAKER"}, SYMBOL, "0x0", outcome)) == []


@pytest.mark.parametrize(
    ("told", "fees"),
    [
        (
            {"feesEnabled": True, "feeSchedule": {"exponent": 1, "rate": "0.04", "takerOnly": True}},
            Fees(Decimal("0.04")),
        ),
        ({"feesEnabled": False, "feeSchedule": {"exponent": 1, "rate": "0.04", "takerOnly": True}}, Fees()),
        ({"feesEnabled": True, "feeSchedule": None}, Fees()),
        ({}, Fees()),
        (
            {"feeSchedule": {"exponent": 2, "rate": "0.25", "takerOnly": False}},
            Fees(Decimal("0.25"), Decimal(2), makers_too=True),
        ),
    ],
)
def test_fees_are_the_questions(told: dict[str, Any], fees: Fees) -> None:
    question = {"conditionId": "0x1", "orderPriceMinTickSize": "0.01", "negRisk": False, **told}
    assert outcome_of(question, TOKEN).fees == fees


def test_a_fee_is_highest_where_nobody_knows_the_answer() -> None:
    fees = Fees(Decimal("0.05"))
    assert fees.of(Decimal("0.5"), Decimal(100), maker=False) == Decimal("1.25")
    assert fees.of(Decimal("0.99"), Decimal(100), maker=False) == Decimal("0.0495")
    assert fees.of(Decimal("0.5"), Decimal(100), maker=True) == 0


def test_samples_of_one_interval_make_one_candle() -> None:
    opened = datetime(2026, 1, 1, tzinfo=UTC)
    seconds = int(opened.timestamp())
    history = [
        {"t": seconds - 10, "p": "0.1"},
        {"t": seconds + 70, "p": "0.6"},
        {"t": seconds + 10, "p": "0.5"},
        {"t": seconds + 40, "p": "0.45"},
        {"t": seconds + 55, "p": "0.55"},
    ]
    first, second = candles_of(history, SYMBOL, timedelta(minutes=1), opened)
    assert (first.at, first.open, first.high, first.low, first.close) == (
        opened,
        *(Decimal(price) for price in ("0.5", "0.55", "0.45", "0.55")),
    )
    assert (second.at, second.open) == (opened + timedelta(minutes=1), Decimal("0.6"))


def test_a_trade_that_failed_on_the_chain_is_none_in_either_spelling() -> None:
    outcome = Outcome(TOKEN, "0x1", Decimal("0.01"), False, Fees())
    for status in ("FAILED", "TRADE_STATUS_FAILED"):
        trade: dict[str, Any] = {
            "id": "t",
            "taker_order_id": "0xaa",
            "asset_id": TOKEN,
            "side": "BUY",
            "size": "15",
            "price": "0.6",
            "status": status,
            "match_time": "1672290701",
            "trader_side": "TAKER",
            "maker_orders": [],
        }
        assert list(fills_of(trade, SYMBOL, KEY["wallet"].lower(), outcome)) == []
