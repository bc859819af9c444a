"""How a request to Crypto.com is signed: HMAC-SHA256 over its method, id, key, parameters and nonce. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

_DEEPEST: Final = 3


def sign(secret: str, method: str, number: object, key: str, params: Mapping[str, Any], nonce: object) -> str:
    """The signature, in hex."""
    payload = f"{method}{number}{key}{_strung(params, 0)}{nonce}"
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def _strung(value: Any, depth: int) -> str:
    """Names and values without anything between them, by name; lists as they stand."""
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return "".join(f"{name}{_strung(value[name], depth + 1)}" for name in sorted(value))
    if isinstance(value, list) and depth < _DEEPEST:
        return "".join(_strung(each, depth + 1) for each in value)
    return "null" if value is None else str(value)
