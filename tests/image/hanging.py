"""The node with a failpoint: once there is a file `hang` in its data directory, its loop takes nothing any more."""

# Runs inside the image, which has this file mounted into it: nothing of it is in what is shipped.
import sys
import time
from pathlib import Path

sys.path.append("/opt/trading-node/lib")

from node_agent import cli
from node_agent.runner import Runner

take = Runner._take


def hanging(runner: Runner, *arguments: object) -> None:
    """Takes what came, unless it is to hang."""
    while Path("/data/hang").exists():
        time.sleep(1)
    take(runner, *arguments)  # type: ignore[arg-type]


Runner._take = hanging  # type: ignore[assignment,method-assign]
cli.main()
