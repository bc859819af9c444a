"""How two sides come to share a node key: enrolment tokens, key ids, X25519 (RFC 7748) and HKDF (RFC 5869). Pure.

    node_key = HKDF-SHA256(ikm  = X25519(own private, other's public),
                           salt = the token's secret at enrolment, the current node key at a rotation,
                           info = "trading-node/v1/node-key" || 00 || key id || 00 || node public || server public,
                           length = 32)

The key never crosses the wire. Randomness comes in as a parameter.
"""

from __future__ import annotations

import re
from base64 import b32encode
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from node_protocol.encoding import b64url_decode, b64url_encode
from node_protocol.refusals import Code, Malformed, Misuse, Refused

KEY_BYTES: Final = 32
"""Length of node keys, of token secrets, and of X25519 keys of both kinds."""

_CONTEXT: Final = b"trading-node/v1/node-key"
_TOKEN = re.compile(r"nt_([a-z2-7]{16})_([A-Za-z0-9_-]{43})", re.ASCII)
_NODE_KEY_ID = re.compile(r"(n_[a-z2-7]{20})\.([1-9][0-9]{0,8})", re.ASCII)
_ENROLL_KEY_ID = re.compile(r"enroll\.([a-z2-7]{16})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Token:
    """A one-time enrolment token: who shows its secret may make one node."""

    token_id: str
    """16 characters of [a-z2-7]."""
    secret: bytes = field(repr=False)
    """32 bytes."""


@dataclass(frozen=True, slots=True)
class KeyId:
    """The name of one version of a node's key, `n_….1`."""

    node_id: str
    version: int

    def __str__(self) -> str:
        return f"{self.node_id}.{self.version}"

    def next(self) -> KeyId:
        """The name that a rotation gives."""
        return KeyId(self.node_id, self.version + 1)


def parse_token(text: str) -> Token:
    """The token that `nt_<token id>_<secret>` stands for. Raises Malformed, without the text in it."""
    match = _TOKEN.fullmatch(text)
    if match is None:
        raise Malformed("not an enrolment token: it has the form nt_<16 characters>_<43 characters>")
    return Token(match[1], b64url_decode(match[2], length=KEY_BYTES))


def format_token(token: Token) -> str:
    """The text of a token, which shows its secret: for the one who is to have it, once."""
    return f"nt_{token.token_id}_{b64url_encode(token.secret)}"


def parse_key_id(text: str) -> KeyId:
    """The key id of an enrolled node. Raises Malformed."""
    match = _NODE_KEY_ID.fullmatch(text)
    if match is None:
        raise Malformed("not a node's key id")
    return KeyId(match[1], int(match[2]))


def enroll_key_id(token_id: str) -> str:
    """The key id under which a token's secret signs."""
    return f"enroll.{token_id}"


def parse_enroll_key_id(text: str) -> str:
    """The token id in a token's key id. Raises Malformed."""
    match = _ENROLL_KEY_ID.fullmatch(text)
    if match is None:
        raise Malformed("not an enrolment's key id")
    return match[1]


def node_id_from(random: bytes) -> str:
    """`n_` and 20 characters of [a-z2-7], from at least 13 random bytes."""
    return "n_" + _base32(random, 20)


def token_id_from(random: bytes) -> str:
    """16 characters of [a-z2-7], from at least 10 random bytes."""
    return _base32(random, 16)


def public_key(private: bytes) -> bytes:
    """The X25519 public key of 32 private bytes."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def derive_node_key(
    *,
    private: bytes,
    peer_public: bytes,
    salt: bytes,
    key_id: str,
    node_public: bytes,
    server_public: bytes,
) -> bytes:
    """The 32 bytes that both sides come to, each from its own private key and the other's public one.

    `salt` is the token's secret at enrolment and the current node key at a rotation. Raises Refused (`invalid_payload`)
    when the shared secret would be all zeros (RFC 7748, section 6.1): such a public key shares nothing.
    """
    try:
        shared = X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(peer_public))
    except ValueError:
        raise Refused(
            Code.INVALID_PAYLOAD,
            "public_key_of_small_order",
            extra={"errors": [{"at": "public_key", "error": "not a usable X25519 public key"}]},
        ) from None
    info = b"\0".join((_CONTEXT, key_id.encode("ascii"), node_public + server_public))
    return HKDF(SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(shared)


def _base32(random: bytes, length: int) -> str:
    text = b32encode(random).decode("ascii").rstrip("=").lower()[:length]
    if len(text) != length or len(random) * 8 < length * 5:
        raise Misuse(f"too few random bytes for {length} characters")
    return text
