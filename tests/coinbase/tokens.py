"""Tokens as Coinbase documents them: made by hand, and looked at as closely as it may."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

GOOD_FOR: Final = 120
LENIENCE: Final = 1.0
ISSUERS: Final = frozenset(("cdp", "coinbase-cloud"))
HEADER: Final = frozenset(("alg", "typ", "kid", "nonce"))
CLAIMS: Final = frozenset(("sub", "iss", "nbf", "exp", "uri"))
MAY_BE_CLAIMED: Final = CLAIMS | {"aud", "iat"}


class BadToken(Exception):
    """It does not open anything, and why: Coinbase itself does not say."""


def new_key() -> str:
    """A private key as Coinbase hands one out."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()


def private_key(pem: str) -> ec.EllipticCurvePrivateKey:
    """The key in it."""
    key = load_pem_private_key(pem.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def made(
    pem: str, name: str, method: str, host: str, path: str, now: float, *, good_for: int = GOOD_FOR, **changes: Any
) -> str:
    """A token for one request; `changes` by name go into its header or its claims, and None takes a member away."""
    header = {"alg": "ES256", "typ": "JWT", "kid": name, "nonce": secrets.token_hex(16)}
    claims = {
        "sub": name,
        "iss": "cdp",
        "nbf": int(now),
        "exp": int(now) + good_for,
        "uri": f"{method} {host}{path}",
    }
    for member, value in changes.items():
        (header if member in HEADER else claims)[member] = value
    signed = ".".join(_encoded({k: v for k, v in part.items() if v is not None}) for part in (header, claims))
    r, s = decode_dss_signature(private_key(pem).sign(signed.encode(), ec.ECDSA(SHA256())))
    return f"{signed}.{_base64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def see(token: str, key: ec.EllipticCurvePublicKey, *, name: str, method: str, host: str, path: str, now: float) -> str:
    """The nonce of a token that is good for this request; raises BadToken."""
    parts = token.split(".")
    if len(parts) != 3:
        raise BadToken("it has not three parts")
    header, claims = (_members(part) for part in parts[:2])
    signature = _bytes(parts[2])
    if len(signature) != 64:
        raise BadToken("its signature is none of ES256")
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    try:
        key.verify(der, ".".join(parts[:2]).encode(), ec.ECDSA(SHA256()))
    except InvalidSignature:
        raise BadToken("its signature is another's") from None
    if header.keys() != HEADER or (header["alg"], header["typ"]) != ("ES256", "JWT"):
        raise BadToken("its header is another")
    if not isinstance(header["nonce"], str) or len(header["nonce"]) < 8:
        raise BadToken("it has no nonce")
    if not CLAIMS <= claims.keys() <= MAY_BE_CLAIMED:
        raise BadToken("it claims too little, or too much")
    if header["kid"] != name or claims["sub"] != name or claims["iss"] not in ISSUERS:
        raise BadToken("it is another's")
    nbf, exp = int(claims["nbf"]), int(claims["exp"])
    if nbf > now + LENIENCE:
        raise BadToken("it is from the future")
    if exp <= now or exp - nbf > GOOD_FOR:
        raise BadToken("it is too old, or good for too long")
    # ccxt takes https:// off alone, and nothing on loopback has that
    if claims["uri"].replace("http://", "", 1) != f"{method} {host}{path}":
        raise BadToken("it is for another request")
    return str(header["nonce"])


def _encoded(members: Mapping[str, Any]) -> str:
    return _base64(json.dumps(members).encode())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise BadToken("it is not written in base64url") from None


def _members(text: str) -> dict[str, Any]:
    try:
        members = json.loads(_bytes(text))
    except ValueError:
        raise BadToken("a part of it is no JSON") from None
    if not isinstance(members, dict):
        raise BadToken("a part of it is no object")
    return members
