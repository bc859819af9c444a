"""Coinbase's Advanced Trade: its key, its limits and names, and orders and fills in its own words.

ccxt's `create_order` would give an order an id of its own, and make an amount of money of every purchase at market; its
reading of orders fails for those by an amount of money, which an owner places by hand. So of orders and fills, ccxt
signs and sends what is asked here, and no more. Coinbase finds no order by a client order id: that goes by its own, or
through lists. A request is good as long as its token, two minutes.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from node_agent.core.market import (
    Conduct,
    ExchangeOrder,
    ExchangeStatus,
    IdForm,
    OpenOrder,
    OrderRequest,
    OrderType,
    TimeInForce,
)
from node_agent.exchanges.coinbase_reading import (
    MEANINGS,
    STATUSES,
    error_of,
    fill_as_ccxt,
    order_as_ccxt,
    page_of,
    permissions,
)
from node_agent.exchanges.failures import DuplicateOrder
from node_agent.exchanges.limiter import Counted, Limit
from node_agent.exchanges.permissions import Query, Rules
from node_agent.exchanges.port import ExchangeError, ExchangeUnavailable, OrderRefused
from node_agent.exchanges.profile import Credential, KeyCheck, Opening, Profile
from node_agent.exchanges.reading import open_order_of
from node_agent.exchanges.spot import SpotExchange, exact, legible
from node_agent.exchanges.traits import Pace, Traits

NAME: Final = "coinbase"

_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_NAME_FORM: Final = re.compile(f"organizations/{_UUID}/apiKeys/{_UUID}", re.ASCII)
_PEM_LINE: Final = 64
_BEGIN: Final = "-----BEGIN EC PRIVATE KEY-----"
_END: Final = "-----END EC PRIVATE KEY-----"
_PEM: Final = re.compile(f"{_BEGIN}(.+?){_END}", re.ASCII | re.DOTALL)
_SECRET_FORM: Final = re.compile(rf"{_BEGIN}\nM(?:Hc|DE)CAQEEI[A-Za-z0-9+/=\n]{{50,300}}\n{_END}\n", re.ASCII)
"""The first bytes of every P-256 key of this kind are the same: what it is, its length, and then the number."""


def _pem(text: str) -> str:
    """A private key as a file holds it, whatever became of its line ends: Coinbase's JSON writes them as `\\n`."""
    found = _PEM.search(text.replace("\\r", "").replace("\\n", "\n"))
    if found is None:
        return text.strip()
    inside = "".join(found[1].split())
    lines = [inside[start : start + _PEM_LINE] for start in range(0, len(inside), _PEM_LINE)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def _signs(text: str) -> bool:
    from cryptography.hazmat.primitives.asymmetric.ec import (  # noqa: PLC0415  (a profile needs none of it)
        SECP256R1,
        EllipticCurvePrivateKey,
    )
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(text.encode(), password=None)
    except ValueError:
        return False
    return isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1)


_NOT_ED25519: Final = (
    "its trading takes no Ed25519 key: make one whose signature algorithm, under Advanced Settings, is ECDSA"
)

_RULES: Final = Rules(
    forbidden=frozenset(("can_transfer",)),
    harmless=frozenset(("can_view", "can_trade")),
    needed=frozenset(("can_view", "can_trade")),
    better_off={"can_receive": "switch off Receive: the node asks for no address to pay to"},
)

PROFILE: Final = Profile(
    name=NAME,
    title="Coinbase",
    credentials=(
        Credential(
            "key",
            "API key name",
            _NAME_FORM,
            f"organizations/…/apiKeys/…; {_NOT_ED25519}",
            also=("name", "id"),
            hidden=False,
        ),
        Credential(
            "secret",
            "private key",
            _SECRET_FORM,
            f"a block of lines from BEGIN EC PRIVATE KEY to END EC PRIVATE KEY; {_NOT_ED25519}",
            also=("privateKey",),
            tidy=_pem,
            signs=_signs,
        ),
    ),
    key_check=KeyCheck.ASKED,
    switch_off="portal.cdp.coinbase.com, API keys, Secret API Keys, the key's API restrictions",
    rules=_RULES,
    example_symbol="BTC/USD",
    order_types=("market", "limit"),
)

_TOKEN_GOOD_FOR: Final = timedelta(seconds=120)
_LENIENCE: Final = timedelta(seconds=60)
"""How much longer a token may be taken; what the usual libraries for them allow."""
_BACKDATED: Final = 2
"""Seconds by which a token is stamped earlier: a server whose clock is a little behind refuses one from the future."""
_STANDS_WITHIN: Final = 1.0
"""Seconds in which Coinbase is to say how an order stands that it has taken; else the next look tells."""
_ONE_BY_ONE: Final = 5
"""Up to so many unknown orders are asked for by their ids; more are listed."""
_ONE_BOOK: Final = frozenset(("USD", "USDC"))
"""Coinbase trades both in one book, and may call a product of the one by the other."""

