"""Whoever imports the library gets no framework with it, and whoever lacks one is told what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIBRARIES = (
    "django",
    "fastapi",
    "flask",
    "starlette",
    "uvicorn",
    "werkzeug",
    "prometheus_client",
    "sqlalchemy",
    "redis",
)


def run(code: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def without(*libraries: str) -> str:
    """Code for a Python in which these are not installed."""
    return f"import sys; sys.modules.update(dict.fromkeys({libraries!r}))\n"


def test_the_library_imports_no_integration() -> None:
    code = "import sys, verifier; print([name for name in sys.modules if name.startswith('verifier.integrations')])"
    assert run(code).stdout == "[]\n"


@pytest.mark.parametrize("module", ["asgi", "asgi_io", "wsgi", "wsgi_io"])
def test_the_base_install_is_enough_for_any_asgi_or_wsgi_server(module: str) -> None:
    done = run(f"{without(*LIBRARIES)}import verifier.integrations.{module}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("module", "install"), [(name, name) for name in ("django", "fastapi", "flask")])
def test_a_missing_framework_is_told_with_what_to_install(module: str, install: str) -> None:
    done = run(f"{without(*LIBRARIES)}import verifier.integrations.{module}")
    assert done.stderr.splitlines()[-1].startswith("ImportError: this needs")
    assert done.stderr.splitlines()[-1].endswith(f"pip install 'trading-node[{install}]'")


def test_a_missing_uvicorn_is_told_with_what_to_install() -> None:
    done = run(f"{without(*LIBRARIES)}import verifier.integrations.uvicorn")
    assert (
        done.stderr.splitlines()[-1] == "ImportError: this needs uvicorn and httptools: pip install uvicorn httptools"
    )
