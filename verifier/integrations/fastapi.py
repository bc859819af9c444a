"""Signed requests in FastAPI: the middleware checks and signs, `Node` and `Sync` tell a handler who spoke.

    app.add_middleware(SignedPaths, verifier=verifier, authenticate=["/signals"], verify=["/v1/sync"])

    @app.post("/signals")
    async def signals(signal: Signal, sender: Node) -> dict[str, str]:      # any model: its body was authenticated
        return {"node": sender.key.node_id}                                 # goes out signed

    @app.post("/v1/sync")
    async def sync(verified: Sync) -> Response: ...                         # verified.message, verified.ticket

The verifier is an AsyncVerifier. Add this middleware last, so that it stands outside of the others. A handler refuses
by raising `Refused`; an HTTPException goes out signed as well, and so does what FastAPI says to a body that fits no
model. A handler that asks for `Node` or `Sync` at a path that is not listed fails without being reached. Starlette: the
same middleware, and `sender_in(request.scope)` from `verifier.integrations.asgi`.
"""

from __future__ import annotations

from typing import Annotated

try:
    from fastapi import Depends
    from fastapi.requests import HTTPConnection
except ModuleNotFoundError as error:
    raise ImportError("this needs FastAPI: pip install 'trading-node[fastapi]'") from error

from verifier.checks import Authenticated
from verifier.integrations.asgi import SignedPaths, sender_in, sync_in
from verifier.verifier import Verified

__all__ = ["Node", "SignedPaths", "Sync", "sender", "sync"]


async def sender(connection: HTTPConnection) -> Authenticated:
    """Who sent this request. Raises NotChecked at a path that is not signed."""
    return sender_in(connection.scope)


async def sync(connection: HTTPConnection) -> Verified:
    """The sync that this request is. Raises NotChecked at a path that is not in `verify`."""
    return sync_in(connection.scope)


Node = Annotated[Authenticated, Depends(sender)]
Sync = Annotated[Verified, Depends(sync)]
