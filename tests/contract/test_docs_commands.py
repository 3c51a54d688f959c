"""Every `windlass` command that README and the runbook name exists, with the options they give it."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest
from support.documents import Document

from app.cli import cli

_INLINE = re.compile(r"`windlass( [^`]+)`")
_IN_SHELL = re.compile(r"(?:^|[|&] *|\bxargs(?: -n \d+)? |bin/)windlass( [^|&#\n]*)", re.MULTILINE)


def named(document: Document) -> Iterator[str]:
    yield from _INLINE.findall(document.text)
    for block in document.blocks("sh"):
        yield from _IN_SHELL.findall(block)
    for line in document.text.splitlines():
        cells = line.split("|")
        # README's table leaves the program's name out.
        if line.startswith("| `") and any(f"| `{name} " in line or f"| `{name}`" in line for name in cli.commands):
            yield from re.findall(r"`([^`]+)`", cells[1])


FOUND = sorted({(name, text.strip()) for name in ("README.md", "deploy/runbook.md") for text in named(Document(name))})


@pytest.mark.parametrize(("document", "text"), FOUND, ids=[text for _, text in FOUND])
def test_a_command_that_a_document_names_exists_with_its_options(document: str, text: str) -> None:
    command: click.Command = cli
    known: set[str] = {option for parameter in cli.params for option in parameter.opts}
    for word in shlex.split(text):
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"{document}: {text}"
        elif isinstance(command, click.Group):
            assert word in command.commands, f"{document}: {text}"
            command = command.commands[word]
            known = {option for parameter in command.params for option in parameter.opts}


def test_the_readme_names_every_operators_command_with_all_its_options() -> None:
    told = " ".join(text for name, text in FOUND if name == "README.md")
    for name in ("jobs", "queues", "pause", "resume", "dead"):
        command = cli.commands[name]
        parts = command.commands.items() if isinstance(command, click.Group) else [("", command)]
        for verb, part in parts:
            assert f"{name} {verb}".strip() in told
            for parameter in part.params:
                assert (
                    parameter.name == "as_json" or not parameter.opts[0].startswith("--") or parameter.opts[0] in told
                )
