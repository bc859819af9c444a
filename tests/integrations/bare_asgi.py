"""A server without a framework: what `verifier.integrations.asgi` needs is ASGI, and the example's backend."""

from __future__ import annotations

from examples import backend, fastapi_server
from node_protocol import strict_json
from node_protocol.messages import encode, parse
from verifier.integrations.asgi import SignedPaths, sender_in, sync_in
from verifier.integrations.asgi_io import Receive, Scope, Send


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers `POST /signals` and `POST /v1/sync`, all else with 404."""
    if scope["type"] != "http":
        return
    body, status = b"{}", 200
    if scope["method"] != "POST":
        status = 405
    elif scope["path"] == "/signals":
        message = await receive()
        answer = backend.keep_signal(sender_in(scope).key.node_id, parse(backend.Signal, message["body"]))
        body = strict_json.dumps(answer)
    elif scope["path"] == "/v1/sync":
        body = encode(backend.keep_events(sync_in(scope)))
    else:
        status = 404
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    # In two parts, as a stream comes.
    await send({"type": "http.response.body", "body": body[:10], "more_body": True})
    await send({"type": "http.response.body", "body": body[10:]})


app = SignedPaths(
    bare,
    fastapi_server.verifier,
    authenticate=["/signals"],
    verify=["/v1/sync"],
    veto=fastapi_server.objection,
)
