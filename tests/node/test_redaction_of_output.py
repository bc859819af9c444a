"""Whatever a process says, in its log, in its output, in its last words, shows no secret that it knows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from node_agent import cli, redaction
from node_agent.exchanges.catalogue import EXCHANGES, profile_of
from tests.node.secrets_written import PEM, encoded, lines, spelled

PLAIN = "canary/with+some=%25 marks & 'quotes'"
SHORT_LINES = "zq1\nzq2\nzq3\nzq4"
SECRETS = (PLAIN, PEM)

START = """
import asyncio, atexit, gc, json, logging, sys, threading, warnings
import structlog
from node_agent import redaction
secrets = json.loads(sys.stdin.read())
for each in secrets:
    redaction.hide(each)
told = " and ".join(secrets)
as_json = sys.argv[1] == "json"
"""
CONFIGURED = START + "redaction.configure(json=as_json, level='info')\n"
WATCHED = START + "redaction.watch_output()\n"

CRASHES = {
    "an exception": "raise ValueError(told)",
    "one whose words are quoted": "raise KeyError(told)",
    "one with a cause": """
try:
    raise ValueError(told)
except ValueError as error:
    raise RuntimeError("outer") from error
""",
    "one while another was handled": """
try:
    raise ValueError(told)
except ValueError:
    raise RuntimeError("outer")
""",
    "a group": "raise ExceptionGroup(told, [ValueError(told), TypeError(told)])",
    "a note": """
error = ValueError("with a note")
error.add_note(told)
raise error
""",
    "an exit with words": "sys.exit(told)",
    "the end of the process": """
def last():
    raise ValueError(told)
atexit.register(last)
""",
    "a thread": """
def work():
    raise ValueError(told)
thread = threading.Thread(target=work)
thread.start()
thread.join()
""",
    "a finalizer": """
class Held:
    def __del__(self):
        raise ValueError(told)
Held()
""",
    "a task that nobody awaits": """
async def work():
    raise ValueError(told)
async def main():
    task = asyncio.create_task(work())
    await asyncio.wait([task])
    del task
    gc.collect()
asyncio.run(main())
""",
    "a callback of the loop": """
async def main():
    def due():
        raise ValueError(told)
    asyncio.get_running_loop().call_soon(due)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
asyncio.run(main())
""",
    "the main task": """
async def main():
    async with asyncio.TaskGroup() as group:
        group.create_task(work())
async def work():
    raise ValueError(told)
asyncio.run(main())
""",
}
SAYINGS = {
    "a library's exception": """
try:
    raise ValueError(told)
except ValueError:
    logging.getLogger("library").exception("it failed")
""",
    "a library's chain of exceptions": """
try:
    try:
        raise ValueError(told)
    except ValueError as error:
        raise RuntimeError("outer") from error
except RuntimeError:
    logging.getLogger("library").error("it failed", exc_info=True)
""",
    "what a library's message is made of": "logging.getLogger('library').warning('got %s and %r', told, {'x': told})",
    "a message that cannot be made": "logging.getLogger('library').warning('got %d', told)",
    "a stack": "logging.getLogger('library').warning(told, stack_info=True)",
    "a warning": "warnings.warn(told)",
    "what is printed": "print(told, [told])",
    "what is printed as an error": "print(told, file=sys.stderr)",
    "lines that are written": "sys.stdout.writelines([told, told])",
    "what a command prints": "import click; click.echo(told); click.echo(told, err=True); click.secho(told, fg='red')",
    "what is drawn": "from rich.console import Console; Console().print(told, highlight=False, soft_wrap=True)",
}
OURS = {
    "our exception": """
try:
    raise ValueError(told)
except ValueError:
    structlog.get_logger("x").exception("it failed", words=told)
""",
    "our error that was passed on": """
structlog.get_logger("x").error("it failed", exc_info=ValueError(told))
""",
    "deep in an event": """
