"""One site for all tests that leave it as it was, in however many processes they run: brought up once, and taken away
by its name. One test at a time is at a site."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.compose.site import Site, images_ensured
from tests.image import engine

_RUN: Final = Path(f"/tmp/trading-node-test-site-{os.environ.get('PYTEST_XDIST_TESTRUNUID', uuid.uuid4().hex)}")
"""Where the processes of a run have their site in common: what it is, and a file for each of them that uses it."""


@pytest.fixture(scope="session")
def images() -> None:
    """An engine, and on it the images that compose names."""
    engine.required()
    images_ensured()


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """An engine has networks for a few sites only, and some tests take a part of theirs away for a while."""
    with engine.one_at_a_time("at-a-site"):
        yield


@pytest.fixture
def new_site(images: None, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Makes sites for one test."""
    made: list[Site] = []

    def make(**environ: str) -> Site:
        made.append(Site(tmp_path, **environ))
        return made[-1]

    yield make
    for site in made:
        site.remove()


@pytest.fixture(scope="session")
def site(images: None) -> Iterator[Site]:
    """A site that runs, with a node beside it, on stand-ins for our own images."""
    kept, user = _RUN / "site.json", _RUN / f"user-{os.getpid()}"
    try:
        with engine.one_at_a_time("site"):
            _RUN.mkdir(exist_ok=True)
            user.touch()
            if not kept.exists():
                new = Site(_RUN)
                new.keep(kept)
                done = new.up()
                assert done.returncode == 0, done.stderr
                new.compose("up", "--detach", "--no-build", "--wait", "node")
        yield Site.of(kept)
    finally:
        with engine.one_at_a_time("site"):
            user.unlink()
            if not list(_RUN.glob("user-*")):
                Site.of(kept).remove()
                shutil.rmtree(_RUN)
