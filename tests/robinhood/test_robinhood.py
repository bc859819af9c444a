"""The dialect itself: it takes what Robinhood documents, and nothing else."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.robinhood.app import ACCOUNTS, HOLDINGS, ORDERS, PAIRS, PRICES
from tests.robinhood.caller import Caller
from tests.robinhood.case import CASE
from tests.robinhood.tokens import BURST, Tokens
from tests.venue.process import VenueProcess

OTHER_KEY = "rh-api-11111111-1111-4111-8111-111111111111"


def problem(answer: Any) -> tuple[int, str, str | None]:
    """Status and type of a refusal, and the field that it names."""
    body = answer.json()
    (error,) = body["errors"]
    assert set(error) == {"detail", "attr"}
    return answer.status_code, body["type"], error["attr"]


@pytest.mark.parametrize("target", [ACCOUNTS, HOLDINGS, PAIRS, f"{PRICES}?symbol=BTC-USD", ORDERS])
def test_what_is_rightly_signed_is_answered_with_its_time(caller: Caller, target: str) -> None:
    answer = caller.get(target)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["date"].endswith(" GMT")


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": OTHER_KEY},
        {"seed": CASE.wrong["secret"]},
        {"ago": 40},
        {"ago": -40},
        {"signed": ACCOUNTS},
        {"headers": {"x-signature": "not base64"}},
        {"headers": {"x-timestamp": "soon"}},
    ],
    ids=["key", "private key", "too old", "too young", "signed without its query", "signature", "time"],
)
def test_what_is_not_rightly_signed_is_refused(caller: Caller, wrong: dict[str, Any]) -> None:
    answer = caller.get(f"{PAIRS}?symbol=BTC-USD", **wrong)
    assert problem(answer) == (401, "client_error", None)


def test_what_is_not_signed_at_all_is_refused_by_the_front(caller: Caller) -> None:
    answer = caller.http.get(ACCOUNTS)
    assert (answer.status_code, answer.headers["content-type"][:10]) == (400, "text/plain")


def test_another_body_than_was_signed_is_refused(caller: Caller, exchange: VenueProcess) -> None:
    sent = caller.order().request
    kept = {name: value for name, value in sent.headers.items() if name.startswith("x-") or name == "content-type"}
    answer = caller.http.post(ORDERS, content=sent.content.replace(b"0.01", b"0.02"), headers=kept)
    assert problem(answer) == (401, "client_error", None)
    assert len(exchange.placed()) == 1


@pytest.mark.parametrize(
    "target", [f"{ACCOUNTS}?limit=1", f"{PRICES}?symbol=BTC-USD&depth=5", f"{ORDERS}?client_order_id=1"]
)
def test_a_parameter_that_there_is_none_of_is_refused(caller: Caller, target: str) -> None:
    status, kind, _ = problem(caller.get(target))
    assert (status, kind) == (400, "validation_error")


@pytest.mark.parametrize(
    "target", ["/api/v1/crypto/trading/withdrawals/", ORDERS[:-1], "/api/v2/crypto/trading/orders/"]
)
def test_there_is_nothing_else(caller: Caller, target: str) -> None:
    assert problem(caller.get(target))[0] == 404


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"client_order_id": "x"}, "client_order_id"),
        ({"client_order_id": None}, "client_order_id"),
        ({"side": "hold"}, "side"),
        ({"type": "iceberg"}, "type"),
        ({"type": "market"}, "market_order_config"),
        ({"leverage": "2"}, "limit_order_config"),
        ({"limit_order_config": {"asset_quantity": "0.01"}}, "limit_order_config"),
        (
            {"limit_order_config": {"asset_quantity": "0.01", "limit_price": "1", "time_in_force": "ioc"}},
            "limit_order_config",
        ),
        ({"limit_order_config": {"asset_quantity": 0.01, "limit_price": "30000"}}, "asset_quantity"),
        ({"limit_order_config": {"asset_quantity": "0.01", "limit_price": "30000.001"}}, "limit_price"),
        ({"limit_order_config": {"asset_quantity": "10", "limit_price": "30000"}}, "non_field_errors"),
        ({"symbol": "BTC-EUR"}, "non_field_errors"),
    ],
)
def test_an_order_that_is_none_is_refused_by_its_field(
    caller: Caller, exchange: VenueProcess, changes: dict[str, Any], field: str
) -> None:
    assert problem(caller.order(**changes)) == (400, "validation_error", field)
    assert exchange.placed() == []


def test_an_order_is_acknowledged_and_then_told_as_it_stands(caller: Caller) -> None:
    name = str(uuid4())
    placed = caller.order(
        client_order_id=name, type="market", limit_order_config=None, market_order_config={"asset_quantity": "0.01"}
    )
    told = placed.json()
    assert (placed.status_code, told["state"], told["executions"], told["client_order_id"]) == (201, "open", [], name)
    order = caller.get(f"{ORDERS}{told['id']}/").json()
    assert (order["state"], order["filled_asset_quantity"]) == ("filled", "0.010000000000000000")
    assert {each["effective_price"] for each in order["executions"]} == {"40000.000000000000000000"}


def test_one_id_is_one_order(caller: Caller, exchange: VenueProcess) -> None:
    name = str(uuid4())
    first, second = caller.order(client_order_id=name), caller.order(client_order_id=name)
    assert first.json()["id"] == second.json()["id"]
    assert len(exchange.placed()) == 1


def test_a_list_comes_in_pages_newest_first(caller: Caller) -> None:
    placed = [caller.order().json()["id"] for _ in range(7)]
    target: str | None = f"{ORDERS}?symbol=BTC-USD&state=open"
    listed = []
    while target is not None:
        page = caller.get(target).json()
        listed += [each["id"] for each in page["results"]]
        target = page["next"] and page["next"].removeprefix("https://trading.robinhood.com")
    assert listed == placed[::-1]


def test_a_list_is_narrowed_by_state_and_time(caller: Caller) -> None:
    caller.order()
    assert caller.get(f"{ORDERS}?state=filled").json()["results"] == []
    assert caller.get(f"{ORDERS}?created_at_start=2100-01-01T00:00:00Z").json()["results"] == []
    assert len(caller.get(f"{ORDERS}?updated_at_start=2020-01-01T00:00:00Z").json()["results"]) == 1
    assert problem(caller.get(f"{ORDERS}?created_at_start=today"))[2] == "created_at_start"


def test_a_cancel_is_heard_in_plain_words_and_once(caller: Caller) -> None:
    order = caller.order().json()["id"]
    heard = caller.cancel(order)
    assert heard.text == f"Cancel request was submitted for order {order}"
    assert caller.get(f"{ORDERS}{order}/").json()["state"] == "open"
    assert problem(caller.cancel(order))[0] == 400
    assert problem(caller.cancel(str(uuid4())))[0] == 404


def test_amounts_are_numbers_here_and_strings_there(caller: Caller) -> None:
    caller.order(type="market", limit_order_config=None, market_order_config={"asset_quantity": "0.01"})
    (order,) = caller.get(ORDERS).json()["results"]
    (holding,) = caller.get(HOLDINGS).json()["results"]
    assert (order["average_price"], holding["total_quantity"]) == (40000, 5.01)
    assert json.loads(caller.get(ACCOUNTS).text)["buying_power"] == "99600.00000000"


def test_who_asks_too_much_is_told_when_to_come_back() -> None:
    tokens = Tokens(0)
    assert [tokens.take(0) for _ in range(BURST)] == [None] * BURST
    assert tokens.take(0) == 1
    assert tokens.take(600) is None
    assert tokens.take(600) == 1
