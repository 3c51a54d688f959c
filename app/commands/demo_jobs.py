"""The jobs of `windlass demo`, and for each the evidence that it was done: looked for where the work leaves its mark,
not in what the service says of itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.commands.demo_receivers import Deliveries, Mailbox

EACH = 8
REFUSED_ONCE = 1

_FOLDER = "demo"
_SOURCE_SIZE = (1600, 1200)
_TEXT = """\
A windlass is a machine for lifting heavy loads with a rope and a drum. A sailor turns the crank, the rope winds around
the drum, and the anchor rises from the sea bed. On early ships the windlass lay across the bow, and the crew heaved it
around with long wooden bars. A pawl drops into a toothed wheel behind every step of the drum, so that the load cannot
run back when the crew lets go of the bars. The pawl is a small piece of iron, and all the safety of the windlass hangs
on it. Miners used the same machine to raise ore and water out of a shaft. Farmers put a windlass over the well and
drew the bucket up by hand. Bridge keepers still turn one to lift a gate when the motor fails. A capstan does the same
work around an upright drum, and more of the crew can walk around it at once. Steam took over the turning in the
nineteenth century, and electric motors followed soon after. The drum, the rope and the pawl have stayed as they were.
Whatever turns the drum, the load that was once lifted must never fall back.
"""


@dataclass(frozen=True)
class DemoJob:
    """One job to enqueue; `problem` looks at the job as the API shows it when it has succeeded, and at what it left.

    It answers with a sentence when the evidence is missing, else None.
    """

    kind: str
    payload: dict[str, Any]
    problem: Callable[[dict[str, Any]], str | None]


EVIDENCE = {
    "send_email": "message received",
    "resize_image": "file of that size",
    "summarize_text": "found in its text",
    "webhook_delivery": "signature verified",
}


def emails(mailbox: Mailbox) -> Iterator[DemoJob]:
    """Messages to the mail server behind `mailbox`."""
    for number in range(EACH):
        subject = f"Windlass demo, message {number + 1} of {EACH} · grüße"

        def problem(job: dict[str, Any], subject: str = subject) -> str | None:
            found = mailbox.from_job(job["id"])
            if len(found) != 1:
                return f"{len(found)} messages arrived"
            return None if found[0]["Subject"] == subject else f"the subject is {found[0]['Subject']!r}"

        body = "This message was sent by a worker process.\n"
        yield DemoJob("send_email", {"to": f"reader{number}@example.org", "subject": subject, "body": body}, problem)


def pictures(media_root: Path) -> Iterator[DemoJob]:
    """Copies of one picture, made here, in several sizes and formats."""
    from PIL import Image

    folder = media_root / _FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    # What an earlier demo left must not pass for this one's work.
    for old in folder.iterdir():
        old.unlink()
    source = folder / "source.png"
    Image.effect_mandelbrot(_SOURCE_SIZE, (-2.2, -1.2, 1.0, 1.2), 60).convert("RGB").save(source)
    for number in range(EACH):
        suffix = ("jpg", "png", "webp", "gif")[number % 4]
        target = f"{_FOLDER}/copy-{number + 1}.{suffix}"
        width = 100 * (number + 1)
        size = (width, width * _SOURCE_SIZE[1] // _SOURCE_SIZE[0])

        def problem(job: dict[str, Any], target: str = target, size: tuple[int, int] = size) -> str | None:
            try:
                with Image.open(media_root / target) as copy:
                    copy.load()
            except OSError as error:
                return str(error)
            if job["result"]["path"] != target or job["result"]["bytes"] != (media_root / target).stat().st_size:
                return f"the result tells of another file: {job['result']}"
            return None if copy.size == size else f"{target} has {copy.size} pixels, not {size}"

        payload = {"source": f"{_FOLDER}/{source.name}", "target": target, "width": width}
        yield DemoJob("resize_image", payload, problem)


def summaries() -> Iterator[DemoJob]:
    """Summaries of one text, of several lengths."""
    whole = " ".join(_TEXT.split())
    for number in range(EACH):

        def problem(job: dict[str, Any], wanted: int = number + 1) -> str | None:
            said = job["result"]["sentences"]
            if len(said) != wanted or job["result"]["summary"] != " ".join(said):
                return f"{len(said)} sentences, not {wanted}"
            return None if all(sentence in whole for sentence in said) else "a sentence that is not in the text"

        yield DemoJob("summarize_text", {"text": _TEXT, "sentences": number + 1}, problem)


def webhooks(deliveries: Deliveries, port: int) -> Iterator[DemoJob]:
    """Deliveries to the receiver behind `deliveries`; one of them is turned away once and must come again."""
    for number in range(EACH):
        body = {"number": number, "order": f"A-{1000 + number}", "total": "12.50 €"}

        def problem(job: dict[str, Any], body: Any = body) -> str | None:
            found = deliveries.from_job(job["id"])
            if found is None:
                return "nothing arrived under the job's id"
            if body["number"] == REFUSED_ONCE and job["attempts"] < 2:
                return "it was turned away once and shows one attempt"
            return None if found == body else f"the body is {found!r}"

        yield DemoJob("webhook_delivery", {"url": f"http://127.0.0.1:{port}/orders", "body": body}, problem)
