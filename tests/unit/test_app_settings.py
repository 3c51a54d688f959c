"""What the web process accepts as its environment."""

import pytest

from app.settings import AppSettings, SettingsError, is_loopback

URL = "postgresql://somebody:secret@db.example/windlass"


def from_env(**environ: str) -> AppSettings:
    return AppSettings.from_env({"DATABASE_URL": URL, **environ})


def refusal(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        from_env(**environ)
    return refused.value.problems


@pytest.mark.parametrize(
    ("environ", "bind"),
    [
        ({}, "127.0.0.1:8080"),
        ({"PORT": "5000"}, "0.0.0.0:5000"),
        ({"PORT": "5000", "BIND_ADDR": "127.0.0.1:1"}, "127.0.0.1:1"),
        ({"PORT": "5000", "BIND_ADDR": "127.0.0.1:1", "API_BIND_ADDR": "[::1]:2"}, "[::1]:2"),
        ({"API_BIND_ADDR": "", "BIND_ADDR": "", "PORT": ""}, "127.0.0.1:8080"),
        ({"API_BIND_ADDR": "unix:/run/windlass.sock"}, "unix:/run/windlass.sock"),
    ],
)
def test_the_address_is_the_first_of_three_that_is_set(environ: dict[str, str], bind: str) -> None:
    assert from_env(API_TOKEN="t", **environ).bind == bind


@pytest.mark.parametrize(
    "address", ["", "8080", "host", "host:", "host:99999", "ho st:1", "[::1]", "::1:80:x", "unix:x"]
)
def test_an_address_that_cannot_be_bound_stops_the_start(address: str) -> None:
    if address:
        assert refusal(API_BIND_ADDR=address)[0].startswith("API_BIND_ADDR: must be host:port")


@pytest.mark.parametrize(
    "bind", ["127.0.0.1:8080", "127.9.9.9:1", "[::1]:8080", "localhost:8080", "unix:/run/windlass.sock"]
)
def test_what_only_this_machine_reaches_needs_no_token(bind: str) -> None:
    assert is_loopback(bind)
    assert from_env(API_BIND_ADDR=bind).bind == bind


@pytest.mark.parametrize(
    "bind", ["0.0.0.0:80", "[::]:80", ":80", "10.0.0.1:80", "db.example:80", "127.0.0.1.nip.io:80"]
)
def test_an_open_address_without_a_token_stops_the_start_and_says_how_to_set_one(bind: str) -> None:
    (problem,) = refusal(API_BIND_ADDR=bind)
    assert "API_TOKEN" in problem
    assert "REQUIRE_TOKEN=1" in problem
    assert "ALLOW_ANONYMOUS" in problem


@pytest.mark.parametrize(
    "key", [{"API_TOKEN": "t"}, {"ADMIN_TOKEN": "t"}, {"REQUIRE_TOKEN": "1"}, {"ALLOW_ANONYMOUS": "1"}]
)
def test_a_token_or_the_explicit_wish_opens_an_open_address(key: dict[str, str]) -> None:
    assert from_env(API_BIND_ADDR="0.0.0.0:80", **key).may_bind_openly


@pytest.mark.parametrize(
    "key", [{"API_TOKEN": ""}, {"REQUIRE_TOKEN": "0"}, {"ALLOW_ANONYMOUS": "0"}, {"ALLOW_ANONYMOUS": ""}]
)
def test_an_empty_token_is_no_token(key: dict[str, str]) -> None:
    assert len(refusal(API_BIND_ADDR="0.0.0.0:80", **key)) == 1


def test_every_problem_is_named_at_once_with_its_variable() -> None:
    problems = refusal(
        DATABASE_URL="mysql:nothing",
        PORT="http",
        WEB_CONCURRENCY="0",
        WEB_THREADS="-1",
        MAX_BODY_BYTES="1MiB",
        SHUTDOWN_GRACE_SECONDS="soon",
        API_TOKEN="two words",
        ADMIN_TOKEN="t\u00f6ken",
        REQUIRE_TOKEN="maybe",
        ALLOW_ANONYMOUS="perhaps",
        TRUSTED_PROXIES="10.0.0.0/8,proxy",
        RATE_LIMIT_PER_MINUTE="often",
        JOB_TIMEOUT_SECONDS="0",
        LOG_FORMAT="xml",
        LOG_LEVEL="loud",
    )
    assert [problem.split(":")[0] for problem in problems] == [
        "DATABASE_URL", "PORT", "WEB_CONCURRENCY", "WEB_THREADS", "SHUTDOWN_GRACE_SECONDS", "MAX_BODY_BYTES",
        "API_TOKEN", "ADMIN_TOKEN", "REQUIRE_TOKEN", "ALLOW_ANONYMOUS", "TRUSTED_PROXIES",
        "RATE_LIMIT_PER_MINUTE", "JOB_TIMEOUT_SECONDS", "LOG_FORMAT", "LOG_LEVEL",
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "60/m", "1000001", "1e3", "0060", "\u0661", "inf", "none"])
def test_a_limit_that_limits_nothing_or_cannot_be_read_stops_the_start(value: str) -> None:
    (problem,) = refusal(RATE_LIMIT_PER_MINUTE=value)
    assert problem == "RATE_LIMIT_PER_MINUTE: must be a whole number from 1 to 1000000; leave it unset for no limit"


@pytest.mark.parametrize(("value", "limit"), [("1", 1), ("600", 600), (" 1000000 ", 1_000_000), ("", None)])
def test_a_limit_is_a_number_a_minute_and_without_one_there_is_none(value: str, limit: int | None) -> None:
    assert from_env(RATE_LIMIT_PER_MINUTE=value).rate_limit_per_minute == limit


def test_no_problem_repeats_a_secret() -> None:
    problems = " ".join(refusal(DATABASE_URL="secret", API_TOKEN="the secret", ADMIN_TOKEN="a secret", PORT="x"))
    assert "secret" not in problems


def test_a_missing_database_is_a_problem() -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        AppSettings.from_env({})


def test_one_token_cannot_be_both() -> None:
    assert refusal(API_TOKEN="same", ADMIN_TOKEN="same")[0].startswith("ADMIN_TOKEN")


def test_protected_metrics_need_a_token_to_ask_for() -> None:
    assert refusal(PROTECT_METRICS="1")[0].startswith("PROTECT_METRICS")
    for key in ("API_TOKEN", "ADMIN_TOKEN", "REQUIRE_TOKEN"):
        assert from_env(PROTECT_METRICS="1", **{key: "1"}).protect_metrics


def test_a_token_cannot_be_required_of_everybody_and_of_nobody() -> None:
    assert refusal(REQUIRE_TOKEN="1", ALLOW_ANONYMOUS="1")[0].startswith("REQUIRE_TOKEN")
    assert refusal(REQUIRE_TOKEN="1", ALLOW_ANONYMOUS="1", ADMIN_TOKEN="t")[0].startswith("REQUIRE_TOKEN")
    assert not from_env().asks_for_tokens
    assert from_env(REQUIRE_TOKEN="1").asks_for_tokens


@pytest.mark.parametrize("url", ["postgres://h/d", "postgresql:///d?host=/run", "host=/run dbname=d", URL])
def test_every_form_of_libpq_is_a_database(url: str) -> None:
    assert from_env(DATABASE_URL=url).database_url == url
