"""Requests made by hand, with tokens as Coinbase documents them, or wrong on purpose."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import httpx

from tests.coinbase import tokens
from tests.coinbase.case import CASE
from tests.venue.fixtures import ByHand
from tests.venue.process import VenueProcess

ROOT: Final = "/api/v3/brokerage/"
ORDERS: Final = ROOT + "orders"
CANCEL: Final = ORDERS + "/batch_cancel"
LIST: Final = ORDERS + "/historical/batch"
FILLS: Final = ORDERS + "/historical/fills"
AT_MARKET: Final = {"market_market_ioc": {"base_size": "0.01"}}
RESTING: Final = {"limit_limit_gtc": {"base_size": "0.01", "limit_price": "30000"}}


class Caller(ByHand):
    """A caller with the account's key."""

    def __init__(self, process: VenueProcess) -> None:
        super().__init__(process)
        self._host = urlsplit(process.url).netloc

    def token(self, method: str, path: str, *, secret: str = "", late: float = 0.0, **changes: Any) -> str:
        """A token for a request, made so many seconds too late; `changes` as `tokens.made` takes them."""
        key, now = secret or CASE.key["secret"], time.time() + late
        return tokens.made(key, CASE.key["key"], method, self._host, path, now, **changes)

    def get(self, path: str, query: Any = None, *, token: str | None = None) -> httpx.Response:
        """A signed read."""
        bearer = {"Authorization": f"Bearer {token or self.token('GET', path)}"}
        return self.http.get(path, params=query, headers=bearer)

    def post(self, path: str, body: Any, *, token: str | None = None) -> httpx.Response:
        """A signed request that does something."""
        headers = {"Authorization": f"Bearer {token or self.token('POST', path)}", "Content-Type": "application/json"}
        return self.http.post(path, content=json.dumps(body), headers=headers)

    def order(self, configuration: Mapping[str, Any] = AT_MARKET, **changes: Any) -> httpx.Response:
        """A new order: a buy of a hundredth at market, but for what is said otherwise; None takes a member away."""
        usual = {
            "client_order_id": str(uuid4()),
            "product_id": "BTC-USD",
            "side": "BUY",
            "order_configuration": configuration,
        }
        body = {name: value for name, value in {**usual, **changes}.items() if value is not None}
        return self.post(ORDERS, body)

    def placed(self, configuration: Mapping[str, Any] = AT_MARKET, **changes: Any) -> dict[str, Any]:
        """What is told of an order that was made."""
        told = self.order(configuration, **changes).raise_for_status().json()
        assert told["success"] is True, told
        made: dict[str, Any] = told["success_response"]
        return made

    def found(self, order_id: str) -> dict[str, Any]:
        """An order as it stands."""
        found: dict[str, Any] = self.get(f"{ORDERS}/historical/{order_id}").raise_for_status().json()["order"]
        return found

    def cancel(self, *order_ids: str) -> list[tuple[bool, str]]:
        """What came of a cancel of each."""
        results = self.post(CANCEL, {"order_ids": order_ids}).raise_for_status().json()["results"]
        return [(each["success"], each["failure_reason"]) for each in results]


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status, and code of the error."""
    return answer.status_code, answer.json()["error"]


def reason(answer: httpx.Response) -> str:
    """Why no order was made."""
    told = answer.raise_for_status().json()
    assert told["success"] is False
    said = told["error_response"]
    names = [said["new_order_failure_reason"], said["error"], said["preview_failure_reason"]]
    return str(next(name for name in names if not name.startswith("UNKNOWN_")))
