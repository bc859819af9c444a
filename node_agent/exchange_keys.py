"""Exchange keys in the vault: one secret an exchange, with all parts of its key and what its owner said of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import SecretStr

from node_agent.exchanges.profile import Profile
from node_agent.vault import Vault, VaultError
from node_protocol.encoding import format_time, parse_time

_PREFIX: Final = "exchange/"
_DIGEST: Final = 12
"""Hex characters that a key is shown by."""


@dataclass(frozen=True, slots=True)
class Attestation:
    """The owner's word that a key cannot take money out, or that it may be held all the same."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ExchangeKey:
    """One exchange's key."""

    exchange: str
    parts: Mapping[str, SecretStr]
    """By the names that the exchange's profile gives them."""
    added_at: datetime
    attested: Attestation | None = None

    @property
    def digest(self) -> str:
        """What the key is shown by: it tells keys apart, and nothing about them."""
        digest = hashlib.sha256(b"trading-node exchange key\0" + self.exchange.encode())
        for name in sorted(self.parts):
            part = self.parts[name].get_secret_value().encode()
            digest.update(b"\0%s\0%d\0" % (name.encode(), len(part)) + part)
        return digest.hexdigest()[:_DIGEST]


def keep(vault: Vault, key: ExchangeKey) -> None:
    """Put a key into the vault, in place of the exchange's earlier one. Raises VaultError."""
    attested = key.attested
    record = {
        "parts": {name: part.get_secret_value() for name, part in key.parts.items()},
        "added_at": format_time(key.added_at),
        "attested": None if attested is None else {"by": attested.by, "at": format_time(attested.at)},
    }
    vault.put(_PREFIX + key.exchange, json.dumps(record).encode())


def kept(vault: Vault, exchange: str) -> ExchangeKey | None:
    """The key of an exchange; None when there is none. Raises VaultError for one that cannot be read."""
    secret = vault.get(_PREFIX + exchange)
    if secret is None:
        return None
    try:
        record: dict[str, Any] = json.loads(secret.get_secret_value())
        attested = record["attested"]
        return ExchangeKey(
            exchange,
            {name: SecretStr(part) for name, part in record["parts"].items()},
            parse_time(record["added_at"]),
            None if attested is None else Attestation(attested["by"], parse_time(attested["at"])),
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        raise VaultError(
            f"the key for {exchange} in the vault cannot be read", f"put it in again: node-agent keys add {exchange}"
        ) from None


def all_kept(vault: Vault) -> list[ExchangeKey]:
    """Every exchange's key. Raises VaultError for one that cannot be read."""
    names = (name.removeprefix(_PREFIX) for name in vault.names() if name.startswith(_PREFIX))
    return [key for name in names if (key := kept(vault, name)) is not None]


def forget(vault: Vault, exchange: str) -> None:
    """Take a key out of the vault; nothing happens when there is none. Raises VaultError."""
    vault.remove(_PREFIX + exchange)


def flaw(profile: Profile, parts: Mapping[str, str]) -> str | None:
    """What is wrong with the parts of a key as they were given; None when they look as the exchange hands them out."""
    for each in profile.credentials:
        if each.name not in parts:
            return f"its {each.label} is missing"
        if not each.form.fullmatch(each.tidy(parts[each.name])):
            return f"its {each.label} is none: {profile.title} gives {each.looks}"
        if not each.signs(each.tidy(parts[each.name])):
            return f"its {each.label} looks right, and nothing can be signed with it: was all of it copied?"
    return profile.misfit({each.name: each.tidy(parts[each.name]) for each in profile.credentials})
