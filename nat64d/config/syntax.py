"""What is not TOML, in words: line, key, and what to write instead. tomllib says neither which key nor where it was."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any, NamedTuple

from nat64d.config import toml
from nat64d.config.errors import ConfigError, Problem

SHOWN = 60  # characters of a line

# What tomllib says, and what is to be done.
COMPLAINTS = (
    ("Invalid statement", "expected key = value, or [section]"),
    ("Invalid initial character for a key", "expected a key of letters, digits, _ and -; other keys need quotes"),
    ("Expected '=' after a key", "expected key = value"),
    ("Expected newline or end of document", 'expected the end of the line; text needs quotes, as in key = "text"'),
    ("Invalid value", 'expected a value: "text" in quotes, a number, true, false, or a list in [brackets]'),
    ("Unterminated string", "expected the quote that ends the text"),
    ("Expected ", "expected the quote that ends the text"),
    ("Unclosed array", "expected the ] that ends the list"),
    ("Unclosed inline table", "expected the } that ends the table"),
    ("Expected ']'", "expected the ] that ends the name of the section"),
    ("Expected ']]'", "expected the ]] that end the name of the section"),
    ("Unescaped '\\'", "expected \\\\ for a backslash, or the text in 'single quotes'"),
    ("Invalid hex value", "expected hexadecimal digits after the \\x, \\u or \\U"),
    ("Escaped character is not", "expected the code of a character after the \\u or \\U"),
    ("Illegal character", "expected text without line ends and control characters, the quote that ends it on its line"),
    (
        "Found invalid character",
        "expected text without line ends and control characters, the quote that ends it on its line",
    ),
    ("Invalid date", "expected no date here; text needs quotes"),
)
TWICE = ("Cannot overwrite", "Duplicate inline", "Cannot declare", "Cannot mutate", "Cannot redefine")
HEADER = re.compile(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?")
STATEMENT = re.compile(r"\s*([\w\"'.-]+(?:\s*\.\s*[\w\"'.-]+)*)\s*=\s*(.*)")


class Line(NamedTuple):
    """A line that begins something: `section` as it is written, [tun] or [[pool4]], `key` ("" in the section's own
    line) and the text after the equals sign."""

    number: int
    section: str
    key: str
    value: str

    @property
    def place(self) -> str:
        """The key as messages name it."""
        return f"{self.section} {self.key}".strip()

    @property
    def path(self) -> str:
        """Section and key with dots between, without quotes."""
        dotted = ".".join(filter(None, (self.section.strip("[]"), self.key)))
        return re.sub(r"[\s\"']", "", dotted)


def parse(text: str, name: str) -> dict[str, Any]:
    """TOML as dicts and lists; raises ConfigError. A syntax error ends the reading, so it comes alone."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError([Problem(name, "", "", "expected TOML: lists or tables are nested too deeply")]) from None
    except ValueError as error:  # TOMLDecodeError, or a number of too many digits
        raise ConfigError([_problem(text, name, str(error))]) from None


def _problem(text: str, name: str, said: str) -> Problem:
    if match := re.search(r" \(at line (\d+), column (\d+)\)$", said):
        number, column = int(match[1]), int(match[2])
    else:  # at the end of the document
        number, column = len(text.rstrip().splitlines()) or 1, 0
    if said.startswith("Exceeds the limit"):
        number = next((n for n, line in enumerate(text.splitlines(), 1) if re.search(r"\d{4000}", line)), 1)
        return Problem(name, f"line {number}", "", "expected a number of fewer digits")
    if said.startswith(TWICE):
        return _twice(text, name, number, said)
    lines = text.splitlines()
    here = lines[number - 1][max(column - 1, 0) :].strip() if number <= len(lines) else ""
    # The longest beginning decides: "Expected ']'" before "Expected ".
    fitting = [row for row in COMPLAINTS if said.startswith(row[0])]
    complaint = max(fitting, key=lambda row: len(row[0]))[1] if fitting else "expected TOML (https://toml.io)"
    place = f"line {number}, column {column}" if column else f"line {number}, the last"
    return Problem(name, place, "", f"{toml.value(_cut(here))}: {complaint}" if here else complaint)


def _twice(text: str, name: str, number: int, said: str) -> Problem:
    """The complaint about a key or a section that is there for the second time, in line `number` or above it."""
    *before, again = [line for line in _lines(text) if line.number <= number] or [Line(number, "", "", "")]
    where = f"line {again.number}: {again.place}"
    if match := re.match(r"Duplicate inline table key '(.+?)'", said):
        return Problem(name, where, _cut(again.value), f"{match[1]} is there twice in this table; remove one of them")
    for other in reversed(before):
        if other.path == again.path:
            return Problem(name, where, _cut(again.value), _repeated(other, again))
    for other in reversed(before):
        paths = sorted((f"{other.path}.", f"{again.path}."), key=len)
        if paths[1].startswith(paths[0]) and other.place != again.section:
            return Problem(name, where, _cut(again.value), f"line {other.number} has {other.place}; keep one of them")
    return Problem(name, where, _cut(again.value), "given before in another way; keep one of them")


def _repeated(other: Line, again: Line) -> str:
    """What is wrong with a line whose path is that of another line above it."""
    if other.key and again.key:
        return f"given twice, also in line {other.number}; remove one of them"
    if other.section == again.section:
        return f"the section begins in line {other.number} already; put its keys there"
    return f"line {other.number} has {other.place}; write it once, in one way"


def _lines(text: str) -> Iterator[Line]:
    """The lines that begin a section or a key. Text over several lines may be taken for one; this is for messages."""
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if match := HEADER.fullmatch(line):
            section = f"{match[1]}{match[2]}{']' * len(match[1])}"
            yield Line(number, section, "", "")
        elif match := STATEMENT.fullmatch(line):
            yield Line(number, section, match[1], match[2].strip())


def _cut(text: str) -> str:
    """The beginning of a text, safe for a terminal."""
    safe = "".join(letter if letter.isprintable() else "�" for letter in text)
    return safe if len(safe) <= SHOWN else safe[: SHOWN - 1] + "…"
