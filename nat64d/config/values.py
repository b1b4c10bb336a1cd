"""Readers: one TOML value in, one Python value out.

A value that does not fit raises ValueError whose text completes the sentence "expected ..." in plain words.
TOML has no null, so None stands for a required key that is absent, and every reader refuses it like any wrong value.
"""

import re
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
Reader = Callable[[object], T]

UNIX_PATH_OCTETS = 107  # sun_path without its closing zero, unix(7)


def flag(value: object) -> bool:
    """true or false."""
    if isinstance(value, bool):
        return value
    raise ValueError("true or false")


def whole(low: int, high: int, because: str = "") -> Reader[int]:
    """A whole number in low..high; `because` says where an unobvious bound comes from."""
    expected = f"a whole number from {low} to {high}" + (f" ({because})" if because else "")

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(expected)
        return value

    return read


def choice(*words: str) -> Reader[str]:
    """One of a few words."""
    expected = " or ".join(f'"{word}"' for word in words)

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(expected)
        return value

    return read


def either(word: str, reader: Reader[T]) -> Reader[str | T]:
    """A word of its own meaning, such as "auto", or what `reader` takes."""

    def read(value: object) -> str | T:
        if value == word:
            return word
        try:
            return reader(value)
        except ValueError as error:
            raise ValueError(f'"{word}" or {error}') from None

    return read


def several(reader: Reader[T], items: str, least: int = 0) -> Reader[tuple[T, ...]]:
    """A list of at least `least` different values; `items` says of what, in the plural."""
    expected = f"a list of {items}" + (f", at least {least}" if least else "")

    def read(value: object) -> tuple[T, ...]:
        if not isinstance(value, list | tuple) or len(value) < least:
            raise ValueError(expected)
        read_items = []
        for number, item in enumerate(value, 1):
            try:
                read_items.append(reader(item))
            except ValueError as error:
                raise ValueError(f"{error} (item {number})") from None
        if len(set(read_items)) < len(read_items):
            raise ValueError("every item once")
        return tuple(read_items)

    return read


def plateaus(value: object) -> tuple[int, ...]:
    """MTU plateaus (RFC 1191 section 7): falling numbers of octets."""
    numbers = several(whole(68, 65535), "numbers of octets", least=1)(value)
    if list(numbers) != sorted(numbers, reverse=True):
        raise ValueError("the greatest plateau first")
    return numbers


def interface_name(value: object) -> str:
    """A name that Linux takes for a network interface, and that is not a pattern."""
    if not isinstance(value, str) or not re.fullmatch(r"(?!\.\.?$)[!-$&-.0-9;-~]{1,15}", value):
        raise ValueError("an interface name: 1 to 15 printable ASCII characters, none of them space, slash, colon or %")
    return value


def label(value: object) -> str:
    """A name of our own: a DNS label (RFC 1123), so that it can become a metric or Kubernetes name."""
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", value):
        raise ValueError("a name of 1 to 63 small letters, digits and inner hyphens")
    return value


def absolute_path(value: object) -> str:
    """The absolute path of a file."""
    if not isinstance(value, str) or not re.fullmatch(r"/[^\0]*[^/\0]", value):
        raise ValueError("the absolute path of a file")
    return value


def socket_file(value: object) -> str:
    """The absolute path of a unix socket."""
    path = absolute_path(value)
    if len(path.encode()) > UNIX_PATH_OCTETS:
        raise ValueError(f"a path of at most {UNIX_PATH_OCTETS} octets, as unix sockets need")
    return path
