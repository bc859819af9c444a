"""What the server logs of requests: each once, the refused ones always, the accepted ones on request."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from pathlib import Path

from tests.control_plane.support import DEADLINE, ENVIRONMENT, Enrolment, enrolled, json_of, machine


def test_a_request_is_logged_once_and_an_accepted_one_on_request_alone(tmp_path: Path) -> None:
    for options, accepted in (["--verbose"], 1), ([], 0):
        data_dir = tmp_path / f"server-{accepted}"
        command = [sys.executable, "-m", "control_plane", "serve", "--data-dir", str(data_dir), "--port", "0", *options]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
        ) as process:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], DEADLINE)[0]
            address = ("127.0.0.1", int(process.stdout.readline().rsplit(":", 1)[1]))
            node = enrolled(address, json_of("token", "create", "--data-dir", data_dir)["token"])
            node.sync()
            node.copy(components=machine()).sync()
            Enrolment(address, json_of("token", "create", "--data-dir", data_dir)["token"], node.components).post()
            process.terminate()
            _, log = process.communicate(timeout=DEADLINE)
        lines = [json.loads(line) for line in log.splitlines()]
        assert "error" not in {line["level"] for line in lines}
        assert [line["event"] for line in lines if line.get("code") == "fingerprint_duplicate"] == ["refused"]
        of_node = [line for line in lines if line.get("node_id") == node.node_id]
        syncs = [line for line in of_node if line["event"] == "accepted"]
        assert [(line["level"], line["continuity"], line["place"]) for line in syncs] == [
            ("debug", "continues", "same")
        ] * accepted
        assert [line["code"] for line in of_node if line["event"] == "refused"] == ["fingerprint_mismatch"]