_CREATE: Final = "v3_private_post_brokerage_orders"
_CANCEL: Final = "v3_private_post_brokerage_orders_batch_cancel"
_ORDER: Final = "v3_private_get_brokerage_orders_historical_order_id"
_ORDERS: Final = ("v3_private_get_brokerage_orders_historical_batch", "orders")
_FILLS: Final = ("v3_private_get_brokerage_orders_historical_fills", "fills")


def coinbase_traits() -> Traits:
    """Coinbase as data."""
    return Traits(
        name=NAME,
        conduct=Conduct(
            id_form=IdForm.UUID,
            settles_within=_TOKEN_GOOD_FOR + _LENIENCE,
            ids_unique_for_ever=True,
            order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}),
        ),
        # Thirty private requests a second and user, ten public ones a second and address: ccxt counts those threefold.
        limits=(Limit("requests_1s", Counted.WEIGHT, 30, 1.0),),
        weight_per_cost=1,
        error_of=error_of,
        meanings=MEANINGS,
        duplicate_messages=frozenset(),
        new_id="client_order_id",
        known_id=None,
        cancelled_id=None,
        stop="",
        permissions=Query("v3_private_get_brokerage_key_permissions", permissions, _RULES),
        acknowledges=True,
        pause=5.0,
        statuses=STATUSES,
        # What Coinbase tells in public may be a second old.
        options={"usePrivate": True},
        markets_of=lambda symbol: {"product_id": _product(symbol)},
        balances={"v3": True},
        page=100,
        pace=Pace(candle_settles=1.0),
    )


def _product(symbol: str) -> str:
    return symbol.replace("/", "-")


def open_exchange(opening: Opening) -> Coinbase:
    """One account on Coinbase, for one symbol."""
    from node_agent.exchanges.through_ccxt import connect  # noqa: PLC0415  (a profile needs none of it)

    traits = coinbase_traits()
    line = connect(traits, opening)
    teach(line.client)
    return Coinbase(line, traits, symbol=opening.symbol, interval=opening.interval)


def teach(client: Any) -> None:
    """ccxt's object reads one product alone, the time in milliseconds, and stamps tokens with the exchange's time.

    By itself it reads all products, all futures and the account's fees beside them, and goes by our clock.
    """
    token = client.create_auth_token

    async def fetch_markets(parameters: Mapping[str, Any]) -> list[Any]:
        return [client.parse_spot_market(await client.v3PublicGetBrokerageMarketProductsProductId(parameters), {})]

    async def fetch_time() -> Any:
        return (await client.v3PublicGetBrokerageTime())["epochMillis"]

    client.fetch_markets, client.fetch_time = fetch_markets, fetch_time
    client.seconds = lambda: (client.milliseconds() - client.options["timeDifference"]) // 1000
    client.create_auth_token = lambda seconds, *request: token(seconds - _BACKDATED, *request)


