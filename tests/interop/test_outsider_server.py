"""A stranger's server, written from the contract with an off-the-shelf library, is served by `node-agent run`."""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import NodeDir, NodeProcess, environment, node_agent, until

TOKEN = "nt_" + "a" * 16 + "_" + base64.urlsafe_b64encode(bytes(range(32))).rstrip(b"=").decode()


class Outsider:
    """The stranger's process, and what it tells."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "outsider_server.py"), "--token", TOKEN],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def told(self) -> dict[str, Any]:
        facts: dict[str, Any] = httpx.get(f"{self.url}/control", trust_env=False).json()
        return facts

    def control(self, **settings: Any) -> None:
        httpx.post(f"{self.url}/control", json=settings, trust_env=False)

    def script(self, *acts: str) -> None:
        """Say what the next answers are to be like, and wait until they were given."""
        self.control(script=acts)
        until(lambda: True if not self.told()["script"] else None, f"the node to ask for {acts}")

    def command(self, kind: str, data: dict[str, Any], expires: str = "2099-01-01T00:00:00.000Z") -> str:
        """Give a command; its id."""
        command_id = f"cmd_{os.urandom(8).hex()}"
        command = {"id": command_id, "issued_at": "2026-01-01T00:00:00.000Z", "expires_at": expires}
        self.control(commands=[command | {"type": kind, "data": data}])
        return command_id

    def events(self, kind: str, command_id: str | None = None) -> list[dict[str, Any]]:
        return [
            event["data"]
            for event in self.told()["events"]
            if event["type"] == kind and command_id in (None, event["data"].get("command_id"))
        ]

    def event(self, kind: str, command_id: str | None = None) -> dict[str, Any]:
        """The first event of a kind, waited for."""

        def first() -> dict[str, Any] | None:
            found = self.events(kind, command_id)
            return found[0] if found else None

        return until(first, f"{kind} of {command_id}")


@pytest.fixture
def outsider() -> Iterator[Outsider]:
    outsider = Outsider()
    yield outsider
    outsider.end()


@pytest.fixture
def node(tmp_path: Path, outsider: Outsider) -> NodeDir:
    node = NodeDir.made(tmp_path, "--strategy", "none")
    done = node_agent(
        "register", "--data-dir", node.path, "--server", outsider.url, "--token", TOKEN, "--insecure-loopback"
    )
    assert done.returncode == 0, done.stderr
    return node


def order(amount: str, **more: str) -> dict[str, Any]:
    return {"exchange": "paper", "symbol": "BTC/USD", "side": "buy", "type": "market", "amount": amount, **more}


def test_the_node_enrols_reports_obeys_within_limits_and_keeps_to_the_contract(
    outsider: Outsider, node: NodeDir
) -> None:
    with NodeProcess(node) as process:
        assert outsider.event("node.started")["mode"] == "paper"
        outsider.event("account.snapshot")

        small = outsider.command("order.place", order("0.01"))
        filled = outsider.event("order.filled", small)
        assert (filled["filled"], filled["side"]) == ("0.01", "buy")

        large = outsider.command("order.place", order("1"))
        assert outsider.event("intent.refused", large)["rule"] == "max_order_notional"
        assert outsider.event("command.refused", large)["rule"] == "max_order_notional"

        late = outsider.command("order.place", order("0.01"), expires="2026-01-02T00:00:00.000Z")
        outsider.event("command.expired", late)
        strange = outsider.command("account.withdraw", {"amount": "1"})
        assert outsider.event("command.refused", strange)["rule"] == "unknown_command"

        resting = outsider.command("order.place", order("0.01", type="limit", price="30000"))
        opened = outsider.event("order.open", resting)
        outsider.command("order.cancel", {"client_order_id": opened["client_order_id"]})
        outsider.event("order.cancelled", resting)

        commands = {small, large, late, strange, resting}
        until(lambda: True if commands <= set(outsider.told()["done"]) else None, "commands to be done")
        code, seconds = process.stop()
        assert code == 0, process.log
        assert seconds < 5
    facts = outsider.told()
    assert facts["breaches"] == []
    assert facts["events"][-1]["type"] == "node.stopping"
    assert len(outsider.events("order.filled")) == 1
    assert len(outsider.events("trade")) == 1


def test_what_is_not_signed_for_this_very_request_is_never_acted_on(outsider: Outsider, node: NodeDir) -> None:
    with NodeProcess(node) as process:
        outsider.event("node.started")
        for act in ("unsigned", "wrong_key", "other_request"):
            outsider.script(act)
        # A command that is signed comes last, so that all before it have been looked at once it is done.
        good = outsider.command("order.place", order("0.01"))
        outsider.event("order.filled", good)
        process.stop()
    facts = outsider.told()
    assert [event for event in facts["events"] if "cmd_planted" in json.dumps(event)] == []
    assert len(outsider.events("trade")) == 1
    assert facts["breaches"] == []


def test_a_lost_answer_is_asked_for_again_with_the_ticket_before(outsider: Outsider, node: NodeDir) -> None:
    with NodeProcess(node) as process:
        outsider.event("node.started")
        before = len(outsider.told()["syncs"])
        outsider.script("lose")
        good = outsider.command("order.place", order("0.01"))
        outsider.event("order.filled", good)
        process.stop()
    facts = outsider.told()
    tickets = [each["ticket"] for each in facts["syncs"][before - 1 :]]
    assert len(set(tickets)) < len(tickets)
    assert facts["breaches"] == []
    assert len(outsider.events("trade")) == 1


def test_reports_go_on_without_a_gap_after_the_node_was_killed(outsider: Outsider, node: NodeDir) -> None:
    with NodeProcess(node):
        outsider.event("node.started")
        outsider.command("order.place", order("0.01"))
        outsider.event("order.filled")
    with NodeProcess(node) as process:
        until(lambda: True if len(outsider.events("node.started")) == 2 else None, "the second start")
        process.stop()
    facts = outsider.told()
    assert [event["seq"] for event in facts["events"]] == list(range(1, len(facts["events"]) + 1))
    assert len(outsider.events("trade")) == 1
    assert facts["breaches"] == []


@pytest.mark.parametrize("member", ["last_seq", "acked_through"])
def test_a_server_that_lost_events_gets_them_again_in_whatever_words_it_says_so(
    outsider: Outsider, node: NodeDir, member: str
) -> None:
    outsider.control(gap_member=member)
    with NodeProcess(node) as process:
        outsider.event("node.started")
        outsider.event("account.snapshot")
        outsider.script("forget")
        good = outsider.command("order.place", order("0.01"))
        outsider.event("order.filled", good)
        process.stop()
    facts = outsider.told()
    assert [event["seq"] for event in facts["events"]] == list(range(1, len(facts["events"]) + 1))
    assert facts["events"][-1]["type"] == "node.stopping"


@pytest.mark.parametrize("act", ["too_large", "rate_limited", "boast"])
def test_no_answer_of_a_kind_makes_the_node_lose_a_report(outsider: Outsider, node: NodeDir, act: str) -> None:
    with NodeProcess(node) as process:
        outsider.event("node.started")
        outsider.script(act)
        good = outsider.command("order.place", order("0.01"))
        outsider.event("order.filled", good)
        process.stop()
    facts = outsider.told()
    assert facts["breaches"] == []
    assert [event["seq"] for event in facts["events"]] == list(range(1, len(facts["events"]) + 1))
    assert node.status()["events"]["pending"] == 0


def test_protection_sent_along_with_an_entry_finds_the_position(outsider: Outsider, node: NodeDir) -> None:
    with NodeProcess(node) as process:
        outsider.event("node.started")
        sent = {
            "issued_at": "2026-01-01T00:00:00.000Z",
            "expires_at": "2099-01-01T00:00:00.000Z",
            "type": "order.place",
        }
        stop = order("0.01", side="sell", type="stop", stop_price="30000") | {"reduce_only": True}
        both = [sent | {"id": "cmd_entry", "data": order("0.01")}, sent | {"id": "cmd_stop", "data": stop}]
        outsider.control(commands=both)
        outsider.event("order.filled", "cmd_entry")
        outsider.event("order.open", "cmd_stop")
        process.stop()
    assert outsider.events("intent.refused") == []
    assert outsider.told()["breaches"] == []


def test_a_rotation_whose_answers_are_lost_is_tried_again_until_one_arrives(outsider: Outsider, node: NodeDir) -> None:
    with NodeProcess(node) as process:
        outsider.event("node.started")
        outsider.control(lose_rotations=2)
        rotate = outsider.command("key.rotate", {})
        assert outsider.event("node.note", rotate)["text"] == "the node key was rotated"
        until(lambda: True if rotate in outsider.told()["done"] else None, "the rotation to be told as done")
        process.stop()
    facts = outsider.told()
    assert len(facts["rotations"]) == 3, facts["rotations"]
    assert len(set(facts["rotations"])) == 1, "each lost answer leaves the node under its old key"
    assert node.status()["key_id"].endswith(".4")
    assert facts["breaches"] == []


def test_of_two_rotations_at_once_the_second_begins_where_the_first_ends(outsider: Outsider, node: NodeDir) -> None:
    with NodeProcess(node) as process:
        outsider.event("node.started")
        sent = {"issued_at": "2026-01-01T00:00:00.000Z", "expires_at": "2099-01-01T00:00:00.000Z", "type": "key.rotate"}
        outsider.control(commands=[sent | {"id": f"cmd_{name}", "data": {}} for name in ("one", "two")])
        for command_id in ("cmd_one", "cmd_two"):
            assert outsider.event("node.note", command_id)["text"] == "the node key was rotated"
        process.stop()
    facts = outsider.told()
    assert [key_id.rpartition(".")[2] for key_id in facts["rotations"]] == ["1", "2"]
    assert node.status()["key_id"].endswith(".3")
    assert facts["breaches"] == []


def test_every_command_that_was_carried_out_is_named_by_an_event(outsider: Outsider, node: NodeDir) -> None:
    with NodeProcess(node) as process:
        outsider.event("node.started")
        for kind in ("orders.cancel_all", "trading.pause", "trading.resume", "account.report"):
            assert outsider.event("node.note", outsider.command(kind, {}))["text"] == f"carried out: {kind}"
        process.stop()


@pytest.mark.parametrize("fault", ["holds", "acknowledges"])
def test_a_server_that_holds_or_acknowledges_nothing_is_not_asked_without_pause(
    outsider: Outsider, node: NodeDir, fault: str
) -> None:
    outsider.control(**{fault: False})
    with NodeProcess(node) as process:
        outsider.event("node.started")
        before = len(outsider.told()["syncs"]) + 4  # until all that comes up at a start has been said
        asked = until(lambda: later if len(later := syncs(outsider)[before:]) > 4 else None, "some more requests")
        process.stop()
    assert min(after - before for before, after in itertools.pairwise(asked)) > 0.3


def syncs(outsider: Outsider) -> list[float]:
    """When each sync came."""
    return [each["at"] for each in outsider.told()["syncs"]]
