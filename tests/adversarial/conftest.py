"""The servers of all hostile cases: none of them may harm one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from control_plane.location import in_folder
from tests.adversarial.hostile import Case
from tests.adversarial.line import Served
from tests.control_plane.support import ServerProcess, frozen_server
from tests.verifier.nodes import AUTHORITY


@pytest.fixture(scope="package")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The real program, under the name that the lists have."""
    data_dir = tmp_path_factory.mktemp("hostile") / "server"
    server = ServerProcess(data_dir, arguments=("--authority", AUTHORITY)).start()
    yield Served(server, AUTHORITY)
    assert server.end() == 0


@pytest.fixture(scope="package")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The same server at a time that stands still, for what is right at the edge of the window."""
    with frozen_server(in_folder(tmp_path_factory.mktemp("hostile") / "frozen")) as served:
        yield Served(served, f"{served.address[0]}:{served.address[1]}", served.clock.seconds)


@pytest.fixture
def served(request: pytest.FixtureRequest, case: Case) -> Served:
    """The server that a case is for."""
    name = "frozen" if "seconds" in case.get("signed", {}) else "process"
    found: Served = request.getfixturevalue(name)
    return found


@pytest.fixture(scope="package")
def other_key_id(process: Served) -> str:
    """Another node of the named server."""
    return process.node().signer.key_id
