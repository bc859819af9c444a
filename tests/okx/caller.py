"""Requests made by hand, signed as OKX documents it, or wrongly on purpose."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import urlencode

import httpx

from tests.okx.case import KEY
from tests.okx.signing import sign, stamp
from tests.venue.fixtures import ByHand

ORDER = "/api/v5/trade/order"
CANCEL = "/api/v5/trade/cancel-order"


class Caller(ByHand):
    """A caller with the account's key."""

    def public(self, path: str, **params: Any) -> httpx.Response:
        """A request that is not signed."""
        return self.http.get(path, params=params)

    def get(self, path: str, **params: Any) -> httpx.Response:
        """A signed question."""
        return self.send("GET", f"{path}?{urlencode(params)}" if params else path)

    def post(self, path: str, **members: Any) -> httpx.Response:
        """A signed request with a body."""
        return self.send("POST", path, json.dumps(members))

    def send(self, method: str, target: str, body: str = "", **headers: str | None) -> httpx.Response:
        """Exactly this; `headers` by their names with `_` for `-`, in place of the right ones, or None for none."""
        timestamp = headers.get("ok_access_timestamp") or stamp(round(time.time() * 1000))
        given: dict[str, str | None] = {
            "ok_access_key": KEY["key"],
            "ok_access_passphrase": KEY["passphrase"],
            "ok_access_timestamp": timestamp,
            "ok_access_sign": sign(KEY["secret"], timestamp, method, target, body),
            "content_type": "application/json" if body else None,
            **headers,
        }
        sent = {name.replace("_", "-"): value for name, value in given.items() if value is not None}
        return self.http.request(method, target, content=body.encode(), headers=sent)

    def order(self, **members: Any) -> httpx.Response:
        """A new order: a limit buy far below the price, but for what is said otherwise; None leaves a member out."""
        usual = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "0.01", "px": "30000"}
        asked = {**usual, **members}
        return self.post(ORDER, **{name: value for name, value in asked.items() if value is not None})

    def market(self, **members: Any) -> httpx.Response:
        """A market order for a hundredth of the base."""
        return self.order(ordType="market", px=None, **{"tgtCcy": "base_ccy", **members})

    def found(self, client_id: str) -> dict[str, Any]:
        """The order as the exchange shows it."""
        (row,) = rows(self.get(ORDER, instId="BTC-USDT", clOrdId=client_id))
        return row


def rows(answer: httpx.Response) -> list[dict[str, Any]]:
    """What a success tells."""
    told = answer.json()
    assert (answer.status_code, told["code"], told["msg"]) == (200, "0", ""), answer.text
    data: list[dict[str, Any]] = told["data"]
    return data


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """HTTP status, and the code that counts: the order's own where there is one."""
    told = answer.json()
    assert told["code"] != "0"
    row: dict[str, str] = next(iter(told.get("data") or ()), {})
    return answer.status_code, row.get("sCode", told["code"])
