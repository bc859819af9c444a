#!/usr/bin/env python3
"""In the control plane's place, under its command line: says who it is and what it was sent.

`/readyz`, `/healthz` and `/v1/…` are answered; `?held=SECONDS` holds the answer, `?end` ends the process before it.
Each request is a line of its log, before anything else is done about it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen


class Handler(BaseHTTPRequestHandler):
    """Answers each request with what it was."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Any request: all are answered alike."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        target = urlsplit(self.path)
        if target.path not in ("/readyz", "/healthz"):
            print(self.command, self.path, flush=True)
        asked = parse_qs(target.query, keep_blank_values=True)
        if "end" in asked:
            os._exit(1)
        time.sleep(float(asked.get("held", ["0"])[0]))
        heard = {
            "server": socket.gethostname(),
            "method": self.command,
            "target": self.path,
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "bytes": len(body),
        }
        answer = json.dumps(heard).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Its own line says it."""


def main() -> None:
    """As `control-plane serve` and `control-plane health`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve", "health"])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--url", default="http://127.0.0.1:8099/readyz")
    arguments, _ = parser.parse_known_args()
    if arguments.command == "health":
        with urlopen(arguments.url, timeout=3) as answer:  # noqa: S310  the compose file's own
            sys.exit(0 if answer.status == 200 else 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer((arguments.host, arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
