"""What the node's errors have in common: they say what is wrong, and what a person can do about it."""

from __future__ import annotations


class Explained(Exception):
    """`message` says in one line what is wrong; `hints` say, a line each, what to do."""

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.message = message
        self.hints = hints
