"""Options that several commands share."""

from __future__ import annotations

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
as_json: Callable[[F], F] = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
