"""Requests made from our OpenAPI document, and answers held against it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.figures import Publish
from support.web import running_web

# What a kind asks of its payload goes beyond JSON Schema (an address that parses, a host that is not ours), so not
# everything that fits the schema can be accepted.
_LEFT_OUT = "positive_data_acceptance"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_service_keeps_to_its_own_openapi_document(
    tmp_path: Path, database_url: str, publish: Publish, seed: int
) -> None:
    # With one thread nobody may wait for work, and the tester has no patience for those who do.
    with running_web(tmp_path, database_url, WEB_THREADS="1") as web:
        run = subprocess.run(
            [Path(sys.executable).with_name("schemathesis"), "run", f"{web.url}/api-docs/openapi.json",
             "--checks", "all", "--exclude-checks", _LEFT_OUT,
             "--max-examples", "25", "--seed", str(seed), "--no-color"],
            cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
        passed = re.search(r"\b([1-9]\d+) generated, \1 passed", run.stdout)
        assert passed, run.stdout[-2000:]
        publish(f"seed {seed}: {passed[0]}")
