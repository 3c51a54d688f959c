"""What `windlass up` adds to the environment of its roles, and what it checks before it starts anything."""

import os
import random
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from app.commands.check import settings_problems
from app.commands.console import Failure
from app.commands.data_folder import DataFolder, Recorded
from app.settings import AppSettings

_THIS_MACHINE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "[::]": "[::1]"}
_METRICS_ADDRESS = "127.0.0.1:9091"
# Until the demo runs nobody listens there, and from 32768 on Linux would give them to somebody's connections.
_DEMO_PORTS = range(20_000, 32_768)
# A grace for what is left when all the roles' own time is over.
_DRAIN_SECONDS = 3.0


@dataclass(frozen=True)
class Plan:
    """Where web and pool will listen (`host:port`), and how long a stop may take."""

    api: str
    metrics: str
    stop_seconds: float

    @property
    def url(self) -> str:
        """The API's address as this machine reaches it."""
        return f"http://{_reachable(self.api)}"

    @property
    def metrics_url(self) -> str:
        """The pool's metrics as this machine reaches them."""
        return f"http://{_reachable(self.metrics)}/metrics"

    def check_addresses(self) -> None:
        """Raises Failure when either cannot be listened on."""
        problems = [*_refusal("API_BIND_ADDR", self.api), *_refusal("WORKER_METRICS_BIND_ADDR", self.metrics)]
        if problems:
            raise Failure("\n".join(problems))


def complete(environ: dict[str, str], folder: DataFolder) -> Recorded:
    """Sets what is unset, so that every shipped kind can run, and returns what `demo` must know of it."""
    former = folder.last_record()
    smtp_port, webhook_port = _free_ports(former.smtp_port if former else None, former.webhook_port if former else None)
    if "SMTP_URL" in environ:
        smtp_port = None
    else:
        environ["SMTP_URL"] = f"smtp://127.0.0.1:{smtp_port}"
    if "WEBHOOK_ALLOW_NETS" in environ:
        webhook_port = None
    else:
        environ["WEBHOOK_ALLOW_NETS"] = f"127.0.0.1/32:{webhook_port}"
    webhook_secret = None
    if "WEBHOOK_SECRET" not in environ:
        environ["WEBHOOK_SECRET"] = webhook_secret = folder.webhook_secret()
    environ.setdefault("MEDIA_ROOT", str(folder.media))
    return Recorded(os.getpid(), "", environ["MEDIA_ROOT"], smtp_port, webhook_port, webhook_secret, None)


def checked(environ: Mapping[str, str]) -> Plan:
    """Raises Failure with every problem of the settings, one a line."""
    if "DATABASE_URL" not in environ:
        environ = {**environ, "DATABASE_URL": "postgresql:///comes-later"}
    problems = settings_problems(environ)
    if problems:
        raise Failure("\n".join(problems))
    settings = AppSettings.from_env(environ)
    metrics = environ.get("WORKER_METRICS_BIND_ADDR", _METRICS_ADDRESS)
    return Plan(settings.bind, metrics, settings.shutdown_grace_seconds + _DRAIN_SECONDS)


def _refusal(variable: str, address: str) -> list[str]:
    host, _, port = address.rpartition(":")
    if not host or address.startswith("unix:") or port == "0":
        return [f"{variable}: windlass up needs host:port, not {address}"]
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        return [f"{variable}: cannot listen on {address}: {error.strerror}; set it to a free one, as {_other(address)}"]
    return []


def _other(address: str) -> str:
    host, _, port = address.rpartition(":")
    return f"{host}:{int(port) + 1 if int(port) < 65535 else 8081}"


def _reachable(address: str) -> str:
    host, _, port = address.rpartition(":")
    return f"{_THIS_MACHINE.get(host, host)}:{port}"


def _free_ports(*wanted: int | None) -> Iterator[int | None]:
    """As many as asked for; the wanted ones if they are free, so that jobs naming them can run after a restart."""
    with ExitStack() as until_all_are_found:
        for port in wanted:
            probe = until_all_are_found.enter_context(socket.socket())
            for candidate in [*([port] if port else []), *random.SystemRandom().sample(_DEMO_PORTS, 50), 0]:
                try:
                    probe.bind(("127.0.0.1", candidate))
                    break
                except OSError:
                    continue
            yield probe.getsockname()[1]
