"""`windlass demo`: real jobs of every kind against a running `windlass up`, watched live and checked afterwards."""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.commands.api import Api
from app.commands.console import Failure, Target
from app.commands.data_folder import DataFolder, Recorded

if TYPE_CHECKING:
    from app.commands.demo_jobs import DemoJob

_LOOK_SECONDS = 0.2
_TERMINAL = ("succeeded", "failed_permanent", "cancelled")


@dataclass
class Enqueued:
    """A planned job and what the API last said of it."""

    plan: "DemoJob"
    job: dict[str, Any]

    @property
    def ended(self) -> bool:
        """It will not change any more."""
        return self.job["status"] in _TERMINAL

    @property
    def problem(self) -> str | None:
        """Why it does not count as done, in a sentence, or None."""
        if self.job["status"] != "succeeded":
            return f"{self.job['status']}: {self.job['last_error'] or 'no error so far'}"
        return self.plan.problem(self.job)


@click.command()
@click.option("--timeout", default=60, show_default=True, metavar="SECONDS", help="How long the jobs may take.")
@click.pass_obj
def demo(target: Target, timeout: int) -> None:
    """Real jobs of every kind, against a running `windlass up`."""
    # Not for every subcommand: these bring a mail server, a progress bar and a table.
    from app.commands.demo_screen import results, watched

    record = _running()
    api = Api(target, record.url)
    with ExitStack() as receivers:
        planned = _planned(record, receivers)
        click.echo(f"enqueueing {len(planned)} jobs at {api.url}/jobs")
        jobs = [Enqueued(plan, _enqueue(api, plan)) for plan in planned]
        deadline = time.monotonic() + timeout
        with watched(jobs) as show:
            while not all(job.ended for job in jobs) and time.monotonic() < deadline:
                _look(api, jobs)
                show()
                time.sleep(_LOOK_SECONDS)
    results(jobs)
    problems = [f"{job.plan.kind} {job.job['id']}: {job.problem}" for job in jobs if job.problem]
    if problems:
        raise Failure("\n".join(problems))
    click.echo(f"all {len(jobs)} jobs succeeded; the pictures are in {record.media_root}/demo")


def _running() -> Recorded:
    folder = DataFolder()
    record = folder.running()
    if record is None:
        raise Failure(f"no windlass up runs on {folder.path}: start it in another shell with `windlass up`")
    if not record.url:
        raise Failure("windlass up is not ready yet: try again in a moment")
    return record


def _planned(record: Recorded, receivers: ExitStack) -> Sequence["DemoJob"]:
    """Starts the receivers and plans jobs for them. Raises Failure when the user has other receivers in mind."""
    from app.commands import demo_jobs
    from app.commands.demo_receivers import mail_server, webhook_receiver

    if record.smtp_port is None or record.webhook_port is None:
        given = "SMTP_URL" if record.smtp_port is None else "WEBHOOK_ALLOW_NETS"
        raise Failure(f"windlass up was started with {given} set, and the demo sends nothing there: start it without")
    secret = record.webhook_secret or os.environ.get("WEBHOOK_SECRET")
    if not secret:
        raise Failure("windlass up was started with a WEBHOOK_SECRET of yours: set it here too")
    # During a rotation there are several secrets, and each of them signs.
    deliveries = receivers.enter_context(
        webhook_receiver(record.webhook_port, secret.split()[0], demo_jobs.REFUSED_ONCE)
    )
    mailbox = receivers.enter_context(mail_server(record.smtp_port))
    try:
        pictures = list(demo_jobs.pictures(Path(record.media_root)))
    except OSError as error:
        raise Failure(f"no source picture in {record.media_root}: {error.strerror}") from error
    return [
        *demo_jobs.emails(mailbox),
        *pictures,
        *demo_jobs.summaries(),
        *demo_jobs.webhooks(deliveries, record.webhook_port),
    ]


def _enqueue(api: Api, plan: "DemoJob") -> dict[str, Any]:
    answer = api.post("/jobs", {"kind": plan.kind, "payload": plan.payload})
    if answer.status != 201:
        raise Failure(f"enqueue failed: {answer.status} {answer.text.strip()}")
    job: dict[str, Any] = answer.json()
    return job


def _look(api: Api, jobs: Sequence[Enqueued]) -> None:
    """One request for the newest jobs; those that others have pushed off the list are asked for by id."""
    newest = {job["id"]: job for job in _found(api, "/jobs?limit=200")}
    for job in jobs:
        if not job.ended:
            job.job = newest.get(job.job["id"]) or _found(api, f"/jobs/{job.job['id']}")


def _found(api: Api, path: str) -> Any:
    answer = api.get(path)
    if answer.status != 200:
        raise Failure(f"{path}: {answer.status} {answer.text.strip()}")
    return answer.json()
