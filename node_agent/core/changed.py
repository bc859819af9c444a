"""A frozen value with some fields other than before, made without going through all of them."""

from __future__ import annotations

from typing import Any, TypeVar

T = TypeVar("T")


def changed(value: T, **changes: Any) -> T:
    """As `dataclasses.replace`, for a dataclass without slots: one step makes dozens of these.

    Raises TypeError for a field that there is none of.
    """
    kind: Any = type(value)
    if changes.keys() - kind.__dataclass_fields__.keys():
        raise TypeError(f"no such field: {', '.join(changes.keys() - kind.__dataclass_fields__.keys())}")
    after = object.__new__(kind)
    after.__dict__.update(value.__dict__, **changes)
    made: T = after
    return made
