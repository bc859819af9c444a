"""What Polymarket has signed, and by whom: EIP-712 by hand, written from the standards and not from ccxt.

Only the hash and the curve are borrowed: Keccak from ccxt's own copy of it, secp256k1 from coincurve.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

from ccxt.static_dependencies import keccak as _keccak  # type: ignore[import-untyped, unused-ignore]
from coincurve import PrivateKey, PublicKey

CHAIN: Final = 137
EXCHANGE: Final = "0xE111180000d2663C0091e4f400237545B87B996B"
NEG_RISK_EXCHANGE: Final = "0xe2222d279d744050d28e00520010520000310F59"
ORDER: Final = (
    "Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,uint256 takerAmount,"
    "uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)"
)
_TYPED: Final = (
    "TypedDataSign(Order contents,string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)"
)
_AUTH: Final = "ClobAuth(address address,string timestamp,uint256 nonce,string message)"
_ATTESTS: Final = "This message attests that I control the given wallet"
DEPOSIT: Final = 3
"""The kind of wallet that looks at signatures itself."""


def keccak(data: bytes) -> bytes:
    """Keccak-256, as Ethereum has it: not SHA-3."""
    return bytes(_keccak.SHA3(data))


def word(value: int | str | bytes) -> bytes:
    """One member of a struct: a number, an address or another hex string, or a hash."""
    if isinstance(value, bytes):
        return value
    return (int(value, 16) if isinstance(value, str) else value).to_bytes(32, "big")


def struct(kind: str, *members: int | str | bytes) -> bytes:
    """The hash of a struct."""
    return keccak(keccak(kind.encode()) + b"".join(map(word, members)))


def text(value: str) -> bytes:
    """A member that is a string."""
    return keccak(value.encode())


def digest(domain: bytes, contents: bytes) -> bytes:
    """What is signed."""
    return keccak(b"\x19\x01" + domain + contents)


def exchange_domain(*, neg_risk: bool, chain: int = CHAIN) -> bytes:
    """The contract that settles."""
    return struct(
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
        text("Polymarket CTF Exchange"),
        text("2"),
        chain,
        NEG_RISK_EXCHANGE if neg_risk else EXCHANGE,
    )


def order_struct(order: Mapping[str, Any]) -> bytes:
    """An order's hash, without the contract."""
    return struct(
        ORDER,
        int(order["salt"]),
        order["maker"],
        order["signer"],
        int(order["tokenId"]),
        int(order["makerAmount"]),
        int(order["takerAmount"]),
        ("BUY", "SELL").index(order["side"]),
        int(order["signatureType"]),
        int(order["timestamp"]),
        order["metadata"],
        order["builder"],
    )


def order_id(order: Mapping[str, Any], *, neg_risk: bool, chain: int = CHAIN) -> str:
    """What the exchange calls it."""
    return "0x" + digest(exchange_domain(neg_risk=neg_risk, chain=chain), order_struct(order)).hex()


def signer_of(order: Mapping[str, Any], *, neg_risk: bool, chain: int = CHAIN) -> str | None:
    """Who signed an order; None where the signature is none."""
    domain, contents = exchange_domain(neg_risk=neg_risk, chain=chain), order_struct(order)
    signature = bytes.fromhex(order["signature"].removeprefix("0x"))
    if order["signatureType"] != DEPOSIT:
        return recovered(digest(domain, contents), signature)
    inner, rest = signature[:65], signature[65:]
    if rest != domain + contents + ORDER.encode() + len(ORDER).to_bytes(2, "big"):
        return None
    return recovered(digest(domain, _typed(contents, order, chain)), inner)


def order_signature(private: str, order: Mapping[str, Any], *, neg_risk: bool, chain: int = CHAIN) -> str:
    """An order's signature, as its kind of wallet wants it."""
    domain, contents = exchange_domain(neg_risk=neg_risk, chain=chain), order_struct(order)
    if order["signatureType"] != DEPOSIT:
        return signed(private, digest(domain, contents))
    inner = signed(private, digest(domain, _typed(contents, order, chain)))
    return inner + (domain + contents + ORDER.encode() + len(ORDER).to_bytes(2, "big")).hex()


def _typed(contents: bytes, order: Mapping[str, Any], chain: int) -> bytes:
    return struct(_TYPED + ORDER, contents, text("DepositWallet"), text("1"), chain, order["signer"], 0)


def auth_signer_of(address: str, timestamp: str, nonce: int, signature: str) -> str | None:
    """Who signed that a wallet is theirs."""
    try:
        return recovered(auth_message(address, timestamp, nonce), bytes.fromhex(signature.removeprefix("0x")))
    except ValueError:
        return None


def auth_message(address: str, timestamp: str, nonce: int) -> bytes:
    """What is signed by whom a wallet is."""
    domain = struct(
        "EIP712Domain(string name,string version,uint256 chainId)", text("ClobAuthDomain"), text("1"), CHAIN
    )
    return digest(domain, struct(_AUTH, address, text(timestamp), nonce, text(_ATTESTS)))


def recovered(signed: bytes, signature: bytes) -> str | None:
    """Whose key made a signature; None where it is none."""
    if len(signature) != 65 or signature[64] not in (27, 28):
        return None
    try:
        key = PublicKey.from_signature_and_message(signature[:64] + bytes([signature[64] - 27]), signed, hasher=None)
    except Exception:  # coincurve has no type of its own for bytes that are no signature
        return None
    return address_of(key)


def address_of(key: PublicKey) -> str:
    """The address of a key, with its checksum."""
    return checksummed(keccak(key.format(compressed=False)[1:])[12:].hex())


def own_address(private: str) -> str:
    """The address of a private key."""
    return address_of(PrivateKey(bytes.fromhex(private)).public_key)


def checksummed(address: str) -> str:
    """An address as EIP-55 writes it."""
    plain = address.lower().removeprefix("0x")
    marks = keccak(plain.encode()).hex()
    return "0x" + "".join(
        each.upper() if int(mark, 16) >= 8 else each for each, mark in zip(plain, marks, strict=False)
    )


def signed(private: str, message: bytes) -> str:
    """A signature as Ethereum writes it."""
    raw = PrivateKey(bytes.fromhex(private)).sign_recoverable(message, hasher=None)
    return "0x" + (raw[:64] + bytes([raw[64] + 27])).hex()


def request_signature(secret: str, timestamp: str, method: str, path: str, body: str) -> str:
    """Base64 of HMAC-SHA256 over time, method, path without query, and body, safe for URLs."""
    message = f"{timestamp}{method}{path}{body}".encode()
    return base64.urlsafe_b64encode(
        hmac.new(base64.urlsafe_b64decode(secret), message, hashlib.sha256).digest()
    ).decode()
