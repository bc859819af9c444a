"""Which parameters make an order: what each type needs, and what it must not have."""

from __future__ import annotations

from typing import Final

from tests.binance.desk import Desk
from tests.binance.params import CLIENT_ID, SYMBOL, Params
from tests.venue.orders import Ask
from tests.venue.refusals import Refused, invalid, missing, neither, not_required, rejected

SIDES: Final = ("BUY", "SELL")
IN_FORCE: Final = ("GTC", "IOC", "FOK")
ANSWERS: Final = ("ACK", "RESULT", "FULL")
NEEDED: Final = {
    "LIMIT": ("timeInForce", "quantity", "price"),
    "LIMIT_MAKER": ("quantity", "price"),
    "MARKET": (),
    "STOP_LOSS": ("quantity", "stopPrice"),
    "STOP_LOSS_LIMIT": ("timeInForce", "quantity", "price", "stopPrice"),
}
ELSEWHERE: Final = {"TAKE_PROFIT": "Take profit orders", "TAKE_PROFIT_LIMIT": "Take profit limit orders"}


def asked(desk: Desk, params: Params) -> tuple[Ask, str]:
    """The order that the parameters ask for, and the kind of answer; raises Refused."""
    symbol = params.text("symbol", SYMBOL)
    params.text("side")
    side = params.choice("side", SIDES, Refused(-1117, "Invalid side.")) or ""
    params.text("type")
    kind = params.choice("type", (*NEEDED, *ELSEWHERE), Refused(-1116, "Invalid orderType.")) or ""
    in_force = params.choice("timeInForce", IN_FORCE, Refused(-1115, "Invalid timeInForce."))
    amounts = {name: params.decimal(name) for name in ("quantity", "quoteOrderQty", "price", "stopPrice")}
    client_id = params.optional("newClientOrderId", CLIENT_ID)
    usual = "FULL" if kind in {"MARKET", "LIMIT"} else "ACK"
    answer = params.choice("newOrderRespType", ANSWERS, invalid("newOrderRespType")) or usual
    prevention = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
    params.choice("selfTradePreventionMode", prevention, invalid("selfTradePreventionMode"))
    params.finish()
    if kind in ELSEWHERE:
        raise rejected(f"{ELSEWHERE[kind]} are not supported for this symbol.")
    given = {**amounts, "timeInForce": in_force}
    for name in NEEDED[kind]:
        if given[name] is None:
            raise missing(name)
    allowed = NEEDED[kind] or ("quantity", "quoteOrderQty")
    for name, value in given.items():
        if value is not None and name not in allowed:
            raise not_required(name)
    if kind == "MARKET":
        if amounts["quantity"] is None and amounts["quoteOrderQty"] is None:
            raise neither("quantity", "quoteOrderQty")
        if amounts["quantity"] is not None and amounts["quoteOrderQty"] is not None:
            raise not_required("quoteOrderQty")
    ask = Ask(
        symbol,
        side,
        kind,
        client_id or desk.made_up(),
        amounts["quantity"],
        amounts["quoteOrderQty"],
        amounts["price"],
        amounts["stopPrice"],
        in_force or "GTC",
    )
    return ask, answer
