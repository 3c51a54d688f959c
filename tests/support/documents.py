"""Markdown as tests read it: sections, fenced blocks, tables, links."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) +(.+)$", re.MULTILINE)


class Document:
    """One Markdown file of the checkout."""

    def __init__(self, name: str) -> None:
        self.path = ROOT / name
        self.text = self.path.read_text(encoding="utf-8")

    def section(self, title: str) -> str:
        """What stands under a heading, up to the next of its level or above."""
        prose = _without_blocks(self.text)
        found = [match for match in _HEADING.finditer(prose) if match[2] == title]
        assert len(found) == 1, f"{self.path.name} has {len(found)} headings {title!r}"
        level = len(found[0][1])
        later = (match.start() for match in _HEADING.finditer(prose, found[0].end()) if len(match[1]) <= level)
        return self.text[found[0].end() : next(later, len(self.text))]

    def blocks(self, language: str, section: str | None = None) -> list[str]:
        """The fenced blocks in `language`, without the indentation of their fence."""
        text = self.text if section is None else self.section(section)
        return [
            "".join(line.removeprefix(indent) for line in body.splitlines(keepends=True))
            for indent, named, body in _FENCE.findall(text)
            if named == language
        ]

    def anchors(self) -> set[str]:
        """What `#…` may point at, by the rule of the usual viewers."""
        titles = (match[2] for match in _HEADING.finditer(_without_blocks(self.text)))
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

    def links(self) -> list[str]:
        """The targets of all links."""
        return re.findall(r"\]\(([^)\s]+)\)", _without_blocks(self.text))


def table_rows(text: str) -> list[list[str]]:
    """The cells of the rows below a table's rule, without their backquotes."""
    rows = [line.strip().strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in rows]


def _without_blocks(text: str) -> str:
    # Of the same length, so that places in the one are places in the other.
    return _FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
