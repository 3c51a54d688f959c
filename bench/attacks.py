"""Does anything get past its bounds? `python -m bench.attacks`

The suite's attacks, each against the product as it runs: tests by subject, how many of them there are, and the figures
that they found. One that fails, or is left out for want of a program or a right, ends the bench with an error. `--only`
names some of the subjects.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from bench import database, report
from bench.processes import ROOT

ATTACKS: dict[str, tuple[str, ...]] = {
    "webhooks to forbidden addresses": (
        "unit/test_address_guard.py",
        "unit/test_webhook_url.py",
        "kinds/test_webhook_guard.py",
        "kinds/test_webhook_network.py",
    ),
    "who may do what": ("http/test_authentication.py", "http/test_tokens.py", "http/test_v1_tokens.py"),
    "tokens, stolen, replaced and revoked": (
        "unit/test_tokens.py",
        "http/test_tokens_at_rest.py",
        "http/test_tokens_over_processes.py",
    ),
    "too many, too deep, too large": (
        "unit/test_depth_limit.py",
        "http/test_limits.py",
        "http/test_limits_over_processes.py",
        "http/test_queue_depth.py",
        "http/test_answer_size.py",
        "http/test_v1_bounds.py",
    ),
    "hostile values": ("http/test_hostile_input.py", "http/test_touchy_schemas.py", "http/test_weaknesses_of_s2.py"),
    "requests made from the OpenAPI document": ("contract/test_openapi_requests.py",),
    "pictures": ("kinds/test_image_memory.py", "kinds/test_resize_image_hostile.py", "kinds/test_media_folder.py"),
    "mails": ("kinds/test_send_email_hostile.py", "unit/test_smtp_url.py"),
    "webhooks that are forged, or answered badly": ("kinds/test_webhook_delivery.py", "kinds/test_webhook_faults.py"),
    "roles of the database": ("database/test_roles.py",),
    "secrets and payloads where they do not belong": (
        "processes/test_canaries.py",
        "processes/test_pool_secrets.py",
    ),
    "lines of the log and of a terminal": ("unit/test_log_lines.py", "unit/test_cli_text.py", "unit/test_web_logs.py"),
    "one request taken for two": ("http/test_smuggling.py", "http/test_raw_http.py"),
    "slow clients": ("http/test_slow_clients.py", "unit/test_hung_up.py", "unit/test_waiting_room.py"),
    "code from data": ("contract/test_no_code_from_data.py", "processes/test_remote.py"),
    "dependencies": ("contract/test_requirements_lock.py",),
}


class Found(NamedTuple):
    """How many tests there were, the names of those that failed, what was left out, and what was published."""

    tests: int
    failed: Sequence[str]
    left_out: Sequence[str]
    figures: Sequence[str]


def attacked(files: Sequence[str], server_url: str) -> Found:
    """Runs these files of tests on that server."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "junit.xml")
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={told}"]
            + [str(ROOT / "tests" / file) for file in files],
            cwd=ROOT,
            # It is no part of a run of the suite that may have started this bench.
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TEST_"))},
                "TEST_DATABASE_URL": server_url,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        cases = list(ElementTree.parse(told).iter("testcase")) if told.exists() else []
    if run.returncode not in (0, 1) or not cases:
        raise SystemExit(run.stdout + run.stderr)
    failed = [case.attrib["name"] for case in cases if {"failure", "error", "skipped"} & {child.tag for child in case}]
    said = [each.attrib["value"] for case in cases for each in case.iter("property") if each.attrib["name"] == "figure"]
    left_out = [line for line in run.stdout.splitlines() if line.startswith("left out: ")]
    return Found(len(cases), failed, left_out, sorted(set(said)))


def main() -> None:
    """Prints a line per subject."""
    asked = report.asked(__doc__, (1, 1), only=("", "dependencies"))
    subjects = asked.only.split(";") if asked.only else list(ATTACKS)
    found = report.Report("attacks", asked)
    bad = []
    with database.server(asked.bin_dir) as server:
        found.server(server.url)
        for subject in subjects:
            each = attacked(ATTACKS[subject], server.url)
            bad += [f"{subject}: {name}" for name in (*each.failed, *each.left_out)]
            case = {"tried": subject, "figures": "; ".join(each.figures)}
            found.add(case, {"tests": each.tests, "failed": len(each.failed)})
    found.finish()
    if bad:
        raise SystemExit("\n".join(bad))


if __name__ == "__main__":
    main()
