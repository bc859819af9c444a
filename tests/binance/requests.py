"""A request as it came in, and whether its sender may make it: key, signature, time."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tests.binance.params import WHOLE, Params
from tests.venue.http import HttpRequest
from tests.venue.refusals import Refused, bad_key, bad_signature, too_early, too_late

USUAL_WINDOW: Final = Decimal(5000)
WIDEST_WINDOW: Final = Decimal(60000)
AHEAD: Final = 1000


@dataclass(frozen=True, slots=True)
class Window:
    """When a request was made, and how many milliseconds it is good."""

    timestamp: int
    width: Decimal

    def check(self, now: int) -> None:
        """Raises Refused outside of it. Asked on arrival, and again when the matching engine gets the request."""
        if self.timestamp >= now + AHEAD:
            raise too_early()
        if now - self.timestamp > self.width:
            raise too_late()


def params_of(request: HttpRequest) -> Params:
    """Its parameters; a body's count only where a body is allowed."""
    return Params(request.query, "" if request.method == "GET" else request.body)


def authenticate(request: HttpRequest, params: Params, key: Mapping[str, str] | None, now: int) -> Window:
    """Checks key, signature and time, in this order; raises Refused. Without a key none is good any more."""
    known = request.headers.get("x-mbx-apikey", "")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", known):
        raise Refused(-2014, "API-key format invalid.", 401)
    if key is None or not hmac.compare_digest(known, key["key"]):
        raise bad_key()
    timestamp = int(params.text("timestamp", WHOLE))
    width = Decimal(params.optional("recvWindow", r"^[0-9]{1,20}(\.[0-9]{1,3})?$") or USUAL_WINDOW)
    if width > WIDEST_WINDOW:
        raise Refused(-1102, "'recvWindow' contains unexpected value. Cannot be greater than '60000'.")
    signature = params.text("signature").lower()
    if not hmac.compare_digest(signature.encode(), signed(request, key["secret"]).encode()):
        raise bad_signature()
    window = Window(timestamp, width)
    window.check(now)
    return window


def signed(request: HttpRequest, secret: str) -> str:
    """The signature that this request must carry: over query and body as sent, without the signature itself."""
    total = _unsigned(request.query) + _unsigned(request.body)
    return hmac.new(secret.encode(), total.encode(), hashlib.sha256).hexdigest()


def _unsigned(encoded: str) -> str:
    return "&".join(pair for pair in encoded.split("&") if not pair.startswith("signature="))
