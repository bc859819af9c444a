"""Requests made by hand, signed as Robinhood documents it, or wrongly on purpose."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from uuid import uuid4

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.robinhood.app import ORDERS
from tests.robinhood.case import KEY, SEED
from tests.venue.fixtures import ByHand


class Caller(ByHand):
    """A caller with the account's key."""

    def get(self, target: str, **changes: Any) -> httpx.Response:
        """A signed read."""
        return self.call("GET", target, "", **changes)

    def order(self, **changes: Any) -> httpx.Response:
        """A new order: a limit buy far below the price, but for what is said otherwise; None leaves a member out."""
        body = {
            "client_order_id": str(uuid4()),
            "symbol": "BTC-USD",
            "side": "buy",
            "type": "limit",
            "limit_order_config": {"asset_quantity": "0.01", "limit_price": "30000"},
        }
        body = {name: value for name, value in (body | changes).items() if value is not None}
        return self.call("POST", ORDERS, json.dumps(body))

    def cancel(self, order_id: str) -> httpx.Response:
        """A cancel."""
        return self.call("POST", f"{ORDERS}{order_id}/cancel/", "")

    def call(
        self,
        method: str,
        target: str,
        body: str,
        *,
        key: str = KEY,
        seed: str = SEED,
        ago: int = 0,
        signed: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Any request. `signed` is what is signed in place of the target; `ago` is how old it is."""
        stamp = int(time.time()) - ago
        signer = Ed25519PrivateKey.from_private_bytes(base64.b64decode(seed))
        message = f"{key}{stamp}{target if signed is None else signed}{method}{body}"
        sent = {
            "x-api-key": key,
            "x-timestamp": str(stamp),
            "x-signature": base64.b64encode(signer.sign(message.encode())).decode(),
            **({"content-type": "application/json"} if body else {}),
            **(headers or {}),
        }
        return self.http.request(method, target, content=body or None, headers=sent)
