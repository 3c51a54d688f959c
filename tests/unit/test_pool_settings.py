"""The pool's settings, from the environment and from a program's arguments."""

from dataclasses import fields
from typing import Any

import pytest

from workerpool.settings import PoolArguments, PoolSettings, SettingsError

ENVIRON = {"DATABASE_URL": "postgresql://a/b", "WORKER_PROCESSES": "2", "LEASE_SECONDS": "60", "RETENTION_DAYS": " "}


def problems(environ: dict[str, str], **arguments: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        PoolSettings.from_env(environ, arguments)
    return caught.value.problems


def test_every_setting_is_an_argument() -> None:
    assert list(PoolArguments.__annotations__) != []
    assert set(PoolArguments.__annotations__) == {field.name for field in fields(PoolSettings)}


def test_arguments_come_before_the_environment_which_fills_in_the_rest() -> None:
    settings = PoolSettings.from_env(ENVIRON, {"worker_processes": 4, "retention_days": 7, "lease_seconds": None})
    assert (settings.worker_processes, settings.lease_seconds, settings.retention_days) == (4, 60, 7)


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("worker_queues", ("default", "mail"), ("default", "mail")),
        ("worker_queues", ["mail"], ("mail",)),
        ("worker_queues", "default, mail", ("default", "mail")),
        ("kind_modules", ("acme.jobs",), ("acme.jobs",)),
        ("kind_modules", (), ()),
        ("shutdown_grace_seconds", 2.5, 2.5),
        ("worker_metrics_bind_addr", "[::1]:0", ("::1", 0)),
        ("log_level", "DEBUG", "debug"),
        ("job_timeout_seconds", 7, 7),
    ],
)
def test_an_argument_may_be_a_text_a_number_or_a_list(name: str, given: Any, kept: Any) -> None:
    assert getattr(PoolSettings.from_env(ENVIRON, {name: given}), name) == kept


def test_an_empty_argument_hides_the_variable_and_means_the_default() -> None:
    assert PoolSettings.from_env({**ENVIRON, "KIND_MODULES": "acme.jobs"}, {"kind_modules": []}).kind_modules == ()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"worker_processes": 0}, "worker_processes: must be a whole number from 1 to 512"),
        ({"worker_processes": 2.0}, "worker_processes: must be a whole number"),
        ({"worker_processes": True}, "worker_processes: must be a text, a number or a list of texts, not bool"),
        ({"worker_queues": ["a b"]}, "worker_queues: must be a comma list of queue names"),
        ({"worker_queues": []}, "worker_queues: is empty; name at least one"),
        ({"worker_queues": [""]}, "worker_queues: is empty; name at least one"),
        ({"worker_queues": " "}, "worker_queues: is empty; name at least one"),
        ({"worker_queues": [".."]}, "worker_queues: must be a comma list of queue names, each 1 to 128 of"),
        ({"worker_queues": {"a"}}, "worker_queues: must be a text, a number or a list of texts, not set"),
        ({"kind_modules": [5]}, "kind_modules: must be a text, a number or a list of texts, not list"),
        ({"database_url": ""}, "database_url: is not set; give the address of a PostgreSQL"),
        ({"worker_metrics_bind_addr": ("127.0.0.1", 9091)}, "worker_metrics_bind_addr: must be a text, a number or"),
        ({"processes": 4}, "processes: is no setting of the pool, which are: database_url, worker_processes,"),
        ({"smtp_url": "x"}, "smtp_url: is no setting of the pool"),
    ],
)
def test_a_wrong_argument_is_named_as_it_was_given(arguments: dict[str, Any], said: str) -> None:
    [problem] = problems(ENVIRON, **arguments)
    assert problem.startswith(said)


def test_all_problems_are_said_at_once_each_by_the_name_it_came_with() -> None:
    said = problems({"LEASE_SECONDS": "x", "WORKER_PROCESSES": "x"}, worker_processes=0)
    assert [problem.partition(":")[0] for problem in said] == ["DATABASE_URL", "worker_processes", "LEASE_SECONDS"]
