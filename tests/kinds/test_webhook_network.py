"""The address guard on a real network with a real name server: what is sent is seen by a capture, and nothing is."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.figures import Publish
from support.processes import ROOT


@pytest.mark.needs_network_namespace
@pytest.mark.needs_iproute2
def test_no_packet_leaves_for_a_forbidden_address_however_it_is_asked_for(tmp_path: Path, publish: Publish) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(
        ["unshare", "--net", "--mount", sys.executable, "-m", "support.guard_trials", tmp_path],
        env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    packets = sum(found["packets to forbidden"].values())
    publish(
        f"bypassed {len(found['bypassed'])} of {found['trials']} trials, {packets} packets to forbidden"
        f" addresses ({found['packets to allowed']} to allowed ones, {found['questions']} questions to the name server)"
    )
    assert found["bypassed"] == []
    assert found["packets to forbidden"] == {}
    assert found["trials"] > 1000
    # Whether anything would have been seen: names that flip were delivered to their good half, and without the guard
    # both the connections and the packets are there.
    assert found["flips"] == {"delivered": 24, "refused": 24}
    assert found["packets to allowed"] > 24
    assert found["control"]["delivered"] >= 6
    assert {"169.254.169.254", "fd00:ec2::254", "127.0.0.1"} <= set(found["control reached"])
