"""deploy/requirements.lock pins all that a service needs, by hash, at versions that setup.cfg allows."""

import configparser
import re
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.figures import Publish
from support.processes import ROOT

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n?)+)", re.MULTILINE)


def pinned() -> dict[str, str]:
    text = (ROOT / "deploy" / "requirements.lock").read_text()
    rest = [line for line in _PIN.sub("", text).splitlines() if line.strip() and not line.startswith("#")]
    assert rest == [], "every line is a pin with its hashes"
    return {canonicalize_name(name): version for name, version, _ in _PIN.findall(text)}


def asked_for() -> list[Requirement]:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    lines = settings["options"]["install_requires"].splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.strip().startswith("#")]


def needed(requirement: Requirement, found: set[str]) -> None:
    """Adds its name, and those of all that it needs here."""
    name = canonicalize_name(requirement.name)
    if name in found:
        return
    found.add(name)
    for line in metadata.requires(name) or ():
        inner = Requirement(line)
        if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)):
            needed(inner, found)


def test_all_that_is_needed_is_pinned_by_hash_within_what_is_asked_for(publish: Publish) -> None:
    pins = pinned()
    found: set[str] = set()
    for requirement in asked_for():
        needed(requirement, found)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement
    assert found <= pins.keys()
    publish(f"{len(asked_for())} packages asked for, {len(pins)} pinned, each by hash")
