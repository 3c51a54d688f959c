"""Which servers the service itself uses, as DATABASE_URL names them; no webhook is for them."""

import socket
from collections.abc import Sequence

import pytest

from workerpool.kinds.address_guard import AddressRefused, Answer, Guard, parse_allowed_nets
from workerpool.kinds.service_hosts import database_hosts
from workerpool.kinds.settings import KindSettings


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://db.example/x", ("db.example",)),
        ("postgres://u:p%40@db.example:5432/x?sslmode=require", ("db.example",)),
        ("postgresql://a:1,b:2,[2606:4700::1]:3/x", ("a", "b", "2606:4700::1")),
        ("postgresql://u@/x?host=/run/postgresql", ()),
        ("postgresql://u@%2Frun%2Fpostgresql/x", ()),
        ("postgresql://u@db/x?hostaddr=8.8.8.8&host=other,db", ("db", "8.8.8.8", "other")),
        ("host=db.example port=5432 dbname=x", ("db.example",)),
        ("dbname=x hostaddr = '8.8.8.8,9.9.9.9' host=a", ("8.8.8.8", "9.9.9.9", "a")),
        ("host=/tmp dbname=x", ()),
        ("postgresql://[broken", ()),
        ("", ()),
    ],
)
def test_the_hosts_of_a_database_are_found_in_every_form(url: str, hosts: tuple[str, ...]) -> None:
    assert database_hosts(url) == hosts


def test_the_settings_know_both_servers() -> None:
    settings = KindSettings.from_env({"DATABASE_URL": "postgresql://db.example/x", "SMTP_URL": "smtps://mail.example"})
    assert settings.service_hosts == ("db.example", "mail.example")
    assert KindSettings().service_hosts == ()


def resolve(host: str, port: int) -> Sequence[Answer]:
    known = {"db.example": "93.184.215.14", "8.8.8.8": "8.8.8.8"}
    if host not in known:
        raise socket.gaierror
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known[host], port))]


def test_an_address_of_a_server_of_ours_is_refused_under_any_name_unless_it_is_allowed() -> None:
    guard = Guard((), frozenset({443}), own=lambda _: False, services=("gone.example", "db.example", "8.8.8.8"))
    found = guard.services_found(resolve)
    for address in ("93.184.215.14", "8.8.8.8"):
        answers: list[Answer] = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))]
        with pytest.raises(AddressRefused, match="that this service uses itself"):
            guard.checked(answers, 443, found)
        named = Guard(parse_allowed_nets(f"{address}/32:443"), frozenset(), own=guard.own, services=guard.services)
        assert named.checked(answers, 443, found) == answers
    with pytest.raises(AddressRefused):
        guard.check_host("8.8.8.8", 443)
    guard.check_host("93.184.215.15", 443)
