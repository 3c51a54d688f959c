"""What `windlass up` sets where nothing is set, and where it lets its roles listen."""

import socket
from pathlib import Path

import pytest

from app.commands import demo_jobs, up_settings
from app.commands.console import Failure
from app.commands.data_folder import DataFolder
from workerpool.kinds.registry import SHIPPED, load
from workerpool.kinds.settings import KindSettings


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A data folder without a history."""
    made = DataFolder({"WINDLASS_DATA": str(tmp_path / "data")})
    made.make()
    return made


def test_what_it_sets_is_what_every_shipped_kind_needs(folder: DataFolder) -> None:
    environ: dict[str, str] = {}
    record = up_settings.complete(environ, folder)
    settings = KindSettings.from_env(environ)
    assert settings.smtp is not None
    assert (settings.smtp.host, settings.smtp.port) == ("127.0.0.1", record.smtp_port)
    assert environ["WEBHOOK_ALLOW_NETS"] == f"127.0.0.1/32:{record.webhook_port}"
    assert settings.webhook_secrets == (record.webhook_secret,)
    assert settings.media_root == folder.media == Path(record.media_root)
    assert record.smtp_port != record.webhook_port


def test_what_is_set_stays_and_is_not_recorded_for_others(folder: DataFolder) -> None:
    given = {
        "SMTP_URL": "smtps://mail.example.org",
        "WEBHOOK_ALLOW_NETS": "10.0.0.0/8",
        "WEBHOOK_SECRET": "whsec_secret",
        "MEDIA_ROOT": "/srv/media",
    }
    environ = dict(given)
    record = up_settings.complete(environ, folder)
    assert environ == given
    assert (record.smtp_port, record.webhook_port, record.webhook_secret) == (None, None, None)
    assert record.media_root == "/srv/media"


def test_the_ports_of_the_last_time_are_taken_again_while_they_are_free(folder: DataFolder) -> None:
    first = up_settings.complete({}, folder)
    folder.record(first)
    again = up_settings.complete({}, folder)
    assert (again.smtp_port, again.webhook_port) == (first.smtp_port, first.webhook_port)
    assert first.smtp_port is not None
    # Nobody listens there until the demo runs, and meanwhile no connection may happen to get one of them.
    assert {first.smtp_port, first.webhook_port} <= set(range(20_000, 32_768))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first.smtp_port))
        other = up_settings.complete({}, folder)
    assert other.smtp_port != first.smtp_port
    assert other.webhook_port == first.webhook_port


@pytest.mark.parametrize(
    ("bind", "url"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("[::]:8080", "http://[::1]:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("box.example.org:80", "http://box.example.org:80"),
    ],
)
def test_the_address_it_tells_is_one_this_machine_reaches(bind: str, url: str) -> None:
    assert up_settings.Plan(bind, "127.0.0.1:9091", 28.0).url == url


@pytest.mark.parametrize("address", ["unix:/tmp/windlass.sock", "127.0.0.1:0"])
def test_an_address_it_could_not_tell_is_refused(address: str) -> None:
    with pytest.raises(Failure, match="API_BIND_ADDR: windlass up needs host:port"):
        up_settings.Plan(address, "127.0.0.1:0", 28.0).check_addresses()


def test_the_demo_has_jobs_of_every_shipped_kind_that_runs() -> None:
    kinds = load()
    # Other tests declare kinds of their own in this process.
    shipped = {name for name in kinds.runnable() if kinds.get(name).handler.__module__ in SHIPPED}
    assert set(demo_jobs.EVIDENCE) == shipped
