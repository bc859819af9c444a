"""The application: the signed routes as plain ASGI, and beside them the few that need no signature."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from control_plane import http_io
from control_plane.channel import Channel
from node_protocol import refusals
from node_protocol.messages import SaltAnswer, encode
from node_protocol.refusals import Code
from verifier import Answer, SignedRequest, StoreUnavailable

_SALT_SECONDS = 3600
_READY_SECONDS = 4

Handler = Callable[[SignedRequest, Receive], Awaitable[Answer]]


class SignedRoute:
    """One signed route. Whatever is not an authenticated POST to it gets the one answer `unauthenticated`."""

    def __init__(self, channel: Channel, handle: Handler) -> None:
        self._channel = channel
        self._handle = handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads, handles, answers; a client that has gone away gets nothing."""
        request: SignedRequest | None = None
        try:
            request = await http_io.read(scope, receive)
            if request.method != "POST":
                raise refusals.Refused(Code.UNAUTHENTICATED, "wrong_method")
            answer = await self._handle(request, receive)
        except http_io.Disconnected:
            return
        except refusals.Refused as refused:
            answer = await self._channel.refuse(refused, request)
        await http_io.send(answer, send)


def create_app(channel: Channel, salt: SaltAnswer) -> FastAPI:
    """The application around a channel whose database is of the current form."""
    app = FastAPI(title="control-plane", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "ok"}, headers={"cache-control": "no-store"})

    @app.get("/readyz")
    async def readyz() -> Response:
        try:
            # A PostgreSQL that stands still lets go of nobody: what asks about it does.
            ready = await asyncio.wait_for(asyncio.to_thread(channel.is_ready), _READY_SECONDS)
        except (SQLAlchemyError, TimeoutError):
            ready = False
        except StoreUnavailable as error:
            return _response(http_io.problem(503, str(error)))
        if not ready:
            return _response(http_io.problem(503, "the database cannot be reached or is not of this version's form"))
        return JSONResponse({"status": "ready"}, headers={"cache-control": "no-store"})

    @app.get("/v1/enroll/salt")
    async def enroll_salt() -> Response:
        headers = {"cache-control": f"public, max-age={_SALT_SECONDS}, no-transform"}
        return Response(encode(salt), media_type="application/json", headers=headers)

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        # A POST that found no route has a path that no signature here is over: it is told no more than a bad one.
        if request.method == "POST" and error.status_code == 404:
            return _response(await channel.refuse(refusals.Refused(Code.UNAUTHENTICATED, "unknown_path"), None))
        response = _response(http_io.problem(error.status_code))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def our_fault(_request: Request, _error: Exception) -> Response:
        return _response(http_io.problem(500))

    for path, handle in (("/v1/enroll", channel.enroll), ("/v1/keys", channel.keys), ("/v1/sync", channel.sync)):
        app.router.routes.append(Route(path, SignedRoute(channel, handle)))
    return app


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))
