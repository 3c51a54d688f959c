"""The settings of the shipped kinds: every problem at once, no secret in a message."""

import base64
from ipaddress import ip_network
from pathlib import Path

import pytest

from workerpool.kinds.address_guard import AllowedNet
from workerpool.kinds.settings import VARIABLES, KindSettings, SettingsError, current

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
SECOND = "whsec_" + base64.b64encode(bytes(range(24))).decode()


def test_nothing_set_is_a_valid_setting() -> None:
    settings = KindSettings.from_env({})
    assert settings == KindSettings()
    assert settings.image_max_pixels == 25_000_000
    assert settings.webhook_allow_ports == {80, 443}


def test_an_empty_variable_counts_as_unset() -> None:
    assert KindSettings.from_env(dict.fromkeys(VARIABLES, " ")) == KindSettings()


def test_everything_set_is_read() -> None:
    settings = KindSettings.from_env(
        {
            "SMTP_URL": "smtps://ann:pw@mail.example.org",
            "SMTP_FROM": "jobs@example.org",
            "MEDIA_ROOT": "/srv/media",
            "IMAGE_MAX_PIXELS": "1000000",
            "WEBHOOK_SECRET": f"{SECRET} {SECOND}",
            "WEBHOOK_ALLOW_NETS": "127.0.0.1/32:9000, [::1]/128:9000 ,10.0.0.0/8,fd00::/8,192.0.2.1",
            "WEBHOOK_ALLOW_PORTS": "443, 8443",
            "KIND_MODULES": "acme.jobs, more_jobs",
        }
    )
    assert settings.smtp is not None
    assert settings.smtp.password == "pw"
    assert settings.smtp_from == "jobs@example.org"
    assert settings.media_root == Path("/srv/media")
    assert settings.image_max_pixels == 1_000_000
    assert settings.webhook_secrets == (SECRET, SECOND)
    assert settings.webhook_allow_nets == (
        AllowedNet(ip_network("127.0.0.1/32"), 9000),
        AllowedNet(ip_network("::1/128"), 9000),
        AllowedNet(ip_network("10.0.0.0/8")),
        AllowedNet(ip_network("fd00::/8")),
        AllowedNet(ip_network("192.0.2.1/32")),
    )
    assert settings.webhook_allow_ports == {443, 8443}
    assert settings.kind_modules == ("acme.jobs", "more_jobs")


WRONG = {
    "SMTP_URL": "smtp://u:canary-1@",
    "SMTP_FROM": "not an address",
    "MEDIA_ROOT": "media",
    "IMAGE_MAX_PIXELS": "1e9",
    "WEBHOOK_SECRET": "whsec_canary-2",
    "WEBHOOK_ALLOW_NETS": "10.0.0.1/8",
    "WEBHOOK_ALLOW_PORTS": "80,http",
    "KIND_MODULES": "acme/jobs",
}


def test_every_problem_is_told_at_once_one_line_each_and_no_secret_with_it() -> None:
    with pytest.raises(SettingsError) as caught:
        KindSettings.from_env(WRONG)
    lines = str(caught.value).splitlines()
    assert {line.split(":")[0] for line in lines} == set(WRONG)
    assert len(lines) == len(WRONG)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "nets",
    ["localhost", "127.0.0.1:0", "127.0.0.1/33", "127.0.0.1:70000", "[::1]:", "::1/129", "1.2.3.4/24", "*", "a b"],
)
def test_a_network_that_is_none_is_named(nets: str) -> None:
    with pytest.raises(SettingsError, match="WEBHOOK_ALLOW_NETS: must be a comma list of networks"):
        KindSettings.from_env({"WEBHOOK_ALLOW_NETS": nets})


@pytest.mark.parametrize("size", [0, 23, 65])
def test_a_secret_of_the_wrong_length_is_refused(size: int) -> None:
    with pytest.raises(SettingsError, match="24 to 64 random bytes"):
        KindSettings.from_env({"WEBHOOK_SECRET": "whsec_" + base64.b64encode(bytes(size)).decode()})


@pytest.mark.parametrize("ports", ["0", "65536", "-1", "80;443", "٤٤٣"])
def test_a_port_that_is_none_is_refused(ports: str) -> None:
    with pytest.raises(SettingsError, match="WEBHOOK_ALLOW_PORTS"):
        KindSettings.from_env({"WEBHOOK_ALLOW_PORTS": ports})


def test_no_secret_is_in_the_settings_text_form() -> None:
    settings = KindSettings.from_env({"SMTP_URL": "smtps://ann:canary@host", "WEBHOOK_SECRET": SECRET})
    assert "canary" not in repr(settings)
    assert SECRET not in repr(settings)


def test_the_current_settings_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert current() == KindSettings()
    monkeypatch.setenv("MEDIA_ROOT", "/srv/media")
    assert current().media_root == Path("/srv/media")
    assert current() is current()
