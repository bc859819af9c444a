"""Requests made by hand, signed as Binance documents it, or wrongly on purpose."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any
from urllib.parse import urlencode

import httpx

from tests.binance.process import BinanceProcess
from tests.venue.fixtures import ByHand

ORDER = "/api/v3/order"


class Caller(ByHand):
    """A caller with the account's key."""

    exchange: BinanceProcess

    def get(self, path: str, **params: Any) -> httpx.Response:
        """A request that is not signed."""
        return self.http.get(path, params=params)

    def call(self, method: str, path: str, **params: Any) -> httpx.Response:
        """A signed request; `timestamp` is now unless it is given, and None leaves a parameter out."""
        params = {"timestamp": round(time.time() * 1000), **params}
        query = urlencode({name: value for name, value in params.items() if value is not None})
        return self.send(method, path, f"{query}&signature={self.sign(query)}")

    def send(self, method: str, path: str, query: str, body: str = "", key: str | None = None) -> httpx.Response:
        """Exactly this query and body."""
        headers = {"X-MBX-APIKEY": self.exchange.key if key is None else key}
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        url = f"{path}?{query}" if query else path
        return self.http.request(method, url, content=body.encode(), headers=headers)

    def sign(self, total: str) -> str:
        """HMAC-SHA256 in hex."""
        return hmac.new(self.exchange.secret.encode(), total.encode(), hashlib.sha256).hexdigest()

    def order(self, **params: Any) -> httpx.Response:
        """A new order: a limit buy far below the price, but for what is said otherwise."""
        usual = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT"}
        if params.get("type", "LIMIT") == "LIMIT":
            usual |= {"timeInForce": "GTC", "price": "30000.00", "quantity": "0.01000"}
        return self.call("POST", ORDER, **{**usual, **params})

    def market(self, side: str = "BUY", **params: Any) -> httpx.Response:
        """A market order for a hundredth."""
        size = {} if "quoteOrderQty" in params else {"quantity": "0.01"}
        return self.order(type="MARKET", side=side, **{**size, **params})

    def found(self, client_id: str, symbol: str = "BTCUSDT") -> dict[str, Any]:
        """The order as the exchange shows it."""
        answer = self.call("GET", ORDER, symbol=symbol, origClientOrderId=client_id)
        assert answer.status_code == 200, answer.text
        row: dict[str, Any] = answer.json()
        return row


def refusal(answer: httpx.Response) -> tuple[int, int, str]:
    """HTTP status, code and message."""
    body = answer.json()
    return answer.status_code, body["code"], body["msg"]
