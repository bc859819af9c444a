"""HTTP as this server has it: `verifier.integrations.asgi_io`, and no request without the raw target as it was sent."""

from __future__ import annotations

from verifier import SignedRequest
from verifier.integrations import asgi_io
from verifier.integrations.asgi_io import BODY_SECONDS, RAW_TARGET, Disconnected, Receive, Scope, gone, problem, send

__all__ = ["BODY_SECONDS", "RAW_TARGET", "Disconnected", "gone", "problem", "read", "send"]


async def read(scope: Scope, receive: Receive) -> SignedRequest:
    """As `asgi_io.read`; but what ASGI itself tells of the target is not enough, `control_plane.server` has to."""
    return await asgi_io.read(scope, receive, asgi_io.told_target(scope), seconds=BODY_SECONDS)
