"""The owner's limits, reckoned by a test from books of its own: what the node was told, and what it decided.

Nothing here asks the node how much is at risk. `decide` holds an order against the limits when the journal has it,
`send_again` when it goes out once more; both fail the test.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal as D

from node_agent.core.hours import is_within
from node_agent.core.market import Candle, Fill, OpenOrder, OrderRequest, OrderType, Side
from node_agent.core.orders import Order
from node_agent.core.policy import Policy
from node_protocol.messages import Command
from tests.node.values import MARKETS

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Decision:
    """An order that the node has written down to be sent."""

    request: OrderRequest
    at: datetime
    placed_at: datetime
    """By the time that days and limits go by."""
    day: date
    wanted_until: datetime


@dataclass
class Day:
    """A day of trading."""

    date: date
    baseline: D
    high: D


@dataclass
class Books:
    """What the node may know, as the test counts it."""

    policy: Policy
    live_market: bool
    """Days and hours go by the wall clock; else by the market's."""
    now: datetime
    ahead: timedelta = timedelta(0)
    """The server's clock before ours."""
    market_at: datetime | None = None
    last: dict[str, D] = field(default_factory=dict)
    priced_at: dict[str, datetime] = field(default_factory=dict)
    decided_at: datetime | None = None
    """When the candle closed that strategies decide on now."""
    position: dict[str, D] = field(default_factory=dict)
    cash: D = D(0)
    day: Day | None = None
    fills: dict[str, Fill] = field(default_factory=dict)
    decided: dict[str, Decision] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)
    wanted_by: set[str] = field(default_factory=set)
    """By which rules the kill switch was last asked for."""
    flatten: bool | None = None
    """Of the kill switch that is at work; None while none is."""
    foreign: tuple[OpenOrder, ...] = ()
    commands: dict[str, Command] = field(default_factory=dict)
    obeyed: set[str] = field(default_factory=set)
    by_hand: set[str] = field(default_factory=set)

    # What the node learns.

    @property
    def trading_time(self) -> datetime:
        return self.now if self.live_market or self.market_at is None else self.market_at

    def see_time(self, now: datetime) -> None:
        self.now = now
        if self.day is not None:
            self.see_day()

    def see_day(self) -> None:
        today = self.trading_time.date()
        if self.day is None or today > self.day.date:
            self.day = Day(today, self.result(), self.result())
            self.stopped -= {"daily_loss", "drawdown"}

    def see_candle(self, close: Candle) -> None:
        self.last[close.symbol] = close.close
        self.priced_at[close.symbol] = close.closed_at if self.live_market else self.now
        self.market_at = close.at if self.market_at is None else max(self.market_at, close.at)
        self.decided_at = close.closed_at if self.live_market else self.now
        self.see_day()
        self.see_loss()

    def see_fill(self, made: Fill) -> None:
        if made.trade_id in self.fills:
            return
        self.fills[made.trade_id] = made
        self.unknown.discard(made.client_order_id)
        sign = 1 if made.side is Side.BUY else -1
        self.position[made.symbol] = self.position.get(made.symbol, D(0)) + sign * made.amount
        self.cash -= sign * made.amount * made.price
        self.see_loss()

    def see_policy(self, policy: Policy) -> None:
        changed = policy.digest != self.policy.digest
        self.policy = policy
        self.stopped.discard("policy_unreadable")
        if changed:
            self.see_loss()

    def see_loss(self) -> None:
        if self.day is None:
            return
        self.day.high = max(self.day.high, self.result())
        for name, since, limit in (
            ("daily_loss", self.day.baseline, self.policy.daily_loss),
            ("drawdown", self.day.high, self.policy.drawdown),
        ):
            if self.result() < since and since - self.result() >= limit:
                self.stopped.add(name)

    def result(self) -> D:
        return self.cash + sum((amount * self.last[symbol] for symbol, amount in self.position.items()), D(0))

    # What the node decides.

    def decide(self, order: Order) -> None:
        """An order that was not there before is in the journal, to be sent."""
        request = order.request()
        before = [each for each in self.live if each.symbol == request.symbol]
        closes = self.closes(request)
        others = list(self.live)
        wanted = Decision(request, self.now, self.trading_time, self.trading_time.date(), order.wanted_until)
        self.decided[request.client_order_id] = wanted
        market = MARKETS[request.symbol]
        assert request.amount > 0
        assert request.amount % market.step_size == 0
        if order.command_id is None and order.strategy is None and request.client_order_id not in self.by_hand:
            assert self.flatten, "the node itself sends an order though no position is to be closed"
            assert closes, "an exit that is larger than the position"
            assert request.reduce_only
            assert not before, "an exit beside another order of the symbol"
            return
        assert order.exchange == "paper"
        assert order.exchange in self.policy.exchanges
        assert request.symbol in self.policy.symbols
        assert request.side in self.policy.sides
        assert request.type in self.policy.order_types
        self._is_no_worse_than_the_collar(request, closes)
        age = timedelta(0)
        if order.command_id is not None:
            age = self._obeys(self.commands[order.command_id])
        elif order.strategy is not None:
            assert self.decided_at is not None
            age = self.now - self.decided_at
        if not closes:
            assert not request.reduce_only
            self._may_add_risk(request, others, age)

    def send_again(self, request: OrderRequest) -> None:
        """An order that was decided on before goes out now."""
        name = request.client_order_id
        wanted = self.decided[name]
        self.unknown.discard(name)
        assert request == wanted.request
        assert name not in self.ended, "sent although it has ended"
        assert self.now <= wanted.wanted_until, "sent again although nobody wants it any more"
        if self.closes(request):
            return
        assert not request.reduce_only, "sent again although it does not only reduce any more"
        others = [each for each in self.live if each.client_order_id != name]
        self._may_add_risk(request, others, self.now - wanted.at)

    def _obeys(self, command: Command) -> timedelta:
        """A command of the server is carried out; how old it is."""
        assert command.id not in self.obeyed, "a command is carried out twice"
        self.obeyed.add(command.id)
        assert command.type in self.policy.server_commands
        assert command.expires_at - self.now > self.ahead, "a command is carried out after its time"
        assert self.flatten is None, "a command is carried out while orders are being cancelled and closed"
        return self.now - command.issued_at + self.ahead

    def _is_no_worse_than_the_collar(self, request: OrderRequest, closes: bool) -> None:
        level = request.price or request.stop_price
        if level is None or (closes and request.stop_price is not None):
            return
        sign = 1 if request.side is Side.BUY else -1
        worst = self.last[request.symbol] * (1 + sign * self.policy.price_collar)
        assert level <= worst if request.side is Side.BUY else level >= worst

    def _may_add_risk(self, request: OrderRequest, others: list[OrderRequest], age: timedelta) -> None:
        policy, symbol = self.policy, request.symbol
        assert not self.stopped, f"new risk although {self.stopped}"
        assert self.flatten is None, "new risk while orders are being cancelled"
        lost = [each for each in others if each.symbol == symbol and each.client_order_id in self.unknown]
        assert not lost, "new risk beside an order that may or may not exist"
        assert policy.max_signal_age is None or age <= policy.max_signal_age
        assert self.now - self.priced_at[symbol] <= policy.max_data_age
        assert not policy.trading_hours or is_within(policy.trading_hours, self.trading_time)
        names = self.decided.keys() - {request.client_order_id}
        recent = [name for name in names if self.decided[name].placed_at > self.trading_time - MINUTE]
        assert len(recent) < policy.orders_per_minute
        today = [name for name in names if self.decided[name].day == self.trading_time.date()]
        assert len(today) < policy.orders_per_day
        foreign = sum((self.worth_of_foreign(each) for each in self.foreign), D(0))
        assert self.worth(request, request.amount) <= policy.max_order_notional
        waiting = sum((self.worth(each, self.open(each)) for each in [*others, request]), D(0))
        assert waiting + foreign <= policy.max_open_notional
        sign = 1 if request.side is Side.BUY else -1
        same = [each for each in others if (each.symbol, each.side) == (symbol, request.side)]
        one_way = self.position.get(symbol, D(0)) * self.last[symbol] * sign
        one_way += sum((self.worth(each, self.open(each)) for each in [*same, request]), D(0))
        theirs = [each for each in self.foreign if (each.order.symbol, each.side) == (symbol, request.side)]
        one_way += sum((self.worth_of_foreign(each) for each in theirs), D(0))
        assert one_way <= policy.max_position_notional
        held = sum((abs(amount) * self.last[name] for name, amount in self.position.items()), D(0))
        added = sum((self._least_risk(name, [*others, request]) for name in MARKETS), D(0))
        assert held + added + foreign <= policy.max_total_notional
        day = self.day
        assert day is not None
        assert self.result() >= day.baseline or day.baseline - self.result() < policy.daily_loss
        assert self.result() >= day.high or day.high - self.result() < policy.drawdown

    # What is at risk.

    @property
    def live(self) -> list[OrderRequest]:
        """All that was decided on and may still trade."""
        return [each.request for name, each in self.decided.items() if name not in self.ended]

    def open(self, request: OrderRequest) -> D:
        told = (each.amount for each in self.fills.values() if each.client_order_id == request.client_order_id)
        return request.amount - sum(told, D(0))

    def closes(self, request: OrderRequest) -> bool:
        """Whether all that may trade against the position, this order too, is no more than the position."""
        others = [each for each in self.live if each.client_order_id != request.client_order_id]
        against = [each for each in others if (each.symbol, each.side) == (request.symbol, request.side)]
        held = self.position.get(request.symbol, D(0))
        sign = 1 if request.side is Side.BUY else -1
        size = self.open(request) + sum((self.open(each) for each in against), D(0))
        return sign * held < 0 and size <= abs(held)

    def worth(self, request: OrderRequest, amount: D) -> D:
        last = self.last[request.symbol]
        level = request.price or request.stop_price or last
        if request.type is OrderType.STOP or request.side is Side.SELL:
            level = max(level, last)
        return amount * level

    def worth_of_foreign(self, each: OpenOrder) -> D:
        return (each.order.amount - each.order.filled) * max(each.price or D(0), self.last[each.order.symbol])

    def covered(self, symbol: str, side: Side) -> D:
        """How much of the position orders to this side may close."""
        held = self.position.get(symbol, D(0))
        return max(held if side is Side.SELL else -held, D(0))

    def _least_risk(self, symbol: str, live: list[OrderRequest]) -> D:
        """The least that open orders of a symbol add when its position covers what it can."""
        total = D(0)
        for side in Side:
            ours = [each for each in live if (each.symbol, each.side) == (symbol, side)]
            size = sum((self.open(each) for each in ours), D(0))
            dearest = max((self.worth(each, D(1)) for each in ours), default=D(0))
            whole = sum((self.worth(each, self.open(each)) for each in ours), D(0))
            total += max(whole - min(self.covered(symbol, side), size) * dearest, D(0))
        return total
