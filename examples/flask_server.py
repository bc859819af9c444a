"""Flask: `python -m examples.new_node nodes.json && gunicorn examples.flask_server:app`."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, request

from examples import backend
from node_protocol.messages import encode, parse
from verifier import Authenticated, Verified, Verifier
from verifier.integrations.flask import authenticated, verified

# Behind TLS leave `scheme` out; the authority is the name in the nodes' https:// address then.
verifier = Verifier(keys=backend.KEYS.get, store=backend.STORE, authorities=[backend.AUTHORITY], scheme="http")

app = Flask(__name__)


@app.post("/signals")
@authenticated(verifier)
def signals(sender: Authenticated) -> dict[str, Any]:
    """A JSON endpoint of your own, for nodes alone."""
    return backend.keep_signal(sender.key.node_id, parse(backend.Signal, request.get_data()))


@app.post("/v1/sync")
@verified(verifier, veto=backend.objection)
def sync(verified: Verified) -> Response:
    """The nodes' channel."""
    return Response(encode(backend.keep_events(verified)), mimetype="application/json")
