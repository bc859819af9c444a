"""What differs from one exchange to the next, as data: limits, names, error codes, pace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from node_agent.core.market import Conduct, ExchangeStatus
from node_agent.exchanges.limiter import Limit
from node_agent.exchanges.permissions import Query


class Meaning(StrEnum):
    """What a refusal by an exchange comes to."""

    REFUSED = "refused"
    """A definite no to this request."""
    TOO_SMALL = "too small"
    """A definite no to so small an order."""
    DUPLICATE = "duplicate"
    """It has an order under this client order id."""
    NO_SUCH_ORDER = "no such order"
    CLOCK = "clock"
    """Our time is too far from its own."""
    KEY = "key"
    TOO_MANY = "too many requests"
    TOO_MANY_CALLS = "too many calls"
    """Of those that its limits count by weight. Others still go."""
    TOO_MANY_ORDERS = "too many orders"
    UNKNOWN = "unknown"
    """It may have been carried out, whatever the answer's status says."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often an exchange is asked while its updates are followed. In seconds."""

    orders_every: float = 2.0
    orders_every_fast: float = 1.0
    """The same, for candles of a second."""
    survey_every: float = 5.0
    """Between two looks at all that is open on the account."""
    fills_every: float = 30.0
    """Fills of orders that never showed among the open ones, whoever placed them."""
    orders_at_once: int = 1
    """Of how many orders that have changed it tells by one answer."""
    candle_settles: float = 0.25
    """How long after its close a candle may still change."""
    clock_every: float = 60.0
    patience: float = 2.0
    """How long a request waits for our own limiter before it is given up."""
    timeout: float = 8.0

    def between_polls(self, interval: timedelta) -> float:
        """Seconds between two looks at open orders."""
        return self.orders_every_fast if interval <= timedelta(seconds=1) else self.orders_every


@dataclass(frozen=True, slots=True)
class Traits:
    """One exchange that is spoken to through ccxt."""

    name: str
    """Its id here; the name of its allowlist."""
    conduct: Conduct
    limits: tuple[Limit, ...]
    weight_per_cost: float
    """How much of the exchange's weight one of ccxt's units of cost is."""
    error_of: Callable[[int, Any], tuple[str, str] | None]
    """Code and message of an answer that is an error, from its status and its parsed body."""
    meanings: Mapping[str, Meaning]
    """By error code. What is not here is not known, and may have been carried out."""
    duplicate_messages: frozenset[str]
    """What it says of an id that it knows, where the code alone does not tell."""
    new_id: str
    """How its API calls the client order id of a new order."""
    known_id: str | None
    """The same, of an order that is asked for; None where it can be found in lists of orders alone."""
    cancelled_id: str | None
    """The same, of an order that is cancelled; None where that goes by the exchange's id alone."""
    stop: str
    """ccxt's name for the trigger of a market stop."""
    ccxt_class: str = ""
    """ccxt's module and class of it, where they are not `async_support` and its name."""
    credentials: Mapping[str, str] = field(default_factory=lambda: {"key": "apiKey", "secret": "secret"})
    """What ccxt calls the parts of a key, by our names of them."""
    permissions: Query | None = None
    """How it is asked what a key may do; None where it does not tell."""
    acting: Callable[[str, str], bool] = lambda method, _path: method != "GET"
    """Whether a request makes the exchange do something, by method and ccxt's path: those are never sent twice."""
    orders: Callable[[str, str], bool] = lambda method, _path: method == "POST"
    """Whether it places an order, which its limits count."""
    acknowledges: bool = False
    """Whether it answers a new order with its id alone, and how it stands has to be asked for."""
    has_clock: bool = True
    """Whether it tells its time; else ours is taken for it."""
    sure_at_500: frozenset[Meaning] = frozenset()
    """What a code means, whatever the status, where an exchange gives one of 500 to orders that it refuses."""
    in_turn: Callable[[Any], bool] = lambda _api: False
    """Whether requests of one of ccxt's apis go one by one, for each carries a higher number than the last."""
    pause: float = 60.0
    """For how many seconds nothing goes when it says that it was too much, but not until when."""
    pauses: Mapping[str, float] = field(default_factory=dict)
    """The same, by error code, where it is another."""
    statuses: Mapping[str, ExchangeStatus] = field(default_factory=dict)
    """Statuses that ccxt hands on as they are."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """ccxt's options for it."""
    markets_of: Callable[[str], Mapping[str, Any]] = lambda _symbol: {}
    """Parameters with which it tells of one symbol alone."""
    balances: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the request for balances."""
    looks_back: timedelta = timedelta(days=30)
    """How old an ended order is that is still looked for in lists."""
    page: int = 1000
    """Trades, orders or candles in one answer at most."""
    trades_span: timedelta = timedelta(days=1)
    """How much time one answer on trades may cover at most."""
    pace: Pace = Pace()
