"""Fingerprints of a machine: salted components, their digest, and how alike two of them are. Pure.

A component crosses the wire as a keyed hash, so the server compares and learns no serial number. What cannot be read is
left out, never sent empty: two empty values would be equal, and that is how fingerprints lie.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from node_protocol.encoding import b64url_encode

WEIGHTS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "machine_id": 30,
        "storage": 25,
        "disk": 15,
        "cpu": 10,
        "board": 8,
        "pci": 7,
        "memory": 5,
        "boot": 0,
    }
)
"""What each component counts; together 100. `boot` counts nothing: equal on two nodes, it means one running kernel."""

SAME: Final = 0.75
"""A score from which on it is the same machine."""
DRIFT: Final = 0.45
"""A score from which on, below SAME, it is a machine with a changed part. Below, another machine."""
ENOUGH: Final = 35
"""The least weight present on both sides for a verdict."""

_JUNK: Final = frozenset(
    (
        "to be filled by o.e.m.",
        "default string",
        "system serial number",
        "system product name",
        "not specified",
        "not applicable",
        "none",
        "unknown",
        "uninitialized",
        "03000200-0400-0500-0006-000700080009",
    )
)
_ALL_ZERO_OR_F = re.compile(r"[0\s:._-]+|[f\s:._-]+", re.ASCII)


class Similarity(NamedTuple):
    """How alike two fingerprints are."""

    equal: int
    """Weight of the components that are equal."""
    present: int
    """Weight of the components present on both sides."""

    @property
    def sufficient(self) -> bool:
        """Whether enough is present on both sides for a verdict."""
        return self.present >= ENOUGH

    @property
    def score(self) -> float:
        """Equal weight over present weight, 0 to 1; 0 when nothing is present."""
        return self.equal / self.present if self.present else 0.0


def is_junk(value: str) -> bool:
    """Whether a value is one that makers leave in place of a serial: empty, zeros, Fs, "To be filled by O.E.M."."""
    text = value.strip().lower()
    return not text or text in _JUNK or _ALL_ZERO_OR_F.fullmatch(text) is not None


def salted(salt: bytes, name: str, value: str) -> str:
    """The 22 characters under which a component's value is known to the server of this salt."""
    mac = hmac.digest(salt, name.encode() + b"\0" + value.encode(), hashlib.sha256)
    return b64url_encode(mac)[:22]


def digest(components: Mapping[str, str]) -> str:
    """One name for a whole fingerprint: 43 characters over its sorted `name=value` lines."""
    lines = "\n".join(sorted(f"{name}={value}" for name, value in components.items()))
    return b64url_encode(hashlib.sha256(lines.encode()).digest())


def compare(one: Mapping[str, str], other: Mapping[str, str]) -> Similarity:
    """How alike two fingerprints of salted components are, whichever comes first."""
    equal = present = 0
    for name, value in one.items():
        if name in other:
            weight = WEIGHTS.get(name, 0)
            present += weight
            if value == other[name]:
                equal += weight
    return Similarity(equal, present)


def on_one_machine(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two nodes share a machine: equal `machine_id` or `boot`. Equal models of hardware are not enough."""
    return any(name in one and one[name] == other.get(name) for name in ("machine_id", "boot"))
