"""The owner's socket: who may speak on it, what it answers, and that nothing that comes in disturbs the node."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from node_agent import control_line
from node_agent.control import Control
from node_agent.control_line import SOCKET_FILE, ControlError, NoAnswer, NotRunning, ask, reachable
from node_agent.core import events
from node_agent.core.effects import Cancel, Submit
from node_agent.core.events import Lookup
from node_agent.core.ids import order_of_owner
from node_agent.core.market import ExchangeStatus, OrderRequest
from node_agent.core.state import State
from node_protocol import strict_json
from tests.node.until import becomes
from tests.node.values import place, ready

pytestmark = pytest.mark.asyncio

ORDER = {"exchange": "paper", "symbol": "BTC/USD", "side": "buy", "type": "limit", "amount": "0.01", "price": "39000"}


class Served:
    """A node of values, and the control that serves it; the exchange answers at once unless it is `away`."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.node = ready()
        self.taken: list[events.OwnerEvent | events.Tick] = []
        self.ended: list[str] = []
        self.written: set[str] = set()
        self.away = False
        self.busy = asyncio.Event()
        self.busy.set()
        self.control = Control(
            data_dir,
            settle=self.settle,
            state=lambda: self.node.state,
            clock=lambda: self.node.now,
            knows=self.written.__contains__,
            end=self.ended.append,
        )

    async def settle(self, event: events.OwnerEvent | events.Tick) -> State:
        await self.busy.wait()
        self.taken.append(event)
        for effect in self.node.take(event):
            if isinstance(effect, Submit) and not self.away:
                self.node.tell(effect.request, ExchangeStatus.OPEN)
            if isinstance(effect, Cancel) and not self.away:
                self.cancelled(effect.client_order_id)
        return self.node.state

    def cancelled(self, client_order_id: str) -> None:
        self.node.tell(self.node.state.orders[client_order_id].request(), ExchangeStatus.CANCELLED)

    def resting(self, name: str = "rest") -> OrderRequest:
        """An open order of the server's."""
        (request,) = self.node.order(place(name, type="limit", price="39000"))
        self.node.tell(request, ExchangeStatus.OPEN)
        return request

    async def asked(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All lines of an answer, by our own client."""
        return await asyncio.to_thread(lambda: list(ask(self.data_dir, request)))

    async def last(self, **request: Any) -> dict[str, Any]:
        """The last line of an answer."""
        return (await self.asked(request))[-1]

    async def raw(self, sent: bytes) -> list[dict[str, Any]]:
        """All lines that come back for some bytes, until the other side closes."""
        with reachable(self.data_dir) as path:
            reader, writer = await asyncio.open_unix_connection(path)
        writer.write(sent)
        try:
            async with asyncio.timeout(20):
                return [json.loads(line) async for line in reader]
        finally:
            writer.close()


def listens(data_dir: Path) -> bool:
    with reachable(data_dir) as path, socket.socket(socket.AF_UNIX) as line:
        line.setblocking(False)
        return line.connect_ex(path) == 0


@asynccontextmanager
async def serving(data_dir: Path) -> AsyncIterator[Served]:
    served = Served(data_dir)
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    task = asyncio.create_task(served.control.run())
    try:
        await becomes(lambda: listens(data_dir) or task.done(), "the socket")
        yield served
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    await becomes(lambda: not served.control._clients, "the end of every connection")
    assert complaints == []


async def test_a_pause_is_taken_before_it_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        answer = await served.last(request="pause", reason="lunch")
        assert served.taken == [events.OwnerPaused(served.node.now, "lunch")]
        assert (answer["trading"], answer["done"]) == ("reducing", True)
        assert [(each["rule"], each["reason"]) for each in answer["pauses"]] == [("paused_by_owner", "lunch")]
        again = await served.last(request="pause", reason="tea")
        assert again == answer
        assert await served.last(request="resume") == {"trading": "active", "pauses": [], "done": True}


async def test_only_the_owner_can_reach_the_socket_and_it_is_gone_at_the_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        assert (tmp_path / SOCKET_FILE).stat().st_mode & 0o777 == 0o600
        assert (await served.last(request="orders"))["orders"] == []
    assert not (tmp_path / SOCKET_FILE).exists()
    with pytest.raises(NotRunning, match="no node runs"):
        list(ask(tmp_path, {"request": "orders"}))


async def test_another_user_is_turned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert control_line.is_owner(ours)
        monkeypatch.setattr(os, "geteuid", lambda: 4242)
        monkeypatch.setattr(control_line, "_ROOT", 4243)
        assert not control_line.is_owner(ours)
    async with serving(tmp_path) as served:
        assert "only the user who runs the node" in (await served.last(request="pause", reason="x"))["error"]
        assert served.taken == []


async def test_a_socket_that_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / SOCKET_FILE))
    with pytest.raises(NotRunning):
        list(ask(tmp_path, {"request": "orders"}))
    async with serving(tmp_path) as served:
        assert (await served.last(request="orders"))["done"] is True


async def test_a_directory_with_a_path_longer_than_an_address_is_served(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    async with serving(deep) as served:
        assert (deep / SOCKET_FILE).stat().st_mode & 0o777 == 0o600
        assert (await served.last(request="pause", reason="far"))["trading"] == "reducing"
    assert not (deep / SOCKET_FILE).exists()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"hello\n", "not JSON"),
        (b"[]\n", "no request that there is"),
        (b'{"request":"dance"}\n', "no request that there is"),
        (b'{"request":["pause"]}\n', "no request that there is"),
        (b'{"request":"pause"}\n', "reason: missing"),
        (b'{"request":"pause","reason":""}\n', "reason"),
        (b'{"request":"pause","reason":"x","more":1}\n', "no such member"),
        (b'{"request":"stop","flatten":"yes"}\n', "flatten"),
        (b'{"request":"pause","request":"resume"}\n', "twice"),
        (b'{"request":"cancel","client_order_id":"no such form!"}\n', "client_order_id"),
        (b'{"request":"place","order":{},"token":"t"}\n', "order"),
        (b"\xff\xfe\n", "not UTF-8"),
        (b"x" * 5000 + b"\n", "too long"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_nonsense_is_refused_and_disturbs_nothing(tmp_path: Path, sent: bytes, said: str) -> None:
    async with serving(tmp_path) as served:
        (answer,) = await served.raw(sent)
        assert said in answer["error"]
        assert answer["done"] is True
        assert served.taken == []
        assert (await served.last(request="resume"))["trading"] == "active"


async def test_a_line_without_an_end_disturbs_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        with suppress(ConnectionError):  # closed while we still send
            await served.raw(b"x" * 10_000_000)
        assert (await served.last(request="resume"))["trading"] == "active"


async def test_clients_that_hang_or_go_away_disturb_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node_agent.control._CLIENT_SECONDS", 0.2)
    async with serving(tmp_path) as served:
        with reachable(tmp_path) as path:
            silent = [await asyncio.open_unix_connection(path) for _ in range(8)]
        _, gone = await asyncio.open_unix_connection(path)
        gone.write(b'{"request":"pa')
        gone.close()
        assert (await served.last(request="resume"))["trading"] == "active"
        for reader, writer in silent:
            assert await reader.read() == b""
            writer.close()
        assert served.taken == [events.OwnerResumed(served.node.now)]


async def test_what_was_asked_for_is_done_for_a_client_that_went_away(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        served.busy.clear()
        with reachable(tmp_path) as path:
            _, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"request":"stop","flatten":true,"cancel_open":true}\n')
        await becomes(lambda: served.control._asked, "the request")
        writer.close()
        served.busy.set()
        await becomes(lambda: served.taken, "the stop")
        assert served.node.state.trading == "halted"


async def test_a_node_that_has_not_come_to_it_yet_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node_agent.control._TAKEN_SECONDS", 0.1)
    async with serving(tmp_path) as served:
        served.busy.clear()
        answer = await served.last(request="pause", reason="x")
        assert (answer["pending"], answer["done"]) == (True, True)
        served.busy.set()
        await becomes(lambda: served.taken, "the pause all the same")


async def test_health_is_told_once_the_loop_has_taken_an_event_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as served:
        answer = await served.last(request="health")
        assert (answer["started"], answer["trading"], answer["health"]) == (True, "active", "good")
        assert served.taken == [events.Tick(served.node.now)]
        monkeypatch.setattr("node_agent.control._TAKEN_SECONDS", 0.1)
        served.busy.clear()
        answer = await served.last(request="health")
        assert "has not come to it yet" in answer["error"]
        assert "health" not in answer
        served.busy.set()


async def test_the_loop_of_a_node_that_has_not_started_is_not_waited_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        served.node.state = replace(served.node.state, started_at=None)
        served.busy.clear()
        answer = await served.last(request="health")
        assert (answer["started"], answer["done"]) == (False, True)
        assert served.taken == []


async def test_a_plain_stop_tells_what_stays_and_ends_the_process(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        request = served.resting()
        answer = await served.last(request="stop")
        assert [order["client_order_id"] for order in answer["orders"]] == [request.client_order_id]
        assert (served.taken, served.ended) == ([], ["stopped by the owner"])


async def test_a_stop_tells_what_is_open_until_nothing_is(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        request = served.resting()
        served.away = True
        lines = ask(tmp_path, {"request": "stop", "cancel_open": True, "flatten": False})
        first = await asyncio.to_thread(next, lines)
        while not served.taken:
            first = await asyncio.to_thread(next, lines)
        second = await asyncio.to_thread(next, lines)
        assert second["orders"][0]["state"] == "cancelling"
        assert (first["done"], second["done"]) == (False, False)
        served.cancelled(request.client_order_id)
        rest = await asyncio.to_thread(list, lines)
        assert (rest[-1]["done"], rest[-1]["orders"], rest[-1]["called_off"]) == (True, [], False)


async def test_a_stop_that_is_called_off_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        served.resting()
        served.away = True
        stopping = asyncio.create_task(served.asked({"request": "stop", "cancel_open": True}))
        await becomes(lambda: served.taken, "the stop")
        await served.asked({"request": "resume"})
        last = (await stopping)[-1]
        assert (last["called_off"], len(last["orders"])) == (True, 1)


async def test_whoever_waits_for_a_stop_is_told_how_far_it_came_when_the_process_ends(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        served.resting()
        served.away = True
        stopping = asyncio.create_task(served.asked({"request": "stop", "cancel_open": True}))
        await becomes(lambda: served.taken, "the stop")
    last = (await stopping)[-1]
    assert (last["done"], len(last["orders"])) == (True, 1)


async def test_an_order_by_hand_is_one_order_for_one_token(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        answers = [await served.last(request="place", order=ORDER, token="one") for _ in range(2)]
        name = order_of_owner("test", "one")
        assert [answer["order"]["client_order_id"] for answer in answers] == [name, name]
        assert [(answer["known"], answer["order"]["state"]) for answer in answers] == [(False, "open"), (True, "open")]
        other = await served.last(request="place", order={**ORDER, "side": "sell"}, token="one")
        assert (other["known"], other["same"]) == (True, False)
        assert len(served.taken) == 1


async def test_an_order_that_ended_too_long_ago_to_be_at_hand_is_no_new_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        served.written.add(order_of_owner(served.node.state.origin, "old"))
        assert "placed under this id before" in (await served.last(request="place", order=ORDER, token="old"))["error"]
        assert served.taken == []


async def test_an_answer_that_came_before_the_question_was_put_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as node:
        node.bind(str(tmp_path / SOCKET_FILE))
        node.listen()

        def hung_up_on(request: dict[str, Any]) -> bytes:
            with node.accept()[0] as peer:
                peer.sendall(b'{"error": "ask again", "done": true}\n')
            return strict_json.dumps(request)

        told = SimpleNamespace(dumps=hung_up_on, loads=strict_json.loads)
        monkeypatch.setattr("node_agent.control_line.strict_json", told)
        assert list(ask(tmp_path, {"request": "orders"})) == [{"error": "ask again", "done": True}]


async def test_one_client_too_many_is_told_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node_agent.control._MOST_CLIENTS", 0)
    async with serving(tmp_path) as served:
        assert "ask again in a moment" in (await served.last(request="orders"))["error"]


async def test_the_owner_s_limits_hold_for_the_owner_s_hand(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        answer = await served.last(request="place", order={**ORDER, "amount": "0.1"}, token="big")
        assert (answer["order"]["state"], answer["order"]["reason"]) == ("refused", "max_order_notional")
        assert answer["detail"] == "3900 is above 1000"


async def test_an_order_is_cancelled_by_hand_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        request = served.resting()
        for _ in range(2):
            answer = await served.last(request="cancel", client_order_id=request.client_order_id)
            assert answer["order"]["state"] == "cancelled"
        assert len(served.taken) == 1
        assert "no order" in (await served.last(request="cancel", client_order_id="f" * 32))["error"]


async def test_a_cancel_that_the_exchange_does_not_answer_is_told_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node_agent.control._TAKEN_SECONDS", 0.2)
    async with serving(tmp_path) as served:
        request = served.resting()
        served.away = True
        answer = await served.last(request="cancel", client_order_id=request.client_order_id)
        assert answer["order"]["state"] == "cancelling"


async def test_an_order_that_is_nowhere_is_given_up_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        name = served.resting().client_order_id
        answer = await served.last(request="give_up", client_order_id=name)
        assert (answer["given_up"], answer["order"]["state"]) == (False, "open")
        served.node.take(events.LookedFor(served.node.now, name, Lookup(None)))
        for given_up in (True, False):
            answer = await served.last(request="give_up", client_order_id=name)
            assert (answer["given_up"], answer["order"]["state"]) == (given_up, "cancelled")
        assert len(served.taken) == 1
        assert "no order" in (await served.last(request="give_up", client_order_id="f" * 32))["error"]


async def test_a_node_that_is_ending_places_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        served.node.state = replace(served.node.state, stopping=True)
        assert "ending" in (await served.last(request="place", order=ORDER, token="late"))["error"]


async def test_a_node_that_ends_before_it_answers_is_told_from_one_that_does_not_run(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        served.busy.clear()
        asking = asyncio.create_task(served.asked({"request": "pause", "reason": "x"}))
        await becomes(lambda: served.control._asked, "the request")
    with pytest.raises(NoAnswer, match="ended before"):
        await asking


async def test_a_node_that_says_nothing_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / SOCKET_FILE))
        mute.listen()
        with pytest.raises(NoAnswer, match="does not answer"):
            list(ask(tmp_path, {"request": "orders"}, within=0.1))


async def test_a_socket_that_cannot_be_used_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ControlError, match="cannot be spoken with") as raised:
        list(ask(tmp_path / "file", {"request": "orders"}))
    assert type(raised.value) is ControlError
