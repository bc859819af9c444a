"""The master key: where it comes from, what is refused, and the sealing of secrets under it.

A secret at rest is a Fernet token under a key that HKDF (RFC 5869) derives from the master key for one purpose alone,
and inside it stands whose secret it is: a ciphertext that was moved to another row, or to another table, does not open.
Several master keys may be given, the first seals and each opens; that is how one is replaced.
"""

from __future__ import annotations

import re
import secrets
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from node_protocol.encoding import b64url_encode

VARIABLE: Final = "CONTROL_PLANE_MASTER_KEY"
FILE_VARIABLE: Final = "CONTROL_PLANE_MASTER_KEY_FILE"
MASTER_KEY_BYTES: Final = 32
"""The least that a master key has."""

_CONTEXT: Final = b"trading-node/control-plane/v1/"
_HEX = re.compile(r"[0-9a-fA-F]+", re.ASCII)
# 32 random bytes have about 30 different values, and as many different steps from one to the next.
_FEWEST_VALUES: Final = 16


class Purpose(StrEnum):
    """What a derived key is for; each purpose has its own key."""

    NODE_KEY = "node-key"
    TOKEN = "enrolment-token"  # noqa: S105  the name of a purpose
    CHECK = "master-key-check"


class BadMasterKey(ValueError):
    """There is no master key to be used, and why; never with the key in it."""


class SealBroken(Exception):
    """A sealed secret does not open: another master key, a changed row, or a row that is not its own."""


def generate() -> str:
    """A new master key as text: 32 random bytes, base64url."""
    return b64url_encode(secrets.token_bytes(MASTER_KEY_BYTES))


def from_environment(environ: Mapping[str, str]) -> Sealer:
    """The sealer of the keys that the environment names. Raises BadMasterKey."""
    value, path = environ.get(VARIABLE, ""), environ.get(FILE_VARIABLE, "")
    if value and path:
        raise BadMasterKey(f"both {VARIABLE} and {FILE_VARIABLE} are set; one of them decides")
    if path:
        try:
            value = Path(path).read_text("utf-8")
        except OSError as error:
            what = (error.strerror or str(error)).lower()
            raise BadMasterKey(f"the master key cannot be read: {what}: {path}") from None
        except UnicodeDecodeError:
            raise BadMasterKey(f"the master key cannot be read: {path} is not text") from None
        if not value.strip():
            raise BadMasterKey(f"there is no master key in {path}")
    if not value.strip():
        raise BadMasterKey(f"no master key: neither {VARIABLE} nor {FILE_VARIABLE} is set")
    return Sealer([parse(part) for part in value.split(",")])


def parse(text: str) -> bytes:
    """The bytes of one master key in hex, base64 or base64url.

    Raises BadMasterKey below 32 bytes, and for bytes that no random source would give: few different ones, an even
    progression, plain text.
    """
    text = text.strip()
    key = _from_hex(text) if _HEX.fullmatch(text) else _from_base64(text)
    if key is None:
        # What is too short as hex may be long enough as base64, such as AAAA…: no good either, for another reason.
        other = _from_base64(text)
        if other is None or _looks_random(other):
            raise BadMasterKey(f"the master key is not {MASTER_KEY_BYTES} or more bytes in base64url, base64 or hex")
        key = other
    if not _looks_random(key):
        raise BadMasterKey("the master key is not random: it was typed, repeated or counted up")
    return key


class Sealer:
    """Seals secrets for their owners. Does not print."""

    def __init__(self, master_keys: Sequence[bytes]) -> None:
        self._fernets = {
            purpose: MultiFernet([_fernet(master_key, purpose) for master_key in master_keys]) for purpose in Purpose
        }
        self._decoys = {purpose: self.seal(purpose, "", bytes(32)) for purpose in Purpose}

    def seal(self, purpose: Purpose, owner: str, secret: bytes) -> str:
        """The ciphertext of a secret, good for this purpose and this owner alone."""
        return self._fernets[purpose].encrypt(owner.encode() + b"\0" + secret).decode("ascii")

    def open(self, purpose: Purpose, owner: str, sealed: str) -> bytes:
        """The secret. Raises SealBroken."""
        try:
            plain = self._fernets[purpose].decrypt(sealed)
        except InvalidToken:
            raise SealBroken(f"the {purpose} of {owner} does not open under this master key") from None
        found, _, secret = plain.partition(b"\0")
        if found != owner.encode():
            raise SealBroken(f"the {purpose} of {owner} is another's")
        return secret

    def open_decoy(self, purpose: Purpose) -> bytes:
        """32 bytes that nobody uses, so that a key that is not there costs the work of one that is."""
        return self.open(purpose, "", self._decoys[purpose])

    def __repr__(self) -> str:
        return "Sealer(…)"


def _fernet(master_key: bytes, purpose: Purpose) -> Fernet:
    derived = HKDF(SHA256(), length=32, salt=None, info=_CONTEXT + purpose.encode()).derive(master_key)
    return Fernet(urlsafe_b64encode(derived))


def _looks_random(key: bytes) -> bool:
    steps = {(after - before) % 256 for before, after in pairwise(key)}
    typed = all(32 <= byte < 127 for byte in key)
    return len(set(key)) >= _FEWEST_VALUES and len(steps) >= _FEWEST_VALUES and not typed


def _from_hex(text: str) -> bytes | None:
    # Hex reads as base64 too, of another and longer key: what looks like hex is hex.
    return _long_enough(bytes.fromhex(text)) if len(text) % 2 == 0 else None


def _from_base64(text: str) -> bytes | None:
    padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
    try:
        return _long_enough(
            urlsafe_b64decode(padded) if re.fullmatch(r"[\w-]+=*", text, re.ASCII) else b64decode(padded, validate=True)
        )
    except (Base64Error, ValueError):
        return None


def _long_enough(key: bytes) -> bytes | None:
    return key if len(key) >= MASTER_KEY_BYTES else None
