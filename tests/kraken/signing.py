"""How Kraken has a request signed: HMAC-SHA-512 over its path and a digest of its number and body."""

from __future__ import annotations

import base64
import hashlib
import hmac


def signature(path: str, nonce: str, body: str, secret: str) -> str:
    """What the header API-Sign has to say."""
    digest = hashlib.sha256((nonce + body).encode()).digest()
    return base64.b64encode(
        hmac.new(base64.b64decode(secret), path.encode() + digest, hashlib.sha512).digest()
    ).decode()
