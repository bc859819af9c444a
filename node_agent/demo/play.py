"""The demo from end to end: server, node, a day of candles, commands, attacks, and the counts that must agree."""

from __future__ import annotations

import csv
import gzip
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

from node_agent.config import VAULT_FILE
from node_agent.demo.attacks import Attack, Line, on_the_line
from node_agent.demo.chart import equity_curve
from node_agent.demo.processes import DemoFailed, Programs, wait_until
from node_agent.demo.relay import Relay
from node_agent.demo.reports import money
from node_agent.demo.screen import View
from node_agent.enrol import node_key_name
from node_agent.journal import JOURNAL_FILE, Journal, JournalError
from node_agent.vault import Vault, VaultKey
from node_protocol import MAX_WAIT
from node_protocol.encoding import format_time, parse_time

SYMBOL: Final = "BTC/USD"
CURRENCY: Final = "USD"
_CANDLES: Final = "btc-perp-2022-01-24.csv.gz"
_DAY_SECONDS: Final = 24 * 3600
_SAMPLE_AMOUNT: Final = "0.01"
_BEYOND_AMOUNT: Final = "1"


@dataclass
class Outcome:
    """What the demo has to show for itself."""

    made: int = 0
    """Events that the node wrote down."""
    verified: int = 0
    """Events that the verifier let through."""
    stored: int = 0
    """Events that the server has."""
    fills: int = 0
    equity: str = ""
    attacks: list[Attack] = field(default_factory=list)
    stop_seconds: float = 0
    chart: str = ""

    @property
    def holds(self) -> bool:
        """Whether every count and every refusal is as it must be."""
        counts = 0 < self.made == self.verified == self.stored
        return counts and self.fills > 0 and bool(self.attacks) and all(each.repelled for each in self.attacks)

    def to_json(self) -> dict[str, Any]:
        """The outcome as JSON has it."""
        return {
            "events": {"made": self.made, "verified": self.verified, "stored": self.stored},
            "fills": self.fills,
            "equity": self.equity,
            "attacks": [
                {
                    "tried": each.tried,
                    "expected": each.expected,
                    "answered": each.answered,
                    "repelled": each.repelled,
                }
                for each in self.attacks
            ],
            "stopped_in_seconds": round(self.stop_seconds, 2),
            "equity_curve": self.chart,
            "ok": self.holds,
        }