structlog.get_logger("x").info(told, data={"words": [told, {told: told.encode()}], "error": ValueError(told)})
""",
}


def said(program: str, *secrets: str, form: str = "text") -> subprocess.CompletedProcess[str]:
    """A process that is told secrets, to its end."""
    return subprocess.run(
        [sys.executable, "-c", program, form],
        input=json.dumps(secrets),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def shows_none_of(done: subprocess.CompletedProcess[str], *secrets: str) -> None:
    """Something was said, and no secret in it."""
    shown = done.stdout + done.stderr
    assert "[redacted]" in shown
    for secret in secrets:
        for written in (*spelled(secret), *encoded(secret), *lines(secret)):
            assert written not in shown


@pytest.mark.parametrize("crash", CRASHES)
def test_the_last_words_of_a_crash_show_no_secret(crash: str) -> None:
    done = said(WATCHED + CRASHES[crash], *SECRETS)
    shows_none_of(done, *SECRETS)
    assert "Error" in done.stderr or crash == "an exit with words"


@pytest.mark.parametrize("crash", ["a task that nobody awaits", "a callback of the loop", "a thread"])
def test_nor_do_they_when_there_is_a_log(crash: str) -> None:
    shows_none_of(said(CONFIGURED + CRASHES[crash], *SECRETS, form="json"), *SECRETS)


@pytest.mark.parametrize("saying", SAYINGS)
@pytest.mark.parametrize("start", [WATCHED, CONFIGURED], ids=["without a log", "with a log"])
def test_what_others_say_in_the_process_shows_no_secret(start: str, saying: str) -> None:
    shows_none_of(said(start + SAYINGS[saying], *SECRETS), *SECRETS)


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("saying", OURS)
def test_our_log_shows_no_secret(saying: str, form: str) -> None:
    done = said(CONFIGURED + OURS[saying], *SECRETS, form=form)
    shows_none_of(done, *SECRETS)
    assert "Warning" not in done.stderr
    if form == "json":
        (event,) = map(json.loads, done.stderr.splitlines())
        assert event["level"] in ("info", "error")


@pytest.mark.parametrize("crash", ["main", "thread", "finalizer"])
def test_what_python_would_tell_in_pieces_is_looked_at_as_a_whole(crash: str) -> None:
    work = "error = ValueError('with a note'); error.add_note(told); raise error"
    program = {
        "main": work,
        "thread": f"def work(): {work}\nthread = threading.Thread(target=work)\nthread.start()\nthread.join()",
        "finalizer": f"class Held:\n    def __del__(self): {work}\nHeld()",
    }
    done = said(WATCHED + program[crash], SHORT_LINES)
    assert "ValueError: with a note\n[redacted]\n" in done.stderr
    assert "zq" not in done.stdout + done.stderr
    assert {"thread": "Exception in thread Thread-1 (work):", "finalizer": "Exception ignored in"}.get(crash, "") in (
        done.stderr
    )


def test_a_crash_ends_with_the_code_that_it_always_had() -> None:
    assert said(WATCHED + "raise ValueError(told)", PLAIN).returncode == 1
    assert said(WATCHED + "def work(): raise SystemExit\nthreading.Thread(target=work).start()", PLAIN).stderr == ""


COMMAND = """
import sys
import click
from node_agent import cli, redaction
secret = sys.stdin.read()
redaction.hide(secret)
@click.command()
@click.pass_context
def command(context):
    WORK
cli._group = command
sys.argv[1:] = []
cli.main()
"""


@pytest.mark.parametrize(
    ("work", "code"),
    [
        ("click.echo(f'it is {secret}')", 0),
        ("raise cli.CliError(f'not {secret}', f'nor {secret}')", 1),
        ("raise click.UsageError(f'not {secret}', context)", 2),
        ("raise click.ClickException(f'not {secret}')", 2),
        ("raise FileNotFoundError(2, 'no such file', f'/tmp/{secret}')", 1),
        ("raise ValueError(secret)", 1),
    ],
)
def test_no_command_shows_a_secret_however_it_ends(work: str, code: int) -> None:
    secret = "canary+of/a=command"
    done = subprocess.run(
        [sys.executable, "-c", COMMAND.replace("WORK", work)],
        input=secret,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    shows_none_of(done, secret)


def test_output_is_what_it_was_where_there_is_no_secret() -> None:
    program = WATCHED + "print('a', 1, sep='-', end='!'); print(sys.stdout.fileno(), sys.stdout.encoding); input()"
    done = said(program.replace("sys.stdin.read()", "input()"), PLAIN)
    assert done.stdout == "a-1!1 utf-8\n"
    assert "EOFError" in done.stderr


def test_bytes_do_not_go_past() -> None:
    done = said(WATCHED + "print(hasattr(sys.stdout, 'buffer'), hasattr(sys.stderr, 'buffer'))", PLAIN)
    assert done.stdout == "False False\n"


def _helps() -> Iterator[str]:
    def of(command: click.Command, name: str) -> Iterator[str]:
        context = click.Context(command, info_name=name)
        yield command.get_help(context)
        if isinstance(command, click.Group):
            for each in command.list_commands(context):
                found = command.get_command(context, each)
                assert found is not None
                yield from of(found, each)

    yield from of(cli._group, "node-agent")


def test_what_we_say_ourselves_is_not_taken_for_a_secret() -> None:
    words = list(_helps())
    for profile in map(profile_of, EXCHANGES):
        words.append(profile.switch_off)
        words += [f"its {each.label} is none: {profile.title} gives {each.looks}" for each in profile.credentials]
    for each in words:
        assert redaction.redacted(each) == each
