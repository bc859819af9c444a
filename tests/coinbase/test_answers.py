"""What each answer of Coinbase's comes to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from node_agent.exchanges.failures import DuplicateOrder, NoSuchOrder
from node_agent.exchanges.port import ExchangeError, KeyRefused, OrderRefused, OutcomeUnknown, RateLimited
from tests.coinbase.ours import not_made, opened
from tests.exchanges.stub import Stub, error_of

pytestmark = pytest.mark.asyncio

ASKED: Final = {"client_order_id": "x", "product_id": "BTC-USD", "side": "BUY"}
CREATE: Final = "v3_private_post_brokerage_orders"
CANCEL_IT: Final = "v3_private_post_brokerage_orders_batch_cancel"
ONE: Final = "v3_private_get_brokerage_orders_historical_order_id"


def failed(error: str, words: str = "Something.") -> dict[str, Any]:
    return {"error": error, "error_details": words, "message": words}


def uncancelled(reason: str) -> dict[str, Any]:
    return {"results": [{"success": False, "failure_reason": reason, "order_id": "x1"}]}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, not_made(new_order_failure_reason="INSUFFICIENT_FUND"), OrderRefused),
        (200, not_made(error="INSUFFICIENT_FUND", preview_failure_reason="PREVIEW_INSUFFICIENT_FUND"), OrderRefused),
        (200, not_made(preview_failure_reason="PREVIEW_INVALID_BASE_SIZE_TOO_SMALL"), OrderRefused),
        (200, not_made(error="UNSUPPORTED_ORDER_CONFIGURATION"), OrderRefused),
        (200, not_made(new_order_failure_reason="ORDER_ENTRY_DISABLED"), OrderRefused),
        (200, not_made(new_order_failure_reason="DUPLICATE_CLIENT_ORDER_ID"), DuplicateOrder),
        (400, failed("INVALID_ARGUMENT"), OrderRefused),
        (403, failed("PERMISSION_DENIED", "Missing required scopes"), KeyRefused),
        (403, failed("unknown", "Missing required scopes"), KeyRefused),
        (401, {"errors": [{"id": "authentication_error", "message": "invalid"}]}, KeyRefused),
        (429, {"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]}, RateLimited),
        (429, failed("RESOURCE_EXHAUSTED"), RateLimited),
    ],
)
async def test_a_definite_no_to_an_order_is_told_as_such(
    status: int, body: Mapping[str, Any], kind: type[ExchangeError]
) -> None:
    assert type(await came_to(status, json.dumps(body), CREATE, ASKED)) is kind


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, not_made()),
        (200, not_made(new_order_failure_reason="SOMETHING_NEW")),
        (200, {"success": False}),
        (200, {"success": True}),
        (200, {"success": True, "success_response": {}}),
        (200, {"success": True, "success_response": {"order_id": ""}}),
        (400, failed("unknown", "Never heard of.")),
        (500, failed("INTERNAL")),
        (503, not_made(new_order_failure_reason="INSUFFICIENT_FUND")),
        (404, {}),
    ],
)
async def test_what_is_not_surely_refused_may_have_been_placed(status: int, body: Mapping[str, Any]) -> None:
    assert type(await came_to(status, json.dumps(body), CREATE, ASKED)) is OutcomeUnknown


@pytest.mark.parametrize(("status", "kind"), [(401, KeyRefused), (403, OutcomeUnknown), (200, OutcomeUnknown)])
async def test_an_answer_in_plain_words_goes_by_its_status(status: int, kind: type[ExchangeError]) -> None:
    assert type(await came_to(status, "Unauthorized", CREATE, ASKED)) is kind


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (uncancelled("UNKNOWN_CANCEL_ORDER"), NoSuchOrder),
        (uncancelled("ORDER_IS_FULLY_FILLED"), NoSuchOrder),
        (uncancelled("UNKNOWN_CANCEL_FAILURE_REASON"), OutcomeUnknown),
        ({"results": []}, OutcomeUnknown),
        ({"results": None}, OutcomeUnknown),
    ],
)
async def test_a_cancel_that_is_not_taken_is_told_as_such(body: Mapping[str, Any], kind: type[ExchangeError]) -> None:
    assert type(await came_to(200, json.dumps(body), CANCEL_IT, {"order_ids": ["x1"]})) is kind


@pytest.mark.parametrize("error", ["NOT_FOUND", "unknown"])
async def test_an_order_that_is_not_there_is_told_as_such(error: str) -> None:
    body = json.dumps(failed(error, "order with this orderID was not found"))
    assert type(await came_to(404, body, ONE, {"order_id": "x1"}, acts=False)) is NoSuchOrder


async def came_to(status: int, body: str, method: str, asked: Any, *, acts: bool = True) -> ExchangeError:
    """The error that an answer comes to."""
    async with Stub(status, body) as stub, opened(stub.url) as ours:
        error = await error_of(ours._line.ask(dict, method, asked, acts=acts))
    assert len(stub.requests) == 1
    return error
