"""FastAPI: `python -m examples.new_node nodes.json && python -m examples.fastapi_server`."""

from __future__ import annotations

from typing import Any

import uvicorn
from fastapi import FastAPI, Response

from examples import backend
from node_protocol.messages import SyncRequest, encode
from node_protocol.refusals import Refused
from verifier import AsyncVerifier, NodeKey
from verifier.integrations.fastapi import Node, SignedPaths, Sync
from verifier.integrations.uvicorn import RawTarget


async def find_key(key_id: str) -> NodeKey | None:
    """The key under a key id: in your server, out of its database."""
    return backend.KEYS.get(key_id)


async def objection(node_id: str, message: SyncRequest) -> Refused | None:
    """What our records say against a sync."""
    return backend.objection(node_id, message)


# Behind TLS leave `scheme` out; the authority is the name in the nodes' https:// address then.
verifier = AsyncVerifier(keys=find_key, store=backend.STORE, authorities=[backend.AUTHORITY], scheme="http")

app = FastAPI()
app.add_middleware(SignedPaths, verifier=verifier, authenticate=["/signals"], verify=["/v1/sync"], veto=objection)


@app.post("/signals")
async def signals(signal: backend.Signal, sender: Node) -> dict[str, Any]:
    """A JSON endpoint of your own, for nodes alone."""
    return backend.keep_signal(sender.key.node_id, signal)


@app.post("/v1/sync")
async def sync(verified: Sync) -> Response:
    """The nodes' channel."""
    return Response(encode(backend.keep_events(verified)), media_type="application/json")


if __name__ == "__main__":
    host, _, port = backend.AUTHORITY.rpartition(":")
    # Plain `uvicorn examples.fastapi_server:app` does as well, but for what `RawTarget` is there for.
    uvicorn.run(app, host=host, port=int(port), http=RawTarget)
