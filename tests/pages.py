"""The code blocks of the documentation, and how each of them is tested.

The comment above a fence says how; in the page it is not visible:

    <!-- runs -->                          runs as printed: offline, without root
    <!-- runs on HOST -->                  runs as printed on a host of the network of tests/e2e/test_pages.py
    <!-- starts on HOST -->                the same, and goes on running until the page ends: a daemon
    <!-- prints -->                        what the block before it prints; `…` stands for anything
    <!-- lines of FILE -->                 lines of a file of the project, in their order
    <!-- tested by FILE::NAME: reason -->  not run as printed; a test covers what it does

A `toml` block without a comment is a whole configuration.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent

from tests.architecture import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"^(?P<indent> *)(?:<!-- (?P<how>[^\n]*?) -->\n(?P=indent))?```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """One code block: where it is, its language and text, the comment above it, and what it has to print."""

    page: Path
    line: int
    language: str
    text: str
    how: str
    prints: str | None = None

    @property
    def name(self) -> str:
        """Page and line, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def host(self) -> str | None:
        """The host it runs or starts on, None for other blocks."""
        found = re.fullmatch(r"(?:runs|starts) on (\w+)", self.how)
        return found[1] if found else None


def blocks(page: Path) -> Iterator[Block]:
    """The code blocks of a page; a `prints` block is joined to the one before it."""
    text = page.read_text("utf-8")
    pending: Block | None = None
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        block = Block(page, line, found["language"], dedent(found["text"]), found["how"] or "")
        if block.how == "prints" and pending:
            pending = replace(pending, prints=block.text)
            continue
        if pending:
            yield pending
        pending = block
    if pending:
        yield pending


def all_blocks() -> list[Block]:
    """The code blocks of all pages."""
    return [block for page in PAGES for block in blocks(page)]


def pattern(expected: str) -> re.Pattern[str]:
    """What `prints` allows: `…` is anything, a line of its own any lines, and the width of a column does not matter."""
    lines = []
    for line in expected.strip().splitlines():
        if line.strip() == "…":
            lines.append(r"(?:.*\n)*?")
        else:
            words = [re.escape(word).replace("…", ".*") for word in line.split()]
            lines.append(r"[ \t]*" + r"[ \t]+".join(words) + r"[ \t]*\n")
    return re.compile("".join(lines) + r"\s*")


def difference(block: Block, printed: str) -> str | None:
    """Why what a block printed is not what its page shows; None if it is."""
    if block.prints is None or pattern(block.prints).fullmatch(printed.rstrip() + "\n"):
        return None
    return f"{block.name} printed:\n{printed}\nexpected:\n{block.prints}"


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The files of the project that a page links to, each with the anchor of a heading in it or ""."""
    for target in LINK.findall(page.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        if "://" not in path:
            yield (page.parent / path).resolve() if path else page, anchor


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
