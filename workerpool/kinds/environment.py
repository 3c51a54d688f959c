"""How every settings module reads its variables: all problems are collected, and an empty variable counts as unset.

It stands here because web and pool both read it and kinds are what they share.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from workerpool.kinds.bounds import LONGEST_TIMEOUT

P = TypeVar("P")
T = TypeVar("T")

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class SettingsError(Exception):
    """Settings that cannot be used; one line per problem: the variable, what is wrong and what to do.

    No line repeats the value of a variable that may hold a secret.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Environment:
    """Reads variables of a mapping. What cannot be used becomes a line of `problems` and reads as its default.

    `arguments`, named as the variables in lower case, come first: texts, numbers, lists of texts; None is not given.
    Problems name them as they were given.
    """

    def __init__(self, environ: Mapping[str, str], arguments: Mapping[str, object] = MappingProxyType({})) -> None:
        self._given = {name: value.strip() for name, value in environ.items() if value.strip()}
        self._spelt: dict[str, str] = {}
        self.problems: list[str] = []
        for name, value in arguments.items():
            if value is not None:
                self._spelt[name.upper()] = name
                self._given.pop(name.upper(), None)
                as_variable = self._as_variable(name, value)
                if as_variable is not None:
                    self._given[name.upper()] = as_variable

    def _as_variable(self, name: str, value: object) -> str | None:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return str(value).strip()
        if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
            return ",".join(value)
        self.problems.append(f"{name}: must be a text, a number or a list of texts, not {type(value).__name__}")
        return None

    def _problem(self, name: str, said: object) -> None:
        self.problems.append(f"{self._spelt.get(name, name)}: {said}")

    def read(self, name: str, parse: Callable[[str], P], default: T) -> P | T:
        """What `parse` makes of the variable; its ValueError says what the variable must be."""
        if not self._given.get(name):
            return default
        try:
            return parse(self._given[name])
        except ValueError as error:
            self._problem(name, error)
            return default

    def required(self, name: str, parse: Callable[[str], str], what: str) -> str:
        """Like `read`, but unset is a problem; `what` says what to give."""
        if not self._given.get(name):
            self._problem(name, f"is not set; give {what}")
        return self.read(name, parse, "")

    def never_empty(self, name: str, parse: Callable[[str], P], default: T) -> P | T:
        """Like `read`, but an argument that was given empty is a problem; an empty variable counts as unset."""
        if self._given.get(name) == "":
            self._problem(name, "is empty; name at least one, or leave it out for the default")
        return self.read(name, parse, default)

    def whole(self, name: str, default: T, least: int, most: int) -> int | T:
        """A whole number within bounds."""

        def parse(value: str) -> int:
            if not re.fullmatch(r"-?[0-9]{1,18}", value) or not least <= int(value) <= most:
                raise ValueError(f"must be a whole number from {least} to {most}")
            return int(value)

        return self.read(name, parse, default)

    def seconds(self, name: str, default: float, most: float) -> float:
        """A number of seconds, fractions allowed."""

        def parse(value: str) -> float:
            if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value) or float(value) > most:
                raise ValueError(f"must be a number of seconds from 0 to {most:g}")
            return float(value)

        return self.read(name, parse, default)

    def switch(self, name: str) -> bool:
        """On or off; off when unset."""

        def parse(value: str) -> bool:
            if value.lower() not in ("1", "0", "true", "false", "yes", "no", "on", "off"):
                raise ValueError("must be 1 or 0")
            return value.lower() in ("1", "true", "yes", "on")

        return self.read(name, parse, False)

    def one_of(self, name: str, words: tuple[str, ...], default: T) -> str | T:
        """One of some words, in any case."""

        def parse(value: str) -> str:
            if value.lower() not in words:
                raise ValueError(f"must be one of {', '.join(words)}")
            return value.lower()

        return self.read(name, parse, default)

    def check(self) -> None:
        """Raises SettingsError if anything could not be used."""
        if self.problems:
            raise SettingsError(self.problems)

    def log_format(self) -> str | None:
        """LOG_FORMAT: json, text, or None for whichever fits where the log goes."""
        return self.one_of("LOG_FORMAT", ("json", "text"), None)

    def log_level(self) -> str:
        """LOG_LEVEL."""
        return self.one_of("LOG_LEVEL", ("debug", "info", "warning", "error"), "info")

    def database_url(self) -> str:
        """DATABASE_URL, which must be set."""
        return self.required("DATABASE_URL", _libpq_url, "the address of a PostgreSQL, as postgresql://user@host/name")

    def kind_modules(self) -> tuple[str, ...]:
        """KIND_MODULES: the modules that declare kinds of your own, in dotted form."""
        return self.read("KIND_MODULES", _modules, ())

    def job_timeout_seconds(self) -> int:
        """JOB_TIMEOUT_SECONDS: of one attempt, where neither the job nor its kind says."""
        return self.whole("JOB_TIMEOUT_SECONDS", 900, 1, LONGEST_TIMEOUT)

    def grace_seconds(self) -> float:
        """SHUTDOWN_GRACE_SECONDS."""
        return self.seconds("SHUTDOWN_GRACE_SECONDS", 25.0, 3600.0)


def names(value: str) -> tuple[str, ...]:
    """A comma list, without empty items and repetitions."""
    return tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))


def host_port(value: str) -> tuple[str, int]:
    """`host:port`, an IPv6 host in brackets. Raises ValueError."""
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s\[\]:/]*):([0-9]{1,5})", value)
    if not found or int(found[2]) > 65535:
        raise ValueError("must be host:port, as 127.0.0.1:8080 or [::1]:8080")
    return found[1].strip("[]"), int(found[2])


def _libpq_url(value: str) -> str:
    # The value is never repeated in a message: it holds a password.
    if not re.match(r"postgres(ql)?://", value) and "=" not in value:
        raise ValueError("must be a URL like postgresql://user:password@host:5432/name")
    return value


def _modules(value: str) -> tuple[str, ...]:
    for module in names(value):
        if not _MODULE.fullmatch(module):
            raise ValueError(f"must be a comma list of modules in dotted form; {module!r} is none")
    return names(value)
