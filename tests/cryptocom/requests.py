"""A request as Crypto.com takes it: what it asks for, whether it is signed, and its parameters by their forms. Pure."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from urllib.parse import parse_qsl

from tests.cryptocom.refusals import Because
from tests.cryptocom.signing import sign

NONCE_HOLDS: Final = 60_000
"""How many milliseconds a request's time may be off."""
_ENVELOPE: Final = {"id", "method", "params", "api_key", "sig", "nonce"}
_WHOLE: Final = re.compile(r"\d{1,19}", re.ASCII)
_AMOUNT: Final = re.compile(r"\d{1,18}(?:\.\d{1,18})?", re.ASCII)
_PER_MILLISECOND: Final = {13: 1, 16: 1000, 19: 1_000_000}


@dataclass(frozen=True)
class Asked:
    """What was asked for, with parameters that are known by their names and nothing else."""

    params: Mapping[str, Any]

    def known(self, names: Collection[str]) -> None:
        """Refused where there is a parameter that this method does not have."""
        if not self.params.keys() <= set(names):
            raise Because(40003)

    def text(self, name: str, otherwise: str | None = None) -> str:
        """A parameter that is some text."""
        value = self.params.get(name, otherwise)
        if not isinstance(value, str) or not value:
            raise Because(40004)
        return value

    def one_of(self, name: str, values: Collection[str], code: int, otherwise: str | None = None) -> str:
        """A parameter that is one of these, or the refusal with this code."""
        value = self.params.get(name, otherwise)
        if value not in values:
            raise Because(code)
        return str(value)

    def amount(self, name: str, code: int) -> Decimal:
        """A number, which is to be written as a string."""
        value = self.params.get(name)
        if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
            raise Because(code)
        return Decimal(value)

    def whole(self, name: str, otherwise: int) -> int:
        """A whole number, in either form."""
        value = self.params.get(name, otherwise)
        if isinstance(value, bool) or not isinstance(value, int | str) or not _WHOLE.fullmatch(str(value)):
            raise Because(40004)
        return int(value)

    def moment(self, name: str, otherwise: int) -> int:
        """A time in nanoseconds; it may come in milliseconds or, as ccxt writes some, in microseconds."""
        given = self.whole(name, otherwise)
        unit = _PER_MILLISECOND.get(len(str(given)))
        if unit is None:
            raise Because(40005)
        return given * (1_000_000 // unit)


def of_query(query: str) -> Asked:
    """What a public method is asked."""
    pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    if len(dict(pairs)) < len(pairs):
        raise Because(40001)
    return Asked(dict(pairs))


def of_body(body: str) -> dict[str, Any]:
    """What stands around the parameters of a private method, whole and in its forms."""
    try:
        envelope = json.loads(body)
    except ValueError:
        raise Because(40001) from None
    if not isinstance(envelope, dict) or envelope.keys() != _ENVELOPE:
        raise Because(40004)
    numbers = (str(envelope["id"]), str(envelope["nonce"]))
    if not all(_WHOLE.fullmatch(each) for each in numbers) or not isinstance(envelope["params"], dict):
        raise Because(40004)
    return envelope


def authenticate(envelope: Mapping[str, Any], key: Mapping[str, str], now: int) -> None:
    """Refused where it is not signed with this key, or is stamped too long ago or ahead."""
    signature = sign(
        key["secret"],
        str(envelope["method"]),
        envelope["id"],
        str(envelope["api_key"]),
        envelope["params"],
        envelope["nonce"],
    )
    if envelope["api_key"] != key["key"] or not hmac.compare_digest(signature, str(envelope["sig"])):
        raise Because(40101)
    if abs(int(envelope["nonce"]) - now) > NONCE_HOLDS:
        raise Because(40102)