class Demo:
    """One demo in one directory. `tell` is called whenever there is something new to show."""

    def __init__(self, directory: Path, *, seconds: float, view: View, tell: Callable[[Attack | None], None]) -> None:
        self._directory = directory
        self._server_dir = directory / "server"
        self._node_dir = directory / "node"
        self._vault_key_file = directory / "vault.key"
        self._speed = _DAY_SECONDS / seconds
        self._seconds = seconds
        self._view = view
        self._tell = tell
        self._outcome = Outcome()
        self._reports = view.reports
        self._node_id = ""
        directory.mkdir(parents=True, exist_ok=True)
        self._programs = Programs(directory, _environment())
        self._port = _free_port()
        self._relay = Relay(self._port)
        view.symbol, view.speed = SYMBOL, self._speed

    def play(self) -> Outcome:
        """All of it. Raises DemoFailed when something does not come about; every process is stopped either way."""
        try:
            self._start_server()
            self._enrol()
            node = self._start_node("node", self._node_dir)
            self._follow()
            self._trade()
            self._attack_the_line()
            self._stop_and_count(node)
            self._attack_with_a_copy()
            self._draw()
        finally:
            self._programs.stop_all()
            self._relay.close()
        return self._outcome

    def _start_server(self) -> None:
        self._doing("starting the control plane")
        key = self._programs.run("control-plane", "keys", "generate").strip()
        self._programs = Programs(self._directory, _environment() | {"CONTROL_PLANE_MASTER_KEY": key})
        arguments = ("--data-dir", str(self._server_dir), "--host", "127.0.0.1", "--port", str(self._port))
        server = self._programs.start(
            "server", "control-plane", "serve", *arguments, "--authority", self._relay.authority
        )

        def ready() -> bool | None:
            if server.poll() is not None:
                raise DemoFailed(f"the control plane ended: {self._programs.log('server')}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=1):
                    return True
            except (urllib.error.URLError, OSError):
                return None

        wait_until("the control plane to be ready", ready)

    def _enrol(self) -> None:
        self._doing("enrolling the node")
        token = self._programs.json("control-plane", "token", "create", "--data-dir", str(self._server_dir))["token"]
        with as_file(files("node_agent.demo") / "data" / _CANDLES) as candles:
            shutil.copy(candles, self._directory / _CANDLES)
        self._programs.run(
            "node-agent",
            "init",
            *("--data-dir", str(self._node_dir), "--paper", "--non-interactive", "--name", "demo"),
            *("--candles", str(self._directory / _CANDLES), "--candle-volume", "quote"),
            *("--vault-key-file", str(self._vault_key_file)),
        )
        server = ("--server", f"http://{self._relay.authority}", "--token", token, "--insecure-loopback")
        self._programs.run("node-agent", "register", "--data-dir", str(self._node_dir), *server)
        with self._journal() as journal:
            registration = journal.registration()
        if registration is None:
            raise DemoFailed("the node says that it is registered, and its journal does not")
        self._node_id = registration.node_id

    def _start_node(self, name: str, data_dir: Path) -> subprocess.Popen[bytes]:
        return self._programs.start(
            name, "node-agent", "run", "--data-dir", str(data_dir), "--speed", f"{self._speed:.0f}"
        )

    def _follow(self) -> None:
        tail = self._programs.follow("control-plane", "events", "tail", *self._of_node(), "--follow", "--json")
        if tail.stdout is None:
            raise DemoFailed("no output to follow")
        self._reports.read(tail.stdout)

    def _trade(self) -> None:
        """Let the day pass; a third of the way the server asks for an order, and then for one that is too large."""
        last = _last_candle(self._directory / _CANDLES)
        asked = 0

        def over() -> bool | None:
            nonlocal asked
            self._look()
            at = self._view.market.get("at")
            if at is None:
                return None
            passed = 1 - (parse_time(last) - parse_time(at)).total_seconds() / _DAY_SECONDS
            if asked == 0 and passed > 1 / 3:
                asked = 1
                self._order(_SAMPLE_AMOUNT)
            elif asked == 1 and passed > 1 / 2:
                asked = 2
                self._beyond_the_limit()
            return True if parse_time(at) >= parse_time(last) else None

        self._doing("a day of recorded prices; the node trades them under its owner's limits")
        wait_until("the day to end", over, within=self._seconds * 2 + 20)

    def _order(self, amount: str) -> str:
        placed = self._programs.json(
            "control-plane",
            *("orders", "place", *self._of_node(), "--symbol", SYMBOL),
            *("--side", "buy", "--type", "market", "--amount", amount),
        )
        return str(placed["command_id"])

    def _beyond_the_limit(self) -> None:
        command_id = self._order(_BEYOND_AMOUNT)

        def answered() -> str | None:
            self._look()
            orders = [each for each in self._reports.orders.values() if each["data"].get("command_id") == command_id]
            if orders:
                return f"it became an order: {orders[0]['type']}"
            refused = [each["data"] for each in self._reports.refused if each["data"].get("command_id") == command_id]
            return f"intent.refused {refused[0]['rule']}" if refused else None

        answer = wait_until("the node's answer to an order beyond its limit", answered)
        self._attacked(
            Attack(
                "a signed command for an order beyond the owner's limit", "intent.refused max_order_notional", answer
            )
        )

    def _attack_the_line(self) -> None:
        self._doing("attacks on the line, with what was captured from it")
        self._settle()
        captured = self._relay.last_answered("/v1/sync")
        with self._journal() as journal:
            registration = journal.registration()
        vault = Vault.open(self._node_dir / VAULT_FILE, VaultKey.from_file(self._vault_key_file))
        key = vault.get(node_key_name(registration.key_id)) if registration is not None else None
        if captured is None or registration is None or key is None:
            raise DemoFailed("nothing was captured on the line")
        line = Line(f"127.0.0.1:{self._port}", self._relay.authority, registration.key_id, key.get_secret_value())
        for attack in on_the_line(line, captured):
            self._attacked(attack)

    def _stop_and_count(self, node: subprocess.Popen[bytes]) -> None:
        self._doing("stopping the node, counting its events")
        code, self._outcome.stop_seconds = self._programs.stop(node)
        if code != 0:
            raise DemoFailed(f"the node ended with exit code {code}: {self._programs.log('node')}")
        with self._journal() as journal:
            self._outcome.made = journal.last_seq()
        shown = self._programs.json(
            "control-plane", "nodes", "show", "--data-dir", str(self._server_dir), self._node_id
        )
        self._outcome.verified = shown["last_seq"]
        stored = self._programs.run("control-plane", "events", "tail", *self._of_node(), "--json")
        self._outcome.stored = len(stored.splitlines())
        wait_until("the last reports", lambda: True if self._reports.count >= self._outcome.stored else None)
        self._outcome.fills = self._reports.fills
        self._outcome.equity = money(self._reports.account.get("equity", "0"))
        self._tell(None)

    def _attack_with_a_copy(self) -> None:
        self._doing("a copy of the node's directory, started beside the original")
        copy = self._directory / "copy"
        shutil.copytree(self._node_dir, copy)
        self._start_node("node", self._node_dir)
        self._start_node("copy", copy)

        def suspended() -> str | None:
            shown = self._programs.json(
                "control-plane", "nodes", "show", "--data-dir", str(self._server_dir), self._node_id
            )
            forks = [alert["code"] for alert in shown["alerts"] if alert["evidence"].get("suspends")]
            return f"409 {forks[0]}, suspended" if shown["state"] == "suspended" and forks else None

        answer = wait_until("the copy to be noticed", suspended, within=MAX_WAIT + 20)
        self._attacked(
            Attack("a copy of the node's directory, run beside the original", "409 ticket_conflict, suspended", answer)
        )

    def _draw(self) -> None:
        chart = self._directory / "equity.svg"
        title = f"Equity of the node's paper account, as reported and verified ({self._outcome.fills} fills)"
        chart.write_text(equity_curve(self._reports.curve, title=title, currency=CURRENCY), encoding="utf-8")
        self._outcome.chart = str(chart)
        self._doing("")

    def _settle(self) -> None:
        """Wait until the server has acknowledged all that the node has to say."""

        def settled() -> bool | None:
            self._look()
            with self._journal() as journal:
                return True if journal.event_counts()["pending"] == 0 else None

        wait_until("the server to have every report", settled)

    def _attacked(self, attack: Attack) -> None:
        self._outcome.attacks.append(attack)
        self._view.attacks.append(attack)
        self._tell(attack)

    def _look(self) -> None:
        try:
            with self._journal() as journal:
                self._view.market = journal.fact("market") or {}
        except JournalError as error:
            raise DemoFailed(f"the node's journal: {error}") from error
        self._tell(None)

    def _journal(self) -> Journal:
        return Journal.open_read_only(self._node_dir / JOURNAL_FILE)

    def _of_node(self) -> tuple[str, ...]:
        return ("--data-dir", str(self._server_dir), "--node", self._node_id)

    def _doing(self, what: str) -> None:
        self._view.doing = what
        self._tell(None)


def _environment() -> dict[str, str]:
    """What our programs get of the environment: nobody's settings for another node or server."""
    theirs = ("NODE_", "CONTROL_PLANE_", "DATABASE_", "REDIS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(theirs)}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _last_candle(path: Path) -> str:
    """When the last candle of a recording opened, as the journal writes times."""
    with gzip.open(path, "rt", encoding="ascii") as lines:
        *_, last = csv.reader(lines)
    return format_time(parse_time(last[0].replace(" ", "T") + "Z"))
