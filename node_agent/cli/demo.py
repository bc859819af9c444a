"""`node-agent demo`: a day of trading on loopback, live, and the attacks that must fail."""

from __future__ import annotations

import io
import json
import re
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live

from node_agent.cli import options
from node_agent.cli.errors import CliError, Exit
from node_agent.demo.attacks import Attack
from node_agent.demo.play import CURRENCY, Demo, Outcome
from node_agent.demo.processes import DemoFailed
from node_agent.demo.reports import Reports
from node_agent.demo.screen import View, say


@click.command(
    "demo",
    help="""Show the whole way: a control plane and a node as separate processes on loopback, a day of recorded BTC
    prices, the node's signed reports as the server verified them, and then the attacks.

    Ends with exit code 0 only if every count and every refusal is as it must be.
    """,
)
@click.option(
    "--seconds",
    type=options.Finite(5, 3600),
    default=20.0,
    show_default=True,
    help="How long the day takes.",
)
@click.option("--quiet", is_flag=True, help="No screen: one line for each attack, and the counts.")
@click.option("--json", "as_json", is_flag=True, help="Nothing but the outcome, as JSON.")
@click.option("--keep", is_flag=True, help="Keep both data directories and the logs, and say where they are.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Save the last screen as a picture.")
def demo(seconds: float, quiet: bool, as_json: bool, keep: bool, svg: Path | None) -> None:
    if svg is not None and not svg.absolute().parent.is_dir():
        raise CliError(f"--svg: there is no directory {svg.parent}", exit_code=Exit.USAGE)
    if find_spec("control_plane") is None:
        raise CliError(
            "it plays a server too, and there is none here",
            "an image holds one program alone: `make demo` in a checkout plays both",
        )
    directory = Path(tempfile.mkdtemp(prefix="trading-node-demo-"))
    console = Console(stderr=as_json, quiet=as_json)
    view = View(Reports())
    try:
        outcome = _play(directory, seconds, view, console, plain=quiet or as_json or not console.is_terminal)
        outcome.chart = str(_keep_chart(Path(outcome.chart)))
    except DemoFailed as error:
        raise CliError(f"the demo broke off: {error}", f"logs and data are in {directory}") from None
    except KeyboardInterrupt:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    if not keep:
        shutil.rmtree(directory, ignore_errors=True)
    if as_json:
        click.echo(json.dumps(outcome.to_json(), indent=2))
    else:
        _conclude(console, outcome, directory if keep else None)
    if svg is not None:
        try:
            svg.write_text(_picture(view, outcome), encoding="utf-8")
        except OSError as error:
            raise CliError(f"cannot write {svg}: {error.strerror}") from None
    if not outcome.holds:
        raise CliError("a count or a refusal is not as it must be", "run it again with --keep and read the logs")


def _play(directory: Path, seconds: float, view: View, console: Console, *, plain: bool) -> Outcome:
    if plain:
        doing = ""

        def tell(attack: Attack | None) -> None:
            nonlocal doing
            if attack is not None:
                say(console, attack)
            elif view.doing not in ("", doing):
                doing = view.doing
                console.print(f"{doing} ...", highlight=False)

        return Demo(directory, seconds=seconds, view=view, tell=tell).play()
    with Live(view, console=console, refresh_per_second=8, transient=True) as live:
        outcome = Demo(directory, seconds=seconds, view=view, tell=lambda _: None).play()
        live.update(view)
    console.print(view)
    return outcome


def _picture(view: View, outcome: Outcome) -> str:
    """The last screen as SVG, in whatever fixed-width font its reader has."""
    console = Console(record=True, width=112, file=io.StringIO(), force_terminal=True)
    console.print(view)
    _conclude(console, outcome, None)
    return re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="node-agent demo"), flags=re.DOTALL)


def _keep_chart(chart: Path) -> Path:
    """The picture outlives the demo's directory."""
    with tempfile.NamedTemporaryFile(prefix="trading-node-equity-", suffix=".svg", delete=False) as kept:
        kept.write(chart.read_bytes())
        return Path(kept.name)


def _conclude(console: Console, outcome: Outcome, kept: Path | None) -> None:
    counts = f"events made {outcome.made}, verified {outcome.verified}, stored {outcome.stored}"
    mark = "[green]equal[/]" if outcome.made == outcome.verified == outcome.stored else "[red]NOT EQUAL[/]"
    console.print(f"{counts}: {mark}", highlight=False)
    console.print(
        f"{outcome.fills} fills; equity {outcome.equity} {CURRENCY}; stopped in {outcome.stop_seconds:.1f} s",
        highlight=False,
    )
    console.print(f"equity curve: {outcome.chart}", highlight=False, soft_wrap=True)
    if kept is not None:
        console.print(f"data and logs: {kept}", highlight=False, soft_wrap=True)
