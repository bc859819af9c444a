"""Which paths are signed, and where what the checks found waits for the handler. Shared by the integrations."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeAlias

from node_protocol import MAX_BODY
from node_protocol.refusals import Code, Misuse, Refused
from verifier.checks import Authenticated
from verifier.verifier import Verified

FOUND: Final = "trading_node.found"
"""Where it stands in an ASGI scope or a WSGI environ: no header can end up there."""

Found: TypeAlias = Authenticated | Verified

_log = logging.getLogger("verifier")


class NotChecked(Misuse):
    """A handler asks who sent a request that nobody has checked: its path is not among those that are signed."""


class Paths:
    """The paths whose requests are checked, and how; one that ends in `/` stands for all below it, too.

    Where both lists have a path, it is verified. Raises Misuse for what is no list of paths.
    """

    def __init__(self, authenticate: Collection[str], verify: Collection[str]) -> None:
        for paths in (authenticate, verify):
            if isinstance(paths, str) or not all(path.startswith("/") for path in paths):
                raise Misuse(f"{paths!r} is not a list of paths, such as ['/signals']")
        self._authenticate, self._verify = tuple(authenticate), tuple(verify)

    def has(self, path: str) -> bool:
        """Whether requests to this path are checked."""
        return self.verifies(path) or _among(path, self._authenticate)

    def verifies(self, path: str) -> bool:
        """Whether they are syncs, and get all checks of one."""
        return _among(path, self._verify)


def see_size(declared: str | None) -> None:
    """Whether a body of this Content-Length is to be read at all. Raises Refused (`too_large`)."""
    text = declared or "0"
    if not text.isascii() or not text.isdigit() or len(text.lstrip("0")) > 7 or int(text) > MAX_BODY:
        raise Refused(Code.TOO_LARGE, "declared_over_1_mib")


def target_unknown(looked_for: str) -> Refused:
    """The refusal of everything behind a server that does not tell the raw target; the log says so, too."""
    _log.error("signed requests are refused: the server in front does not tell the raw target (%s)", looked_for)
    return Refused(Code.UNAVAILABLE, "raw_target_unknown")


def sender_of(found: Found) -> Authenticated:
    """Who sent what was checked."""
    return found.sender if isinstance(found, Verified) else found


def sender_in(scope: Mapping[str, Any]) -> Authenticated:
    """Who sent the request of an ASGI scope or a WSGI environ. Raises NotChecked."""
    found = scope.get(FOUND)
    if not isinstance(found, Authenticated | Verified):
        raise NotChecked("nobody has checked this request: give its path to SignedPaths")
    return sender_of(found)


def sync_in(scope: Mapping[str, Any]) -> Verified:
    """The sync in an ASGI scope or a WSGI environ. Raises NotChecked."""
    found = scope.get(FOUND)
    if not isinstance(found, Verified):
        raise NotChecked("nobody has checked this sync: give its path to SignedPaths, in `verify`")
    return found


def _among(path: str, paths: tuple[str, ...]) -> bool:
    return any(path == each or (each.endswith("/") and path.startswith(each)) for each in paths)
