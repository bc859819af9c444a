"""How OKX has its requests signed, written from its documentation and not from ccxt."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta


def sign(secret: str, timestamp: str, method: str, target: str, body: str) -> str:
    """Base64 of HMAC-SHA256 over time, method, path with query, and body. `target`: the path with its query."""
    total = f"{timestamp}{method}{target}{body}"
    return base64.b64encode(hmac.new(secret.encode(), total.encode(), hashlib.sha256).digest()).decode()


def stamp(milliseconds: int) -> str:
    """A time as a request is stamped with it."""
    at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
