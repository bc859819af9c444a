"""The demo's screen: the market, the node's orders, its reports as the server verified them, and the attacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from node_agent.demo.attacks import Attack
from node_agent.demo.reports import Reports, gist, money

_LINES: Final = 8


@dataclass
class View:
    """All that the screen shows, as it is now."""

    reports: Reports
    doing: str = ""
    market: dict[str, Any] = field(default_factory=dict)
    symbol: str = ""
    speed: float = 0
    attacks: list[Attack] = field(default_factory=list)

    def __rich__(self) -> RenderableType:
        lines = _LINES if not self.attacks else _LINES // 2  # all of it is to fit a terminal of the usual height
        parts: list[RenderableType] = [self._account(), self._orders(lines), self._verified(lines)]
        if self.attacks:
            parts.append(attacks_table(self.attacks))
        return Group(*parts, Text(self.doing, style="bold"))

    def _account(self) -> RenderableType:
        account = self.reports.account
        price = self.market.get("prices", {}).get(self.symbol, "-")
        position = account.get("positions", {}).get(self.symbol, "0")
        grid = Table.grid(expand=True)
        for _ in range(4):
            grid.add_column(justify="center")
        grid.add_row(
            f"[bold]{self.symbol}[/] {price}",
            f"position [bold]{position}[/]",
            f"equity [bold]{money(account.get('equity', '0'))}[/] {account.get('currency', '')}",
            f"{self.reports.fills} fills",
        )
        title = f"market time {(self.market.get('at') or '-')[:16]}, {self.speed:,.0f} times its pace"
        return Panel(grid, title=title, border_style="cyan")

    def _orders(self, lines: int) -> RenderableType:
        table = Table(expand=True, title="orders of the node", title_justify="left", box=None, header_style="dim")
        for name in ("order", "from", "side", "type", "amount", "filled", "price", "stands"):
            table.add_column(name)
        for event in list(self.reports.orders.values())[-lines:]:
            data = event["data"]
            table.add_row(
                data["client_order_id"][:8],
                "server" if "command_id" in data else str(data.get("strategy", "")),
                Text(data["side"], style="green" if data["side"] == "buy" else "red"),
                data["type"],
                data["amount"],
                data["filled"],
                data.get("average_price") or data.get("price") or "",
                event["type"].removeprefix("order."),
            )
        return table

    def _verified(self, lines: int) -> RenderableType:
        title = f"reports as the server verified them: {self.reports.count}"
        table = Table(expand=True, title=title, title_justify="left", box=None, header_style="dim")
        for name in ("", "seq", "event", "says"):
            table.add_column(name, ratio=1 if name == "says" else None, no_wrap=True)
        for event in list(self.reports.latest)[-lines:]:
            table.add_row("[green]✓[/]", str(event["seq"]), event["type"], gist(event))
        return table


def attacks_table(attacks: Sequence[Attack]) -> RenderableType:
    """What was tried, and what was answered."""
    table = Table(expand=True, title="attacks", title_justify="left", box=None, header_style="dim")
    for name in ("", "tried", "answered"):
        table.add_column(name, ratio=None if name == "" else 1)
    for attack in attacks:
        if attack.repelled:
            table.add_row("[green]✓[/]", attack.tried, attack.answered)
        else:
            table.add_row("[red]✗[/]", attack.tried, f"[red]{attack.answered}[/] instead of {attack.expected}")
    return table


def say(console: Console, attack: Attack) -> None:
    """One attack as a line, for who wants no screen."""
    mark = "repelled" if attack.repelled else f"FAILED, must be {attack.expected}"
    console.print(f"{attack.tried}: {attack.answered} ({mark})", highlight=False, markup=False, soft_wrap=True)
