"""One site for all tests that leave it as it was: brought up once, taken away by its name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.compose.site import Site, images_ensured
from tests.image import engine


@pytest.fixture(scope="session")
def images() -> None:
    """An engine, and on it the images that compose names."""
    if missing := engine.ensured():
        if os.environ.get("CI"):
            pytest.fail(f"no Docker engine: {missing}")
        pytest.skip(f"NO DOCKER ENGINE, THE SITE IS NOT TRIED: {missing}")
    images_ensured()


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
def site(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that runs, with a node beside it, on stand-ins for our own images."""
    site = Site(tmp_path_factory.mktemp("site"))
    try:
        done = site.up()
        assert done.returncode == 0, done.stderr
        site.compose("up", "--detach", "--no-build", "--wait", "node")
        yield site
    finally:
        site.remove()
