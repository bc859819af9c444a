"""The servers of `benchmarks.servers`: one endpoint that answers `{"ok":true}`, in three frameworks, signed or not.

BENCH_KIND is asgi, starlette or fastapi; BENCH_CHECKS is echo (nothing is checked), authenticate or verify;
BENCH_AUTHORITY is the name that requests are signed for.
"""

from __future__ import annotations

import os
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from starlette.applications import Starlette
from starlette.routing import Route

from benchmarks.messages import KEY, KEY_ID, MACHINE, NODE_ID, TICKET
from verifier import AsyncVerifier, NodeKey, enrolled
from verifier.integrations.asgi import SignedPaths
from verifier.integrations.asgi_io import App, Receive, Scope, Send
from verifier.stores import MemoryStore

PATH: Final = "/v1/sync"
OK: Final = b'{"ok":true}'
_JSON: Final = "application/json"


async def bare(_scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body and answers."""
    while (await receive()).get("more_body", False):
        pass
    headers = [(b"content-type", _JSON.encode()), (b"content-length", str(len(OK)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": OK})


async def handler(request: Request) -> Response:
    """The same, as a handler of Starlette or FastAPI."""
    await request.body()
    return Response(OK, media_type=_JSON)


def application(kind: str) -> Any:
    """The endpoint in a framework."""
    if kind == "starlette":
        return Starlette(routes=[Route(PATH, handler, methods=["POST"])])
    if kind == "fastapi":
        app = FastAPI()
        app.post(PATH)(handler)
        return app
    return bare


async def find_key(key_id: str) -> NodeKey | None:
    """The one key."""
    return _KEY if key_id == KEY_ID else None


def guarded(inner: App, checks: str) -> App:
    """The endpoint behind the verifier, or as it is."""
    if checks == "echo":
        return inner
    store = MemoryStore()
    store.save(NODE_ID, enrolled(TICKET, MACHINE))
    authorities = [os.environ["BENCH_AUTHORITY"]]
    verifier = AsyncVerifier(keys=find_key, store=store, authorities=authorities, scheme="http")
    syncs = checks == "verify"
    return SignedPaths(inner, verifier, authenticate=[] if syncs else [PATH], verify=[PATH] if syncs else [])


_KEY: Final = NodeKey.of(KEY_ID, KEY)
app: Final = guarded(application(os.environ.get("BENCH_KIND", "asgi")), os.environ.get("BENCH_CHECKS", "echo"))
