"""Keys never leave the machine: planted ones are looked for in every byte that leaves it or is written.

In plain, hex, base64 and URL-encoded; in what the server gets and keeps, in logs, crash output, what commands print,
backups, and the data directory outside the vault. Of the exchange key, the public part goes to the exchange alone, and
the secret part nowhere.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

from tests import tap
from tests.binance.process import BinanceProcess
from tests.control_plane.support import ServerProcess
from tests.live import live_node
from tests.support import NodeDir, NodeProcess, node_agent, until

KEY: Final = "CanaryKey0" * 6 + "abcd"
SECRET: Final = "CanarySecret" * 5 + "wxyz"


wire, server = tap.wire, tap.server


def forms(canary: bytes) -> set[bytes]:
    """How it could be written. Base64 at each of the three places at which it can stand in a longer text."""
    text = canary.decode()
    found = {canary, canary.hex().encode(), canary.hex().upper().encode(), canary[::-1]}
    found |= {quote(text, safe="").encode(), quote_plus(text).encode(), json.dumps(text)[1:-1].encode()}
    for lead in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\0" * lead + canary)
            # What its neighbours have a part in is cut off.
            found.add(encoded[4 if lead else 0 : len(encoded) // 4 * 4 - 4])
    return found


def found_in(content: bytes, *canaries: bytes) -> list[bytes]:
    return [form for canary in canaries for form in forms(canary) if form in content]


def written(folder: Path, *but: str) -> bytes:
    """Every byte in a folder, but for some files."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in but)


def test_a_search_finds_what_was_planted() -> None:
    for form in forms(SECRET.encode()):
        assert found_in(b"some " + form + b" text", SECRET.encode())
    assert found_in(base64.b64encode(f"user:{SECRET}!".encode()), SECRET.encode())
    assert not found_in(b"nothing at all", SECRET.encode(), KEY.encode())


def test_keys_are_in_no_byte_that_leaves_the_machine_or_is_written(
    tmp_path: Path, server: ServerProcess, wire: tap.Tap
) -> None:
    said = ""
    with BinanceProcess("--interval", "1s", key=KEY, secret=SECRET) as exchange:
        exchange.price("40000")
        with tap.Tap() as to_exchange:
            to_exchange.port = int(exchange.url.rpartition(":")[2])
            node = live_node(tmp_path, exchange)
            config = node.path / "config.toml"
            config.write_text(config.read_text().replace(exchange.url, to_exchange.url).replace('"info"', '"debug"'))
            vault_key = node.key_file.read_bytes().strip()
            said += _say(node, "register", "--server", wire.url, "--token", server.token(), "--insecure-loopback")
            said += _key_put_in_again(node, tmp_path)
            with NodeProcess(node, "--live") as running:
                until(lambda: "node.started" in running.log or None, "a start")
                until(lambda: node.status()["prices"] or None, "a price")
                said += _a_day_of_trouble(node, exchange)
                running.process.kill()
                running.process.wait()
            exchange.expire_key()
            with NodeProcess(node, "--live") as running:
                until(running.process.poll, "its end, for its key is no good")
            said += _say(node, "keys", "test", "binance", code=1)
            said += _say(node, "journal", "export", tmp_path / "backup.sqlite3")
            log = (node.path / "run.log").read_bytes()
    canaries = KEY.encode(), SECRET.encode(), vault_key
    kept = server.data_dir
    assert len(wire.kept) > 1000
    assert found_in(wire.kept, *canaries) == []
    assert found_in(written(Path(kept)), *canaries) == []
    assert found_in(log, *canaries) == []
    assert found_in(said.encode(), *canaries) == []
    assert found_in(written(tmp_path / "node", "vault.json"), *canaries) == []
    assert found_in((tmp_path / "backup.sqlite3").read_bytes(), *canaries) == []
    assert found_in((node.path / "vault.json").read_bytes(), *canaries) == []
    assert KEY.encode() in to_exchange.kept  # the header that the exchange knows us by: the search sees what is there
    assert found_in(to_exchange.kept, SECRET.encode(), vault_key) == []


def _say(node: NodeDir, *words: str | Path, code: int = 0) -> str:
    done = node_agent(*words, "--data-dir", node.path)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def _key_put_in_again(node: NodeDir, folder: Path) -> str:
    """By a file, once with a part of it wrong."""
    path = folder / "key.json"
    path.write_text(json.dumps({"key": KEY, "secret": SECRET + "!"}))
    said = _say(node, "keys", "add", "binance", "--file", path, code=2)
    path.write_text(json.dumps({"key": KEY, "secret": SECRET}))
    said += _say(node, "keys", "add", "binance", "--file", path) + _say(node, "keys", "list")
    path.unlink()
    return said


def _a_day_of_trouble(node: NodeDir, exchange: BinanceProcess) -> str:
    """Orders that work and that do not, answers that are lost, wrong and rubbish."""
    words = ("orders", "place", "--symbol", "BTC/USDT", "--side", "buy", "--type", "market", "--amount")
    said = _say(node, *words, "0.01") + _say(node, *words, "900", code=1)
    for what in ("garbage", "5xx_after", "drop_after", "429", "-1021"):
        exchange.faults({"what": what, "times": 2})
        said += "".join(_any(node, *words, "0.001"))
    exchange.faults()
    return said + _say(node, "status") + _say(node, "orders", "list") + _say(node, "policy", "show")


def _any(node: NodeDir, *words: str) -> str:
    done = node_agent(*words, "--data-dir", node.path)
    return done.stdout + done.stderr
