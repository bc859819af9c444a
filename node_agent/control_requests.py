"""What the owner can ask of a node that runs: one frozen, strict value for each request, and how a line is read."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import StringConstraints

from node_protocol import strict_json
from node_protocol.messages import ClientOrderId, Line, Message, OrderPlace, validate
from node_protocol.refusals import Malformed, Refused

LONGEST_REQUEST: Final = 4096
"""Bytes."""


class Pause(Message):
    """Stop new risk."""

    request: Literal["pause"]
    reason: Line


class Resume(Message):
    """Let trading go on."""

    request: Literal["resume"]


class Stop(Message):
    """End the process: at once, or when orders are cancelled, or when positions are closed too."""

    request: Literal["stop"]
    cancel_open: bool = False
    flatten: bool = False


class Health(Message):
    """Tell how the node is, once its loop has taken an event for this."""

    request: Literal["health"]


class Orders(Message):
    """Tell what is open."""

    request: Literal["orders"]


class Place(Message):
    """Place an order. The same token on the same node is the same order."""

    request: Literal["place"]
    order: OrderPlace
    token: Annotated[str, StringConstraints(pattern="^[!-~]{1,64}$")]


class Cancel(Message):
    """Cancel an order of the node's own."""

    request: Literal["cancel"]
    client_order_id: ClientOrderId


class GiveUp(Message):
    """Take an order that the exchange does not find for one that it does not have."""

    request: Literal["give_up"]
    client_order_id: ClientOrderId


Request = Pause | Resume | Stop | Health | Orders | Place | Cancel | GiveUp
_FORMS: Final[dict[str, type[Request]]] = {
    "pause": Pause,
    "resume": Resume,
    "stop": Stop,
    "health": Health,
    "orders": Orders,
    "place": Place,
    "cancel": Cancel,
    "give_up": GiveUp,
}


def read_request(line: bytes) -> Request:
    """The request in one line. Raises Malformed."""
    value = strict_json.loads(line)
    form = _FORMS.get(str(value.get("request"))) if isinstance(value, dict) else None
    if form is None:
        raise Malformed(f"no request that there is: {', '.join(_FORMS)}")
    try:
        return validate(form, value)
    except Refused as refused:
        raise Malformed(refused.where) from None
