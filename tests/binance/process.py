"""The exchange as a process of a test's own, from `with` to its end, and its control by method."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from tests.venue.process import WITHIN, Placed, Traded, VenueProcess

__all__ = ["KEY", "SECRET", "WITHIN", "BinanceProcess"]

KEY: Final = "testkey0testkey0testkey0testkey0testkey0testkey0testkey0testkey0"
SECRET: Final = "secret00secret00secret00secret00secret00secret00secret00secret00"


class BinanceProcess(VenueProcess):
    """`python -m tests.binance`."""

    def __init__(self, *options: str, key: str = KEY, secret: str = SECRET) -> None:
        super().__init__("tests.binance", "--key", key, "--secret", secret, *options)
        self.key = key
        self.secret = secret

    def foreign_cancel(self, order_id: int, symbol: str | None = None) -> dict[str, Any]:
        """A cancel by the owner's hand."""
        return self._post("foreign", {"cancel": order_id, "symbol": symbol})

    def limits(self, **limits: float | None) -> None:
        """Sets weight, orders_10s, orders_1d, ban_after, ban_seconds; `ban` shuts the caller out for seconds."""
        self._post("limits", limits)

    def cancel(self, order_id: int, symbol: str | None = None) -> None:
        """The owner cancels an order by hand."""
        self.foreign_cancel(order_id, symbol)

    def placed(self) -> list[Placed]:
        """Every order that was accepted, oldest first."""
        return [
            Placed(
                each["orderId"],
                each["clientOrderId"],
                each["status"],
                Decimal(each["origQty"]),
                Decimal(each["executedQty"]),
                each["foreign"],
            )
            for each in self.books()["orders"]
        ]

    def trades(self) -> list[Traded]:
        """Every trade, oldest first."""
        return [
            Traded(Decimal(each["qty"]), Decimal(each["commission"]), each["commissionAsset"])
            for each in self.books()["trades"]
        ]
