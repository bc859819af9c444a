"""Polymarket's order book as data: its wallets, its limits, and what its errors come to, which it tells in words alone.

What is traded is one outcome of one question, and a symbol is that outcome's token id and the quote, `7132…2563/USDC`;
the wallet's collateral, which Polymarket calls pUSD, is told as USDC. The key is custody of the wallet. The second key,
which requests are signed with, is derived by the exchange from the first at every start, and never made anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from node_agent.core.market import Conduct, OrderType
from node_agent.exchanges.limiter import Counted, Limit
from node_agent.exchanges.polymarket_account import Polymarket
from node_agent.exchanges.polymarket_orders import QUOTE
from node_agent.exchanges.profile import Credential, KeyCheck, Opening, Profile
from node_agent.exchanges.traits import Meaning, Traits

NAME: Final = "polymarket"

_OWN: Final = "eoa"
"""The kind of wallet that is the key's own address."""
_KINDS: Final = {_OWN: 0, "proxy": 1, "safe": 2, "deposit": 3}
"""Wallets, by how their orders are signed."""
_CCXT_CLASS: Final = "ccxt.prediction.polymarket"
_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of secp256k1: private keys are below it."""
_SYMBOL: Final = re.compile(rf"[0-9]{{1,78}}/{QUOTE}", re.ASCII)


def _misfit(parts: Mapping[str, str]) -> str | None:
    """What is wrong with parts of a key of which each is right by itself; None when they go together."""
    from node_agent.exchanges.through_ccxt import exchange_class  # noqa: PLC0415  (a profile needs none of it)

    if parts["kind"] != _OWN:
        return None
    try:
        theirs = exchange_class(_CCXT_CLASS)
    except ValueError as error:
        return f"it cannot be tried: {error}"
    own = str(theirs.eth_get_address_from_private_key(parts["key"]))
    if own.lower() == parts["wallet"].lower():
        return None
    return (
        f"a wallet of kind {_OWN} is the private key's own address, {own}, and the one given is another:"
        " give that address, or the kind of wallet that it is"
    )


PROFILE: Final = Profile(
    name=NAME,
    title="Polymarket",
    credentials=(
        Credential(
            "key",
            "private key",
            re.compile(r"[0-9a-f]{64}", re.ASCII),
            "64 hex digits",
            also=("privateKey", "private_key"),
            tidy=lambda text: text.strip().lower().removeprefix("0x"),
            signs=lambda text: 0 < int(text, 16) < _ORDER,
        ),
        Credential(
            "wallet",
            "wallet address",
            re.compile(r"0x[0-9A-Fa-f]{40}", re.ASCII),
            "0x and 40 hex digits: where the money is, as your profile there shows it",
            also=("funder", "address"),
            hidden=False,
        ),
        Credential(
            "kind",
            "kind of wallet",
            re.compile("|".join(_KINDS), re.ASCII),
            "deposit, safe (you signed up with a browser's wallet), proxy (by e-mail) or eoa (the key's own address)",
            hidden=False,
            tidy=lambda text: text.strip().lower(),
        ),
    ),
    key_check=KeyCheck.CUSTODY,
    switch_off="nowhere: the key is the wallet (session keys, which can only trade, are not taken yet), so keep no more"
    " in it than you can lose",
    example_symbol=f"71321045679252212594626385532706912750332728571942532289631379312455583992563/{QUOTE}",
    order_types=("market", "limit"),
    names_a_symbol_each=True,
    misfit=_misfit,
)

_SETTLES: Final = timedelta(minutes=2)
"""No bound is known; some orders on sports are held back by most of a minute, and are not told of while they are."""

_LIMITS: Final = (
    # The least of those on what is asked often; balances, which are asked seldom, have 200.
    Limit("requests_10s", Counted.WEIGHT, 500, 10.0),
    Limit("orders_1s", Counted.ORDERS, 40, 1.0),
)

_TELLING: Final = (
    # What an error's text has in it, what it is about, and what it comes to. The first that fits.
    ("is invalid. Duplicated", "duplicate", Meaning.DUPLICATE),
    ("order not found", "order", Meaning.NO_SUCH_ORDER),
    ("Invalid orderID", "order", Meaning.NO_SUCH_ORDER),
    ("Could not derive api key", "key", Meaning.KEY),
    ("Invalid L1 Request headers", "key", Meaning.KEY),
    ("invalid signature", "key", Meaning.KEY),
    ("owner of the API KEY", "key", Meaning.KEY),
    ("address of the API KEY", "key", Meaning.KEY),
    ("maker address not allowed", "key", Meaning.KEY),
    ("address banned", "key", Meaning.KEY),
    ("restricted in your region", "key", Meaning.KEY),
    ("closed only mode", "account", Meaning.REFUSED),
    ("not enough balance", "balance", Meaning.REFUSED),
    ("minimum tick size", "price", Meaning.REFUSED),
    ("invalid price", "price", Meaning.REFUSED),
    ("lower than the minimum", "size", Meaning.TOO_SMALL),
    ("min size", "size", Meaning.TOO_SMALL),
    ("invalid amounts", "amount", Meaning.REFUSED),
    ("invalid expiration", "expiration", Meaning.REFUSED),
    ("invalid nonce", "payload", Meaning.REFUSED),
    ("Invalid order payload", "payload", Meaning.REFUSED),
    ("order_version_mismatch", "payload", Meaning.REFUSED),
    ("no orders found to match", "nothing", Meaning.REFUSED),
    ("not yet ready to process", "market", Meaning.REFUSED),
    ("No orderbook exists", "market", Meaning.REFUSED),
)


def polymarket_traits(kind: str) -> Traits:
    """Polymarket as data, for one kind of wallet. Raises KeyError for a kind that there is none of."""
    return Traits(
        name=NAME,
        ccxt_class=_CCXT_CLASS,
        credentials={"key": "privateKey", "wallet": "walletAddress"},
        # The id is the hash of what is signed, and stays taken.
        conduct=Conduct(
            settles_within=_SETTLES,
            ids_unique_for_ever=True,
            order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}),
        ),
        limits=_LIMITS,
        weight_per_cost=1,
        pause=10.0,  # its limits are on ten seconds
        error_of=_error_of,
        meanings={about: meaning for _, about, meaning in _TELLING},
        duplicate_messages=frozenset(),
        new_id="",  # ours goes into what is signed
        known_id=None,
        cancelled_id=None,
        stop="",
        acknowledges=True,
        # ccxt would have orders counted for its own good.
        options={"signatureType": _KINDS[kind], "builder": None, "builderFee": False},
    )


def _error_of(status: int, body: Any) -> tuple[str, str] | None:
    told = body if isinstance(body, dict) else {}
    failed = told.get("success") is False
    text = told.get("error") or (told.get("errorMsg") if failed else None)
    if not text:
        return ("", "") if failed or status >= 400 else None
    words = str(text)
    return next((about for part, about, _ in _TELLING if part.lower() in words.lower()), ""), words


def open_exchange(opening: Opening) -> Polymarket:
    """One wallet on Polymarket, for one outcome.

    Raises ValueError for a symbol that names none, or a wallet that is not of its kind.
    """
    from node_agent.exchanges.through_ccxt import connect  # noqa: PLC0415  (a profile needs none of it)

    if not _SYMBOL.fullmatch(opening.symbol):
        raise ValueError(f"a symbol of Polymarket is an outcome's token id and /{QUOTE}")
    parts = {name: part.get_secret_value() for name, part in opening.credentials.items()}
    traits = polymarket_traits(parts["kind"])
    line = connect(traits, opening)
    wrong = _misfit(parts)  # behind the line, which is lighter as long as nothing else of ccxt is there
    if wrong is not None:
        raise ValueError(wrong)
    return Polymarket(line, traits, opening)
