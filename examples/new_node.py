"""Makes a node for the example servers: `python -m examples.new_node nodes.json` adds it to the file, which is secret.

A server of yours would do this by an enrolment (`/v1/enroll`), in which the key itself is never sent.
"""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import Any

from node_protocol import fingerprints
from node_protocol.encoding import b64url_encode
from node_protocol.handshake import node_id_from
from node_protocol.signatures import nonce_from


def new_node() -> dict[str, Any]:
    """A node: its key, its first ticket, and the machine that it lives on."""
    return {
        "key_id": f"{node_id_from(secrets.token_bytes(20))}.1",
        "key": b64url_encode(secrets.token_bytes(32)),
        "ticket": f"0.{nonce_from(secrets.token_bytes(16))}",
        "components": {component: nonce_from(secrets.token_bytes(16)) for component in fingerprints.WEIGHTS},
    }


def main() -> None:
    """Adds a node to the file that the command line names."""
    path = Path(sys.argv[1])
    nodes = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    path.touch(mode=0o600)
    path.write_text(json.dumps([*nodes, new_node()], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
