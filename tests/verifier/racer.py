"""One of two verifiers that race for one request: a process of its own, on a store that it shares with the other.

    python -m tests.verifier.racer STORE COPIES THREADS <requests>

Says `ready`. For each line that holds a request it races with as many copies of that, and prints what came of them.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from tests.verifier.conftest import sqlite_engine
from tests.verifier.nodes import AUTHORITY, NOW, Node
from verifier import Refused, SignedRequest, Verifier
from verifier.stores import RedisStore, SplitStore, SqlStore, Store


@contextmanager
def opened(url: str) -> Iterator[Store]:
    """The store at an address, as each process of a deployment would open it."""
    if "|" in url:
        with opened(url.partition("|")[0]) as nonces, opened(url.partition("|")[2]) as states:
            assert isinstance(states, SqlStore)
            yield SplitStore(nonces, states)
        return
    if url.startswith("redis://"):
        address, _, prefix = url.partition("#")
        store = RedisStore.from_url(address, timeout=30, prefix=prefix)
        yield store
        store.close()
        return
    sqlite = url.startswith("sqlite:///")
    engine = sqlite_engine(Path(url.removeprefix("sqlite:///"))) if sqlite else create_engine(url, pool_size=16)
    yield SqlStore(engine)
    engine.dispose()


def packed(request: SignedRequest) -> str:
    """A request as one line."""
    fields = {**request._asdict(), "body": base64.b64encode(request.body).decode()}
    return json.dumps(fields)


def unpacked(line: str) -> SignedRequest:
    fields: dict[str, Any] = json.loads(line)
    headers = [(name, value) for name, value in fields.pop("headers")]
    return SignedRequest(**{**fields, "headers": headers, "body": base64.b64decode(fields["body"])})


def race(verifier: Verifier, request: SignedRequest, copies: int, threads: int) -> Counter[str]:
    """What came of so many copies, sent by so many threads at once."""
    outcomes: Counter[str] = Counter()
    lock, start = threading.Lock(), threading.Barrier(threads)

    def run() -> None:
        mine: Counter[str] = Counter()
        start.wait()
        for _ in range(copies // threads):
            try:
                verifier.verify(request)
                mine["accepted"] += 1
            except Refused as refused:
                mine[refused.code] += 1
        with lock:
            outcomes.update(mine)

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return outcomes


def main() -> None:
    url, copies, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    node = Node()
    with opened(url) as store:
        verifier = Verifier(keys={node.key_id: node.key}.get, store=store, authorities=[AUTHORITY], now=lambda: NOW)
        print("ready", flush=True)
        for line in sys.stdin:
            print(json.dumps(race(verifier, unpacked(line), copies, threads)), flush=True)


if __name__ == "__main__":
    main()