class Coinbase(SpotExchange):
    """Orders and fills go by Coinbase's own requests, and are read from its own answers, page by page."""

    async def create_order(self, request: OrderRequest) -> ExchangeOrder:
        """Place it, once. An id that Coinbase knows makes no second order: it answers with the first one's."""
        configuration = _configuration(request)
        await self._be_ready()
        asked = {
            "client_order_id": self._written(request.client_order_id),
            "product_id": _product(request.symbol),
            "side": request.side.value.upper(),
            "order_configuration": configuration,
        }

        def read(raw: Any) -> ExchangeOrder:
            made = raw["success_response"]
            if made["client_order_id"] != asked["client_order_id"]:
                raise ValueError("another order than the one that was placed")
            return self._seen(
                ExchangeOrder(
                    request.client_order_id,
                    str(made["order_id"]),
                    request.symbol,
                    ExchangeStatus.OPEN,
                    request.amount,
                    Decimal(0),
                )
            )

        try:
            order = await self._line.ask(read, _CREATE, asked, acts=True)
        except DuplicateOrder:
            return await self._first(request)
        # It is placed, whatever comes of asking how it stands; the answer alone may be about one that has ended.
        with suppress(ExchangeError, TimeoutError):
            async with asyncio.timeout(_STANDS_WITHIN):
                order = await self.order(order.exchange_order_id)
        self._follower.note(order)
        return order

    async def open_orders(self) -> Sequence[OpenOrder]:
        """All open orders of the account on the symbol, whoever placed them."""
        await self._be_ready()
        opened: list[OpenOrder] = []
        async for page in self._orders(order_status="OPEN"):
            with legible():
                for raw in page:
                    listed = open_order_of(order_as_ccxt(raw, self._symbol), STATUSES)
                    opened.append(OpenOrder(self._seen(listed.order), listed.side, listed.price))
        return opened

    async def recent_orders(self, since: datetime) -> Sequence[ExchangeOrder]:
        """Orders of the account on the symbol that were placed since."""
        await self._be_ready()
        orders: list[ExchangeOrder] = []
        async for page in self._orders(start_date=_rfc3339(since)):
            orders += self._read(page)
        return orders

    async def order(self, exchange_order_id: str) -> ExchangeOrder:
        """An order by the exchange's id of it."""

        def read(raw: Any) -> ExchangeOrder:
            return self._read_order(order_as_ccxt(raw["order"], self._symbol))

        return await self._line.ask(read, _ORDER, {"order_id": exchange_order_id})

    async def _cancelled(self, client_order_id: str, symbol: str) -> ExchangeOrder:
        """Coinbase takes the wish to cancel, and carries it out soon: the order may still be open when it is read."""
        known = await self._exchange_id(client_order_id, symbol)
        await self._line.ask(lambda _: None, _CANCEL, {"order_ids": [known]}, acts=True)
        return await self.order(known)

    async def _listed(self, client_order_id: str) -> ExchangeOrder | None:
        """The order under this id in the lists of the account's orders, the newest first: read until it is there."""
        since = self._line.exchange_time() - self._traits.looks_back
        for wanted in ({"order_status": "OPEN"}, {"start_date": _rfc3339(since)}):
            async with aclosing(self._orders(**wanted)) as pages:
                async for page in pages:
                    for order in self._read(page):
                        if order.client_order_id == client_order_id:
                            return order
        return None

    async def _raw_trades(self, since: datetime | None) -> Sequence[Any]:
        start = {} if since is None else {"start_sequence_timestamp": _rfc3339(since)}
        return await self._fills(product_ids=_product(self._symbol), **start)

    async def _raw_trades_of(self, exchange_order_id: str) -> Sequence[Any]:
        return await self._fills(order_ids=exchange_order_id)

    async def _learn(self, unknown: set[str]) -> None:
        """Few are asked for by their ids; more are looked for in the list of all."""
        if len(unknown) > _ONE_BY_ONE:
            async with aclosing(self._orders()) as pages:
                async for page in pages:
                    self._read(page)
                    if unknown <= self._client_ids.keys():
                        break
        for order_id in sorted(unknown - self._client_ids.keys()):
            await self.order(order_id)

    def _read(self, page: Iterable[Any]) -> list[ExchangeOrder]:
        with legible():
            return [self._read_order(order_as_ccxt(raw, self._symbol)) for raw in page]

    def _orders(self, **wanted: str) -> AsyncGenerator[list[Any], None]:
        """Orders on the symbol, page by page."""
        return self._pages(*_ORDERS, {"product_ids": _product(self._symbol), **wanted})

    async def _fills(self, **wanted: str) -> list[Any]:
        """Fills on the symbol as ccxt would write them. A correction of one is none: it names its trade again."""
        fills: list[Any] = []
        async for page in self._pages(*_FILLS, wanted):
            with legible():
                fills += [fill_as_ccxt(raw, self._symbol) for raw in page if raw["trade_type"] == "FILL"]
        return fills

    async def _pages(self, method: str, name: str, wanted: Mapping[str, str]) -> AsyncGenerator[list[Any], None]:
        """Each page of a list, of what is on the symbol. Fills name a next page even when there is none."""

        def read(raw: Any) -> tuple[list[Any], str]:
            page = page_of(raw, name)
            more = page and raw.get("has_next", True)
            return [each for each in page if self._is_on_it(each)], str(raw.get("cursor") or "") if more else ""

        asked, before, seen = {**wanted, "limit": str(self._traits.page)}, "", set[str]()
        while True:
            page, cursor = await self._line.ask(read, method, asked)
            yield page
            if not cursor or cursor == before:
                return
            if cursor in seen:
                raise ExchangeUnavailable(f"{self.name} has a list without end")
            seen.add(cursor)
            asked["cursor"] = before = cursor

    def _is_on_it(self, raw: Any) -> bool:
        """Whether an order or a fill is one on our symbol."""
        base, _, quote = str(raw["product_id"]).partition("-")
        our_base, _, our_quote = self._symbol.partition("/")
        return base == our_base and (quote == our_quote or {quote, our_quote} == _ONE_BOOK)


def _configuration(request: OrderRequest) -> Mapping[str, Mapping[str, str]]:
    """What kind of order it is, in Coinbase's words. Raises OrderRefused for one that it does not have."""
    size = {"base_size": exact(request.amount)}
    match request.type, request.time_in_force:
        case OrderType.MARKET, _:
            return {"market_market_ioc": size}
        case OrderType.LIMIT, TimeInForce.GTC:
            return {"limit_limit_gtc": {**size, "limit_price": exact(request.price)}}
        case OrderType.LIMIT, TimeInForce.IOC:
            return {"sor_limit_ioc": {**size, "limit_price": exact(request.price)}}
        case _:
            raise OrderRefused("not sent: Coinbase has no stop that becomes an order at market")


def _rfc3339(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
