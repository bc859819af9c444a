"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

data_dir: Callable[[F], F] = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="NODE_DATA_DIR",
    required=True,
    show_envvar=True,
    help="The node's own directory.",
)


class Finite(click.FloatRange):
    """A number in a range, and none of those that are no numbers."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number to reckon with", param, ctx)
        return number


class Money(click.ParamType[str]):
    """A sum of money: a decimal number above 0."""

    name = "decimal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text of the number."""
        # pydantic is behind it, and most commands that have their options from here take no money
        from node_protocol.messages import parse_decimal  # noqa: PLC0415
        from node_protocol.refusals import Malformed  # noqa: PLC0415

        try:
            positive = parse_decimal(value) > 0
        except Malformed:
            positive = False
        if not positive:
            self.fail(f"{value!r} is no decimal number above 0", param, ctx)
        return str(value)


as_json: Callable[[F], F] = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
